"""An edit of one field, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from app.broker.errors import BrokerError
from app.broker.swap.field import Field
from app.broker.swap.plan import Method
from app.broker.swap.program import Operation


class BadEdit(BrokerError):
    """An edit that says too little or too much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """What is to happen to the field in one entry."""

    key: bytes
    number: int
    """The new one, or the operand."""
    operation: Operation = Operation.COMPARE_AND_SWAP
    expected: int | None = None
    """What the field must hold, for COMPARE_AND_SWAP."""
    cpu: int | None = None
    """Whose value, for per-CPU maps."""
    seen: bytes | None = None
    """The whole value as it was shown; ways that write it all back refuse if any byte of it has changed."""


class Result(Enum):
    """How an edit ended."""

    DONE = "written, and read again: it is there"
    CONFLICT = "nothing written: the entry holds something else than what was expected"
    NO_ENTRY = "nothing written: there is no such entry"
    CONTENDED = "nothing written: programs change the word faster than it can be swapped; try again"
    REFUSED = "nothing written: the plan says why"
    REPLACED = "written to an element that a program replaced or deleted meanwhile: the entry does not hold it"
    # Of hash maps: a freed element may be another key's a moment later. A swap that comes between changes that entry, and
    # only if it holds what was expected; any program that writes through a looked-up pointer runs the same risk.
    OVERTAKEN = "written, and changed by a program since: the entry holds something else"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of an edit; numbers are the field's."""

    result: Result
    method: Method
    before: int | None = None
    """Before it was written, or what stood in the way of it."""
    written: int | None = None
    now: int | None = None
    """Read after all was over."""
    value: bytes | None = None
    """The whole value, read after all was over."""


def becomes(field: Field, edit: Edit, current: int) -> int:
    """The number that an operation leaves in a field that holds `current`."""
    match edit.operation:
        case Operation.ADD:
            return field.wrapped(current + edit.number)
        case Operation.AND:
            return field.wrapped(current & edit.number)
        case Operation.OR:
            return field.wrapped(current | edit.number)
        case _:
            return edit.number


def check(field: Field, edit: Edit) -> None:
    """Raise BadEdit or NumberTooLarge for an edit that makes no sense."""
    if edit.operation is Operation.ADD:
        if abs(edit.number) >= 1 << field.size_bits:
            raise BadEdit(f"{edit.number} is more than a field of {field.size_bits} bits can be changed by")
    else:
        field.check(edit.number)
    if (edit.expected is None) == (edit.operation is Operation.COMPARE_AND_SWAP):
        raise BadEdit("COMPARE_AND_SWAP takes an expected number, no other operation does")
    if edit.expected is not None:
        field.check(edit.expected)
