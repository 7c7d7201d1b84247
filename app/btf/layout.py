"""Where a C compiler would place members, and what it must be told so that it places them as the BTF says.

BTF has offsets and sizes but not ``packed`` and ``aligned``: they are found by laying the struct out by the rules of
64-bit targets (System V) and comparing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.btf.errors import BadRecord, NoSize, TooDeep
from app.btf.types import Array, Composite, Enum, Float, Int, Member, Ptr, Struct, Union, Var

if TYPE_CHECKING:
    from app.btf.parse import Btf

MAX_DEPTH = 40
MAX_ALIGN_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Place:
    """A member where the BTF has it."""

    index: int
    member: Member
    offset_bits: int
    width_bits: int
    """Of the bit field, or of the whole member."""
    bit_field: bool
    align_bytes: int
    """What its type asks for by itself."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What to say about a struct or union."""

    places: tuple[Place, ...]
    packed: bool
    align_bytes: int
    """1 where packed."""


class Layouts:
    """Layouts of one BTF's types, each worked out once."""

    def __init__(self, btf: Btf) -> None:
        """Start with nothing known."""
        self._btf = btf
        self._known: dict[int, Layout] = {}

    def align_bytes(self, type_id: int, depth: int = 0) -> int:
        """Return the alignment that a type has by itself; 1 for what has no size."""
        if depth > MAX_DEPTH:
            raise TooDeep(type_id, MAX_DEPTH)
        found = self._btf.resolve(type_id)
        for _ in range(MAX_DEPTH):
            if not isinstance(found, Array | Var):
                break
            found = self._btf.resolve(found.element if isinstance(found, Array) else found.target)
        match found:
            case Int() | Enum():
                return 1 << (found.size_bytes.bit_length() - 1)
            case Float():
                return {2: 2, 4: 4, 8: 8, 12: 4, 16: 16}[found.size_bytes]
            case Ptr():
                return self._btf.pointer_bytes
            case Struct() | Union():
                return self.of(found, depth + 1).align_bytes
            case Array():
                raise TooDeep(type_id, MAX_DEPTH)
            case _:
                return 1

    def of(self, composite: Composite, depth: int = 0) -> Layout:
        """Return the layout of a struct or union.

        raises   BadRecord where a member does not fit, NoSize, TooDeep, TooLarge
        """
        known = self._known.get(composite.id)
        if known is None:
            known = self._known[composite.id] = self._work_out(composite, depth)
        return known

    def _work_out(self, composite: Composite, depth: int) -> Layout:
        places = tuple(self._place(composite, index, member, depth) for index, member in enumerate(composite.members))
        align = max((place.align_bytes for place in places), default=1)
        packed = composite.size_bytes % align != 0 or any(map(_misplaced, places))
        if packed:
            return Layout(places, packed, 1)
        end_bits = max((place.offset_bits + place.width_bits for place in places), default=0)
        slack_bytes = composite.size_bytes - (-(-end_bits // 8) + align - 1) // align * align
        if slack_bytes > 0 and places:
            align = aligned_end(-(-end_bits // 8), composite.size_bytes) or align
        return Layout(places, packed, align)

    def _place(self, composite: Composite, index: int, member: Member, depth: int) -> Place:
        size_bits = self._btf.size_bytes(member.type_id) * 8
        offset_bits, width_bits = bit_field(self._btf, member)
        whole = width_bits == 0
        if whole:
            width_bits = size_bits
        if offset_bits + width_bits > composite.size_bytes * 8 or width_bits > size_bits:
            raise BadRecord(composite.id, f"its member {member.name!r} does not fit into {composite.size_bytes} bytes")
        if whole and offset_bits % 8:
            raise BadRecord(composite.id, f"its member {member.name!r} is no bit field, yet not at a whole byte")
        align = self.align_bytes(member.type_id, depth)
        return Place(index, member, offset_bits, width_bits, not whole, align)


def bit_field(btf: Btf, member: Member) -> tuple[int, int]:
    """Return offset and width in bits of a bit field in either encoding; the width is 0 for an ordinary member.

    The old encoding puts both into an INT of fewer bits than its size.
    """
    if member.bits:
        return member.offset_bits, member.bits
    found = btf.resolve(member.type_id)
    if isinstance(found, Int) and (found.bits or found.size_bytes * 8) != found.size_bytes * 8:
        return member.offset_bits + found.offset_bits, found.bits
    if isinstance(found, Int | Enum) and member.offset_bits % 8:
        return member.offset_bits, found.size_bytes * 8
    return member.offset_bits, 0


def aligned_end(end_bytes: int, size_bytes: int) -> int | None:
    """Return the smallest alignment that makes ``end_bytes`` round up to ``size_bytes``, if one does."""
    align = 2
    while align <= MAX_ALIGN_BYTES:
        if -(-end_bytes // align) * align == size_bytes:
            return align
        align *= 2
    return None


def _misplaced(place: Place) -> bool:
    """Whether only a packed struct can have a member here."""
    unit_bits = place.align_bytes * 8
    if place.bit_field:
        return place.offset_bits % unit_bits + place.width_bits > unit_bits
    return place.offset_bits % unit_bits != 0


def check_sized(btf: Btf, type_id: int) -> int:
    """Return a type's size, or 0 where it has none."""
    try:
        return btf.size_bytes(type_id)
    except NoSize:
        return 0
