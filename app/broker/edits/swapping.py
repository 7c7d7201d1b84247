"""The running of a planned change: field after field by the kernel's compare-and-swap, or all at once with the whole value."""

from __future__ import annotations

import msgspec

from app.broker.edits.act import Act, Ended
from app.broker.edits.pieces import (
    Piece,
    cpus_of,
    expected_on,
    has_moved,
    holds,
    packed,
    part_of,
    record_of,
    swap_of,
    value_after,
)
from app.broker.edits.whole import destroyed, kept_as_is
from app.broker.swap.edit import Edit as Swap
from app.broker.swap.edit import Outcome, Result
from app.broker.swap.plan import Method
from app.uapi.enums import BpfUpdateFlag
from app.uapi.errors import NoSuchKey
from app.uapi.syscall import map_update
from app.wire.edits import ALL_CPUS, Change, FieldPlan
from app.wire.records import FieldRecord

_RESULTS = {
    Result.DONE: "done",
    Result.CONFLICT: "conflict",
    Result.NO_ENTRY: "no_entry",
    Result.CONTENDED: "contended",
    Result.REFUSED: "refused",
    Result.REPLACED: "replaced",
    Result.OVERTAKEN: "overtaken",
}
_WROTE = frozenset({Result.DONE, Result.REPLACED, Result.OVERTAKEN})


def run_each(act: Act, changes: tuple[Change, ...], cut: list[list[Piece]]) -> Ended:
    """Swap field after field; what was written is put back when one of them fails."""
    done: list[tuple[Piece, int, Outcome]] = []
    with act.key() as key:
        for piece in (piece for each in cut for piece in each):
            if piece.new == piece.expected and _same_now(act, key, piece):
                continue
            for cpu in cpus_of(piece):
                outcome = act.editor(piece.field).run(
                    swap_of(piece, key, cpu, act.edit.seen if len(cut) == 1 else None)
                )
                if outcome.result in _WROTE:
                    done.append((piece, cpu, outcome))
                if outcome.result is not Result.DONE:
                    return _stopped(act, key, changes, cut, done, (piece, cpu, outcome))
        after = act.read(key)
    return Ended(
        result="done" if after is not None else "replaced",
        after=after,
        fields=tuple(_told(act, change, each, after, "done") for change, each in zip(changes, cut, strict=True)),
        records=tuple(_outcome(act, change, each, done, after) for change, each in zip(changes, cut, strict=True)),
    )


def _same_now(act: Act, key: bytes, piece: Piece) -> bool:
    """Nothing to change in this word, and it still holds that: spare the write."""
    value = act.read(key)
    return value is not None and all(
        piece.field.read(part_of(act, value, cpu)) == expected_on(piece, cpu) for cpu in cpus_of(piece)
    )


def _stopped(
    act: Act,
    key: bytes,
    changes: tuple[Change, ...],
    cut: list[list[Piece]],
    done: list[tuple[Piece, int, Outcome]],
    last: tuple[Piece, int, Outcome],
) -> Ended:
    result = _RESULTS[last[2].result]
    put_back = 0
    earlier = [each for each in done if each[2] is not last[2]]
    if result not in {"replaced", "overtaken"}:
        for piece, cpu, outcome in reversed(earlier):
            if outcome.before is None or outcome.written is None:
                continue
            back = Swap(
                key=key, number=outcome.before, expected=outcome.written, cpu=cpu if cpu >= 0 else None
            )  # fmt: skip
            put_back += act.editor(piece.field).run(back).result is Result.DONE
        if put_back < len(earlier):
            result = "partial"
    after = act.read(key)
    sentence = (
        f"{put_back} {'field was' if put_back == 1 else 'fields were'} written before it and put back."
        if put_back
        else ""
    )
    return Ended(
        result=result,
        sentence=sentence,
        after=after,
        fields=tuple(_told(act, change, each, after, result) for change, each in zip(changes, cut, strict=True)),
        records=tuple(
            _outcome(act, change, each, [*earlier, last], after) for change, each in zip(changes, cut, strict=True)
        ),
    )


def _told(act: Act, change: Change, each: list[Piece], after: bytes | None, result: str) -> FieldPlan:
    editor = act.editor(each[0].field)
    now = None if after is None else part_of(act, after, change.cpu)
    return FieldPlan(
        path=change.path, method=editor.plan.method.name.lower(), promise="", why="", before=None,
        after=holds(change, each, now), cpu=change.cpu, result=result,
    )  # fmt: skip


def _outcome(
    act: Act, change: Change, each: list[Piece], done: list[tuple[Piece, int, Outcome]], after: bytes | None
) -> FieldRecord:
    """The field with what it held before, as the swap itself found it, and what it holds now."""
    record = record_of(change, each)
    found = [outcome.before for piece, _, outcome in done if piece in each and outcome.before is not None]
    old = record.old
    if change.cpu == ALL_CPUS and len(found) > 1:
        old = b"".join(packed(change, number) or b"" for number in found)
    if each[0].number and len(found) == 1 and change.cpu != ALL_CPUS:
        old = packed(change, found[0])
    now = None if after is None else packed(change, holds(change, each, part_of(act, after, change.cpu)))
    return msgspec.structs.replace(
        record,
        old=old,
        new=now,
        # The texts are what the asker read and typed: of other bytes they say nothing.
        old_text=record.old_text if old == record.old else "",
        new_text=record.new_text if now == record.new else "",
    )


def run_whole(act: Act, parts: list[Piece], method: Method) -> Ended:
    """Read, compare every field, write all of them with the whole value, read again."""
    flags = BpfUpdateFlag.LOCK if method is Method.LOCKED_UPDATE else BpfUpdateFlag.ANY
    if lost := destroyed(act):
        return Ended(result="refused", sentence=f"Writing the whole value would destroy {', '.join(lost)} in it.")
    changes = act.edit.changes
    cut = [[piece for piece in parts if piece.change is change] for change in changes]
    with act.key() as key:
        found = act.read(key, flags)
        if found is None:
            return Ended(result="no_entry")
        if (act.edit.seen is not None and act.edit.seen != found) or any(
            has_moved(act, found, piece) for piece in parts
        ):
            return Ended(result="conflict", after=found)
        value = kept_as_is(act, value_after(act, found, parts), found)
        try:
            map_update(act.map_fd, key, value, flags | BpfUpdateFlag.EXIST)
        except NoSuchKey:
            return Ended(result="no_entry")
        back = act.read(key)
    there = back is not None and all(
        piece.field.read(part_of(act, back, cpu)) == piece.field.read(part_of(act, value, cpu))
        for piece in parts
        for cpu in cpus_of(piece)
    )
    result = "replaced" if back is None else "done" if there else "overtaken"
    return Ended(
        result=result,
        after=back,
        fields=tuple(_told(act, change, each, back, result) for change, each in zip(changes, cut, strict=True)),
        records=tuple(_outcome(act, change, each, [], back) for change, each in zip(changes, cut, strict=True)),
    )
