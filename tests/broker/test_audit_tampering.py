"""Whatever is changed in the log's files, verifying says so and names the first record that is not as it was written."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.broker.audit.files import verify_files
from app.broker.audit.log import Audit
from app.wire.errors import CannotRecord
from app.wire.records import Verdict
from tests.broker.auditing import event, intent, outcome

RECORDS = 40
SAMPLE = (1, 2, 17, 39, 40)


@dataclass(frozen=True)
class Files:
    """A closed log's files."""

    folder: Path

    @property
    def database(self) -> Path:
        return self.folder / "audit.db"

    def verify(self) -> Verdict:
        return verify_files(self.database, self.folder / "audit.key")[0]

    def change(self, *statements: tuple[str, tuple[object, ...]]) -> None:
        """As somebody who may write the file, and who puts the triggers back."""
        connection = sqlite3.connect(self.database, isolation_level=None)
        triggers = connection.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'").fetchall()
        for name, _ in triggers:
            connection.execute(f"DROP TRIGGER {name}")
        for statement, values in statements:
            connection.execute(statement, values)
        for _, sql in triggers:
            connection.execute(sql)
        connection.close()

    def rows(self) -> list[tuple[int, bytes, bytes]]:
        connection = sqlite3.connect(self.database)
        found = connection.execute("SELECT number, body, mac FROM audit ORDER BY number").fetchall()
        connection.close()
        return found

    def reopen(self) -> Audit:
        return Audit(self.database, self.folder / "audit.key", ())


def write_some(folder: Path, count: int = RECORDS) -> Files:
    log = Audit(folder / "audit.db", folder / "audit.key", ())
    for number in range(0, count, 2):
        log.finish(outcome(log.begin(intent(number))))
    log.close()
    return Files(folder)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return write_some(tmp_path_factory.mktemp("written"))


@pytest.fixture
def files(written: Files, tmp_path: Path) -> Files:
    return copy(written, tmp_path / "copy")


def copy(of: Files, to: Path) -> Files:
    shutil.copytree(of.folder, to)
    return Files(to)


def test_an_untouched_log_is_as_it_was_written(files: Files) -> None:
    assert files.verify() == Verdict(True, RECORDS, 0, f"all {RECORDS} records are as they were written", ())


@pytest.mark.parametrize("number", SAMPLE)
@pytest.mark.parametrize("column", ["body", "mac"])
def test_t17_each_byte_of_each_column(files: Files, number: int, column: str) -> None:
    data = files.rows()[number - 1][1 if column == "body" else 2]
    connection = sqlite3.connect(files.database, isolation_level=None)
    connection.executescript("DROP TRIGGER audit_kept")
    for index in range(len(data)):
        spoiled = bytearray(data)
        spoiled[index] ^= 1 << index % 8
        connection.execute(f"UPDATE audit SET {column} = ? WHERE number = ?", (bytes(spoiled), number))
        found = files.verify()
        assert (found.ok, found.first_bad) == (False, number), f"byte {index}"
    connection.execute(f"UPDATE audit SET {column} = ? WHERE number = ?", (data, number))
    assert files.verify().records == RECORDS
    connection.close()


@pytest.mark.parametrize("number", SAMPLE)
@pytest.mark.parametrize("value", ["text", None, 7, b"", b"short"], ids=repr)
@pytest.mark.parametrize("column", ["body", "mac"])
def test_t17_something_else_in_a_column(files: Files, number: int, column: str, value: object) -> None:
    files.change(
        ("PRAGMA ignore_check_constraints = ON", ()),
        ("PRAGMA writable_schema = ON", ()),
        ("UPDATE sqlite_schema SET sql = replace(sql, ' NOT NULL', '') WHERE name = 'audit'", ()),
    )
    files.change((f"UPDATE audit SET {column} = ? WHERE number = ?", (value, number)))
    found = files.verify()
    assert (found.ok, found.first_bad) == (False, number)


@pytest.mark.parametrize("number", SAMPLE)
@pytest.mark.parametrize("to", [-5, 0, 41, 1 << 40])
def test_t17_another_number(files: Files, number: int, to: int) -> None:
    if number == RECORDS and to == RECORDS + 1:
        to += 1
    files.change(("UPDATE audit SET number = ? WHERE number = ?", (to, number)))
    found = files.verify()
    assert (found.ok, found.first_bad) == (False, number)


Tamper = Callable[[Files], None]


def deleted(*numbers: int) -> Tamper:
    return lambda files: files.change(*(("DELETE FROM audit WHERE number = ?", (number,)) for number in numbers))


def deleted_and_renumbered(number: int) -> Tamper:
    return lambda files: files.change(
        ("DELETE FROM audit WHERE number = ?", (number,)),
        ("UPDATE audit SET number = -number WHERE number > ?", (number,)),
        ("UPDATE audit SET number = -number - 1 WHERE number < 0", ()),
    )


def swapped(first: int, second: int, columns: str) -> Tamper:
    def tamper(files: Files) -> None:
        rows = files.rows()
        pairs = ((first, rows[second - 1]), (second, rows[first - 1]))
        for number, (_, body, mac) in pairs:
            if "body" in columns:
                files.change(("UPDATE audit SET body = ? WHERE number = ?", (body, number)))
            if "mac" in columns:
                files.change(("UPDATE audit SET mac = ? WHERE number = ?", (mac, number)))

    return tamper


def truncated(to: int) -> Tamper:
    def tamper(files: Files) -> None:
        files.change(
            ("DELETE FROM audit WHERE number > ?", (to,)),
            ("DELETE FROM outcome WHERE number > ?", (to,)),
            ("DELETE FROM pending WHERE number > ?", (to,)),
        )

    return tamper


def inserted(number: int) -> Tamper:
    def tamper(files: Files) -> None:
        _, body, mac = files.rows()[0]
        files.change(
            ("UPDATE audit SET number = -number WHERE number >= ?", (number,)),
            ("UPDATE audit SET number = -number + 1 WHERE number < 0", ()),
            ("INSERT INTO audit VALUES (?, ?, ?)", (number, body, mac)),
        )

    return tamper


def head_torn(at: int) -> Tamper:
    def tamper(files: Files) -> None:
        head = files.folder / "audit.head"
        data = bytearray(head.read_bytes())
        data[at : at + 4096] = bytes(4096)
        head.write_bytes(data)

    return tamper


def both(*each: Tamper) -> Tamper:
    def tamper(files: Files) -> None:
        for one in each:
            one(files)

    return tamper


TAMPERED: list[tuple[str, Tamper, int]] = [
    ("the first is deleted", deleted(1), 1),
    ("one is deleted", deleted(20), 20),
    ("two are deleted", deleted(30, 20), 20),
    ("one is deleted and the rest renumbered", deleted_and_renumbered(20), 20),
    ("two bodies are swapped", swapped(11, 12, "body"), 11),
    ("two links are swapped", swapped(11, 30, "mac"), 11),
    ("two records are swapped", swapped(5, 6, "body mac"), 5),
    ("the last is cut off", truncated(39), 40),
    ("half is cut off", truncated(20), 21),
    ("all is cut off", truncated(0), 1),
    ("the first is doubled", inserted(1), 2),
    ("one is put in", inserted(20), 20),
    ("one is put at the end", inserted(41), 41),
    ("the last is cut off, and its head", both(truncated(39), head_torn(0)), 40),
    ("the last is cut off, and the whole head", both(truncated(39), head_torn(0), head_torn(4096)), 40),
    ("the head is blanked", both(head_torn(0), head_torn(4096)), 41),
]


@pytest.mark.parametrize(("tamper", "bad"), [row[1:] for row in TAMPERED], ids=[row[0] for row in TAMPERED])
def test_t17_records_moved_and_removed(files: Files, tamper: Tamper, bad: int) -> None:
    tamper(files)
    found = files.verify()
    assert (found.ok, found.first_bad) == (False, bad), found.sentence


@pytest.mark.parametrize("tamper", [truncated(39), truncated(0), inserted(41), swapped(39, 40, "body mac")])
def test_t17_a_service_does_not_go_on_with_a_log_whose_end_is_wrong(files: Files, tamper: Tamper) -> None:
    tamper(files)
    log = files.reopen()
    with pytest.raises(CannotRecord):
        log.begin(intent(1))
    assert not log.verify().ok, "the evidence is still there"
    log.close()


def test_t17_an_old_database_with_the_newest_head(files: Files, tmp_path: Path) -> None:
    old = tmp_path / "old.db"
    shutil.copy(files.database, old)
    log = files.reopen()
    log.note(event("service.start"))
    log.close()
    shutil.copy(old, files.database)
    assert files.verify().first_bad == RECORDS + 1
    log = files.reopen()
    with pytest.raises(CannotRecord):
        log.note(event("service.start"))
    log.close()


def test_t17_a_database_removed_beside_its_head(files: Files) -> None:
    files.database.unlink()
    log = files.reopen()
    with pytest.raises(CannotRecord):
        log.note(event("service.start"))
    assert log.verify().first_bad == 1
    log.close()


def test_t17_an_old_database_and_its_old_head_under_a_running_service(files: Files, tmp_path: Path) -> None:
    old = copy(files, tmp_path / "old")
    log = files.reopen()
    log.note(event("service.start"))
    files.change(("DELETE FROM audit WHERE number > ?", (RECORDS,)))
    (files.folder / "audit.head").write_bytes((old.folder / "audit.head").read_bytes())
    assert files.verify().ok, "files alone do not tell"
    assert log.verify().first_bad == RECORDS + 1, "the service knows what it wrote"
    with pytest.raises(CannotRecord):
        log.note(event("service.stop"))
    log.close()


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM outcome WHERE number = 2",
        "INSERT INTO outcome VALUES (1, 39)",
        "INSERT INTO undo VALUES (1, 3)",
        "INSERT INTO pending VALUES (1)",
        "DROP TRIGGER audit_kept",
        "CREATE TRIGGER sly AFTER INSERT ON audit BEGIN DELETE FROM pending; END",
        "CREATE VIEW sly AS SELECT 1",
    ],
)
def test_t17_what_helps_to_find_records_is_compared(files: Files, statement: str) -> None:
    connection = sqlite3.connect(files.database, isolation_level=None)
    connection.execute(statement)
    connection.close()
    found = files.verify()
    assert (found.ok, found.first_bad) == (False, 0)
    assert "every record is as it was written, but" in found.sentence


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit SET body = x'00' WHERE number = 1",
        "DELETE FROM audit WHERE number = 40",
        "INSERT INTO audit VALUES (1, x'00', x'00')",
        "INSERT OR REPLACE INTO audit VALUES (40, x'00', x'00')",
        "INSERT INTO audit VALUES (50, x'00', x'00')",
    ],
)
def test_t17_the_database_refuses_what_is_no_appending(files: Files, statement: str) -> None:
    connection = sqlite3.connect(files.database, isolation_level=None)
    with pytest.raises(sqlite3.IntegrityError, match="audit record"):
        connection.execute(statement)
    connection.close()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_t17_any_byte_of_the_file(
    written: Files, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    files = copy(written, tmp_path_factory.mktemp("flip") / "copy")
    raw = bytearray(files.database.read_bytes())
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    files.database.write_bytes(raw)
    found = files.verify()
    if found.ok:  # a byte that no record has, such as one of free space
        assert files.rows() == written.rows()
    else:
        assert found.sentence


def test_a_copy_without_head_is_walked_as_far_as_it_goes(files: Files) -> None:
    (files.folder / "audit.head").unlink()
    truncated(30)(files)
    verdict, had_head = verify_files(files.database, files.folder / "audit.key")
    assert (verdict.ok, verdict.records, had_head) == (True, 30, False)
    log = files.reopen()
    with pytest.raises(CannotRecord):
        log.begin(intent(1))
    log.close()


@pytest.mark.slow
def test_100_000_records_are_walked(tmp_path: Path) -> None:
    log = Audit(tmp_path / "audit.db", tmp_path / "audit.key", ())
    log.note(event("service.start"))
    for _ in range(100):
        log._write([event("service.start", detail="x" * 200) for _ in range(1_000)])
    found = log.verify()
    assert (found.ok, found.records) == (True, 100_001)
    log.close()
