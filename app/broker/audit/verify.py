"""Walking the chain: whether every record is as it was written, and which is the first that is not."""

from __future__ import annotations

import hmac
import sqlite3
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from app.broker.audit import schema
from app.broker.audit.chain import GENESIS, link
from app.broker.audit.head import Head
from app.broker.audit.schema import open_to_read
from app.broker.database import StoreUnusable
from app.wire.records import AuditRecord, Verdict

NO_HEAD = "the head of the log is gone or is none of ours, so that records may be missing at the end"


@dataclass(slots=True)
class _Walk:
    """What is known so far."""

    key: bytes
    number: int = 0
    mac: bytes = GENESIS
    bad: int = 0
    why: str = ""
    strays: list[int] = field(default_factory=list)
    open_intents: set[int] = field(default_factory=set)
    intents: set[int] = field(default_factory=set)
    outcomes: set[tuple[int, int]] = field(default_factory=set)
    undos: set[tuple[int, int]] = field(default_factory=set)
    marks: dict[int, bytes] = field(default_factory=dict)
    """Links of the records whose numbers are asked for."""

    def fail(self, number: int, why: str) -> None:
        self.bad, self.why = number, why

    def step(self, number: int, body: object, mac: object) -> bool:
        """Take one row; False at the first that is bad."""
        if number < 1:
            self.strays.append(number)
            return True
        expected = self.number + 1
        if number != expected:
            self.fail(expected, f"record {expected} is missing: {number} comes after {self.number}")
            return False
        if not isinstance(body, bytes) or not isinstance(mac, bytes):
            self.fail(number, f"record {number} is not as it was written: it is text where bytes belong")
            return False
        right = link(self.key, self.mac, number, body)
        if not hmac.compare_digest(right, mac):
            self.fail(number, f"record {number} is not as it was written: it, or its place in the log, was changed")
            return False
        try:
            record = schema.decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError) as problem:
            self.fail(number, f"record {number} cannot be read: {problem}")
            return False
        self.number, self.mac = number, right
        if number in self.marks:
            self.marks[number] = right
        return self._belongs(number, record)

    def _belongs(self, number: int, record: AuditRecord) -> bool:
        if record.code.endswith(schema.INTENT):
            self.intents.add(number)
            self.open_intents.add(number)
            if record.undo_of:
                self.undos.add((record.undo_of, number))
        elif record.intent:
            if record.intent not in self.intents:
                self.fail(number, f"record {number} is the outcome of {record.intent}, which is no intent before it")
                return False
            self.open_intents.discard(record.intent)
            self.outcomes.add((record.intent, number))
        return True

    def against(self, head: Head | None, whose: str) -> None:
        """Check where the log ends."""
        if self.bad or head is None:
            return
        if self.number < head.number:
            missing = f"{self.number + 1} to {head.number}" if head.number > self.number + 1 else str(head.number)
            self.fail(
                self.number + 1, f"the log ends at record {self.number}, and {whose} {head.number}: {missing} missing"
            )
        elif head.number and not hmac.compare_digest(self.marks.get(head.number, b""), head.mac):
            self.fail(head.number, f"record {head.number} is another one than {whose} knows: this is another log")
        elif head.torn and self.number == head.number:
            self.fail(
                self.number + 1, f"the head was being moved past record {head.number}, and nothing comes after it"
            )

    def verdict(self) -> Verdict:
        if not self.bad and not self.why and self.strays:
            self.fail(self.strays[0] or 1, f"a record numbered {self.strays[0]} was put before the first")
        good = not self.why
        sentence = f"all {self.number} records are as they were written" if good else self.why
        return Verdict(
            ok=good,
            records=self.number,
            first_bad=self.bad,
            sentence=sentence,
            unfinished=tuple(sorted(self.open_intents)),
        )


def walk(path: Path, key: bytes, head: Head | None, *, at_least: Head | None = None) -> Verdict:
    """Walk all of a database as it is on the disk, in one transaction of a connection of its own.

    head      read before this was called: a log that is being written only grows
    at_least  how far the process that writes it knows it to go
    """
    found = _walked(path, key, head, at_least)
    if head is None and not found.bad:
        found.fail(found.number + 1, NO_HEAD)
    return found.verdict()


def walk_without_head(path: Path, key: bytes) -> Verdict:
    """Walk a copy whose head is not at hand: all but whether its end is missing."""
    return _walked(path, key, None, None).verdict()


def _walked(path: Path, key: bytes, head: Head | None, at_least: Head | None) -> _Walk:
    found = _Walk(key, marks={each.number: b"" for each in (head, at_least) if each is not None})
    try:
        connection = open_to_read(path)
    except StoreUnusable as problem:
        found.fail(1, str(problem))
        return found
    try:
        connection.execute("BEGIN")
        for row in connection.execute("SELECT number, body, mac FROM audit ORDER BY number"):
            if not found.step(*row):
                break
        found.against(head, "the head knows")
        found.against(at_least, "the service wrote")
        if not found.bad:
            _beside(connection, found)
    except schema.DAMAGED as problem:
        found.fail(found.number + 1, f"the database is damaged after record {found.number} ({problem})")
    finally:
        connection.close()
    return found


def _beside(connection: sqlite3.Connection, found: _Walk) -> None:
    """Compare what only helps to find records, and the triggers, with what they must be."""
    for table, first, right in (
        ("outcome", "intent", found.outcomes),
        ("undo", "of", found.undos),
    ):
        if set(connection.execute(f"SELECT {first}, number FROM {table}")) != right:  # noqa: S608  (names of ours)
            found.why = (
                f"every record is as it was written, but the table {table}, which helps to find them, was changed"
            )
    if {number for (number,) in connection.execute("SELECT number FROM pending")} != found.open_intents:
        found.why = (
            "every record is as it was written, but the table pending, which names unfinished edits, was changed"
        )
    reference = sqlite3.connect(":memory:")
    for script in schema.MIGRATIONS:
        reference.executescript(script)
    of_schema = "SELECT type, name, sql FROM sqlite_schema"
    if set(connection.execute(of_schema)) != set(reference.execute(of_schema)):
        found.why = "every record is as it was written, but the database's tables or triggers were changed"
    reference.close()


def end(path: Path, key: bytes, head: Head | None) -> str:
    """Check quickly that a log can be continued: its end against its head. Returns what is wrong, or nothing.

    raises  StoreUnusable
    """
    if head is None:
        return NO_HEAD
    connection = open_to_read(path)
    try:
        first = max(1, head.number)
        rows = connection.execute(
            "SELECT number, body, mac FROM audit WHERE number >= ? ORDER BY number", (first - 1,)
        ).fetchall()
        found = _Walk(key, marks={head.number: b""})
        if rows and rows[0][0] == first - 1:
            found.number, found.mac = first - 1, bytes(rows.pop(0)[2])
        elif first > 1:
            found.number = connection.execute("SELECT coalesce(max(number), 0) FROM audit").fetchone()[0]
        for number, body, mac in rows:
            if not isinstance(body, bytes) or not isinstance(mac, bytes) or number != found.number + 1:
                found.fail(found.number + 1, f"record {found.number + 1} is not where it belongs")
                break
            right = link(key, found.mac, number, body)
            if not hmac.compare_digest(right, mac):
                found.fail(number, f"record {number} is not as it was written")
                break
            found.number, found.mac = number, right
            if number in found.marks:
                found.marks[number] = right
        found.against(head, "the head knows")
    except schema.DAMAGED as problem:
        raise StoreUnusable(path, str(problem)) from problem
    finally:
        connection.close()
    return found.why and f"{found.why}; `bpf-atlas audit --verify` says more"
