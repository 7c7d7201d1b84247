"""Files that somebody sent, with rows that no recorder writes: what is sound goes in, the rest is told, and nothing is used up."""

from __future__ import annotations

import hashlib
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import zstandard

from app.history import archive
from app.history.chunks import seal_of as chunk_seal
from app.history.database import open_writing, sqlite_url
from app.history.series import Identity
from app.history.snapshots import About, Kept
from app.history.snapshots import seal_of as snapshot_seal
from app.history.writer import Writer
from app.timeline import strangers
from app.timeline.kept_layout import LayoutBody
from app.timeline.timeline import Timeline

MIB = 1 << 20
SECOND_NS = 10**9
MOST_BYTES = 64 * MIB
Spoil = Callable[[sqlite3.Connection], None]


def body(**changed: Any) -> bytes:
    facts = {"type": 1, "name": "flows", "key_size": 4, "value_size": 8, "max_entries": 64, "map_flags": 0}
    return msgspec.msgpack.encode(LayoutBody(**{**facts, **changed}))


def keep(writer: Writer, value: int, *, name: str = "flows", layout: bytes = b"", **about: Any) -> Kept:
    """A snapshot of 64 entries."""
    series = writer.series_of(Identity(host="h", name=name, type=1), at_ns=1, map_id=7, boot_id="b")
    keys = np.arange(64, dtype=">u4").view(np.uint8).reshape(64, 4)
    values = np.zeros((64, 8), np.uint8)
    values[::7] = value
    last = writer.newest(series.id)
    draft = writer.draft(keys, values, previous=last.root_id if last else 0)
    facts = {"taken_ns": time.time_ns() - SECOND_NS * (10 - value), "took_ns": 1, "map_id": 7, "boot_id": "b",
             "completeness": "walked", "trigger": "manual", **about}  # fmt: skip
    layout_id = writer.layout_of(layout or body(), None, None)
    return writer.keep(draft, About(series_id=series.id, layout_id=layout_id, **facts))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with three snapshots of one map; s2 is what a stranger spoils."""
    path = tmp_path / "sent.atlas"
    with closing(Writer(open_writing(sqlite_url(path), host="h"))) as writer:
        for value in (1, 2, 3):
            keep(writer, value)
    return path


def snapshot_says(column: str, value: object) -> Spoil:
    def spoil(connection: sqlite3.Connection) -> None:
        connection.row_factory = sqlite3.Row
        row = dict(connection.execute("SELECT * FROM snapshot WHERE id = 2").fetchone())
        row[column] = value
        seal = snapshot_seal(row)
        connection.execute(f"UPDATE snapshot SET {column} = ?, seal = ? WHERE id = 2", (value, seal))

    return spoil


def delta_of_itself(connection: sqlite3.Connection) -> None:
    query = "SELECT id, address, codec, width, raw_bytes, depth, data FROM chunk WHERE base_id IS NOT NULL ORDER BY id"
    number, address, codec, width, raw_bytes, depth, data = connection.execute(query).fetchone()
    seal = chunk_seal(number, address, codec, width, raw_bytes, address, depth, data)
    connection.execute("UPDATE chunk SET base_id = ?, seal = ? WHERE id = ?", (number, seal, number))


def gibibyte(connection: sqlite3.Connection) -> None:
    """The chunk that the second one is a delta of says that it has 1 GiB, packed in some KiB, with the right seal and address."""
    size = 1 << 30
    packer = zstandard.ZstdCompressor().compressobj(size=size)
    state, block = hashlib.blake2b(digest_size=32), bytes(16 * MIB)
    parts = []
    for _ in range(size // len(block)):
        parts.append(packer.compress(block))
        state.update(block)
    data, address = b"".join([*parts, packer.flush()]), state.digest()
    (number,) = connection.execute("SELECT base_id FROM chunk WHERE base_id IS NOT NULL ORDER BY id").fetchone()
    connection.execute(
        "UPDATE chunk SET address = ?, codec = 1, width = 8, raw_bytes = ?, data = ?, seal = ? WHERE id = ?",
        (address, size, data, chunk_seal(number, address, 1, 8, size, None, 0, data), number),
    )
    query = "SELECT id, address, codec, width, raw_bytes, depth, data FROM chunk WHERE base_id = ?"
    for above, its_address, codec, width, raw_bytes, depth, its_data in connection.execute(query, (number,)).fetchall():
        seal = chunk_seal(above, its_address, codec, width, raw_bytes, address, depth, its_data)
        connection.execute("UPDATE chunk SET seal = ? WHERE id = ?", (seal, above))


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (snapshot_says("completeness", "bogus"), "no recorder writes such a row"),
        (snapshot_says("label", "L" * 100_000), "no recorder writes such a row"),
        (snapshot_says("taken_ns", -5), "no recorder writes such a row"),
        (snapshot_says("taken_ns", 8 * 10**18), "a day that has not come yet"),
        (snapshot_says("map_id", "seven"), "no recorder writes such a row"),
        (snapshot_says("notes", "n" * 1_000_000), "no recorder writes such a row"),
    ],
)  # fmt: skip
def test_one_row_that_no_recorder_writes_is_left_out(path: Path, writer: Writer, spoil: Spoil, why: str) -> None:
    assert spoilt(path, writer, spoil) == (2, [why])


@pytest.mark.parametrize(
    ("spoil", "why"),
    [(delta_of_itself, "a delta of more than 32 others, or of itself"), (gibibyte, "64 MiB, the most for a file")],
)
def test_what_would_never_end_or_take_all_memory_ends_with_a_sentence(
    path: Path, writer: Writer, spoil: Spoil, why: str
) -> None:
    taken, said = spoilt(path, writer, spoil)
    assert why in said
    assert taken < 3


def spoilt(path: Path, writer: Writer, spoil: Spoil) -> tuple[int, list[str]]:
    """(snapshots taken in, what was said of the others, from the colon on)."""
    with closing(sqlite3.connect(path)) as connection:
        spoil(connection)
        connection.commit()
    made, said = sent(path, writer)
    for kept in made:
        assert len(Timeline(writer).sheet(kept).table) == 64
        assert kept.trigger == "import"
    return len(made), said


def sent(path: Path, writer: Writer) -> tuple[list[Kept], list[str]]:
    with closing(strangers.opened(path, MOST_BYTES)) as source:
        kept, problems = strangers.listed(source)
        made, left_out = strangers.take_in(source, writer, kept, lambda *_: None, most_bytes=MOST_BYTES)
    known = [
        "no recorder writes such a row", "a day that has not come yet", "a delta of more than 32 others, or of itself",
        "64 MiB, the most for a file", "what was chosen for series",
    ]  # fmt: skip
    return made, sorted({next((each for each in known if each in line), line) for line in [*problems, *left_out]})


@pytest.fixture
def written(tmp_path: Path) -> Iterator[tuple[Path, Writer]]:
    path = tmp_path / "written.atlas"
    with closing(Writer(open_writing(sqlite_url(path), host="h"))) as stranger:
        yield path, stranger


@pytest.mark.parametrize(
    "layout",
    [
        body(value_size=64), body(key_size=16), body(type=5, n_cpus=7), b"\xff", b"\xc1",
    ],
)  # fmt: skip
def test_types_that_do_not_fit_the_entries_are_left_out(
    written: tuple[Path, Writer], writer: Writer, layout: bytes
) -> None:
    path, stranger = written
    keep(stranger, 1)
    keep(stranger, 2, layout=layout)
    stranger.close()
    made, said = sent(path, writer)
    assert len(made) == 1
    assert len(said) == 1
    assert len(Timeline(writer).sheet(made[0]).table) == 64


def test_settings_that_cannot_be_read_do_not_get_onto_a_live_series(
    written: tuple[Path, Writer], writer: Writer
) -> None:
    mine = keep(writer, 1)
    path, stranger = written
    kept = keep(stranger, 2)
    stranger.touch(replace(stranger.one_series(kept.series_id), settings=b"\xff\xff"))
    stranger.close()
    made, said = sent(path, writer)
    assert made == []
    assert len(said) == 1
    assert writer.one_series(mine.series_id).settings == b""


def test_what_is_larger_than_memory_allows_is_left_out_before_it_is_read(path: Path, writer: Writer) -> None:
    with closing(strangers.opened(path, 100)) as source:
        kept, _ = strangers.listed(source)
        made, left_out = strangers.take_in(source, writer, kept, lambda *_: None, most_bytes=100)
    assert made == []
    assert all("BPF_ATLAS_RECORD_MEMORY_MIB" in each for each in left_out)
    assert len(left_out) == 3


def test_an_export_goes_in_whole(path: Path, writer: Writer, tmp_path: Path) -> None:
    keep(writer, 1, name="others")
    archive.export(writer, writer.snapshots(), tmp_path / "ours.atlas")
    assert [each.completeness for each in sent(tmp_path / "ours.atlas", writer)[0]] == []
    made, said = sent(path, writer)
    assert (len(made), said) == (3, [])
