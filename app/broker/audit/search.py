"""Finding records: newest first, each decoded and looked at; one answer looks at a bounded number of them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

import msgspec

from app.broker.audit.chain import short
from app.broker.audit.schema import decode
from app.wire.errors import NotThere
from app.wire.records import AskRecords, AuditRecord, NumberedRecord, RecordGroup, Records

LIMIT = 500
LOOK_AT = 100_000
"""Of how many records an answer is made at most: about half a second; `before` goes on where it ended."""
ANSWER_BYTES = 8 << 20
"""A page of long records ends early."""
TOOK_BACK = frozenset({"done", "overtaken", "partial"})
"""Results of undoing that took something back."""


def records(connection: sqlite3.Connection, question: AskRecords) -> Records:
    """Answer AskRecords. raises sqlite3.Error"""
    limit = max(1, min(question.limit, LIMIT))
    (total,) = connection.execute("SELECT coalesce(max(number), 0) FROM audit").fetchone()
    before = question.before if 0 < question.before <= total else total + 1
    wanted = _matcher(question)
    found: list[NumberedRecord] = []
    size_bytes, looked_at, last = 0, 0, before
    rows = connection.execute(
        "SELECT number, body, mac FROM audit WHERE number < ? ORDER BY number DESC LIMIT ?", (before, LOOK_AT)
    )
    for number, body, mac in rows:
        record = _decoded(body)
        looked_at, last = looked_at + 1, number
        if record is None or not wanted(record):
            continue
        found.append(NumberedRecord(number, short(bytes(mac)), record))
        size_bytes += len(body)
        if len(found) == limit or size_bytes > ANSWER_BYTES:
            break
    more = connection.execute("SELECT 1 FROM audit WHERE number < ? LIMIT 1", (last,)).fetchone()
    return Records(records=tuple(found), before=last if more else 0, total=total)


def group(connection: sqlite3.Connection, number: int) -> RecordGroup:
    """Give a record with what belongs to it. raises NotThere, sqlite3.Error"""
    one = _one(connection, number)
    if one.record.intent:
        one = _one(connection, one.record.intent)
    return RecordGroup(
        intent=one, outcome=_outcome(connection, one.number), undone_by=_undone_by(connection, one.number)
    )


def unfinished(connection: sqlite3.Connection) -> list[NumberedRecord]:
    """Intents without an outcome, oldest first. raises sqlite3.Error"""
    numbers = [number for (number,) in connection.execute("SELECT number FROM pending ORDER BY number")]
    return [_one(connection, number) for number in numbers]


def _one(connection: sqlite3.Connection, number: int) -> NumberedRecord:
    row = None
    if 0 < number < 1 << 63:
        row = connection.execute("SELECT body, mac FROM audit WHERE number = ?", (number,)).fetchone()
    record = None if row is None else _decoded(row[0])
    if row is None or record is None:
        raise NotThere(f"there is no audit record {number}: `bpf-atlas audit` lists them")
    return NumberedRecord(number, short(bytes(row[1])), record)


def _outcome(connection: sqlite3.Connection, intent: int) -> NumberedRecord | None:
    row = connection.execute(
        "SELECT number FROM outcome WHERE intent = ? ORDER BY number LIMIT 1", (intent,)
    ).fetchone()
    return None if row is None else _one(connection, row[0])


def _undone_by(connection: sqlite3.Connection, intent: int) -> tuple[int, ...]:
    found = []
    for (number,) in connection.execute("SELECT number FROM undo WHERE of = ? ORDER BY number", (intent,)).fetchall():
        outcome = _outcome(connection, number)
        if outcome is not None and outcome.record.result in TOOK_BACK:
            found.append(number)
    return tuple(found)


def _decoded(body: object) -> AuditRecord | None:
    """None of a body that is none: `verify` names it, and the others can still be read."""
    try:
        return decode(body)  # type: ignore[arg-type]
    except (msgspec.MsgspecError, TypeError, UnicodeDecodeError):
        return None


def _matcher(question: AskRecords) -> Callable[[AuditRecord], bool]:
    text = question.text.casefold()
    key = question.key_hex.casefold().replace(" ", "")

    def matches(record: AuditRecord) -> bool:
        if question.map_id and record.map.id != question.map_id:
            return False
        if question.user and record.actor.user != question.user:
            return False
        if question.code and not record.code.startswith(question.code):
            return False
        if question.since_ns and record.at_ns < question.since_ns:
            return False
        if question.until_ns and record.at_ns > question.until_ns:
            return False
        if key and record.key.hex() != key:
            return False
        return not text or any(text in each.casefold() for each in _texts(record))

    return matches


def _texts(record: AuditRecord) -> tuple[str, ...]:
    paths = tuple(field.path for field in record.fields)
    return record.reason, record.detail, record.map.name, record.actor.user, *paths
