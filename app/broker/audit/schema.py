"""Tables of the audit log's database, and how it is read beside its writer."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from urllib.parse import quote

import msgspec

from app.broker.database import StoreUnusable
from app.wire.records import AuditRecord

MIGRATIONS = (
    """
    CREATE TABLE audit (number INTEGER PRIMARY KEY, body BLOB NOT NULL, mac BLOB NOT NULL);
    CREATE TRIGGER audit_appended BEFORE INSERT ON audit
        WHEN NEW.number IS NOT (SELECT coalesce(max(number), 0) + 1 FROM audit)
        BEGIN SELECT RAISE(ABORT, 'an audit record goes to the end of the log'); END;
    CREATE TRIGGER audit_kept BEFORE UPDATE ON audit
        BEGIN SELECT RAISE(ABORT, 'audit records are never changed'); END;
    CREATE TRIGGER audit_stays BEFORE DELETE ON audit
        BEGIN SELECT RAISE(ABORT, 'audit records are never removed'); END;
    CREATE TABLE outcome (intent INTEGER NOT NULL, number INTEGER NOT NULL, PRIMARY KEY (intent, number)) WITHOUT ROWID;
    CREATE TABLE undo (of INTEGER NOT NULL, number INTEGER NOT NULL, PRIMARY KEY (of, number)) WITHOUT ROWID;
    CREATE TABLE pending (number INTEGER PRIMARY KEY)
    """,
)
"""`outcome`, `undo` and `pending` say again what the bodies say, for finding it; verifying compares them."""

DAMAGED = (sqlite3.Error, UnicodeDecodeError)
"""What reading a file raises that is no sound database: its names may be no text either."""
INTENT = ".intent"
"""How the code of a record ends that an outcome belongs to."""

encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(AuditRecord).decode
"""raises msgspec.MsgspecError"""


class Reader:
    """A connection that only reads: a long walk does not make edits wait."""

    def __init__(self, path: Path) -> None:
        """Open it. raises StoreUnusable"""
        self._path = path
        self._lock = Lock()
        self._connection = open_to_read(path)

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """One reader at a time. raises StoreUnusable"""
        with self._lock:
            try:
                yield self._connection
            except DAMAGED as problem:
                raise StoreUnusable(self._path, str(problem)) from problem

    def close(self) -> None:
        """Let it go."""
        with self._lock:
            self._connection.close()


def open_to_read(path: Path) -> sqlite3.Connection:
    """Open a database, also a copy on a medium that cannot be written. raises StoreUnusable"""
    problem: Exception | None = None
    for how in ("mode=ro", "immutable=1"):
        try:
            if not path.is_file():
                raise StoreUnusable(path, "there is no such file")
            connection = sqlite3.connect(
                f"file:{quote(str(path.absolute()))}?{how}", uri=True, isolation_level=None, check_same_thread=False
            )
            connection.execute("PRAGMA trusted_schema=OFF")
            connection.execute("PRAGMA temp_store=MEMORY")
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        except (OSError, *DAMAGED) as error:
            problem = error
        else:
            return connection
    raise StoreUnusable(path, str(problem)) from problem
