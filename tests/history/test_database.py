"""One writer at a time, readers that never wait, and one sentence for whatever is no history of ours."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from pathlib import Path

import numpy as np
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, text

from app.history import database as databases
from app.history import migrate
from app.history.database import WAIT_MS, open_reading, open_writing, sqlite_url
from app.history.errors import (
    DatabaseUnusable,
    HistoryError,
    NoHistory,
    NotAHistory,
    OtherRecorder,
    TooNew,
    TooOld,
)
from app.history.history import History
from app.history.retention import collect
from app.history.tables import HEAD, Base
from app.history.verify import verify
from app.history.writer import Writer
from tests.history.made import SECOND_NS, as_dict, snapshot, table

ROOT = Path(__file__).resolve().parents[2]
CLAIM = """
import sys, time
from app.history.database import open_writing
held = open_writing(sys.argv[1], host=sys.argv[2])
print("mine", flush=True)
time.sleep(60)
"""


@contextmanager
def child(program: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Another process; its first line was read."""
    process = subprocess.Popen([sys.executable, "-c", program, *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        process.first = process.stdout.readline().strip()  # type: ignore[attr-defined]
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def one_line(problem: BaseException) -> str:
    said = str(problem)
    assert said
    assert "\n" not in said
    return said


# ---- one writer ------------------------------------------------------------------------------------------------------


def test_a_second_recorder_is_refused(url: str) -> None:
    first = open_writing(url, host="here")
    with pytest.raises(OtherRecorder) as refused:
        open_writing(url, host="here")
    assert "another recorder writes the history" in one_line(refused.value)
    first.close()
    open_writing(url, host="here").close()


def test_a_recorder_in_another_process_is_refused_until_the_first_is_gone(url: str) -> None:
    with child(CLAIM, url, "here") as process:
        assert process.first == "mine"
        with pytest.raises(OtherRecorder):
            open_writing(url, host="here")
        process.send_signal(signal.SIGKILL)
        process.wait()
        # A server notices a closed socket in its own time.
        deadline = time.monotonic() + 10
        while True:
            try:
                open_writing(url, host="here").close()
                break
            except OtherRecorder:
                assert time.monotonic() < deadline
                time.sleep(0.05)


def test_hosts_may_share_a_server(fresh_postgresql: str) -> None:
    with closing(open_writing(fresh_postgresql, host="one")), closing(open_writing(fresh_postgresql, host="other")):
        pass


# ---- what is no history of ours ------------------------------------------------------------------------------------


def nothing(path: Path) -> None:
    pass


def empty(path: Path) -> None:
    path.touch()


def a_directory(path: Path) -> None:
    path.mkdir()


def a_text(path: Path) -> None:
    path.write_text("dear diary\n" * 1000)


def somebody_elses(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE bookmark (url TEXT)")


def half_a_page(path: Path) -> None:
    somebody_elses(path)
    path.write_bytes(path.read_bytes()[:600])


@pytest.mark.parametrize(
    ("make", "reading", "writing"),
    [
        (nothing, NoHistory, None),
        (empty, NoHistory, None),
        (a_directory, DatabaseUnusable, DatabaseUnusable),
        (a_text, NotAHistory, NotAHistory),
        (somebody_elses, NotAHistory, NotAHistory),
        (half_a_page, HistoryError, HistoryError),
    ],
)
def test_what_is_no_history_is_told_in_one_sentence(
    tmp_path: Path, make: Callable[[Path], None], reading: type[HistoryError], writing: type[HistoryError] | None
) -> None:
    path = tmp_path / "history.db"
    make(path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(reading) as refused:
        open_reading(sqlite_url(path))
    assert str(path) in one_line(refused.value)
    if writing is None:
        open_writing(sqlite_url(path)).close()
        open_reading(sqlite_url(path)).close()
        return
    with pytest.raises(writing) as refused:
        open_writing(sqlite_url(path))
    assert str(path) in one_line(refused.value)
    assert before is None or path.read_bytes() == before


@pytest.mark.parametrize(
    "given",
    [
        "history.db",
        "",
        "sqlite://",
        "mysql://root@host/history",
        "nosuch://x",
        "postgresql+psycopg://nobody:secret@127.0.0.1:1/history",
        "postgresql+psycopg://nobody:secret@/history?host=/nonexistent",
    ],
)
def test_an_address_that_leads_nowhere_is_told_in_one_sentence(given: str) -> None:
    for opening in (open_reading, open_writing):
        with pytest.raises(HistoryError) as refused:
            opening(given)
        assert "secret" not in one_line(refused.value)


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DatabaseUnusable, match="cannot be used"):
        open_writing(sqlite_url(tmp_path / "file" / "history.db"))


# ---- schemas ---------------------------------------------------------------------------------------------------------


def set_schema(url: str, number: str) -> None:
    database = open_writing(url, host="here")
    with database.writing() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :number"), {"number": number})
    database.close()


class Migrations:
    """Some statements in the place of the files in migrations/."""

    def __init__(self, statements: list[str]) -> None:
        self.statements = statements

    def configure(self, *, connection: Connection, **_options: object) -> None:
        self.connection = connection

    def begin_transaction(self) -> AbstractContextManager[None]:
        return nullcontext()

    def run_migrations(self) -> None:
        for statement in self.statements:
            self.connection.execute(text(statement))


def test_a_newer_schema_is_refused(url: str) -> None:
    set_schema(url, "9999")
    for opening in (open_reading, open_writing):
        with pytest.raises(TooNew) as refused:
            opening(url)
        assert "schema 9999, which this release does not know" in one_line(refused.value)


def test_an_older_schema_is_brought_up_to_date_after_a_backup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = sqlite_url(tmp_path / "history.db")
    with closing(Writer(open_writing(url))) as writer:
        kept = snapshot(writer, *table(500))
    set_schema(url, "0000")
    monkeypatch.setattr(databases, "KNOWN", ("0000", HEAD))
    with pytest.raises(TooOld) as refused:
        open_reading(url)
    assert "has the older schema 0000" in one_line(refused.value)

    class Looking(Migrations):
        def run_migrations(self) -> None:
            assert len(list(tmp_path.glob("history-0000-*.db"))) == 1, "no backup before the first change"
            super().run_migrations()

    statements = [f"UPDATE alembic_version SET version_num = '{HEAD}'"]
    monkeypatch.setattr(migrate, "_environment", lambda: nullcontext(Looking(statements)))
    with closing(Writer(open_writing(url))) as writer:
        assert writer.snapshot(kept.ref) == kept
    (backup,) = tmp_path.glob("history-0000-*.db")
    with closing(sqlite3.connect(backup)) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == ("0000",)
        assert connection.execute("SELECT count(*) FROM snapshot").fetchone() == (1,)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".db", ".db", ".lock"]


def test_an_upgrade_that_fails_leaves_what_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = sqlite_url(tmp_path / "history.db")
    with closing(Writer(open_writing(url))) as writer:
        snapshot(writer, *table(500))
    set_schema(url, "0000")
    monkeypatch.setattr(databases, "KNOWN", ("0000", HEAD))

    statements = ["DROP TABLE use", "DROP TABLE nosuch"]
    monkeypatch.setattr(migrate, "_environment", lambda: nullcontext(Migrations(statements)))
    with pytest.raises(DatabaseUnusable) as refused:
        open_writing(url)
    one_line(refused.value)
    with closing(sqlite3.connect(tmp_path / "history.db")) as connection:
        assert connection.execute("SELECT count(*) FROM use").fetchone()[0] > 0
        assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == ("0000",)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_models_are_what_the_migrations_make(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    url = request.getfixturevalue("fresh_postgresql") if kind == "postgresql" else sqlite_url(tmp_path / "history.db")
    with closing(open_writing(url)) as database, database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, Base.metadata) == []


def test_the_newest_migration_is_the_one_that_is_read_and_written() -> None:
    files = sorted(path.name for path in (migrate.folder() / "versions").glob("*.py"))
    assert files[-1].startswith(f"{HEAD}_")
    assert [name[:4] for name in files] == [f"{number:04}" for number in range(1, len(files) + 1)]
    assert databases.KNOWN[-1] == HEAD
    assert set(databases.KNOWN) <= {name[:4] for name in files}


# ---- readers beside a writer ---------------------------------------------------------------------------------------


def test_a_reader_sees_the_last_whole_transaction_and_never_waits(url: str) -> None:
    keys, values = table(2000, 8, 16)
    with closing(Writer(open_writing(url, host="here"))) as writer, closing(History(open_reading(url))) as reader:
        first = snapshot(writer, keys, values)
        with writer.database.writing() as writing:
            writing.execute(text("UPDATE snapshot SET label = 'not yet'"))
            started = time.monotonic()
            assert reader.snapshots() == [first]
            found = reader.entries(first)
            assert time.monotonic() - started < WAIT_MS / 1000
        assert as_dict(found.keys, found.values) == as_dict(keys, values)
        assert reader.snapshots() == []  # that one was changed without its seal


def test_a_reading_is_of_one_moment(url: str) -> None:
    """What a reader has begun to read stays for it, though it is deleted meanwhile."""
    keys, values = table(2000, 8, 16)
    with closing(Writer(open_writing(url, host="here"))) as writer, closing(History(open_reading(url))) as reader:
        kept = snapshot(writer, keys, values)
        snapshot(writer, keys[:5], values[:5], at_ns=2 * SECOND_NS)
        from app.history import content

        with reader.reading() as connection:
            assert len(content.read(connection, reader.decoder, kept.root_id, limit=1)) > 0
            writer.forget([kept.ref])
            collect(writer.database)
            reader.decoder._kept.clear()
            found = content.read(connection, reader.decoder, kept.root_id)
        assert as_dict(found.keys, found.values) == as_dict(keys, values)
        with pytest.raises(HistoryError):
            reader.entries(kept)


def test_a_writer_that_reads_does_not_hold_up_another_thread(tmp_path: Path) -> None:
    with closing(Writer(open_writing(sqlite_url(tmp_path / "history.db")))) as writer:
        snapshot(writer, *table(100))
        with writer.reading() as connection:
            connection.execute(text("SELECT count(*) FROM chunk")).scalar_one()
            thread = threading.Thread(target=lambda: writer.note("a", b"b"))
            started = time.monotonic()
            thread.start()
            thread.join()
            assert time.monotonic() - started < WAIT_MS / 1000
        assert writer.fact("a") == b"b"


def test_many_readers_beside_a_writer_read_right(url: str) -> None:
    rng = np.random.default_rng(1)
    keys, values = table(500, 8, 16)
    wanted: dict[int, dict[bytes, bytes]] = {}
    problems: list[BaseException] = []
    over = threading.Event()

    def watch() -> None:
        try:
            with closing(History(open_reading(url))) as reader:
                while not over.is_set():
                    for kept in reader.snapshots(limit=3):
                        found = reader.entries(kept)
                        assert kept.id not in wanted or as_dict(found.keys, found.values) == wanted[kept.id]
        except BaseException as problem:
            problems.append(problem)

    with closing(Writer(open_writing(url, host="here"))) as writer:
        snapshot(writer, keys, values)
        threads = [threading.Thread(target=watch) for _ in range(3)]
        for thread in threads:
            thread.start()
        for turn in range(25):
            values[rng.integers(0, 500, 9)] ^= 1
            kept = snapshot(writer, keys, values, at_ns=(turn + 2) * SECOND_NS)
            wanted[kept.id] = as_dict(keys, values)
        over.set()
        for thread in threads:
            thread.join()
        with writer.reading() as connection:
            assert list(verify(connection)) == []
    assert problems == []


# ---- a reader of another user --------------------------------------------------------------------------------------

WRITE = """
import sys, time
import numpy as np
from app.history.database import open_writing
from app.history.writer import Writer
sys.path.insert(0, ".")
from tests.history.made import snapshot, table
writer = Writer(open_writing(sys.argv[1]))
for turn in range(3):
    snapshot(writer, *table(400 + turn), at_ns=turn + 1)
print("written", flush=True)
time.sleep(60)
"""


def as_nobody(url: str) -> str:
    """What uid nobody reads there: how many snapshots and entries, or the sentence that it gets."""
    reading, writing = os.pipe()
    process = os.fork()
    if process == 0:
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            try:
                history = History(open_reading(url))
                kept = history.snapshots()
                said = f"{len(kept)} of {[len(history.entries(each)) for each in kept]}"
                with history.reading() as connection:
                    said += "".join(f"; {problem.what}: {problem.why}" for problem in verify(connection))
            except BaseException as problem:
                said = f"{type(problem).__name__}: {problem}"
            os.write(writing, said.encode()[:4000])
        finally:
            os._exit(0)
    os.close(writing)
    os.waitpid(process, 0)
    with os.fdopen(reading, "rb") as file:
        return file.read().decode()


@pytest.mark.kernel  # only root becomes somebody else
@pytest.mark.parametrize("how", ["alive", "killed", "closed"])
@pytest.mark.parametrize("mode", [0o755, 0o777])
def test_another_user_reads_but_does_not_write(how: str, mode: int) -> None:
    with tempfile.TemporaryDirectory(prefix="atlas-shared-") as folder:
        Path(folder).chmod(mode)
        assert read_by_nobody(Path(folder), how) == "3 of [402, 401, 400]"


def read_by_nobody(folder: Path, how: str) -> str:
    url = sqlite_url(folder / "history.db")
    before_umask = os.umask(0o022)
    try:
        with child(WRITE, url) as process:
            assert process.first == "written"
            if how == "killed":
                process.kill()
                process.wait()
            for path in folder.glob("history.db*"):
                path.chmod(0o644)
            if how != "closed":
                found = as_nobody(url)
        if how == "closed":
            open_writing(url).close()
            assert not (folder / "history.db-wal").exists()
            found = as_nobody(url)
    finally:
        os.umask(before_umask)
    return found


@pytest.mark.parametrize("taken", [False, True], ids=["free", "taken"])
@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_a_lock_that_went_with_its_connection_is_claimed_again_or_respected(url: str, taken: bool) -> None:
    """As after a restart of the server, which forgets locks."""
    with closing(Writer(open_writing(url, host="here"))) as first:
        snapshot(first, *table(10))
        with first.reading() as connection:
            connection.execute(
                text("SELECT pg_terminate_backend(pid, 5000) FROM pg_locks WHERE locktype = 'advisory' AND database ="
                     " (SELECT oid FROM pg_database WHERE datname = current_database())")
            )  # fmt: skip
        if not taken:
            snapshot(first, *table(11), at_ns=2 * SECOND_NS)
            with pytest.raises(OtherRecorder):
                open_writing(url, host="here")
            return
        with closing(Writer(open_writing(url, host="here"))) as second:
            with pytest.raises(OtherRecorder):
                snapshot(first, *table(11), at_ns=2 * SECOND_NS)
            snapshot(second, *table(12), at_ns=3 * SECOND_NS)
            assert len(second.snapshots()) == 2


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE VIEW snapshot AS WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x AS id FROM c WHERE x < 0",
        "CREATE TABLE snapshot (id INTEGER PRIMARY KEY, label AS (hex(zeroblob(1000000000))))",
        "CREATE TRIGGER t AFTER INSERT ON chunk BEGIN DELETE FROM snapshot; END",
    ],
    ids=["a view", "a computed column", "a trigger"],
)
def test_a_file_whose_tables_run_something_is_no_history(tmp_path: Path, statement: str) -> None:
    path = tmp_path / "history.db"
    open_writing(sqlite_url(path)).close()
    with closing(sqlite3.connect(path)) as connection:
        if "TRIGGER" not in statement:
            connection.execute("DROP TABLE snapshot")
        connection.execute(statement)
        connection.commit()
    for opens in (open_reading, open_writing):
        with pytest.raises(NotAHistory, match="computes something"):
            opens(sqlite_url(path))
