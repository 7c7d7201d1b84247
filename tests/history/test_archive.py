"""Snapshots leave in one file and come back as they were, once; nothing of a stranger's file is believed."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import select, update

from app.history import archive, codec
from app.history.chunks import seal_of
from app.history.database import open_reading, open_writing, sqlite_url
from app.history.errors import Damaged, DatabaseUnusable, HistoryError, NotAHistory
from app.history.history import History
from app.history.snapshots import Kept
from app.history.tables import Chunk
from app.history.verify import verify
from app.history.writer import Writer
from tests.history.made import SECOND_NS, as_dict, series, snapshot, table

BTF = bytes(range(256)) * 20


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Writer]:
    """A history with two series, types, a label and settings."""
    writer = Writer(open_writing(sqlite_url(tmp_path / "source.db")))
    for name, shape in (("flows", (8, 24)), ("config", (0, 300))):
        keys, values = table(3000 if shape[0] else 1, *shape)
        writer.touch(replace(series(writer, name), settings=b"ignore packets"))
        for turn in range(4):
            values[turn % len(values), 0] ^= 1
            layout_id = writer.layout_of(name.encode(), BTF, None)
            kept = snapshot(writer, keys, values, name=name, at_ns=(turn + 1) * SECOND_NS, label="x" * (turn == 2))
            writer.forget([kept.ref])
            about = {field: getattr(kept, field) for field in archive.About.__slots__}
            draft = writer.draft(keys, values, previous=kept.root_id)
            writer.keep(draft, archive.About(**{**about, "layout_id": layout_id, "author": "ann", "notes": "a\nb"}))
    yield writer
    writer.close()


def bring(path: Path, target: Writer, **options: str) -> list[Kept]:
    with closing(History(open_reading(sqlite_url(path)))) as history:
        return archive.copy(history, target, history.snapshots(limit=1000), **options)


def told(history: History) -> list[tuple[object, ...]]:
    """All that is said of the snapshots, and all that is in them, without the numbers of one database."""
    found = []
    for kept in reversed(history.snapshots(limit=1000)):
        there = history.entries(kept)
        layout = history.layout(kept.layout_id)
        of = history.one_series(kept.series_id)
        found.append((
            of.of, of.settings, kept.taken_ns, kept.took_ns, kept.map_id, kept.boot_id, kept.completeness, kept.trigger,
            kept.author, kept.label, kept.notes, layout.body, layout.btf_id and history.btf(layout.btf_id),
            there.keys.tobytes(), there.values.tobytes(),
        ))  # fmt: skip
    return sorted(found, key=repr)


def test_what_goes_out_comes_in_again_and_only_once(source: Writer, tmp_path: Path, url: str) -> None:
    path = tmp_path / "out" / "report.atlas"
    path.parent.mkdir()
    archive.export(source, source.snapshots(limit=1000), path)
    assert os.listdir(path.parent) == ["report.atlas"]
    with closing(Writer(open_writing(url))) as target:
        made = bring(path, target)
        assert len(made) == 8
        assert told(target) == told(source)
        assert bring(path, target) == []
        assert len(target.snapshots(limit=1000)) == 8
        with target.reading() as connection:
            assert list(verify(connection)) == []
    assert os.listdir(path.parent) == ["report.atlas"]


def test_only_what_was_chosen_goes_out(source: Writer, tmp_path: Path) -> None:
    chosen = source.snapshots(limit=1000)[1:3]
    path = tmp_path / "report.atlas"
    seen: list[tuple[int, int]] = []
    archive.export(source, chosen, path, lambda done, of: seen.append((done, of)))
    assert seen == [(0, 2), (1, 2)]
    with closing(History(open_reading(sqlite_url(path)))) as history:
        assert [(each.ref, each.taken_ns) for each in history.snapshots()] == [
            (each.ref, each.taken_ns) for each in chosen
        ]
        assert len(history.series()) == len({each.series_id for each in chosen})
        with history.reading() as connection:
            assert list(verify(connection)) == []


def test_what_comes_in_may_say_so(source: Writer, tmp_path: Path) -> None:
    path = tmp_path / "report.atlas"
    archive.export(source, source.snapshots(limit=1), path)
    with closing(Writer(open_writing(sqlite_url(tmp_path / "target.db")))) as target:
        assert [each.trigger for each in bring(path, target, trigger="import")] == ["import"]


def test_an_archive_read_by_others_is_not_written_to(source: Writer, tmp_path: Path) -> None:
    path = tmp_path / "out" / "report.atlas"
    path.parent.mkdir()
    archive.export(source, source.snapshots(limit=3), path)
    path.chmod(0o444)
    before = path.read_bytes()
    with closing(History(open_reading(sqlite_url(path)))) as history:
        assert len(told(history)) == 3
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == ["report.atlas"]


def test_one_that_is_there_is_replaced_and_a_half_one_never_seen(source: Writer, tmp_path: Path) -> None:
    path = tmp_path / "report.atlas"
    path.write_text("the one before")
    damaged = source.snapshots(limit=1)[0]

    def stop(done: int, _of: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        archive.export(source, [damaged], path, stop)
    assert path.read_text() == "the one before"
    archive.export(source, [damaged], path)
    assert path.read_bytes().startswith(b"SQLite format 3\0")
    assert {each.name for each in tmp_path.iterdir() if "report" in each.name} == {"report.atlas"}


def test_a_folder_that_is_not_there_is_told(source: Writer, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DatabaseUnusable):
        archive.export(source, source.snapshots(limit=1), tmp_path / "file" / "report.atlas")


def forge(path: Path, change: Callable[[np.ndarray], None]) -> int:
    """Change the content of a chunk of values as somebody would who knows the seals; its number."""
    with closing(Writer(open_writing(sqlite_url(path)))) as writer, writer.database.writing() as connection:
        row = connection.execute(select(Chunk).where(Chunk.width == 24, Chunk.base_id.is_(None))).mappings().first()
        assert row is not None
        rows = codec.decode(row["codec"], row["data"], row["width"], row["raw_bytes"]).copy()
        change(rows)
        new = codec.encode(rows)
        sealed = seal_of(
            row["id"], row["address"], new.codec, row["width"], rows.nbytes, None, row["depth"], new.data
        )  # fmt: skip
        connection.execute(
            update(Chunk)
            .where(Chunk.id == row["id"])
            .values(codec=int(new.codec), data=new.data, raw_bytes=rows.nbytes, seal=sealed)
        )
        number: int = row["id"]
    return number


def test_a_forged_archive_is_refused_by_the_name_of_the_chunk(source: Writer, tmp_path: Path) -> None:
    path = tmp_path / "report.atlas"
    archive.export(source, source.snapshots(limit=1000), path)

    def flip(rows: np.ndarray) -> None:
        rows[3, 3] ^= 1

    number = forge(path, flip)
    with closing(Writer(open_writing(sqlite_url(tmp_path / "target.db")))) as target:
        with pytest.raises(Damaged) as refused:
            bring(path, target)
        said = str(refused.value)
        assert f"chunk {number}" in said
        assert "its content is not what its address says" in said
        assert "\n" not in said
        # What came in before it is whole.
        with target.reading() as connection:
            assert list(verify(connection)) == []


def test_a_damaged_archive_is_refused(source: Writer, tmp_path: Path) -> None:
    path = tmp_path / "report.atlas"
    archive.export(source, source.snapshots(limit=1000), path)
    whole = path.read_bytes()
    with closing(Writer(open_writing(sqlite_url(tmp_path / "target.db")))) as target:
        for place in np.random.default_rng(1).integers(4096, len(whole), 15):
            data = bytearray(whole)
            data[place] ^= 0x41
            path.write_bytes(data)
            with suppress(HistoryError):
                bring(path, target)
        assert {repr(each) for each in told(target)} <= {repr(each) for each in told(source)}


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04" * 500, b"SQLite format 3\0" + bytes(5000)])
def test_another_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "holiday.jpg"
    path.write_bytes(content)
    with pytest.raises(HistoryError) as refused:
        open_reading(sqlite_url(path))
    assert str(path) in str(refused.value)
    assert path.read_bytes() == content


def test_somebody_elses_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bookmarks.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE snapshot (id INTEGER PRIMARY KEY)")
    with pytest.raises(NotAHistory):
        open_reading(sqlite_url(path))


def test_entries_may_be_the_same_in_two_histories(source: Writer, tmp_path: Path) -> None:
    """What a target has already is found by its content and not stored again."""
    path = tmp_path / "report.atlas"
    archive.export(source, source.snapshots(limit=1000), path)
    keys, values = table(3000, 8, 24)
    values[0, 0] ^= 1
    with closing(Writer(open_writing(sqlite_url(tmp_path / "target.db")))) as target:
        mine = snapshot(target, keys, values, name="mine")
        made = bring(path, target)
        assert made[0].root_id == mine.root_id or made[1].root_id == mine.root_id
        found = target.entries(mine)
        assert as_dict(found.keys, found.values) == as_dict(keys, values)
