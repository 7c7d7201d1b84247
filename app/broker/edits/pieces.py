"""A field of an edit, found in the map's own types and cut into what one instruction reaches; and the numbers in it.

Fields of up to 8 bytes are one piece. Wider ones are their aligned words, so that nothing beside them is ever touched.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.broker.edits import kinds
from app.broker.edits.act import Act
from app.broker.swap.edit import Edit as Swap
from app.broker.swap.edit import becomes
from app.broker.swap.field import Field
from app.broker.swap.program import Operation
from app.btf.errors import BtfError
from app.btf.places import Place, place_in_bytes, place_of
from app.uapi.cpus import possible_cpus
from app.uapi.kernel import cpu_stride
from app.wire.edits import ALL_CPUS, Change
from app.wire.errors import BadField
from app.wire.records import FieldRecord

if TYPE_CHECKING:
    from app.broker.policy.rules import Bounds

WORD_BITS = 64
OPERATIONS = {
    "swap": Operation.COMPARE_AND_SWAP,
    "exchange": Operation.EXCHANGE,
    "add": Operation.ADD,
    "and": Operation.AND,
    "or": Operation.OR,
}


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a field that one instruction reaches: all of it up to 64 bits, otherwise one aligned word."""

    change: Change
    field: Field
    new: int
    expected: int | None
    number: bool
    """It is all of a field that is one number."""


def place(act: Act, change: Change) -> Place:
    """Where the field is, by the map's own BTF; what the asking side says must be the same. raises BadField"""
    path = change.path.removeprefix("value")
    path = path.removeprefix(".")
    try:
        if act.btf is None:
            found = place_in_bytes(path, act.facts.value_size)
        else:
            found = place_of(act.btf, act.facts.btf_value_type_id, path, act.facts.value_size)
    except BtfError as error:
        raise BadField(str(error), change.path) from None
    if not change.path.startswith("value") or (found.offset_bits, found.size_bits) != (
        change.offset_bits,
        change.size_bits,
    ):
        raise BadField(f"{change.path[:80]} lies elsewhere in this map's values: open the map again", change.path)
    if found.special:
        raise BadField(f"{change.path[:80]} is the kernel's own ({found.special}) and is never written", change.path)
    return found


def number_in(found: Place, number: int, path: str) -> int:
    """A number as the field has it: -1 and 4294967295 are the same 32 bits. raises BadField"""
    bits = found.size_bits
    if not -(1 << bits - 1) <= number < 1 << bits:
        raise BadField(f"{path} takes {bits} bits, and {number} has more", path)
    return Field(offset_bits=0, size_bits=bits, signed=found.signed).wrapped(number)


def shown(found: Place, number: int) -> int:
    """The number as people read it: of a network-order type the bytes the other way round."""
    if not found.network_order or number < 0:
        return number
    return int.from_bytes(number.to_bytes(found.size_bits // 8, "little"), "big")


def check_bounds(act: Act, change: Change, bounds: Bounds) -> None:
    """Hold the number that the field would get against the policy, as people read it. raises BadField"""
    found = place(act, change)
    if not found.scalar or found.size_bits > WORD_BITS:
        raise BadField(f"the policy bounds the numbers of {change.path}, and this is none", change.path)
    if change.operation not in {"swap", "exchange"}:
        raise BadField(
            f"the policy bounds {change.path}: set it to a number rather than {change.operation} to it", change.path
        )
    number = shown(found, _number(change.new, found, change.path))
    if problem := bounds.problem(number):
        raise BadField(f"{change.path}: {problem}", change.path)


def pieces(change: Change, found: Place) -> Iterator[Piece]:
    """The field, cut into what one instruction reaches. raises BadField"""
    if found.size_bits <= WORD_BITS and found.scalar:
        of = Field(offset_bits=found.offset_bits, size_bits=found.size_bits, signed=found.signed)
        expected = None if change.expected is None else _number(change.expected, found, change.path)
        if expected is None and change.operation == "swap" and change.cpu != ALL_CPUS:
            raise BadField(f"{change.path} is swapped against what it held: say what that is", change.path)
        yield Piece(change, of, _number(change.new, found, change.path), expected, number=True)
        return
    if found.offset_bits % 8 or found.size_bits % 8:
        raise BadField(
            f"{change.path} is a bit field of {found.size_bits} bits, which no instruction reaches", change.path
        )
    if change.operation != "swap":
        raise BadField(
            f"{change.path} has {found.size_bits // 8} bytes: it can be swapped, not {change.operation}ed", change.path
        )
    new, expected_bytes = _bytes(change.new, found, change.path), change.expected
    old = None if expected_bytes is None else _bytes(expected_bytes, found, change.path)
    if old is None:
        raise BadField(f"{change.path} is swapped against what it held: say what that is", change.path)
    start = found.offset_bits // 8
    for first, end in _words(start, start + found.size_bits // 8):
        part_new, part_old = new[first - start : end - start], old[first - start : end - start]
        yield Piece(
            change,
            Field(offset_bits=first * 8, size_bits=(end - first) * 8),
            int.from_bytes(part_new, sys.byteorder),
            int.from_bytes(part_old, sys.byteorder),
            number=False,
        )


def _number(given: int | bytes, found: Place, path: str) -> int:
    """A number, or the bytes that a record keeps of one. raises BadField"""
    if isinstance(given, bytes):
        if len(given) != (found.size_bits + 7) // 8:
            raise BadField(f"{path} takes {(found.size_bits + 7) // 8} bytes, not {len(given)}", path)
        given = int.from_bytes(given, "little")
    return number_in(found, given, path)


def _words(start: int, end: int) -> Iterator[tuple[int, int]]:
    """Bytes from `start` to `end` cut at multiples of 8, and at 4 where the rest is no whole word."""
    at = start
    while at < end:
        step = next(size for size in (8, 4, 2, 1) if at % size == 0 and at + size <= end)
        yield at, at + step
        at += step


def _bytes(given: int | bytes, found: Place, path: str) -> bytes:
    size = found.size_bits // 8
    if isinstance(given, int):
        if found.scalar and -(1 << found.size_bits - 1) <= given < 1 << found.size_bits:
            return (given & (1 << found.size_bits) - 1).to_bytes(size, sys.byteorder)
        raise BadField(f"{path} takes {size} bytes", path)
    if len(given) != size:
        raise BadField(f"{path} takes {size} bytes, not {len(given)}", path)
    return given


def part_of(act: Act, value: bytes, cpu: int) -> bytes:
    """One CPU's value; the value itself of other maps. ALL_CPUS: the first one's."""
    size = act.facts.value_size
    start = max(cpu, 0) * cpu_stride(size) if kinds.per_cpu(act.facts) else 0
    return value[start : start + size]


def cpus_of(piece: Piece) -> range:
    return range(possible_cpus()) if piece.change.cpu == ALL_CPUS else range(piece.change.cpu, piece.change.cpu + 1)


def expected_on(piece: Piece, cpu: int) -> int | None:
    if piece.change.cpu == ALL_CPUS and piece.change.expected_each:
        return piece.field.wrapped(piece.change.expected_each[cpu])
    return piece.expected


def has_moved(act: Act, before: bytes, piece: Piece) -> bool:
    if piece.change.operation != "swap":
        return False
    return any(piece.field.read(part_of(act, before, cpu)) != expected_on(piece, cpu) for cpu in cpus_of(piece))


def swap_of(piece: Piece, key: bytes, cpu: int, seen: bytes | None = None) -> Swap:
    operation = OPERATIONS.get(piece.change.operation)
    if operation is None:
        raise BadField(f"{piece.change.operation[:20]!r} is none of {', '.join(OPERATIONS)}", piece.change.path)
    expected = expected_on(piece, cpu) if operation is Operation.COMPARE_AND_SWAP else None
    return Swap(
        key=key, number=piece.new, operation=operation, expected=expected, cpu=cpu if cpu >= 0 else None, seen=seen
    )


def value_after(act: Act, before: bytes, parts: list[Piece]) -> bytes:
    value = bytearray(before)
    size = act.facts.value_size
    for piece in parts:
        for cpu in cpus_of(piece):
            start = max(cpu, 0) * cpu_stride(size) if kinds.per_cpu(act.facts) else 0
            window = memoryview(value)[start : start + size]
            piece.field.write(window, becomes(piece.field, swap_of(piece, b"", cpu), piece.field.read(window)))
    return bytes(value)


def holds(change: Change, each: list[Piece], value: bytes | None) -> int | bytes | None:
    """What the field holds in one value: a number, or its bytes when it is wide."""
    if value is None:
        return None
    if each[0].number:
        return each[0].field.read(value)
    return bytes(value[change.offset_bits // 8 : (change.offset_bits + change.size_bits) // 8])


def packed(change: Change, value: int | bytes | None) -> bytes | None:
    """What the field holds as its record has it: a number little-endian, in as few bytes as hold it; bytes as they are."""
    if value is None or isinstance(value, bytes):
        return value
    return (value & (1 << change.size_bits) - 1).to_bytes((change.size_bits + 7) // 8, "little")


def record_of(change: Change, each: list[Piece]) -> FieldRecord:
    single = each[0].number
    old = packed(change, each[0].expected if single else change.expected)
    if change.cpu == ALL_CPUS and change.expected_each:
        old = b"".join(packed(change, number) or b"" for number in change.expected_each)
    return FieldRecord(
        path=change.path,
        offset_bits=change.offset_bits,
        size_bits=change.size_bits,
        cpu=change.cpu,
        old=old,
        new=packed(change, each[0].new if single else change.new),
        old_text=change.old_text[:200],
        new_text=change.new_text[:200],
        operation=change.operation,
    )
