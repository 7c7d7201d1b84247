"""The audit log: appended, synced, never changed; what is to be done stands in it before it is done.

`begin` returns once the intent is on the disk, and its place in the head, too. An edit whose intent cannot be written is
not made. Its outcome follows; an intent without one, at the next start, was cut short by a crash.

source  Vault's audit devices (no record, no request)
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from threading import RLock

import msgspec

from app.broker import log as broker_log
from app.broker.audit import key as keys
from app.broker.audit import schema, search, verify
from app.broker.audit.chain import GENESIS, link
from app.broker.audit.copies import Copies
from app.broker.audit.head import Head, HeadFile, head_path
from app.broker.audit.noise import Noise
from app.broker.database import Database, StoreUnusable
from app.wire.errors import CannotRecord
from app.wire.records import AskRecords, AuditRecord, NumberedRecord, RecordGroup, Records, Verdict

_CANNOT = "the audit log cannot be written ({}): nothing is done that would have to stand in it"


class Audit:
    """One a data directory; shared by the broker's threads."""

    def __init__(self, path: Path, key_path: Path, copies: tuple[str, ...]) -> None:
        """Open or make all of its files; nothing is opened for writing afterwards.

        raises  StoreUnusable, StoreTooNew, AuditKeyUnusable, AuditKeyMissing, BadSetting
        """
        self.path = path
        self.copies = Copies(copies)
        self._noise = Noise()
        self._lock = RLock()
        self._owed: list[AuditRecord] = []
        self._database = Database(path, schema.MIGRATIONS)
        self._file = _identity(path)
        self._last = self._end()
        self._key = self._read_key(key_path)
        self._head_path = head_path(key_path)
        self._head = self._open_head()
        self._reader = schema.Reader(path)
        self.problem = self._check_end()
        """Why nothing is appended; empty when the log's end is as it was left."""
        if self.problem:
            broker_log.write("audit_broken", reason=self.problem)

    # ---- writing --------------------------------------------------------------------------------------------------

    def begin(self, record: AuditRecord) -> int:
        """Write an intent; its code ends in `.intent`. Returns its number once it is on the disk.

        raises  CannotRecord
        """
        if not record.code.endswith(schema.INTENT):
            raise ValueError(f"{record.code} is no intent")
        return self._append(record)

    def finish(self, record: AuditRecord) -> int:
        """Write an outcome; `intent` says of what. One that cannot be written now goes before the next record.

        raises  CannotRecord
        """
        if not record.intent:
            raise ValueError(f"{record.code} says not of what it is the outcome")
        with self._lock:
            try:
                return self._append(record)
            except CannotRecord:
                self._owed.append(record)
                raise

    def note(self, record: AuditRecord) -> int:
        """Write an event. Returns its number, or 0 when strangers cause more refusals than are worth the disk: the next one counts them.

        raises  CannotRecord
        """
        admitted = self._noise.admit(record)
        return 0 if admitted is None else self._append(admitted)

    def _append(self, record: AuditRecord) -> int:
        with self._lock:
            if self.problem:
                raise CannotRecord(_CANNOT.format(self.problem))
            written = self._write([*self._owed, record])
            self._owed.clear()
        for number, mac, each in written:
            self.copies.send(number, mac, each)
        return written[-1][0]

    def _write(self, records: list[AuditRecord]) -> list[tuple[int, bytes, AuditRecord]]:
        """All of them, or none."""
        number, mac = self._last
        written = []
        try:
            if _identity(self.path) != self._file:
                raise StoreUnusable(self.path, "it is not the file any more that was opened at the start")
            with self._database.writing() as connection:
                for record in records:
                    number, body = number + 1, schema.encode(record)
                    mac = link(self._key, mac, number, body)
                    _insert(connection, number, body, mac, record)
                    written.append((number, mac, record))
            self._last = (number, mac)
            self._head.write(number, mac)
        except (StoreUnusable, OSError) as problem:
            broker_log.write("audit_failed", reason=str(problem))
            raise CannotRecord(_CANNOT.format(problem)) from problem
        return written

    # ---- reading --------------------------------------------------------------------------------------------------

    def records(self, question: AskRecords) -> Records:
        """Records that were asked for, newest first. raises StoreUnusable"""
        with self._reader.reading() as connection:
            return search.records(connection, question)

    def group(self, number: int) -> RecordGroup:
        """One record with what belongs to it; of an outcome, its intent's. raises NotThere, StoreUnusable"""
        with self._reader.reading() as connection:
            return search.group(connection, number)

    def unfinished(self) -> list[NumberedRecord]:
        """Intents without an outcome, oldest first. raises StoreUnusable"""
        with self._reader.reading() as connection:
            return search.unfinished(connection)

    def verify(self) -> Verdict:
        """Walk the chain as it is on the disk now. raises StoreUnusable"""
        with self._lock:
            at_least = Head(*self._last)
        try:
            head = self._head.read() if _identity(self._head_path) else None
        except OSError:
            head = None
        return verify.walk(self.path, self._key, head, at_least=at_least)

    def close(self) -> None:
        """Let go of files and sockets."""
        with self._lock:
            self._reader.close()
            self._database.close()
            self._head.close()
            self.copies.close()

    # ---- at the start ---------------------------------------------------------------------------------------------

    def _end(self) -> tuple[int, bytes]:
        with self._database.reading() as connection:
            row = connection.execute("SELECT number, mac FROM audit ORDER BY number DESC LIMIT 1").fetchone()
        return (0, GENESIS) if row is None else (row[0], bytes(row[1]))

    def _read_key(self, path: Path) -> bytes:
        try:
            return keys.read_key(path)
        except FileNotFoundError:
            if self._last[0]:
                raise keys.AuditKeyMissing(path, self.path) from None
            return keys.make_key(path)

    def _open_head(self) -> HeadFile:
        try:
            return HeadFile.open(self._head_path, self._key)
        except FileNotFoundError:
            if self._last[0]:  # Reading goes on, and verifying says what is missing.
                return _NoHead(self._head_path)
            return HeadFile.make(self._head_path, self._key)

    def _check_end(self) -> str:
        """The log's end against the head, and the links of what came after it; the rest is for `verify`."""
        try:
            head = self._head.read()
            found = verify.end(self.path, self._key, head)
            if not found and self._last[0] and head is not None and (head.number < self._last[0] or head.torn):
                self._head.write(*self._last)
        except (OSError, StoreUnusable, msgspec.MsgspecError) as problem:
            return str(problem)
        return found


class _NoHead(HeadFile):
    """Stands in where the head was removed: nothing is appended then."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, -1, b"")

    def read(self) -> Head | None:
        return None

    def close(self) -> None:
        return


def _identity(path: Path) -> tuple[int, int] | None:
    """Device and inode, None if there is nothing."""
    try:
        facts = os.stat(path)
    except FileNotFoundError:
        return None
    return facts.st_dev, facts.st_ino


def _insert(connection: sqlite3.Connection, number: int, body: bytes, mac: bytes, record: AuditRecord) -> None:
    connection.execute("INSERT INTO audit VALUES (?, ?, ?)", (number, body, mac))
    if record.code.endswith(schema.INTENT):
        connection.execute("INSERT INTO pending VALUES (?)", (number,))
        if record.undo_of:
            connection.execute("INSERT INTO undo VALUES (?, ?)", (record.undo_of, number))
    elif record.intent:
        connection.execute("INSERT INTO outcome VALUES (?, ?)", (record.intent, number))
        connection.execute("DELETE FROM pending WHERE number = ?", (record.intent,))
