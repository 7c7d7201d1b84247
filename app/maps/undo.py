"""What taking an edit back would change, as its record tells: the broker makes the edit itself."""

from __future__ import annotations

from app.maps.report import FieldLine
from app.wire.edits import NO_CPU, Edit
from app.wire.records import FieldRecord, RecordGroup

OPPOSITES = {"create": "delete", "delete": "create", "pin": "unpin", "unpin": "pin"}


def back_of(group: RecordGroup) -> tuple[Edit, list[FieldLine]]:
    """The edit that would take a recorded one back, for people to look at, and its fields from what they are to what they were."""
    intent = group.intent.record
    outcome = group.outcome.record if group.outcome is not None else intent
    action = OPPOSITES.get(intent.action, intent.action)
    edit = Edit(
        map=intent.map, action=action, key=intent.key, owner=intent.owner, path=intent.detail if "pin" in action else ""
    )
    held = {(field.path, field.cpu): field for field in outcome.fields}
    lines = [_line(field, held.get((field.path, field.cpu), field)) for field in intent.fields]
    if not lines and (intent.old_value is not None or intent.new_value is not None):
        old, new = ("" if value is None else f"hex:{value.hex()}" for value in (intent.new_value, intent.old_value))
        lines = [FieldLine(path="value", cpu=NO_CPU, old=old, new=new, before=intent.new_value, after=intent.old_value)]
    return edit, lines


def _line(asked: FieldRecord, found: FieldRecord) -> FieldLine:
    old = asked.old if asked.old is not None else found.old
    return FieldLine(
        path=asked.path,
        cpu=asked.cpu,
        old=asked.new_text or _hex(asked.new),
        new=asked.old_text or _hex(old),
        before=asked.new,
        after=old,
    )


def _hex(data: bytes | None) -> str:
    return "" if data is None else f"hex:{data.hex()}"
