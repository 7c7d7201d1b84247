"""What the audit log says of an edit: its intent before, its outcome after, and edits that were refused."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from app.broker.accounts.actor import Actor
from app.broker.edits.act import Act, Ended, Prepared
from app.broker.edits.identity import boot_id, tag_of
from app.wire.edits import Edit
from app.wire.records import NO_MAP, AuditRecord, FieldRecord

if TYPE_CHECKING:
    from app.broker.policy.rules import Redaction

MAX_VALUE_BYTES = 16_384
"""Larger values are not kept whole in a record; an edit of a field in one is recorded field by field all the same."""
_WHOLE = frozenset({"replace", "create", "delete", "push", "pop", "put"})


def intent_record(
    actor: Actor, act: Act, prepared: Prepared, reason: str, redactions: Sequence[Redaction], *,
    undo_of: int = 0, plan: int = 0, approved_by: Sequence[str] = (),
) -> AuditRecord:  # fmt: skip
    """What is about to happen."""
    edit = act.edit
    hidden = hidden_by(redactions, "value")
    keeps = edit.action in _WHOLE
    return AuditRecord(
        at_ns=time.time_ns(),
        boot_id=boot_id(),
        code=f"map.{edit.action}.intent",
        actor=actor.facts(", ".join(approved_by)),
        map=edit.map,
        map_tag=tag_of(edit.map),
        action=edit.action,
        key=edit.key,
        owner=edit.owner,
        fields=tuple(_redacted(each, redactions) for each in prepared.records),
        old_value=None if hidden or not keeps else _short(prepared.before),
        new_value=None if hidden or not keeps else _short(prepared.after),
        detail=_short_text(prepared.detail or edit.thing or edit.path),
        reason=reason.strip(),
        undo_of=undo_of,
        plan=plan,
        method=prepared.method,
        redacted=hidden and keeps,
    )


def outcome_record(
    intent: AuditRecord, number: int, ended: Ended, duration_ns: int, redactions: Sequence[Redaction]
) -> AuditRecord:
    """What came of it."""
    good = ended.result == "done"
    keeps = intent.action in _WHOLE and not intent.redacted
    return msgspec.structs.replace(
        intent,
        at_ns=time.time_ns(),
        code=f"map.{intent.action}.{'ok' if good else 'fail'}",
        fields=tuple(_redacted(each, redactions) for each in ended.records),
        old_value=intent.old_value,
        new_value=_short(ended.after) if keeps else None,
        detail=_short_text(ended.sentence or intent.detail),
        intent=number,
        result=ended.result,
        duration_ns=duration_ns,
    )


def unknown_record(
    intent: AuditRecord, number: int, found: bytes | None, sentence: str, *, hidden: bool
) -> AuditRecord:
    """The broker died between intent and outcome: what the map holds now is all that can be said."""
    return msgspec.structs.replace(
        intent,
        at_ns=time.time_ns(),
        boot_id=boot_id(),
        code=f"map.{intent.action}.unknown",
        fields=(),
        new_value=None if hidden else _short(found),
        detail=_short_text(sentence),
        intent=number,
        result="unknown",
        redacted=hidden,
    )


def refusal_record(actor: Actor, edit: Edit | None, why: str, action: str = "") -> AuditRecord:
    """Somebody asked for what they may not do."""
    return AuditRecord(
        at_ns=time.time_ns(),
        boot_id=boot_id(),
        code="edit.refused",
        actor=actor.facts(),
        map=NO_MAP if edit is None else edit.map,
        action=action or ("" if edit is None else edit.action),
        key=b"" if edit is None else edit.key[:256],
        detail=_short_text(why),
        result="refused",
    )


def _redacted(record: FieldRecord, redactions: Sequence[Redaction]) -> FieldRecord:
    if not hidden_by(redactions, record.path):
        return record
    return msgspec.structs.replace(record, old=None, new=None, old_text="", new_text="", redacted=True)


def hidden_by(redactions: Sequence[Redaction], path: str) -> bool:
    """Whether the policy keeps this path, or anything within it, out of the log."""
    return any(each.audit and each.covers(path) for each in redactions)


def _short(value: bytes | None) -> bytes | None:
    return value if value is None or len(value) <= MAX_VALUE_BYTES else None


def _short_text(text: str) -> str:
    return text if len(text) <= 500 else text[:499] + "…"  # noqa: PLR2004
