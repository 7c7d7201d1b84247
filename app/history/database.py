"""One database: opened to read by anybody who may, and to write by one recorder at a time.

SQLite is in WAL mode; readers see the last whole transaction and never wait for the writer.
PostgreSQL is reached by its address, and its writer holds an advisory lock for its host.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from enum import Enum
from pathlib import Path
from typing import IO, Any

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    NoSuchModuleError,
    SQLAlchemyError,
)
from sqlalchemy.pool import NullPool

from app.history.errors import (
    DatabaseDamaged,
    DatabaseUnusable,
    HistoryError,
    NoHistory,
    NotAHistory,
    OtherRecorder,
    TooNew,
    TooOld,
    unusable,
)
from app.history.rescue import FIRST_PAGES
from app.history.schema import TORN, begins, schema_of
from app.history.tables import HEAD

log = logging.getLogger("bpf_atlas.history")

PAGE_BYTES = 4096
"""Blobs of some ten KiB are what it mostly holds."""
RESERVE_BYTES, RESERVE_PART = 32 << 20, 8
"""What snapshots leave free on a disk, or this part of a small one: edits are refused where they cannot be recorded."""
ELSEWHERE_BYTES = 256 << 20
"""A file whose tables begin where those of no history do that we know is copied up to this size, in case a number is damaged."""
WAIT_MS = 10_000
KNOWN = (HEAD,)
"""Schemas that this release can bring up to date, the newest last."""
_ADDRESSES = "it is sqlite:///FILE or postgresql+psycopg://…/NAME"
_LOCK_SPACE = 0x62706168  # "bpah"
_HELD = text(
    "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND pid = :pid"
    " AND classid::bigint = :space AND objid::bigint = :number"
)
_TEXT = functools.partial(str, encoding="utf-8", errors="surrogateescape")
"""Text that is damaged comes as text that no seal fits, instead of ending the whole query."""


def sqlite_url(path: Path) -> str:
    """Address of a file's database."""
    return f"sqlite:///{path}"


class Database:
    """An engine, and how transactions are made on it."""

    def __init__(
        self, url: str, engine: Engine, *, host: str = "", folder: tempfile.TemporaryDirectory[str] | None = None
    ) -> None:
        self.url = url
        self._folder = folder
        """With the copy that is read in place of a damaged file; it goes with this."""
        self.engine = engine
        self.host = host
        # A reader sees one moment: on PostgreSQL that is asked for, on SQLite it begins without the writer's lock.
        options = {"reads": True} if self.is_sqlite else {"isolation_level": "REPEATABLE READ"}
        self._reads = engine.execution_options(**options)
        self._lock: IO[bytes] | Connection | None = None
        self._lock_pid = 0
        """Of the server's process that has it."""

    @property
    def shown(self) -> str:
        """Where it is, without a password."""
        return _shown(self.url)

    @property
    def is_sqlite(self) -> bool:
        """A file."""
        return self.engine.dialect.name == "sqlite"

    @property
    def path(self) -> Path:
        """Of SQLite's file."""
        return Path(make_url(self.url).database or "")

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """One moment of the database. raises DatabaseUnusable"""
        with self._translated(), self._reads.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """One transaction: whole or not at all. raises DatabaseUnusable"""
        with self._translated(), self.engine.begin() as connection:
            if not self.is_sqlite and self._lock is not None and not self._holds(connection):
                self._release()
                self.claim()  # the server was started anew, and with it went what kept others out
            yield connection

    @property
    def _lock_number(self) -> int:
        """Of this host, signed as PostgreSQL's functions take it."""
        return int.from_bytes(hashlib.blake2b(self.host.encode(), digest_size=4).digest(), "big", signed=True)

    def _holds(self, connection: Connection) -> bool:
        """PostgreSQL still knows of the lock."""
        return bool(
            connection.execute(
                _HELD, {"space": _LOCK_SPACE, "number": self._lock_number % (1 << 32), "pid": self._lock_pid}
            ).scalar_one()
        )

    def _release(self) -> None:
        lock, self._lock = self._lock, None
        if lock is not None:
            with suppress(SQLAlchemyError):  # a connection that is dead cannot say goodbye
                lock.close()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as problem:
            raise unusable(self.shown, str(problem.orig)) from problem
        except TORN as problem:
            raise unusable(self.shown, str(problem)) from problem

    def check_room(self, wanted_bytes: int) -> None:
        """Raises  DatabaseUnusable where so many bytes would take what others on SQLite's disk need, the audit log above all"""
        if not self.is_sqlite:
            return
        disk = os.statvfs(self.path.parent)
        left, all_of_it = disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize
        reserve = min(RESERVE_BYTES, all_of_it // RESERVE_PART)
        # Twice: in the write-ahead log first, then in its place.
        if left < 2 * wanted_bytes + reserve:
            raise DatabaseUnusable(
                self.shown,
                f"its disk is nearly full: {left:,} bytes are left, of which {reserve:,} stay free for the audit log",
            )

    def size_bytes(self) -> int:
        """What it takes on disk."""
        if self.is_sqlite:
            return sum(path.stat().st_size for path in _files(self.path) if path.exists())
        with self.reading() as connection:
            return int(connection.execute(text("SELECT pg_database_size(current_database())")).scalar_one())

    def claim(self) -> None:
        """Be its only writer (on PostgreSQL: the only one of this host) until it is closed. raises OtherRecorder"""
        if self.is_sqlite:
            try:
                lock = self.path.with_suffix(".lock").open("ab")
            except OSError as problem:
                raise DatabaseUnusable(self.shown, problem.strerror or str(problem)) from problem
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.close()
                raise OtherRecorder(self.shown) from None
            self._lock = lock
            return
        number = self._lock_number
        query = text("SELECT pg_try_advisory_lock(:space, :number), pg_backend_pid()")
        with self._translated():
            connection = self.engine.connect()
            got, self._lock_pid = connection.execute(query, {"space": _LOCK_SPACE, "number": number}).one()
        if not got:
            connection.close()
            raise OtherRecorder(self.shown)
        self._lock = connection

    def checkpoint(self) -> None:
        """Bring what waits in SQLite's write-ahead log into the database, and shorten the log."""
        if self.is_sqlite:
            with self._translated(), self.engine.connect() as connection:
                raw: Any = connection.connection.dbapi_connection
                raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def shrink(self) -> None:
        """Give free pages back to the disk, some at a time."""
        if self.is_sqlite:
            with self._translated(), self.engine.connect() as connection:
                raw: Any = connection.connection.dbapi_connection
                # Each page is a step of the statement, and a row without columns: only a script runs it to its end.
                raw.executescript("PRAGMA incremental_vacuum(4096)")

    def close(self) -> None:
        """Let it go."""
        self._release()
        self.engine.dispose()
        if self._folder is not None:
            self._folder.cleanup()


class Upkeep(Enum):
    """Who else has a database."""

    RECORDER = "one that writes it, perhaps now"
    NOBODY = "it lies still, and nothing is to be left beside it"


def open_reading(url: str, upkeep: Upkeep = Upkeep.RECORDER) -> Database:
    """A database to read.

    raises  NoHistory, NotAHistory, TooNew, TooOld, DatabaseUnusable
    """
    parsed = _parsed(url)
    if parsed.get_backend_name() == "sqlite":
        path = Path(parsed.database or "")
        if not path.exists():
            raise NoHistory(str(path))
        still = upkeep is Upkeep.NOBODY and not any(each.exists() for each in _files(path)[1:])
        database = Database(url, _sqlite_engine(path, read_only=True, still=still))
        try:
            found = schema_of(database)
            if not found:
                raise NoHistory(database.shown)
            begins_elsewhere = found == HEAD and begins(database) not in FIRST_PAGES
        except (DatabaseDamaged, NotAHistory, NoHistory) as problem:
            database.close()
            return _rescued(url, path, problem)
        # Than in any history that we know: it may be so, or a number is not what was written.
        if begins_elsewhere and path.stat().st_size <= ELSEWHERE_BYTES:
            with suppress(DatabaseDamaged):
                rescued = _rescued(
                    url, path, DatabaseDamaged(database.shown, "a table begins at another page than it did")
                )
                database.close()
                return rescued
    else:
        database = Database(url, create_engine(parsed, pool_pre_ping=True))
        found = schema_of(database)
    if not found:
        database.close()
        raise NoHistory(database.shown)
    if found != HEAD:
        database.close()
        raise (TooOld if found in KNOWN else TooNew)(database.shown, found)
    return database


def _rescued(url: str, path: Path, problem: HistoryError) -> Database:
    """A file that cannot be read as it is, read by a copy. raises the problem where that gives no snapshot either"""
    from app.history import rescue
    from app.history.history import History

    try:
        folder = tempfile.TemporaryDirectory(prefix="bpf-atlas-")
        for copy in rescue.copies(path, Path(folder.name)):
            engine = _sqlite_engine(copy, read_only=True, still=True).execution_options(rescued=str(problem))
            database = Database(url, engine, folder=folder)
            with suppress(*TORN, HistoryError):
                if History(database).snapshots(limit=1):
                    log.warning("a copy of it is read: %s", problem)
                    return database
            database.engine.dispose()
        folder.cleanup()
    except OSError as refused:
        log.warning("%s cannot be copied to be read: %s", path, refused)
    raise problem


def open_writing(url: str, *, host: str = "") -> Database:
    """A database to write, made or brought up to date where it must be, after a backup; this process is its only writer then.

    raises  OtherRecorder, NotAHistory, TooNew, DatabaseUnusable
    """
    parsed = _parsed(url)
    if parsed.get_backend_name() == "sqlite":
        path = Path(parsed.database or "")
        try:
            path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640))
        except OSError as problem:
            raise DatabaseUnusable(str(path), problem.strerror or str(problem)) from problem
        if path.stat().st_size:
            # Opening to write sets a file's mode: somebody else's is left as it is.
            with closing(Database(url, _sqlite_engine(path, read_only=True))) as looked_at:
                schema_of(looked_at)
        database = Database(url, _sqlite_engine(path, read_only=False), host=host)
    else:
        database = Database(url, create_engine(parsed, pool_pre_ping=True), host=host)
    try:
        database.claim()
        found = schema_of(database)
        if found and found not in KNOWN:
            raise TooNew(database.shown, found)
        if found != HEAD:
            from app.history.migrate import upgrade

            upgrade(database, found)
    except BaseException:
        database.close()
        raise
    return database


def _parsed(url: str) -> Any:
    try:
        parsed = make_url(url)
        if parsed.drivername in {"postgres", "postgresql"}:  # as people write it
            parsed = parsed.set(drivername="postgresql+psycopg")
        parsed.get_dialect().import_dbapi()
    except (ArgumentError, NoSuchModuleError, ImportError) as problem:
        raise DatabaseUnusable(_shown(url), f"{problem}: {_ADDRESSES}") from problem
    if parsed.get_backend_name() not in {"sqlite", "postgresql"} or not parsed.database:
        raise DatabaseUnusable(_shown(url), _ADDRESSES)
    return parsed


def _shown(url: str) -> str:
    try:
        parsed = make_url(url)
    except ArgumentError:
        return "the address that was given"
    return (
        str(parsed.database) if parsed.get_backend_name() == "sqlite" else parsed.render_as_string(hide_password=True)
    )


def _files(path: Path) -> list[Path]:
    return [path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")]


def _sqlite_engine(path: Path, *, read_only: bool, still: bool = False) -> Engine:
    mode = ""
    if read_only:
        mode = "&mode=ro"
        # Without its shared memory, and no way to make it, SQLite reads only what it is told that nobody writes.
        wal, shm = _files(path)[1:]
        if still or (not wal.exists() and not shm.exists() and not os.access(path.parent, os.W_OK)):
            mode = "&immutable=1"
    # Readers keep no connection: each sees the files as they are now, also after the recorder made them anew.
    engine = create_engine(
        f"sqlite:///file:{path}?uri=true{mode}",
        connect_args={"timeout": WAIT_MS / 1000, "check_same_thread": False},
        poolclass=NullPool if read_only else None,
    )

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: object) -> None:
        connection.text_factory = _TEXT
        connection.isolation_level = None  # transactions begin where they are begun below, and not before
        pragmas = ["trusted_schema=OFF", "temp_store=MEMORY", "cell_size_check=ON", "foreign_keys=ON"]
        if not read_only:
            pragmas = ["journal_mode=WAL", "synchronous=NORMAL", "wal_autocheckpoint=4000", *pragmas]
            if not connection.execute("PRAGMA page_count").fetchone()[0]:
                # Of a database that has pages the second is a write, and would wait for whoever writes.
                pragmas = [f"page_size={PAGE_BYTES}", "auto_vacuum=INCREMENTAL", *pragmas]
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        reads = read_only or connection.get_execution_options().get("reads", False)
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

    return engine
