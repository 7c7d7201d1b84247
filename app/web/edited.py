"""What came of an edit, above the page that it led to, with the way back for ten minutes."""

from __future__ import annotations

import time
from dataclasses import dataclass

from flask import g, request

from app.errors import AppError
from app.maps.report import FieldLine
from app.maps.undo import back_of
from app.web import gate
from app.web.edit_words import RESULTS
from app.web.permissions import Need
from app.wire.ask import Client

UNDO_S = 600
MAX_DIGITS = 18
UNDOABLE = frozenset({"set", "replace", "create", "delete", "put", "pin", "unpin"})
MAX_LINES = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Edited:
    """One edit of the map that is shown."""

    number: int
    style: str
    sentence: str
    lines: list[FieldLine]
    detail: str
    undo: bool
    """It can be taken back from here."""


def edited(client: Client, map_id: int) -> Edited | None:
    """The edit that the address names by ?edit=NUMBER; None where it names none, or none that this person may see."""
    text = request.args.get("edit", "")
    if not (text.isascii() and text.isdecimal() and len(text) <= MAX_DIGITS and int(text)):
        return None
    if g.session is None or g.session.role not in Need.AUDIT.value:
        return None
    try:
        group = client.record(gate.credential(), int(text))
    except AppError:
        return None
    record, outcome = group.intent.record, group.outcome
    if record.map.id not in {map_id, 0} or outcome is None:
        return None
    style, sentence = RESULTS.get(outcome.record.result, ("warned", outcome.record.result))
    lines = [] if record.action in {"create", "delete"} else back_of(group)[1]
    recent = time.time_ns() - record.at_ns < UNDO_S * 10**9
    can = (
        g.session.role in Need.EDIT.value and record.action in UNDOABLE and not record.redacted and not group.undone_by
    )
    return Edited(
        number=group.intent.number,
        style=style,
        sentence=sentence,
        lines=[FieldLine(path=line.path, cpu=line.cpu, old=line.new, new=line.old) for line in lines[:MAX_LINES]],
        detail=record.detail or _done(record.action),
        undo=recent and can and outcome.record.result in {"done", "overtaken", "replaced", "partial"},
    )


def _done(action: str) -> str:
    return {
        "create": "The entry is new.",
        "delete": "The entry is gone.",
        "pop": "One value was taken out.",
        "push": "One value was put in.",
    }.get(action, "")
