"""What is to be edited: the map as it was shown, and the parts of its values that are the kernel's own."""

from __future__ import annotations

from dataclasses import dataclass

from app.broker.errors import BrokerError
from app.broker.host import with_fd
from app.broker.objects import map_facts
from app.btf.layout import Layouts
from app.btf.parse import Btf, parse
from app.btf.special import special
from app.btf.types import Array, Datasec, Struct, Union, Var
from app.uapi import objects
from app.wire import bodies

LIMIT_STEPS = 100_000
"""Members that are looked at; a value with more of them is refused rather than half known."""


class AnotherMap(BrokerError):
    """The descriptor leads to another map than the one that was shown."""

    def __init__(self, what: str, shown: object, found: object) -> None:
        super().__init__(
            f"this is another map: its {what} is {found!r}, that of the one shown {shown!r}; open it again"
        )


class TooManyMembers(BrokerError):
    """A value's type has more members than are looked at."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A part of the value that the kernel keeps for itself."""

    name: str
    """"bpf_timer", "kptr" and so on, as app.btf.special names them."""
    offset_bytes: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Target:
    """One map, whose values are all alike."""

    facts: bodies.MapFacts
    kept: tuple[Kept, ...] = ()


_IDENTITY = (
    "id", "name", "type", "key_size", "value_size", "max_entries", "map_flags", "btf_id", "btf_value_type_id"
)  # fmt: skip


def target_of(map_fd: int) -> Target:
    """The map behind a descriptor.

    raises  KernelError, BtfError, TooManyMembers
    """
    facts = map_facts(map_fd, None)
    if not facts.btf_id or not facts.btf_value_type_id:
        return Target(facts)
    btf = parse(with_fd(objects.btf_get_fd_by_id(facts.btf_id), objects.btf_data))
    return Target(facts, kept_parts(btf, facts.btf_value_type_id))


def check_same(shown: bodies.MapFacts, found: bodies.MapFacts) -> None:
    """Raise AnotherMap unless both are the same map: ids are used again, and so are names."""
    for name in _IDENTITY:
        if getattr(shown, name) != getattr(found, name):
            raise AnotherMap(name, getattr(shown, name), getattr(found, name))


def kept_parts(btf: Btf, type_id: int) -> tuple[Kept, ...]:
    """The kernel's own fields in a value of this type, by offset, in structs and arrays of any depth."""
    walk = _Walk(btf)
    walk.visit(type_id, 0)
    return tuple(sorted(set(walk.found), key=lambda kept: (kept.offset_bytes, kept.name)))


class _Walk:
    def __init__(self, btf: Btf) -> None:
        self._btf = btf
        self._layouts = Layouts(btf)
        self._steps = 0
        self.found: list[Kept] = []

    def visit(self, type_id: int, offset_bytes: int) -> None:
        self._steps += 1
        if self._steps > LIMIT_STEPS:
            raise TooManyMembers(f"a value with more than {LIMIT_STEPS} members cannot be edited by field")
        if kept := special(self._btf, type_id):
            self.found.append(Kept(kept.name, offset_bytes, self._btf.size_bytes(type_id)))
            return
        found = self._btf.resolve(type_id)
        match found:
            case Struct() | Union():
                for place in self._layouts.of(found).places:
                    if not place.bit_field:
                        self.visit(place.member.type_id, offset_bytes + place.offset_bits // 8)
            case Array() if found.count:
                self._elements(found, offset_bytes)
            case Datasec():
                for variable in found.variables:
                    self.visit(variable.type_id, offset_bytes + variable.offset_bytes)
            case Var():
                self.visit(found.target, offset_bytes)
            case _:
                pass

    def _elements(self, array: Array, offset_bytes: int) -> None:
        before = len(self.found)
        self.visit(array.element, offset_bytes)
        # All elements are alike: where the first has nothing, a million others need no look.
        if len(self.found) > before:
            size_bytes = self._btf.size_bytes(array.element)
            for index in range(1, array.count):
                self.visit(array.element, offset_bytes + index * size_bytes)
