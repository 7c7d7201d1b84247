"""Reading, filtering, sorting and printing a large hash map, against one raw BPF_MAP_LOOKUP_BATCH of it."""

from __future__ import annotations

import subprocess
import sys
import time

import numpy as np

from app.broker.local import client as local_client
from app.columns.decode import column
from app.maps import walk
from app.maps.layouts import Btfs
from app.maps.opening import open_map
from app.maps.page import Query, read_page
from app.maps.tabulate import read_sheet
from app.maps.views import Views
from app.settings import Settings
from app.uapi import syscall
from bench.clock import Timing, in_turns, peak_bytes, ratio
from bench.maps import KEY_BYTES, VALUE_BYTES, Subject, flow_map
from bench.table import Row

ONE_THREAD = 1 << 62
MIB = 1 << 20


def raw(subject: Subject) -> None:
    """What nobody can be quicker than on one CPU: the system call alone, into fresh memory."""
    keys = np.empty((subject.entries, KEY_BYTES), np.uint8)
    values = np.empty((subject.entries, VALUE_BYTES), np.uint8)
    result = syscall.map_lookup_batch(subject.fd, None, bytearray(KEY_BYTES), keys, values, subject.entries)
    if result.count != subject.entries:
        raise RuntimeError(f"{result.count} of {subject.entries} entries came back")


class Bench:
    """Operations on the large and the small map by the code that pages and commands use."""

    def __init__(self, large: Subject, small: Subject) -> None:
        self.large, self.small = large, small
        self.client = local_client(Settings())
        self.btfs = Btfs(self.client)

    def columns(self, threads_from: int) -> None:
        """Open, read whole, and have three columns at hand."""
        walk.TWO_THREADS_FROM = threads_from
        with open_map(self.client, self.btfs, self.large.map_id) as opened:
            table = read_sheet(opened).table
            for path in ("key.saddr", "value.packets", "value.state"):
                if len(column(table, path)) != self.large.entries:
                    raise RuntimeError(path)

    def page(self, subject: Subject, query: Query) -> None:
        """One page as the web reads it, from opening to the rows' text."""
        from app.columns.cell import cells, heads

        views = Views(limit_bytes=512 * MIB, keep_s=60)
        with open_map(self.client, self.btfs, subject.map_id) as opened:
            page = read_page(opened, views, query, max_entries=4_000_000)
            if len(cells(page.table, heads(page.table.layout), None)) != query.limit:
                raise RuntimeError(f"{len(page.indices)} rows")


def browse_rows(entries: int, runs: int, *, with_bpftool: bool) -> list[Row]:
    """Every promise about reading."""
    with flow_map(entries) as large, flow_map(1000) as small:
        bench = Bench(large, small)
        two = walk.TWO_THREADS_FROM
        picked = Query(where="value.packets > 900000 and value.drops == 0", sort="-value.bytes")
        before = peak_bytes()
        timings = in_turns(
            {
                "raw": lambda: raw(large),
                "one": lambda: bench.columns(ONE_THREAD),
                "two": lambda: bench.columns(two),
                "sorted": lambda: bench.page(large, picked),
                "first large": lambda: bench.page(large, Query()),
                "first small": lambda: bench.page(small, Query()),
            },
            runs=runs,
        )
        memory = f"peak {(peak_bytes() - before) / large.nbytes:.1f} × the map's {large.nbytes / MIB:.0f} MiB"
        walk.TWO_THREADS_FROM = two
        rows = [
            _row("whole map as columns, one thread", timings, "one", "raw", 1.15),
            _row("whole map as columns, two threads", timings, "two", "raw", 0.7),
            _row("filter + sort + first page", timings, "sorted", "raw", 1.5, memory),
            _row(f"first page of {entries:,} entries", timings, "first large", "first small", 1.2),
        ]
        return rows + (_against_bpftool(large) if with_bpftool else [])


def _row(what: str, timings: dict[str, Timing], name: str, against: str, promised: float, note: str = "") -> Row:
    least, median, largest = ratio(timings[name], timings[against])
    own = f"{timings[name].median_s * 1e3:.1f} ms"
    words = {"raw": "raw BPF_MAP_LOOKUP_BATCH", "first small": "the same of 1,000 entries"}
    return Row(
        what=what,
        against=words[against],
        promised=promised,
        measured=median,
        least=least,
        largest=largest,
        note=f"{own}; {note}".rstrip("; "),
    )


def _against_bpftool(subject: Subject) -> list[Row]:
    map_id = str(subject.map_id)
    ours = [sys.executable, "-m", "app.cli.main", "dump", map_id, "--json", "--data", "/nonexistent"]
    theirs = ["bpftool", "-j", "map", "dump", "id", map_id]
    pairs = [(_seconds(theirs), _seconds(ours)) for _ in range(2)]
    ratios = sorted(bpftool_s / atlas_s for bpftool_s, atlas_s in pairs)
    return [
        Row(
            what="dump --json, times faster",
            against="bpftool -j map dump",
            promised=7.0,
            measured=sum(ratios) / len(ratios),
            least=ratios[0],
            largest=ratios[-1],
            at_least=True,
            note=f"{min(atlas_s for _, atlas_s in pairs):.2f} s against {min(b for b, _ in pairs):.2f} s",
        )
    ]


def _seconds(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started
