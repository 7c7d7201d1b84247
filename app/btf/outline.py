"""A type as rows for a schema page: every member with its place, every hole between them, what is special about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.btf.errors import BtfError, TooLarge
from app.btf.layout import Layouts, Place, check_sized
from app.btf.special import special
from app.btf.spelling import Speller
from app.btf.types import Array, Datasec, Enum, Func, Int, Struct, Type, Union, Var

if TYPE_CHECKING:
    from app.btf.parse import Btf

MAX_ROWS = 2000
MAX_DEPTH = 32
MAX_STEPS = 20_000
MAX_CHARACTERS = 2 << 20


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a schema."""

    depth: int
    path: str
    """As filters write it: "a.b", "slots[0].hits" for what each element of an array of structs holds, "" for a padding
    row, for the cut, and for a type that is one plain value. Members of anonymous structs have their parent's path."""
    name: str
    type_name: str
    """Its C spelling; "" for padding."""
    offset_bits: int
    """From the start of the outermost type."""
    size_bits: int
    is_padding: bool
    note: str
    """"" where there is nothing to say."""


class _Full(BtfError):
    """The rows are used up: ends the walk, never leaves this module."""


def outline(btf: Btf, type_id: int, *, max_rows: int = MAX_ROWS) -> list[Row]:
    """List the members of a struct, union or section in order, or the one value that the type is.

    returns  at most ``max_rows`` rows, and one more that says so where there would be others
    raises   BtfError
    """
    walk = _Walk(btf, max_rows)
    try:
        walk.root(type_id)
    except _Full:
        walk.rows.append(Row(0, "", "", "", 0, 0, is_padding=False, note=f"Cut after {max_rows} rows: there are more."))
    return walk.rows


class _Walk:
    def __init__(self, btf: Btf, max_rows: int) -> None:
        self._btf = btf
        self._max_rows = max_rows
        self._layouts = Layouts(btf)
        self._speller = Speller(btf, steps=MAX_STEPS, characters=MAX_CHARACTERS)
        self._characters_left = MAX_CHARACTERS
        self.rows: list[Row] = []

    def root(self, type_id: int) -> None:
        found = self._btf.resolve(type_id)
        if isinstance(found, Var):
            found = self._btf.resolve(found.target)
            type_id = found.id
        match found:
            case Struct() | Union():
                self._composite(found, "", 0, 0)
            case Datasec():
                self._section(found)
            case _:
                self._add(0, "", "", type_id, 0, check_sized(self._btf, type_id) * 8, "")
                self._inside(type_id, "", 1, 0)

    def _append(self, row: Row) -> None:
        if len(self.rows) >= self._max_rows:
            raise _Full
        self.rows.append(row)

    def _add(self, depth: int, path: str, name: str, type_id: int, offset: int, size: int, note: str) -> None:
        spelling = self._speller.declare(type_id)
        self._characters_left -= len(path)
        if self._characters_left < 0:
            raise TooLarge(f"The paths within this type have more than {MAX_CHARACTERS} characters in all")
        self._append(Row(depth, path, name, spelling, offset, size, is_padding=False, note=note))

    def _hole(self, depth: int, offset_bits: int, size_bits: int, note: str) -> None:
        if size_bits > 0:
            self._append(Row(depth, "", "", "", offset_bits, size_bits, is_padding=True, note=note))

    def _section(self, section: Datasec) -> None:
        end = 0
        for variable in sorted(section.variables, key=lambda variable: variable.offset_bytes):
            found = self._btf.type(variable.type_id)
            if not isinstance(found, Var | Func):
                continue
            self._hole(0, end * 8, (variable.offset_bytes - end) * 8, "padding")
            target = found.target if isinstance(found, Var) else found.id
            offset_bits = variable.offset_bytes * 8
            note = self._note(target, variable.type_id, None)
            self._add(0, found.name, found.name, target, offset_bits, variable.size_bytes * 8, note)
            self._inside(target, found.name, 1, offset_bits)
            end = max(end, variable.offset_bytes + variable.size_bytes)
        self._hole(0, end * 8, (section.size_bytes - end) * 8, "padding at the end")

    def _composite(self, found: Struct | Union, path: str, depth: int, start_bits: int) -> None:
        end = 0
        places = self._layouts.of(found).places
        for place in places:
            if isinstance(found, Struct):
                self._hole(depth, start_bits + end, place.offset_bits - end, "padding")
            end = max(end, place.offset_bits + place.width_bits)
            self._member(found, place, path, depth, start_bits)
        self._hole(depth, start_bits + end, found.size_bytes * 8 - end, "padding at the end")

    def _member(self, parent: Struct | Union, place: Place, path: str, depth: int, start_bits: int) -> None:
        member = place.member
        own_path = ".".join(part for part in (path, member.name) if part)
        offset_bits = start_bits + place.offset_bits
        notes = [self._note(member.type_id, parent.id, place.index)]
        if place.bit_field:
            notes.insert(0, f"bit field of {place.width_bits} bits")
        note = "; ".join(note for note in notes if note)
        self._add(depth, own_path, member.name, member.type_id, offset_bits, place.width_bits, note)
        if not place.bit_field:
            self._inside(member.type_id, own_path, depth + 1, offset_bits)

    def _inside(self, type_id: int, path: str, depth: int, start_bits: int) -> None:
        """Add the members of a struct, or those of the struct that an array has as its elements."""
        outer = self._btf.resolve(type_id)
        found = self._element(outer)
        while isinstance(outer, Array) and outer is not found:
            path += "[0]"
            outer = self._btf.resolve(outer.element)
        if not isinstance(found, Struct | Union) or special(self._btf, found.id):
            return
        if depth > MAX_DEPTH:
            self._append(Row(depth, "", "", "", start_bits, 0, is_padding=False, note="Nested too deep to be shown."))
            return
        self._composite(found, path, depth, start_bits)

    def _element(self, found: Type) -> Type:
        """Return what an array (of arrays) holds, or the type itself."""
        for _ in range(MAX_DEPTH):
            if not isinstance(found, Array):
                break
            found = self._btf.resolve(found.element)
        return found

    def _note(self, type_id: int, owner_id: int, index: int | None) -> str:
        notes = []
        found = self._btf.resolve(type_id)
        if kept := special(self._btf, self._element(found).id):
            return kept.note
        match found:
            case Array() if found.count == 0:
                notes.append("flexible array")
            case Array() if isinstance(self._btf.resolve(found.element), Struct | Union):
                notes.append("1 element" if found.count == 1 else f"{found.count} elements, the first is shown")
            case Enum():
                notes.append(f"{len(found.values)} {'name' if len(found.values) == 1 else 'names'}")
            case Int() if found.bool_:
                notes.append("true or false")
            case Union():
                notes.append("members overlap")
        notes.extend(f"tag {tag!r}" for tag in self._btf.tags(owner_id, index))
        return "; ".join(notes)
