"""The edit that takes another one back: made from its record, and checked like any other."""

from __future__ import annotations

from collections.abc import Iterator

from app.broker.edits import kinds
from app.uapi.cpus import possible_cpus
from app.wire.edits import ALL_CPUS, Change, Edit
from app.wire.errors import NotAllowed, Taken
from app.wire.records import AuditRecord, FieldRecord, RecordGroup

_NEVER = {
    "push": "what was pushed may be anywhere in it by now, and only its end can be taken",
    "pop": "a value can only be put in at the end, not where it came from: push it, if that is meant",
    "freeze": "a frozen map stays frozen",
    "clear": "the entries were counted, not kept",
    "make": "a map goes when nothing holds it: unpin it",
}
WRITTEN = frozenset({"done", "overtaken", "replaced", "partial", "unknown"})


def reverse(group: RecordGroup) -> Edit:
    """The opposite of a recorded edit.

    raises  Taken where there is nothing to take back, or no way to; NotAllowed where the policy kept the values out of the log
    """
    intent, outcome = group.intent.record, group.outcome.record if group.outcome else None
    number = group.intent.number
    if not intent.code.startswith("map.") or not intent.code.endswith(".intent"):
        raise Taken(f"record {number} is no edit")
    if outcome is None:
        raise Taken(f"edit {number} has no outcome yet: the next start of the service says what became of it")
    if outcome.result not in WRITTEN:
        raise Taken(f"edit {number} wrote nothing ({outcome.result}), so there is nothing to take back")
    if intent.action in _NEVER:
        raise Taken(f"edit {number} cannot be taken back: {_NEVER[intent.action]}")
    if intent.redacted or any(each.redacted for each in (*intent.fields, *outcome.fields)):
        raise NotAllowed(f"edit {number} cannot be taken back: the policy keeps its values out of the log")
    return _OPPOSITE[intent.action](intent, outcome)


def _set(intent: AuditRecord, outcome: AuditRecord) -> Edit:
    after = {(each.path, each.cpu): each for each in outcome.fields}
    changes = [
        change
        for asked in reversed(intent.fields)
        for change in _back(asked, after.get((asked.path, asked.cpu), asked))
    ]
    return Edit(intent.map, "set", key=intent.key, owner=intent.owner, changes=tuple(changes))


def _back(asked: FieldRecord, found: FieldRecord) -> Iterator[Change]:
    """Changes that put one field back, one for each CPU where all of them were changed."""
    if asked.new is None:
        raise Taken(f"the record does not tell what was written to {asked.path}")
    if asked.operation == "add":
        operand = int.from_bytes(asked.new, "little")
        yield _change(asked, asked.cpu, new=-operand % (1 << asked.size_bits), operation="add")
        return
    written = asked.new if asked.operation in {"swap", "exchange"} else found.new
    old = found.old if found.old is not None else asked.old
    if old is None or written is None:
        raise Taken(f"the record does not tell what {asked.path} held")
    if asked.cpu != ALL_CPUS:
        yield _change(asked, asked.cpu, new=old, expected=written)
        return
    size = len(old) // possible_cpus()
    for cpu in range(possible_cpus()):
        yield _change(asked, cpu, new=old[cpu * size : (cpu + 1) * size], expected=written[:size])


def _change(
    asked: FieldRecord, cpu: int, *, new: int | bytes, expected: bytes | None = None, operation: str = "swap"
) -> Change:
    return Change(
        asked.path, asked.offset_bits, asked.size_bits, operation=operation, new=new, expected=expected, cpu=cpu,
        old_text=asked.new_text, new_text=asked.old_text,
    )  # fmt: skip


def _replace(intent: AuditRecord, _outcome: AuditRecord) -> Edit:
    return Edit(
        intent.map,
        "replace",
        key=intent.key,
        owner=intent.owner,
        value=_kept(intent.old_value),
        seen=_kept(intent.new_value),
    )


def _create(intent: AuditRecord, outcome: AuditRecord) -> Edit:
    seen = outcome.new_value if outcome.new_value is not None else intent.new_value
    return Edit(intent.map, "delete", key=intent.key, owner=intent.owner, seen=_kept(seen))


def _delete(intent: AuditRecord, _outcome: AuditRecord) -> Edit:
    if intent.map.type in kinds.THINGS:
        if not intent.detail:
            raise Taken(
                "the record does not tell what the slot held: sockets and cgroups are never shown by the kernel"
            )
        return Edit(intent.map, "put", key=intent.key, thing=intent.detail, seen=b"")
    return Edit(intent.map, "create", key=intent.key, owner=intent.owner, value=_kept(intent.old_value))


def _put(intent: AuditRecord, outcome: AuditRecord) -> Edit:
    held, _, _given = intent.detail.partition(" → ")
    seen = outcome.new_value
    if held == "nothing":
        return Edit(intent.map, "delete", key=intent.key, seen=seen)
    if held.startswith(("socket", "cgroup")) or not held:
        raise Taken("the record does not tell what the slot held before")
    return Edit(intent.map, "put", key=intent.key, thing=held, seen=seen)


def _pin(intent: AuditRecord, _outcome: AuditRecord) -> Edit:
    return Edit(intent.map, "unpin", path=intent.detail)


def _unpin(intent: AuditRecord, _outcome: AuditRecord) -> Edit:
    return Edit(intent.map, "pin", path=intent.detail)


def _kept(value: bytes | None) -> bytes:
    if value is None:
        raise Taken("the record does not keep the whole value: it is too large, or was not known")
    return value


_OPPOSITE = {
    "set": _set,
    "replace": _replace,
    "create": _create,
    "delete": _delete,
    "put": _put,
    "pin": _pin,
    "unpin": _unpin,
}
