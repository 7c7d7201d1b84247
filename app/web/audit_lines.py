"""Audit records as rows: an edit's intent and outcome are one row, whatever else happened is another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from app.maps.recorded import iso
from app.wire.records import AuditRecord, FieldRecord, NumberedRecord, RecordGroup, Verdict

INTENT = ".intent"
GOOD = frozenset({"done"})
WORDS = {
    "done": "done",
    "conflict": "conflict",
    "no_entry": "no such entry",
    "contended": "contended",
    "refused": "refused",
    "replaced": "replaced meanwhile",
    "overtaken": "overtaken",
    "partial": "in part",
    "unknown": "unknown",
    "pending": "waits",
}
CODES = {
    "session.begin": "signed in",
    "session.refused": "sign-in refused",
    "session.end": "session ended",
    "write.begin": "write session begun",
    "write.refused": "write session refused",
    "write.end": "write session ended",
    "link.make": "one-time link made",
    "user.add": "user added",
    "user.role": "role changed",
    "user.remove": "user removed",
    "user.password": "password changed",
    "token.make": "API token made",
    "token.revoke": "API token revoked",
    "history.label": "snapshot labelled",
    "history.forget": "snapshots deleted",
    "history.ignore": "comparisons leave out",
    "history.rules": "rules of recording",
    "history.import": "snapshots taken in",
    "history.restore": "history put back",
    "history.refused": "change of the history refused",
}
"""What happened, in words; of codes that are not here their own."""
SHOWN_FIELDS = 3
HEX_BYTES = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One field, old → new."""

    path: str
    cpu: str
    old: str
    new: str
    old_hex: str
    new_hex: str
    found: str
    """What was there before, where that was not the old one."""
    now: str
    """What was there after, where that was not the new one."""
    redacted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One row."""

    number: int
    clock: str
    record: AuditRecord
    what: str
    """Of edits the action, of everything else the code's own words."""
    changes: list[Change]
    more: int
    """Fields that are not shown."""
    detail: str
    result: str
    good: bool
    chain: str
    """`ok` or `bad` after verifying, else empty."""
    short: str
    """Last digits of its link."""
    outcome: int
    """Number of the outcome's record, 0 without one."""


def lines(
    records: Sequence[NumberedRecord], ask: Callable[[int], RecordGroup], verdict: Verdict | None = None
) -> list[Line]:
    """Rows for a page of records, newest first. `ask` gives the group of an intent whose outcome is not on the page."""
    outcomes = {each.record.intent: each for each in records if each.record.intent}
    here = {each.number for each in records}
    rows = []
    for each in records:
        if each.record.intent in here:
            continue
        outcome = outcomes.get(each.number)
        if outcome is None and each.record.code.endswith(INTENT):
            outcome = ask(each.number).outcome
        rows.append(line(each, outcome, verdict))
    return rows


def line(one: NumberedRecord, outcome: NumberedRecord | None, verdict: Verdict | None = None) -> Line:
    """One row."""
    record = one.record
    ended = outcome.record if outcome is not None else record
    shown = changes(record, ended)
    unfinished = record.code.endswith(INTENT) and outcome is None
    result = "no outcome yet" if unfinished else WORDS.get(ended.result, ended.result)
    details = dict.fromkeys(text for text in (record.detail, ended.detail) if text)
    return Line(
        number=one.number,
        clock=clock(record.at_ns),
        record=record,
        what=_what(record),
        changes=shown[:SHOWN_FIELDS],
        more=max(0, len(shown) - SHOWN_FIELDS),
        detail="; ".join(details),
        result=result,
        good=ended.result in GOOD,
        chain=_chain(one.number, verdict),
        short=one.chain,
        outcome=outcome.number if outcome is not None else 0,
    )


def changes(intent: AuditRecord, outcome: AuditRecord) -> list[Change]:
    """Fields of an edit: what was there and what was to be there; of what came of it, where that is something else."""
    became = {(field.path, field.cpu): field for field in outcome.fields}
    return [_change(field, became.get((field.path, field.cpu), field)) for field in intent.fields]


def _change(field: FieldRecord, became: FieldRecord) -> Change:
    old = field.old if field.old is not None else became.old
    return Change(
        path=field.path,
        cpu=f"CPU {field.cpu}" if field.cpu >= 0 else "",
        old=field.old_text or became.old_text or spelled(old),
        new=field.new_text or spelled(field.new),
        old_hex=spelled(old),
        new_hex=spelled(field.new),
        found=_other(became.old, became.old_text, field.old),
        now=_other(became.new, became.new_text, field.new),
        redacted=field.redacted,
    )


def _other(became: bytes | None, text: str, meant: bytes | None) -> str:
    return "" if became is None or meant is None or became == meant else text or spelled(became)


def spelled(data: bytes | None) -> str:
    """Bytes in hexadecimal, cut after HEX_BYTES; a dash where there are none."""
    if data is None:
        return "—"
    return data[:HEX_BYTES].hex(" ") + (f" … ({len(data)} bytes)" if len(data) > HEX_BYTES else "")


def clock(at_ns: int) -> str:
    """`2026-11-24 18:03:11`, UTC."""
    return iso(at_ns)[:19].replace("T", " ")


def _what(record: AuditRecord) -> str:
    words = record.action or CODES.get(record.code, record.code.replace(".", " "))
    if record.code.endswith(".refused") and record.action:
        words += ", refused"
    if record.undo_of:
        words += f" (undoes {record.undo_of})"
    return f"outcome of {record.intent}" if record.intent else words


def _chain(number: int, verdict: Verdict | None) -> str:
    if verdict is None:
        return ""
    return "ok" if verdict.ok or (verdict.first_bad and number < verdict.first_bad) else "bad"
