"""`python -m bench.month`: thirty days of 60 maps on a simulated clock, a snapshot in every minute in which one changed.

Snapshots are thinned and chunks collected every hour, as the recorder does. At the end the database must be within its
budget, any moment must be read within 100 ms, and every snapshot that was retained must hold what was put into it.
"""

from __future__ import annotations

import argparse
import hashlib
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from app.history.database import Database, open_reading, open_writing, sqlite_url
from app.history.history import History
from app.history.retention import collect, thin
from app.history.series import Identity
from app.history.snapshots import About, Kept
from app.history.verify import verify
from app.history.writer import Writer

MINUTE_NS = 60 * 1_000_000_000
HOUR_NS = 60 * MINUTE_NS
DAY_MINUTES = 24 * 60
BEGIN_NS = 1_790_000_000 * 1_000_000_000
"""Some day in 2026."""
BUDGET_BYTES = 1 << 30
PAGE_MS = 100.0
PAGES = 500
Bytes2d = np.ndarray[tuple[int, int], np.dtype[np.uint8]]
Rng = np.random.Generator


# ---- maps ------------------------------------------------------------------------------------------------------------


@dataclass(slots=True, kw_only=True)
class Simulated:
    """One map: its entries, kept in the order of their keys, and what a minute does to them."""

    name: str
    type: int
    keys: Bytes2d
    values: Bytes2d
    a_minute: float
    """Chance that a minute changes it."""
    live: Callable[[Simulated, Rng], None]

    def digest(self) -> bytes:
        return digest(self.keys, self.values)


def digest(keys: Bytes2d, values: Bytes2d) -> bytes:
    """Of entries in the order of their keys."""
    state = hashlib.blake2b(keys.tobytes(), digest_size=16)
    state.update(values.tobytes())
    return state.digest()


def in_order(keys: Bytes2d) -> Bytes2d:
    """Distinct keys, ascending."""
    return np.unique(keys, axis=0)


def count(part: float, offset: int = 0, counters: int = 2) -> Callable[[Simulated, Rng], None]:
    """Some rows count on: packets, then bytes of them, in 64 bits each."""

    def live(of: Simulated, rng: Rng) -> None:
        rows = np.flatnonzero(rng.random(len(of.values)) < part)
        rows = rows if len(rows) else rng.integers(0, len(of.values), 1)
        words = of.values[:, offset : offset + 8 * counters].copy().view("<u8")
        more = rng.integers(1, 400, len(rows)).astype(np.uint64)
        for column in range(counters):
            words[rows, column] += more * np.uint64(1 if column % 2 == 0 else 700)
        of.values[:, offset : offset + 8 * counters] = words.view(np.uint8)

    return live


def churn(part: float, counting: float) -> Callable[[Simulated, Rng], None]:
    """Entries go and others come, as an LRU's do; of those that stay, some count."""
    counted = count(counting)

    def live(of: Simulated, rng: Rng) -> None:
        n, width = of.keys.shape
        some = max(1, int(n * part))
        stay = np.ones(n, bool)
        stay[rng.choice(n, some, replace=False)] = False
        fresh = in_order(rng.integers(0, 256, (some, width), np.uint8))
        values = np.zeros((len(fresh), of.values.shape[1]), np.uint8)
        values[:, :4] = rng.integers(1, 256, (len(fresh), 4))
        keys = np.concatenate([of.keys[stay], fresh])
        keys, order = np.unique(keys, axis=0, return_index=True)
        of.keys, of.values = keys, np.concatenate([of.values[stay], values])[order]
        if counting:
            counted(of, rng)

    return live


def rewrite(rows: int) -> Callable[[Simulated, Rng], None]:
    """A few values are replaced, as by a control plane."""

    def live(of: Simulated, rng: Rng) -> None:
        at = rng.integers(0, len(of.values), rows)
        of.values[at] = rng.integers(0, 256, (rows, of.values.shape[1]), np.uint8)

    return live


def slots(width: int) -> Callable[[Simulated, Rng], None]:
    """Buckets of 32 bits of some histograms go up."""

    def live(of: Simulated, rng: Rng) -> None:
        words = of.values.view("<u4")
        row = rng.integers(0, len(words), 3)
        words[row, np.minimum(rng.poisson(width / 3, 3), width - 1)] += rng.integers(1, 900, 3).astype(np.uint32)

    return live


def sixty(rng: Rng) -> list[Simulated]:
    """Sixty maps, each of the shape that a family of programs has."""
    made: list[Simulated] = []

    def add(
        n: int,
        name: str,
        type_: int,
        shape: tuple[int, int, int],
        chances: tuple[float, ...],
        live: Callable[[Simulated, Rng], None],
    ) -> None:
        entries, key_width, value_width = shape
        for number in range(n):
            keys = np.zeros((entries, 0), np.uint8)
            if key_width == 4 and type_ in {2, 6}:
                keys = np.arange(entries, dtype="<u4").view(np.uint8).reshape(-1, 4)
                keys = in_order(keys)
            elif key_width:
                keys = in_order(rng.integers(0, 256, (entries, key_width), np.uint8))
            values = np.zeros((len(keys) if key_width else entries, value_width), np.uint8)
            values[:, : value_width // 2] = rng.integers(0, 256, (1, value_width // 2))
            made.append(Simulated(
                name=f"{name}_{number}", type=type_, keys=keys, values=values, a_minute=chances[number % len(chances)], live=live,
            ))  # fmt: skip

    # .rodata of libbpf programs, Cilium's .rodata.config: constant until the program is loaded anew.
    add(8, "rodata", 2, (1, 0, 640), (1 / 10_000,), rewrite(1))
    # Cilium's cilium_ct4_global (tuple of 14 bytes, entry of 56): LRU hashes whose flows come, count and go.
    add(2, "ct4_global", 9, (1500, 14, 56), (1.0, 0.3), churn(0.01, 0.10))
    add(4, "ct_any4", 9, (600, 14, 56), (0.1,), churn(0.01, 0.10))
    # xdp-tools' and Katran's statistics: per-CPU arrays of packets and bytes, here of four CPUs.
    add(8, "rxq_stats", 6, (64, 4, 64), (0.3, 0.05, 0.02, 0.05), count(0.1, counters=8))
    # BCC's biolatency and runqlat: a hash from disk or cgroup to 27 slots, running now and then.
    add(8, "hists", 1, (12, 8, 108), (0.05, 0.01), slots(27))
    # Cilium's ipcache and Calico's routes: LPM tries that follow a cluster's addresses.
    add(6, "ipcache", 11, (3000, 24, 12), (0.1, 0.02), churn(0.0005, 0.0))
    # Cilium's lb4_backends and lb4_services, Katran's reals: rewritten when something is deployed.
    add(8, "lb4_backends", 1, (400, 4, 12), (1 / 30,), rewrite(2))
    # .bss and .data of any program: one value, some counters at its start.
    add(6, "bss", 2, (1, 0, 256), (1.0, 0.05, 0.05, 0.05, 0.05, 0.05), count(1.0, counters=4))
    # BCC's tcplife and opensnoop: a hash by task, short-lived.
    add(4, "start", 1, (150, 8, 40), (0.1,), churn(0.08, 0.0))
    # Token buckets of rate limiters: an array that is written when somebody is limited.
    add(4, "buckets", 2, (256, 4, 16), (0.1,), count(0.05))
    # Cilium's policy maps: rules that count what they met.
    add(2, "policy", 1, (300, 8, 24), (0.3,), count(0.2))
    return made


# ---- thirty days -----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Month:
    """What was done, and how long it took."""

    writer: Writer
    digests: dict[int, bytes]
    taking_s: float = 0.0
    keeping_s: float = 0.0
    slowest_collection_s: float = 0.0
    largest_bytes: int = 0

    def run(self, maps: list[Simulated], minutes: int, rng: Rng) -> None:
        layout_id = self.writer.layout_of(b"", None, None)
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
                self.take(one, ids[number], layout_id, now_ns, last)
            if minute % 60 == 59:
                self.keep_house(now_ns)
            if minute % DAY_MINUTES == DAY_MINUTES - 1:
                self.say(minute, began)

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


def pages(database: Database, until_ns: int, rng: Rng) -> list[float]:
    """Milliseconds to find and read a series as of a moment, of random ones of both; nothing is remembered between them."""
    found = []
    with closing(History(database)) as history:
        extents = history.extents()
    series = sorted(extents)
    for _ in range(PAGES):
        series_id = int(rng.choice(series))
        when_ns = int(rng.integers(extents[series_id].first_ns, until_ns))
        history = History(database)
        started = time.perf_counter()
        history.entries(history.at(series_id, when_ns))
        found.append((time.perf_counter() - started) * 1e3)
    return sorted(found)


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
            times = pages(database, BEGIN_NS + minutes * MINUTE_NS, rng)
            there, wrong = read_again(History(database), month.digests)
            with database.reading() as connection:
                problems = list(verify(connection))
    p99 = times[int(len(times) * 0.99)]
    print(
        f"{len(month.digests):,} snapshots taken, {month.taking_s / len(month.digests) * 1e3:.2f} ms each; {there:,} retained"
    )
    print(f"housekeeping: {month.keeping_s:.0f} s, the longest {month.slowest_collection_s:.1f} s")
    print(
        f"database: {size / (1 << 20):.0f} MiB, at its largest {month.largest_bytes / (1 << 20):.0f}, of {BUDGET_BYTES >> 20}"
    )
    print(f"a moment: {statistics.median(times):.1f} ms, 99 of 100 within {p99:.1f} ms, the longest {times[-1]:.1f} ms")
    print(f"not what was put in: {len(wrong)}; problems: {len(problems)}")
    for line in [*wrong[:20], *map(str, problems[:20])]:
        print(f"  {line}")
    kept = not wrong and not problems and month.largest_bytes <= BUDGET_BYTES and p99 <= PAGE_MS
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
