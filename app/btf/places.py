"""Where a field lies in a value, by its path: what the broker finds out for itself before it writes anything.

Paths are those of filters and schemas: ``limit``, ``slots[3].hits``, ``a.b``; members of nameless structs and unions have
their parent's path; of a section of global variables the first name is the variable's. The empty path is the whole.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.btf.errors import BtfError
from app.btf.layout import bit_field
from app.btf.special import special
from app.btf.types import Array, Composite, Datasec, Enum, Int, Struct, Type, Typedef, TypeTag, Union, Var

if TYPE_CHECKING:
    from app.btf.parse import Btf

MAX_STEPS = 200
MAX_NAMELESS = 64
_INDEX = re.compile(r"\[([0-9]{1,9})\]")
_VIEW = re.compile(r"([ui])(8|16|32|64)(?:\[([0-9]{1,9})\])?")


class NoSuchPlace(BtfError):
    """The path names nothing in the type."""

    def __init__(self, path: str, at: str) -> None:
        super().__init__(f"no field {path!r} in this type: nothing of that name at {at!r}")


@dataclass(frozen=True, slots=True)
class Place:
    """Bits of a value."""

    offset_bits: int
    """From the start of the value, as BTF counts."""
    size_bits: int
    signed: bool
    scalar: bool
    """One number: an integer, a bit field, an enum, a truth value, a pointer."""
    network_order: bool = False
    """Its type is __be16, __be32 or __be64: people read its bytes the other way round."""
    special: str = ""
    """The kernel's own: "bpf_timer", "kptr" and so on, also of what lies around it."""


def place_of(btf: Btf, type_id: int, path: str, room_bytes: int) -> Place:
    """Find a field.

    room_bytes  size of the value: a flexible array at its end takes what is left
    raises      NoSuchPlace, BtfError
    """
    walk = _Walk(btf, path, room_bytes)
    return walk.go(type_id)


def place_in_bytes(path: str, size_bytes: int) -> Place:
    """The same in a value without a type: ``u32[1]``, ``i64[0]``, ``u8[7]``, the host's byte order.

    raises  NoSuchPlace
    """
    match = _VIEW.fullmatch(path)
    if match is None:
        raise NoSuchPlace(path, path)
    bits, index = int(match[2]), int(match[3] or 0)
    if (index + 1) * bits > size_bytes * 8:
        raise NoSuchPlace(path, path)
    return Place(index * bits, bits, match[1] == "i", scalar=True)


class _Walk:
    def __init__(self, btf: Btf, path: str, room_bytes: int) -> None:
        self._btf = btf
        self._path = path
        self._rest = path
        self._room_bits = room_bytes * 8
        self._special = ""
        self._at_end = True
        """All members on the way were the last ones of their structs: an array without a length takes what is left."""

    def go(self, type_id: int) -> Place:
        offset_bits, width_bits = 0, 0
        for _ in range(MAX_STEPS):
            self._note_special(type_id)
            found = self._bare(type_id)
            if not self._rest:
                return self._place(found, type_id, offset_bits, width_bits)
            match found:
                case Struct() | Union():
                    type_id, step_bits, width_bits = self._member(found)
                case Datasec():
                    type_id, step_bits = self._variable(found)
                case Array():
                    step_bits = self._index(found, offset_bits)
                    type_id = found.element
                case _:
                    raise NoSuchPlace(self._path, self._rest)
            offset_bits += step_bits
        raise NoSuchPlace(self._path, self._rest)

    def _bare(self, type_id: int) -> Type:
        found = self._btf.resolve(type_id)
        return self._btf.resolve(found.target) if isinstance(found, Var) else found

    def _note_special(self, type_id: int) -> None:
        kept = special(self._btf, type_id)
        if kept is not None and not self._special:
            self._special = kept.name

    def _place(self, found: Type, type_id: int, offset_bits: int, width_bits: int) -> Place:
        if isinstance(found, Int) and not width_bits and (found.bits or found.size_bytes * 8) != found.size_bytes * 8:
            offset_bits, width_bits = offset_bits + found.offset_bits, found.bits
        size_bits = width_bits or self._btf.size_bytes(found.id) * 8
        if isinstance(found, Array) and not found.count and self._at_end:
            stride = self._btf.size_bytes(found.element) * 8
            size_bits = (self._room_bits - offset_bits) // stride * stride if stride else 0
        if not size_bits or offset_bits + size_bits > self._room_bits:
            raise NoSuchPlace(self._path, self._path)
        scalar = not isinstance(found, Array | Struct | Union | Datasec)
        return Place(
            offset_bits,
            size_bits,
            signed=isinstance(found, Int | Enum) and found.signed,
            scalar=scalar,
            network_order=self._big_by_name(type_id),
            special=self._special,
        )

    def _big_by_name(self, type_id: int) -> bool:
        if sys.byteorder == "big":
            return False
        for _ in range(MAX_STEPS):
            found = self._btf.type(type_id)
            if isinstance(found, Typedef) and found.name in {"__be16", "__be32", "__be64"}:
                return True
            target = getattr(found, "target", None)
            if not isinstance(found, Typedef | TypeTag | Var) and found.kind.name not in {
                "CONST",
                "VOLATILE",
                "RESTRICT",
            }:
                return False
            if target is None:
                return False
            type_id = target
        return False

    def _name(self) -> str:
        """What is left, without the dot that parts it from what came before."""
        if self._rest == self._path:
            return self._rest
        if not self._rest.startswith("."):
            raise NoSuchPlace(self._path, self._rest)
        return self._rest[1:]

    def _member(self, within: Composite) -> tuple[int, int, int]:
        rest = self._name()
        found = _longest(rest, self._named(within, 0, 0))
        if found is None:
            raise NoSuchPlace(self._path, self._rest)
        name, type_id, offset_bits, width_bits = found
        self._rest = rest[len(name) :]
        self._at_end &= not isinstance(within, Struct) or name == within.members[-1].name
        return type_id, offset_bits, width_bits

    def _named(self, within: Composite, base_bits: int, depth: int) -> list[tuple[str, int, int, int]]:
        """(name, type, offset, width of a bit field or 0) of all members, those of nameless ones included."""
        named = []
        for member in within.members:
            if member.name:
                offset_bits, width_bits = bit_field(self._btf, member)
                named.append((member.name, member.type_id, base_bits + offset_bits, width_bits))
                continue
            inner = self._btf.resolve(member.type_id)
            if isinstance(inner, Struct | Union) and depth < MAX_NAMELESS:
                named += self._named(inner, base_bits + member.offset_bits, depth + 1)
        return named

    def _variable(self, section: Datasec) -> tuple[int, int]:
        rest = self._name()
        named = [
            (variable.name, each.type_id, each.offset_bytes * 8, 0)
            for each in section.variables
            if (variable := self._btf.type(each.type_id)).name
        ]
        found = _longest(rest, named)
        if found is None:
            raise NoSuchPlace(self._path, self._rest)
        self._rest = rest[len(found[0]) :]
        return found[1], found[2]

    def _index(self, array: Array, offset_bits: int) -> int:
        match = _INDEX.match(self._rest)
        stride_bits = self._btf.size_bytes(array.element) * 8
        left = self._at_end and not array.count and stride_bits
        room = (self._room_bits - offset_bits) // stride_bits if left else array.count
        if match is None or int(match[1]) >= room:
            raise NoSuchPlace(self._path, self._rest)
        self._rest = self._rest[match.end() :]
        return int(match[1]) * stride_bits


def _longest(rest: str, named: list[tuple[str, int, int, int]]) -> tuple[str, int, int, int] | None:
    """The longest name that `rest` begins with: a variable's may hold a dot."""
    fit = [
        each for each in named if rest.startswith(each[0]) and rest[len(each[0]) : len(each[0]) + 1] in {"", ".", "["}
    ]
    return max(fit, key=lambda each: len(each[0]), default=None)
