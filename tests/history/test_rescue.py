"""Files whose own facts are damaged: the header, the definitions of the tables, a page of a table, their end."""

from __future__ import annotations

import random
import sqlite3
import struct
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from app.history import archive, rescue
from app.history.database import Upkeep, open_reading, open_writing, sqlite_url
from app.history.errors import Damaged, DatabaseDamaged, HistoryError
from app.history.history import History
from app.history.rescue import PAGE_BYTES
from app.history.verify import Problem, verify
from app.history.writer import Writer
from tests.history.made import SECOND_NS, as_dict, snapshot, table

COUNT = 6


@dataclass(frozen=True)
class File:
    data: bytes
    entries: dict[str, dict[bytes, bytes]]

    def definitions(self) -> list[int]:
        """Offsets of all bytes that say what the file and its tables are and are not 0."""
        (cells,) = struct.unpack_from(">H", self.data, 103)
        pages = [1]
        if self.data[100] == 5:
            at = [*struct.unpack_from(f">{cells}H", self.data, 112), 108]
            pages += [struct.unpack_from(">I", self.data, each)[0] for each in at]
        spans = [range((page - 1) * PAGE_BYTES, page * PAGE_BYTES) for page in pages]
        return [at for span in spans for at in span if self.data[at]]


@pytest.fixture(scope="module", params=["as it was made", "an export"])
def file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> File:
    folder = tmp_path_factory.mktemp("file")
    path, entries = folder / "history.db", {}
    with closing(Writer(open_writing(sqlite_url(path)))) as writer:
        for number in range(COUNT):
            keys, values = table(200, 4, 16, seed=number)
            kept = snapshot(writer, keys, values, name=f"map{number % 2}", at_ns=(number + 1) * SECOND_NS)
            entries[kept.ref] = as_dict(keys, values)
        archive.export(writer, writer.snapshots(), folder / "export.db")
    if request.param == "an export":
        path = folder / "export.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
    return File(path.read_bytes(), entries)


def holds(history: History, file: File) -> None:
    found = {each.ref: each for each in history.snapshots()}
    assert found.keys() == file.entries.keys()
    for ref, kept in found.items():
        read = history.entries(kept)
        assert as_dict(read.keys, read.values) == file.entries[ref]
    assert len(history.series()) == 2


def problems(history: History) -> list[Problem]:
    with history.reading() as connection:
        return list(verify(connection))


def test_a_flipped_byte_of_a_definition_is_named_and_everything_is_read(file: File, tmp_path: Path) -> None:
    chance, path, named = random.Random(7), tmp_path / "history.db", 0
    for at in chance.sample(file.definitions(), 60):
        spoilt = bytearray(file.data)
        spoilt[at] ^= 1 << chance.randrange(8)
        path.write_bytes(spoilt)
        with closing(History(open_reading(sqlite_url(path), Upkeep.NOBODY))) as history:
            holds(history, file)
            named += bool(problems(history))
        assert path.read_bytes() == spoilt
    assert named > 45  # the others held nothing that anybody reads: free space, counts of changes


def test_copies_go_with_what_read_them(file: File, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    path = tmp_path / "history.db"
    path.write_bytes(b"SQLite 4" + file.data[8:])
    with closing(History(open_reading(sqlite_url(path)))) as history:
        holds(history, file)
        assert "a copy with new definitions" in problems(history)[0].why
        assert len(list((tmp_path / "temporary").iterdir())) == 1
    assert list((tmp_path / "temporary").iterdir()) == []


def test_what_waits_in_the_log_is_read_as_well(tmp_path: Path) -> None:
    path, spoilt = tmp_path / "history.db", tmp_path / "spoilt.db"
    with closing(Writer(open_writing(sqlite_url(path)))) as writer:
        keys, values = table(100)
        snapshot(writer, keys, values)
        writer.database.checkpoint()
        kept = snapshot(writer, keys[:50], values[:50], at_ns=2 * SECOND_NS)
        data = path.read_bytes()
        assert (tmp_path / "history.db-wal").stat().st_size
        spoilt.write_bytes(data.replace(b"CREATE TABLE chunk", b"CREATE TABLE chumk", 1))
        (tmp_path / "spoilt.db-wal").write_bytes((tmp_path / "history.db-wal").read_bytes())
    with closing(History(open_reading(sqlite_url(spoilt)))) as history:
        assert [each.ref for each in history.snapshots()] == ["s2", "s1"]
        assert len(history.entries(kept)) == 50


def test_a_page_of_the_list_of_snapshots_hides_only_its_own(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    with closing(Writer(open_writing(sqlite_url(path)))) as writer:
        keys, values = table(20)
        every = [snapshot(writer, keys, values, at_ns=(n + 1) * SECOND_NS, label="x" * 150).ref for n in range(150)]
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
        (root,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'snapshot'").fetchone()
    data = bytearray(path.read_bytes())
    start = (root - 1) * PAGE_BYTES
    assert data[start] == 5  # it has pages below it
    (pointer,) = struct.unpack_from(">H", data, start + 12 + 2)
    (leaf,) = struct.unpack_from(">I", data, start + pointer)
    data[(leaf - 1) * PAGE_BYTES] ^= 0xFF
    path.write_bytes(data)
    with closing(History(open_reading(sqlite_url(path)))) as history:
        damaged: list[Damaged] = []
        found = [each.ref for each in history.snapshots(limit=1000, damaged=damaged)]
        assert 100 < len(found) < 150
        assert set(found) < set(every)
        assert found == sorted(found, key=lambda ref: -int(ref[1:]))
        assert [each.what for each in damaged] == ["a page of the table of snapshots"]
        assert problems(history)


def test_a_file_that_was_cut_off_is_called_so(file: File, tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    path.write_bytes(file.data[: 8 * PAGE_BYTES + 100])
    with pytest.raises(DatabaseDamaged, match="cut off"):
        open_reading(sqlite_url(path))


def test_what_never_was_a_history_is_not_rescued(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE cookies (name)")
        connection.executemany("INSERT INTO cookies VALUES (?)", [("x" * 3000,)] * 100)
        connection.commit()
    for data in (path.read_bytes(), b"hello" * 40_000, b"x" + path.read_bytes()[1:]):
        path.write_bytes(data)
        with pytest.raises(HistoryError):
            open_reading(sqlite_url(path))


def test_forms_are_those_of_new_histories() -> None:
    for form, pages in zip(rescue.forms(), rescue.FIRST_PAGES, strict=True):
        with closing(sqlite3.connect(":memory:")) as connection:
            connection.deserialize(form)
            assert dict(connection.execute("SELECT name, rootpage FROM sqlite_schema")) == pages
