"""Edits of single fields: each by compare-and-swap in the kernel, or all in one whole update where that cannot be.

Fields wider than 8 bytes are swapped word by word, and only the words that change: nothing beside them is ever touched,
but a program may see one half new and the other old. Several fields are swapped one after the other; when one of them
is a conflict, those before it are put back.
"""

from __future__ import annotations

from app.broker.edits import kinds
from app.broker.edits.act import Act, Ended, Prepared
from app.broker.edits.pieces import WORD_BITS, Piece, has_moved, holds, part_of, pieces, place, record_of, value_after
from app.broker.edits.swapping import run_each, run_whole
from app.broker.swap.edit import BadEdit
from app.broker.swap.field import BadField as NoField
from app.broker.swap.field import NumberTooLarge
from app.broker.swap.plan import Method
from app.uapi.cpus import possible_cpus
from app.wire.edits import ALL_CPUS, NO_CPU, Change, FieldPlan
from app.wire.errors import BadField

MAX_FIELDS = 64
SEVERAL = (
    " The fields are changed one after the other, not all in one step; if one has moved, those before it are put back."
)
WIDE = " It is wider than one atomic instruction reaches, so a program may see a part of it new and the rest old for microseconds."
EVERY_CPU = " Each CPU's value is one step; all of them together are not."


def set_fields(act: Act) -> Prepared:
    """Plan the changes of an edit."""
    changes = act.edit.changes
    if not 0 < len(changes) <= MAX_FIELDS:
        raise BadField(f"an edit changes 1 to {MAX_FIELDS} fields, not {len(changes)}", "changes")
    places = [place(act, change) for change in changes]
    cut = [list(pieces(change, found)) for change, found in zip(changes, places, strict=True)]
    _check_cpus(act)
    parts = [piece for each in cut for piece in each]
    try:
        plans = [act.editor(piece.field).plan for piece in parts]
    except (NoField, NumberTooLarge, BadEdit) as error:
        raise BadField(str(error), changes[0].path) from None
    with act.key() as key:
        before = act.read(key)
    ways = {each.method for each in plans}
    refused = next((each for each in plans if each.method is Method.REFUSED), None)
    if refused is not None:
        return Prepared(
            method="refused", promise=refused.promise, why=refused.why, before=before,
            run=lambda: Ended(result="refused", sentence=f"{refused.why[:1].upper()}{refused.why[1:]}."),
        )  # fmt: skip
    whole = bool(ways & {Method.UPDATE, Method.LOCKED_UPDATE})
    weakest = max(plans, key=lambda each: list(Method).index(each.method))
    promise = weakest.promise
    if not whole:
        promise += WIDE if len(parts) > len(changes) else ""
        promise += SEVERAL if len(changes) > 1 else ""
        promise += EVERY_CPU if any(change.cpu == ALL_CPUS for change in changes) else ""
    after = None if before is None else value_after(act, before, parts)
    prepared = Prepared(
        method=weakest.method.name.lower(), promise=promise, why=weakest.why, before=before, after=after,
        run=(lambda: run_whole(act, parts, weakest.method)) if whole else (lambda: run_each(act, changes, cut)),
        fields=tuple(_plan_of(act, change, each, before) for change, each in zip(changes, cut, strict=True)),
        records=tuple(record_of(change, each) for change, each in zip(changes, cut, strict=True)),
    )  # fmt: skip
    prepared.moved = before is not None and any(has_moved(act, before, piece) for piece in parts)
    if before is None:
        prepared.warnings.append("There is no such entry now.")
    return prepared


def _check_cpus(act: Act) -> None:
    for change in act.edit.changes:
        if kinds.per_cpu(act.facts):
            if change.cpu == ALL_CPUS:
                if change.operation == "swap" and len(change.expected_each) != possible_cpus():
                    raise BadField(f"what each of the {possible_cpus()} CPUs holds is wanted with it", change.path)
                if change.size_bits > WORD_BITS:
                    raise BadField("a field of more than 8 bytes is changed on one CPU at a time", change.path)
            elif not 0 <= change.cpu < possible_cpus():
                raise BadField(f"say on which CPU, 0 to {possible_cpus() - 1}, or on all", change.path)
        elif change.cpu != NO_CPU:
            raise BadField("this map has one value for all CPUs", change.path)


def _plan_of(act: Act, change: Change, each: list[Piece], before: bytes | None) -> FieldPlan:
    plans = [act.editor(piece.field).plan for piece in each]
    weakest = max(plans, key=lambda one: list(Method).index(one.method))
    now = None if before is None else part_of(act, before, change.cpu)
    then = None if before is None else part_of(act, value_after(act, before, each), change.cpu)
    return FieldPlan(
        path=change.path,
        method=weakest.method.name.lower(),
        promise=weakest.promise + (WIDE if len(each) > 1 else ""),
        why=weakest.why,
        before=holds(change, each, now),
        after=holds(change, each, then),
        cpu=change.cpu,
    )
