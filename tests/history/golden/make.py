"""`python -m tests.history.golden.make`: a small history that holds one of everything, as this release writes it.

The file is committed. A later release opens it, brings it up to date, and finds in it what `moments` says; so this is run
again only while the format of a release is not yet out.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.history.database import open_writing, sqlite_url
from app.history.series import Identity
from app.history.snapshots import About
from app.history.writer import Writer

PATH = Path(__file__).with_name("history-0001.db")
SECOND_NS = 1_000_000_000
BEGIN_NS = 1_795_000_000 * SECOND_NS
NOTES = {"release": b"0.1.0", "host": "rack-7/ünïcode".encode()}
SETTINGS = b"\x81\xa6ignore\x91\xadvalue.packets"
Bytes2d = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One snapshot: what is said of it, and what is in it."""

    of: Identity
    layout: tuple[bytes, bytes | None, bytes | None]
    """Body, BTF, base BTF."""
    taken_ns: int
    keys: Bytes2d
    values: Bytes2d
    label: str = ""
    trigger: str = "schedule"
    author: str = ""
    notes: str = ""
    completeness: str = "walked"


def noise(name: str, rows: int, width: int, most: int = 256) -> Bytes2d:
    """Bytes below `most` that follow from a name alone, the same with every release of everything."""
    data = np.frombuffer(hashlib.shake_256(name.encode()).digest(rows * width), np.uint8)
    return (data.astype(np.uint16) % most).astype(np.uint8).reshape(rows, width)


def numbered(rows: int, width: int, first: int = 0) -> Bytes2d:
    """Different keys, big-endian, in order."""
    keys = np.zeros((rows, width), np.uint8)
    keys[:, width - 4 :] = np.arange(first, first + rows, dtype=">u4").view(np.uint8).reshape(-1, 4)
    return keys


def btf(name: str, size_bytes: int) -> bytes:
    return b"\x9f\xeb\x01\x00" + noise(name, 1, size_bytes, 7).tobytes()


def moments() -> Iterator[Moment]:
    """All of them, in the order in which they are kept."""
    yield from _flows()
    yield from _by_cpu()
    yield from _bss()
    yield from _small()


def _flows() -> Iterator[Moment]:
    """Planes, then deltas: of the same keys, and of keys that came and went."""
    of = Identity(host="rack-7", pin="/sys/fs/bpf/flows", name="flows", type=1)
    layout = (b'{"key": "flow_key", "value": "flow"}', btf("program", 900), btf("vmlinux", 2500))
    keys, values = numbered(1200, 16), noise("flows", 1200, 24, 3)
    for turn in range(6):
        values = values.copy()
        values[turn * 7 :: 97, 8] += 1
        stay = np.ones(len(keys), bool)
        stay[turn * 100 : turn * 100 + turn * 2] = turn < 3  # from the fourth on some are gone
        yield Moment(
            of=of, layout=layout, taken_ns=BEGIN_NS + turn * 60 * SECOND_NS, keys=keys[stay], values=values[stay],
            label="before the upgrade — größer" if turn == 2 else "", trigger="pre-edit" if turn == 2 else "schedule",
            author="ann" if turn == 2 else "", notes="one entry may be missing\nanother came twice" if turn == 4 else "",
        )  # fmt: skip


def _by_cpu() -> Iterator[Moment]:
    """Wide values, which change in units."""
    of = Identity(host="rack-7", name="rxq_stats", type=5, owner="xdp_loader", ordinal=1)
    values = noise("by cpu", 40, 8 * 72, 5)
    for turn in range(3):
        values = values.copy()
        values[turn, 100 + turn] ^= 0x55
        yield Moment(
            of=of, layout=(b"by cpu", btf("program", 900), None), taken_ns=BEGIN_NS + turn * SECOND_NS,
            keys=numbered(40, 4), values=values,
        )  # fmt: skip


def _bss() -> Iterator[Moment]:
    """Values without keys: a section of variables, and a queue that gets longer."""
    for turn in range(2):
        yield Moment(
            of=Identity(host="rack-7", name=".bss", type=2, owner="xdp_loader"), layout=(b"bss", None, None),
            taken_ns=BEGIN_NS + turn * SECOND_NS, keys=np.zeros((1, 0), np.uint8), values=noise(f"bss {turn // 2}", 1, 700, 2 + turn),
            completeness="exact",
        )  # fmt: skip
        yield Moment(
            of=Identity(host="rack-7", name="jobs", type=22, owner="loader"), layout=(b"jobs", None, None),
            taken_ns=BEGIN_NS + turn * SECOND_NS, keys=np.zeros((600 + turn, 0), np.uint8), values=noise("jobs", 600 + turn, 4, 9),
        )  # fmt: skip


def _small() -> Iterator[Moment]:
    """As they are: a few bytes, bytes that do not compress, none at all; and keys alone."""
    for name, keys, values in (
        ("limit", numbered(1, 4), np.full((1, 8), 9, np.uint8)),
        ("secrets", noise("secrets", 50, 32), noise("more secrets", 50, 32)),
        ("empty", numbered(0, 4), np.zeros((0, 8), np.uint8)),
        ("bloom", numbered(300, 4), np.zeros((300, 0), np.uint8)),
        ("long keys", noise("long keys", 20, 300, 2), noise("short values", 20, 1, 4)),
    ):
        yield Moment(
            of=Identity(host="edge-1", name=name, type=1, owner="loader"), layout=(name.encode(), None, None),
            taken_ns=BEGIN_NS, keys=keys, values=values, trigger="manual",
        )  # fmt: skip


def write(path: Path) -> None:
    """All of it into a new file, without companions."""
    path.unlink(missing_ok=True)
    with closing(Writer(open_writing(sqlite_url(path)))) as writer:
        for each in moments():
            series = writer.series_of(each.of, at_ns=each.taken_ns, map_id=41, boot_id="9f1c")
            if each.of.name == "flows" and not series.settings:
                writer.touch(replace(series, settings=SETTINGS))
            last = writer.newest(series.id)
            draft = writer.draft(each.keys, each.values, previous=last.root_id if last else 0)
            writer.keep(draft, About(
                series_id=series.id, layout_id=writer.layout_of(*each.layout), taken_ns=each.taken_ns, took_ns=1_500_000,
                map_id=41, boot_id="9f1c", completeness=each.completeness, trigger=each.trigger, author=each.author,
                label=each.label, notes=each.notes,
            ))  # fmt: skip
        for name, value in NOTES.items():
            writer.note(name, value)
    path.with_suffix(".lock").unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
        connection.execute("VACUUM")


if __name__ == "__main__":
    write(PATH)
