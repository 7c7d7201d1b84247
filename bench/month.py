"""`python -m bench.month`: thirty days of 60 maps on a simulated clock, a snapshot in every minute in which one changed.

Snapshots are thinned and chunks collected every hour, as the recorder does. At the end the database must be within its
budget, the page of any moment must come within 100 ms from a service that shows this history, and every snapshot that was
retained must hold what was put into it.
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import numpy as np
import requests

from app.history.database import Database, open_reading, open_writing, sqlite_url
from app.history.history import History
from app.history.retention import collect, thin
from app.history.series import Identity
from app.history.snapshots import About, Kept
from app.history.verify import verify
from app.history.volume import volumes
from app.history.writer import Writer
from bench.shapes import Rng, Simulated, digest, layouts, sixty

MINUTE_NS = 60 * 1_000_000_000
HOUR_NS = 60 * MINUTE_NS
DAY_MINUTES = 24 * 60
BEGIN_NS = 1_790_000_000 * 1_000_000_000
"""Some day in 2026."""
BUDGET_BYTES = 1 << 30
PAGE_MS = 100.0
PAGES = 500


@dataclass(slots=True)
class Month:
    """What was done, and how long it took."""

    writer: Writer
    digests: dict[int, bytes]
    taking_s: float = 0.0
    keeping_s: float = 0.0
    slowest_collection_s: float = 0.0
    largest_bytes: int = 0
    foretold_bytes: int = 0
    """What 30 days would take, said after the first."""

    def run(self, maps: list[Simulated], minutes: int, rng: Rng) -> None:
        layout_ids = [self.writer.layout_of(one.body, one.btf, None) for one in layouts(maps)]
        ids = [
            self.writer.series_of(
                Identity(host="bench", name=one.name, type=one.type), at_ns=BEGIN_NS, map_id=number + 1, boot_id="b"
            ).id
            for number, one in enumerate(maps)
        ]
        last: dict[int, Kept] = {}
        began = time.monotonic()
        for minute in range(minutes):
            now_ns = BEGIN_NS + minute * MINUTE_NS
            changes = rng.random(len(maps))
            for number, one in enumerate(maps):
                if minute and changes[number] >= one.a_minute:
                    continue
                if minute:
                    one.live(one, rng)
                self.take(one, ids[number], layout_ids[number], now_ns, last)
            if minute % 60 == 59:
                self.keep_house(now_ns)
            if minute % DAY_MINUTES == DAY_MINUTES - 1:
                self.say(minute, began)
            if minute == DAY_MINUTES - 1:
                with self.writer.reading() as connection:
                    self.foretold_bytes = sum(each.month_bytes() for each in volumes(connection, now_ns).values())

    def take(self, one: Simulated, series_id: int, layout_id: int, now_ns: int, last: dict[int, Kept]) -> None:
        started = time.perf_counter()
        before = last.get(series_id)
        draft = self.writer.draft(one.keys, one.values, previous=before.root_id if before else 0)
        about = About(
            series_id=series_id, layout_id=layout_id, taken_ns=now_ns, took_ns=1, map_id=series_id, boot_id="b",
            completeness="walked", trigger="schedule",
        )  # fmt: skip
        kept = last[series_id] = self.writer.keep(draft, about)
        self.taking_s += time.perf_counter() - started
        self.digests[kept.id] = one.digest()

    def keep_house(self, now_ns: int) -> None:
        started = time.perf_counter()
        thin(self.writer.database, now_ns)
        collect(self.writer.database)
        self.writer.database.shrink()
        elapsed = time.perf_counter() - started
        self.keeping_s += elapsed
        self.slowest_collection_s = max(self.slowest_collection_s, elapsed)
        self.largest_bytes = max(self.largest_bytes, self.writer.database.size_bytes())

    def say(self, minute: int, began: float) -> None:
        taken = len(self.digests)
        print(
            f"day {(minute + 1) // DAY_MINUTES}: {taken:,} snapshots at {self.taking_s / taken * 1e3:.2f} ms,"
            f" {self.writer.database.size_bytes() / (1 << 20):.0f} MiB, housekeeping {self.keeping_s:.0f} s,"
            f" {time.monotonic() - began:.0f} s in all",
            flush=True,
        )


def moments(database: Database, until_ns: int, rng: Rng) -> list[tuple[Kept, float]]:
    """(the snapshot of a random series at a random moment, milliseconds to find and read it); nothing is remembered between."""
    found = []
    with closing(History(database)) as history:
        extents = history.extents()
    series = sorted(extents)
    for _ in range(PAGES):
        series_id = int(rng.choice(series))
        when_ns = int(rng.integers(extents[series_id].first_ns, until_ns))
        history = History(database)
        started = time.perf_counter()
        kept = history.at(series_id, when_ns)
        history.entries(kept)
        found.append((kept, (time.perf_counter() - started) * 1e3))
    return found


def pages(file: Path, wanted: list[Kept]) -> list[float]:
    """Milliseconds that a service over this history takes for the page of each, as its browser waits for it."""
    command = [sys.executable, "-m", "app.cli.main", "serve", "--history", str(file), "--listen", "127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as service:
        try:
            if service.stdout is None:
                raise RuntimeError("the service has no output to read")
            link = next(match[0] for line in service.stdout if (match := re.search(r"http\S+token=\S+", line)))
            origin = "/".join(link.split("/")[:3])
            with requests.Session() as browser:
                browser.get(link, timeout=30).raise_for_status()
                found = []
                for kept in wanted:
                    started = time.perf_counter()
                    answer = browser.get(f"{origin}/snapshots/{kept.ref}", timeout=30)
                    found.append((time.perf_counter() - started) * 1e3)
                    if answer.status_code != HTTPStatus.OK or kept.ref not in answer.text:
                        raise RuntimeError(f"{kept.ref}: {answer.status_code}")
                return found
        finally:
            service.terminate()


def read_again(history: History, digests: dict[int, bytes]) -> tuple[int, list[str]]:
    """(snapshots there, those that are not what was put in)."""
    wrong, there, before = [], 0, 0
    while page := history.snapshots(limit=1000, before=before):
        for kept in page:
            entries = history.entries(kept)
            if digest(entries.keys, entries.values) != digests[kept.id]:
                wrong.append(kept.ref)
        there += len(page)
        before = page[-1].id
    return there, wrong


def spread(times: list[float]) -> str:
    """In words."""
    ordered = sorted(times)
    return (
        f"{statistics.median(ordered):.1f} ms, 99 of 100 within {ordered[int(len(ordered) * 0.99)]:.1f} ms,"
        f" the longest {ordered[-1]:.1f} ms"
    )


def main() -> int:
    """Run, print. Exit status 1 when a promise is not kept."""
    parser = argparse.ArgumentParser(prog="python -m bench.month", description="A month of 60 maps, simulated.")
    parser.add_argument("--days", type=int, default=30, help="(default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="(default: %(default)s)")
    given = parser.parse_args()
    rng = np.random.default_rng(given.seed)
    minutes = given.days * DAY_MINUTES
    with tempfile.TemporaryDirectory(prefix="atlas-month-") as folder:
        url = sqlite_url(Path(folder) / "history.db")
        with closing(Writer(open_writing(url))) as writer:
            month = Month(writer, {})
            month.run(sixty(rng), minutes, rng)
            writer.database.checkpoint()
            size = writer.database.size_bytes()
        with closing(open_reading(url)) as database:
            found = moments(database, BEGIN_NS + minutes * MINUTE_NS, rng)
            paged = pages(Path(folder) / "history.db", [kept for kept, _ in found])
            there, wrong = read_again(History(database), month.digests)
            with database.reading() as connection:
                problems = list(verify(connection))
    print(
        f"{len(month.digests):,} snapshots taken, {month.taking_s / len(month.digests) * 1e3:.2f} ms each; {there:,} retained"
    )
    print(f"housekeeping: {month.keeping_s:.0f} s, the longest {month.slowest_collection_s:.1f} s")
    print(
        f"database: {size / (1 << 20):.0f} MiB, at its largest {month.largest_bytes / (1 << 20):.0f}, of {BUDGET_BYTES >> 20}"
    )
    print(f"said after one day of what 30 take: {month.foretold_bytes / (1 << 20):.0f} MiB")
    print(f"a moment out of the database: {spread([ms for _, ms in found])}")
    print(f"its page: {spread(paged)}")
    print(f"not what was put in: {len(wrong)}; problems: {len(problems)}")
    for line in [*wrong[:20], *map(str, problems[:20])]:
        print(f"  {line}")
    kept = not wrong and not problems and month.largest_bytes <= BUDGET_BYTES and max(paged) <= PAGE_MS
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
