"""Rows of a plan as people read them, without what the policy hides from whoever looks."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

import numpy as np

from app.columns.errors import ColumnsError
from app.maps.edit import identity_of
from app.maps.errors import MapsError
from app.maps.hiding import Mask
from app.maps.opening import OpenMap
from app.maps.report import differences
from app.uapi.errors import KernelError
from app.web.backend import Backend
from app.web.key_words import key_words
from app.web.opening import open_map
from app.wire.edits import Change, Edit, Plan, PlanRow

SHOWN_FIELDS = 3
SHOWN_BYTES = 16
NOTHING_HIDDEN = np.zeros(0, bool)


@dataclass(frozen=True, slots=True)
class Line:
    """One row."""

    row: PlanRow
    key: str
    does: str
    link: str


def lines(backend: Backend, found: Plan, *, sees_all: bool) -> list[Line]:
    """The rows, in words as long as the map is there to say how.

    sees_all  values of a map that is gone are shown, too: nothing says any more what of them is hidden from whom
    """
    try:
        with open_map(backend.client, backend.btfs, found.facts.map.id) as opened:
            if identity_of(opened.facts) == found.facts.map:
                return [_in_words(opened, row) for row in found.rows]
    except (MapsError, ColumnsError, KernelError):
        pass
    return [_plain(row, NOTHING_HIDDEN if sees_all else None) for row in found.rows]


def _plain(row: PlanRow, hidden: Mask | None) -> Line:
    return Line(row, row.edit.owner or f"hex:{row.edit.key.hex()}", _does(row.edit, hidden), "")


def _in_words(opened: OpenMap, row: PlanRow) -> Line:
    edit = row.edit
    plain = _plain(row, opened.mask)
    if edit.owner:
        return plain
    does = plain.does
    if edit.action == "create" and edit.value and not opened.mask.any():
        fields = differences(opened, bytes(len(edit.value)), edit.value)
        does = "create" + ",".join(f" {field.path} {field.new}" for field in islice(fields, SHOWN_FIELDS))
    link = f"/maps/{opened.facts.id}/entries/{edit.key.hex()}" if opened.kind.lookup else ""
    return Line(row, key_words(opened, edit.key), does, link)


def _does(edit: Edit, hidden: Mask | None) -> str:
    """What a row does, in few words. hidden: bytes of the value, or None for all of them"""
    if edit.action == "set":
        shown = [_changes(change, hidden) for change in edit.changes[:SHOWN_FIELDS]]
        more = len(edit.changes) - SHOWN_FIELDS
        return ", ".join(shown) + (f" and {more} more" if more > 0 else "")
    if edit.action == "put":
        return f"put {edit.thing}"
    if edit.action in {"create", "replace"} and hidden is not None and not hidden.any():
        return f"{edit.action}: {edit.value[:SHOWN_BYTES].hex(' ')}{'…' if len(edit.value) > SHOWN_BYTES else ''}"
    return edit.action


def _changes(change: Change, hidden: Mask | None) -> str:
    first, end = change.offset_bits // 8, -(-(change.offset_bits + change.size_bits) // 8)
    if hidden is None or hidden[first:end].any():
        return f"{change.path} redacted"
    return f"{change.path} {change.old_text} → {change.new_text}"
