"""The broker's SQLite files: opened before the broker is confined, in WAL mode, each commit synced.

Nothing is opened for writing afterwards: the main file, its WAL and its shared memory stay open, and what SQLite would put
into temporary files stays in memory.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import RLock

from app.broker.errors import BrokerError

WAIT_S = 10.0


class StoreUnusable(BrokerError):
    """A database cannot be opened, read or written."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path} cannot be used ({reason}): make room, or look at its owner and mode")


class StoreTooNew(BrokerError):
    """A later release wrote it."""

    def __init__(self, path: Path, found: int, known: int) -> None:
        super().__init__(
            f"{path} has version {found}, this release knows {known}: use the release that wrote it, or a newer one"
        )


class Database:
    """One file, shared by the broker's threads: one statement, or one transaction, at a time."""

    def __init__(self, path: Path, migrations: Sequence[str]) -> None:
        """Open or make it. `migrations` are scripts, one a version; those that are new to the file are run.

        raises  StoreUnusable, StoreTooNew
        """
        self.path = path
        self.lock = RLock()
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Made by us first, so that no moment has it readable by others; SQLite gives its other files the same mode.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
            self.connection = sqlite3.connect(path, timeout=WAIT_S, isolation_level=None, check_same_thread=False)
            self._prepare(migrations)
        except (OSError, sqlite3.Error) as problem:
            raise StoreUnusable(path, str(problem)) from problem

    def _prepare(self, migrations: Sequence[str]) -> None:
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "temp_store=MEMORY",
            "foreign_keys=ON",
            "trusted_schema=OFF",
        ):
            self.connection.execute(f"PRAGMA {pragma}")
        (found,) = self.connection.execute("PRAGMA user_version").fetchone()
        if found > len(migrations):
            raise StoreTooNew(self.path, found, len(migrations))
        for version, script in enumerate(migrations[found:], found + 1):
            self.connection.executescript(f"BEGIN IMMEDIATE; {script}; PRAGMA user_version={version}; COMMIT;")

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction: synced when the `with` ends well, rolled back otherwise.

        raises  StoreUnusable
        """
        with self.lock:
            try:
                self.connection.execute("BEGIN IMMEDIATE")
                try:
                    yield self.connection
                    self.connection.execute("COMMIT")
                except BaseException:
                    if self.connection.in_transaction:
                        self.connection.execute("ROLLBACK")
                    raise
            except sqlite3.Error as problem:
                raise StoreUnusable(self.path, str(problem)) from problem

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Statements that only read. raises StoreUnusable"""
        with self.lock:
            try:
                yield self.connection
            except sqlite3.Error as problem:
                raise StoreUnusable(self.path, str(problem)) from problem

    def close(self) -> None:
        """Let it go."""
        with self.lock:
            self.connection.close()
