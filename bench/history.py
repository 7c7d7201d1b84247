"""Snapshots of a large hash map: taking, comparing and storing them, against one raw BPF_MAP_LOOKUP_BATCH of it and a plain table."""

from __future__ import annotations

import gc
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from app.broker.local import client as local_client
from app.history.chunks import Decoder
from app.history.database import open_writing, sqlite_url
from app.history.retention import used_bytes
from app.history.series import Identity
from app.history.snapshots import About, Kept
from app.history.writer import Writer
from app.maps.layouts import Btfs
from app.maps.opening import open_map
from app.maps.tabulate import read_sheet
from app.settings import Settings
from app.uapi import syscall
from bench.browse import raw
from bench.clock import Timing, in_turns, ratio
from bench.maps import VALUE_BYTES, Subject, flow_map
from bench.table import Row

MIB = 1 << 20
REPEAT_BYTES = 8192
"""What an unchanged repeat may add."""
RAW = "raw BPF_MAP_LOOKUP_BATCH"
TABLE = "a plain SQLite table"
Bytes2d = np.ndarray[tuple[int, int], np.dtype[np.uint8]]


class Past:
    """One database with the history of one map."""

    def __init__(self, folder: Path) -> None:
        self.writer = Writer(open_writing(sqlite_url(folder / "history.db")))
        of = Identity(host="bench", name="flows", type=1)
        self.series_id = self.writer.series_of(of, at_ns=1, map_id=1, boot_id="b").id
        self.layout_id = self.writer.layout_of(b"", None, None)
        self.last: Kept | None = None

    def close(self) -> None:
        self.writer.close()

    def keep(self, keys: Bytes2d, values: Bytes2d) -> Kept:
        """What the recorder does with a reading."""
        draft = self.writer.draft(keys, values, previous=self.last.root_id if self.last else 0)
        about = About(
            series_id=self.series_id, layout_id=self.layout_id, taken_ns=time.time_ns(), took_ns=1, map_id=1, boot_id="b",
            completeness="walked", trigger="schedule",
        )  # fmt: skip
        self.last = self.writer.keep(draft, about)
        return self.last

    def used(self) -> int:
        return used_bytes(self.writer.database)


class Live:
    """The map as the recorder reads it."""

    def __init__(self, map_id: int) -> None:
        self.map_id = map_id
        self.client = local_client(Settings())
        self.btfs = Btfs(self.client)

    def read(self) -> tuple[Bytes2d, Bytes2d]:
        with open_map(self.client, self.btfs, self.map_id) as opened:
            reading = read_sheet(opened).reading
        return reading.keys, reading.values


@contextmanager
def past() -> Iterator[Past]:
    """An empty one."""
    with tempfile.TemporaryDirectory(prefix="atlas-bench-") as folder, closing(Past(Path(folder))) as made:
        yield made


def change(subject: Subject, keys: Bytes2d, values: Bytes2d, part: float, seed: int) -> None:
    """Let some flows go on, in the kernel: packets, bytes and the time of the last one."""
    rng = np.random.default_rng(seed)
    some = rng.choice(len(keys), int(len(keys) * part), replace=False)
    new = values[some].copy()
    numbers = new.view("<u8")
    packets = rng.integers(1, 50, len(some), np.uint64)
    numbers[:, 0] += packets
    numbers[:, 1] += packets * rng.integers(40, 1500, len(some), np.uint64)
    numbers[:, 3] += rng.integers(1, 1 << 30, len(some), np.uint64)
    syscall.map_update_batch(subject.fd, np.ascontiguousarray(keys[some]), new, len(some))


def history_rows(entries: int, runs: int) -> list[Row]:
    """Every promise about the history."""
    with flow_map(entries) as subject:
        live = Live(subject.map_id)
        keys, values = live.read()
        rows = _taking(subject, live, runs)
        rows.append(_memory(subject))
        rows += _comparing(subject, keys, values, runs)
        return rows + _storing(keys, values)


# ---- taking ----------------------------------------------------------------------------------------------------------


def _taking(subject: Subject, live: Live, runs: int) -> list[Row]:
    sizes: dict[str, list[int]] = {"first": [], "unchanged": [], "changed": []}
    seeds = iter(range(1, 1 << 20))
    with past() as kept, tempfile.TemporaryDirectory(prefix="atlas-bench-") as folder:
        kept.keep(*live.read())
        fresh: list[Past] = []

        def make_fresh() -> None:
            for old in fresh:
                old.close()
            fresh[:] = [Past(Path(tempfile.mkdtemp(dir=folder)))]

        def grow(name: str, into: Past) -> None:
            before = into.used()
            into.keep(*live.read())
            sizes[name].append(into.used() - before)

        timings = in_turns(
            {
                "raw": lambda: raw(subject),
                "make": make_fresh,
                "first": lambda: grow("first", fresh[0]),
                "unchanged": lambda: grow("unchanged", kept),
                "change": lambda: change(subject, *live.read(), 0.05, next(seeds)),
                "changed": lambda: grow("changed", kept),
            },
            runs=runs,
        )
        fresh[0].close()
    first, unchanged, changed = (float(np.median(sizes[name])) for name in ("first", "unchanged", "changed"))
    return [
        _row("first snapshot, read and kept", timings, "first", "raw", 3.0, f"{first / MIB:.1f} MiB of {subject.nbytes / MIB:.0f}"),
        _row("a repeat, nothing changed", timings, "unchanged", "raw", 1.5),
        _bytes("a repeat, nothing changed: bytes that it adds", "8 KiB", 1.0, unchanged / REPEAT_BYTES, f"{unchanged:.0f} bytes"),
        _row("a repeat, 5 % of values changed", timings, "changed", "raw", 2.0),
        _bytes("a repeat, 5 % of values changed: bytes", "the first one's", 0.05, changed / first, f"{changed / MIB:.2f} MiB"),
    ]  # fmt: skip


def _memory(subject: Subject) -> Row:
    command = [sys.executable, "-c", f"from bench.history import peak; peak({subject.map_id})"]
    found = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return _bytes(
        "first snapshot: peak memory", "the map's bytes", 3.0, found / subject.nbytes, f"{found / MIB:.0f} MiB"
    )


def peak(map_id: int) -> None:
    """Print what taking a first snapshot costs in memory, in a process that did nothing else."""
    with past() as kept:
        live = Live(map_id)
        small = np.zeros((1, 4), np.uint8)
        kept.writer.draft(small, small)  # everything is imported
        gc.collect()
        # A process begins with the peak of the one that started it: it is set back to what it takes now.
        Path("/proc/self/clear_refs").write_text("5")
        before = _peak()
        kept.keep(*live.read())
        print(_peak() - before)


def _peak() -> int:
    """Bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM:"))


# ---- comparing -------------------------------------------------------------------------------------------------------


def _comparing(subject: Subject, keys: Bytes2d, values: Bytes2d, runs: int) -> list[Row]:
    some = len(keys) // 10
    with past() as large, past() as small:
        pairs: dict[str, tuple[Past, Kept, Kept]] = {}
        for name, kept, n in (("large", large, len(keys)), ("small", small, some)):
            first = kept.keep(keys[:n], values[:n])
            pairs[f"{name}, twelve chunks"] = (kept, first, kept.keep(keys[:n], _in_chunks(kept, keys[:n], values[:n])))
        again = large.keep(keys, values)
        pairs["none"] = (large, again, large.keep(keys, values))
        changed = values.copy()
        chosen = np.random.default_rng(3).choice(len(keys), len(keys) // 100, replace=False)
        changed.view("<u8")[chosen, 0] += np.uint64(7)
        pairs["1 %"] = (large, again, large.keep(keys, changed))

        def compare(name: str) -> None:
            kept, old, new = pairs[name]
            kept.writer.decoder = Decoder()  # as of a process that has just started
            kept.writer.compare(old, new)

        operations = {name: (lambda name=name: compare(name)) for name in pairs}  # type: ignore[misc]
        timings = in_turns({"raw": lambda: raw(subject), **operations}, runs=runs * 2)
    return [
        _row("difference of two snapshots, 1 % changed", timings, "1 %", "raw", 0.35),
        _row("difference of two snapshots, nothing changed", timings, "none", "raw", 0.02),
        replace(
            _row("difference of ten times the entries", timings, "large, twelve chunks", "small, twelve chunks", 2.0),
            against=f"the same of {some:,}, as many chunks changed",
        ),
    ]


def _in_chunks(kept: Past, keys: Bytes2d, values: Bytes2d) -> Bytes2d:
    """Values of which 1,000 are others, within about twelve chunks."""
    if kept.last is None:
        raise RuntimeError("nothing was kept")
    pieces = kept.writer.pieces(kept.last.root_id)
    until = pieces.first[min(12, len(pieces) - 1)].tobytes()
    below = np.flatnonzero(keys.view("S16").reshape(-1) < until)
    changed = values.copy()
    changed.view("<u8")[np.random.default_rng(5).choice(below, 1000, replace=False), 0] += np.uint64(7)
    return changed


# ---- storing ---------------------------------------------------------------------------------------------------------


def _storing(keys: Bytes2d, values: Bytes2d) -> list[Row]:
    """Against a table with a row for each entry, from the same reading in memory; once, for it takes its time."""
    changed = values.copy()
    chosen = np.random.default_rng(4).choice(len(keys), len(keys) // 20, replace=False)
    changed.view("<u8")[chosen, 0] += np.uint64(7)
    changed.view("<u8")[chosen, 1] += np.uint64(7 * 900)
    seconds: dict[str, list[float]] = {}
    sizes: dict[str, list[int]] = {}
    with past() as kept, tempfile.TemporaryDirectory(prefix="atlas-bench-") as folder:
        path = Path(folder) / "plain.db"
        with closing(_plain(path)) as plain:
            for number, of in enumerate((values, changed)):
                for name, write, size in (
                    ("plain", lambda number=number, of=of: _insert(plain, number, keys, of), lambda: _size(plain)),
                    ("ours", lambda of=of: kept.keep(keys, of), kept.used),
                ):  # type: ignore[misc]
                    before = size()
                    gc.collect()
                    started = time.perf_counter()
                    write()
                    seconds.setdefault(name, []).append(time.perf_counter() - started)
                    sizes.setdefault(name, []).append(size() - before)
    faster, again = (one / other for one, other in zip(seconds["plain"], seconds["ours"], strict=True))
    smaller, repeat = (one / other for one, other in zip(sizes["plain"], sizes["ours"], strict=True))
    note = f"{seconds['ours'][0]:.2f} s against {seconds['plain'][0]:.1f} s; the repeat {again:.0f} times"
    return [
        _bytes("first snapshot into the database, times faster", TABLE, 10.0, faster, note, at_least=True),
        _bytes("first snapshot, times smaller", TABLE, 3.0, smaller, _against(sizes, 0), at_least=True),
        _bytes(
            "a repeat, 5 % of values changed, times smaller", TABLE, 50.0, repeat, _against(sizes, 1), at_least=True
        ),
    ]


def _plain(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute("CREATE TABLE entry (snapshot INTEGER, key BLOB, value BLOB, PRIMARY KEY (snapshot, key))")
    return connection


def _insert(connection: sqlite3.Connection, number: int, keys: Bytes2d, values: Bytes2d) -> None:
    every_key = np.ascontiguousarray(keys).view(f"V{keys.shape[1]}").reshape(-1)
    every_value = np.ascontiguousarray(values).view(f"V{VALUE_BYTES}").reshape(-1)
    rows = ((number, key.tobytes(), value.tobytes()) for key, value in zip(every_key, every_value, strict=True))
    with connection:
        connection.executemany("INSERT INTO entry VALUES (?, ?, ?)", rows)


def _size(connection: sqlite3.Connection) -> int:
    pages, size = (int(connection.execute(f"PRAGMA {name}").fetchone()[0]) for name in ("page_count", "page_size"))
    return pages * size


def _against(sizes: dict[str, list[int]], number: int) -> str:
    return f"{sizes['ours'][number] / MIB:.2f} MiB against {sizes['plain'][number] / MIB:.0f} MiB"


def _row(what: str, timings: dict[str, Timing], name: str, against: str, promised: float, note: str = "") -> Row:
    least, median, largest = ratio(timings[name], timings[against])
    own = f"{timings[name].median_s * 1e3:.1f} ms"
    return Row(
        what=what, against=RAW if against == "raw" else against, promised=promised, measured=median, least=least,
        largest=largest, note=f"{own}; {note}".rstrip("; "),
    )  # fmt: skip


def _bytes(what: str, against: str, promised: float, found: float, note: str, *, at_least: bool = False) -> Row:
    return Row(
        what=what,
        against=against,
        promised=promised,
        measured=found,
        least=found,
        largest=found,
        at_least=at_least,
        note=note,
    )
