"""A type's layout for languages that are not C: every byte accounted for, so that no compiler's own rules matter.

Typedefs are gone, pointers are numbers, bit fields are the bytes that hold them, holes are fields, and every struct
or union has a name. A ``Shape`` comes after the shapes that it holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from app.btf.errors import NoSize, TooDeep, TooLarge
from app.btf.layout import Layouts, Place
from app.btf.spelling import Speller
from app.btf.types import (
    Array,
    Composite,
    Datasec,
    Enum,
    EnumValue,
    Float,
    Int,
    Ptr,
    Struct,
    Typedef,
    Union,
    Var,
)

if TYPE_CHECKING:
    from app.btf.parse import Btf

MAX_DEPTH = 40
MAX_FIELDS = 20_000
MAX_STEPS = 20_000
MAX_CHARACTERS = 2 << 20
INT128_BYTES = 16

Encoding = Literal["unsigned", "signed", "float", "bytes", "shape"]


@dataclass(frozen=True, slots=True)
class Field:
    """One field at its place: ``counts`` elements (outermost first) of ``size_bytes`` each."""

    name: str
    offset_bytes: int
    encoding: Encoding
    size_bytes: int
    """Of one element."""
    counts: tuple[int, ...]
    shape: int
    """The number of the Shape, -1 for none."""
    comment: str
    """C's view of it: the spelling of its type, or the bit fields within."""
    padding: bool = False

    @property
    def total_bytes(self) -> int:
        """All elements."""
        total = self.size_bytes
        for count in self.counts:
            total *= count
        return total


@dataclass(frozen=True, slots=True)
class Shape:
    """A struct or union."""

    number: int
    name: str
    union: bool
    size_bytes: int
    align_bytes: int
    """In C; 1 where packed."""
    packed: bool
    fields: tuple[Field, ...]


@dataclass(frozen=True, slots=True)
class Names:
    """The names of an enumeration, which become constants."""

    name: str
    size_bytes: int
    signed: bool
    values: tuple[EnumValue, ...]


@dataclass(frozen=True, slots=True)
class Shapes:
    """All shapes that a type needs, in order, and the type itself as a field at offset 0."""

    shapes: tuple[Shape, ...]
    enums: tuple[Names, ...]
    top: Field
    name: str
    """What to call the type where it is no shape: its own name, or the one asked for."""
    warnings: tuple[str, ...]


def shapes_of(btf: Btf, type_id: int, name: str) -> Shapes:
    """Work out the shapes of a type; ``name`` is for one that has none of its own.

    raises   BtfError; NoSize for a function or a declaration without a body
    """
    builder = _Builder(btf)
    top = builder.top(type_id, name)
    if btf.byte_order == "big":
        builder.warn("The values are big-endian: on a little-endian machine swap the bytes of each number.")
    found = btf.type(type_id)
    if isinstance(found, Typedef | Enum | Var) and found.name:
        name = found.name
    return Shapes(tuple(builder.shapes), tuple(builder.enums.values()), top, name, tuple(builder.warnings))


class _Builder:
    def __init__(self, btf: Btf) -> None:
        self._btf = btf
        self._layouts = Layouts(btf)
        self._numbers: dict[int, int] = {}
        self._times: dict[str, int] = {}
        self._speller = Speller(btf, steps=MAX_STEPS, characters=MAX_CHARACTERS)
        self._characters_left = MAX_CHARACTERS
        self._fields_left = MAX_FIELDS
        self.shapes: list[Shape] = []
        self.enums: dict[int, Names] = {}
        self.warnings: list[str] = []

    def warn(self, sentence: str) -> None:
        if sentence not in self.warnings:
            self.warnings.append(sentence)

    def top(self, type_id: int, name: str) -> Field:
        found = self._btf.resolve(type_id)
        if isinstance(found, Var):
            found = self._btf.resolve(found.target)
        if isinstance(found, Datasec):
            return self._section(found, name)
        typedef = self._btf.type(type_id)
        hint = typedef.name if isinstance(typedef, Typedef) else name
        return self._field("", found.id, 0, hint, 0)

    def _section(self, section: Datasec, name: str) -> Field:
        fields: list[Field] = []
        end = 0
        for variable in sorted(section.variables, key=lambda variable: variable.offset_bytes):
            found = self._btf.type(variable.type_id)
            if not isinstance(found, Var) or variable.offset_bytes < end:
                self.warn("Variables that overlap or have no place yet are left out: the section is not linked.")
                continue
            self._pad(fields, end, variable.offset_bytes)
            field = self._field(found.name, found.target, variable.offset_bytes, found.name, 1)
            fields.append(field)
            end = variable.offset_bytes + field.total_bytes
        self._pad(fields, end, section.size_bytes)
        number = self._add(name, max(end, section.size_bytes), 1, fields, union=False, packed=True)
        return self._shape_field("", number, 0, (), section.name)

    def _shape_field(self, name: str, number: int, offset: int, counts: tuple[int, ...], comment: str) -> Field:
        return Field(name, offset, "shape", self.shapes[number].size_bytes, counts, number, comment)

    def _pad(self, fields: list[Field], start: int, end: int) -> None:
        if end > start:
            fields.append(Field("", start, "bytes", 1, (end - start,), -1, "padding", padding=True))

    def _add(self, name: str, size_bytes: int, align: int, fields: list[Field], *, union: bool, packed: bool) -> int:
        plain = (name or "unnamed").lower().replace("_", "")
        times = self._times[plain] = self._times.get(plain, 0) + 1
        unique = name or "unnamed"
        if times > 1:  # Go and Python drop underscores: names that differ by them alone are told apart here
            unique = f"{unique}_v{times}"
        number = len(self.shapes)
        self.shapes.append(Shape(number, unique, union, size_bytes, align, packed, tuple(fields)))
        return number

    def _field(self, name: str, type_id: int, offset: int, hint: str, depth: int) -> Field:
        """Describe one field; ``hint`` names its type if that has no name."""
        self._fields_left -= 1
        if self._fields_left < 0:
            raise TooLarge(f"This type has more than {MAX_FIELDS} fields in all: too many for a declaration")
        comment = self._speller.declare(type_id)
        self._spend(name, hint)
        counts: list[int] = []
        current = type_id
        for _ in range(MAX_DEPTH):
            typedef = self._btf.type(current)
            if isinstance(typedef, Typedef):
                hint = typedef.name
            found = self._btf.resolve(current)
            if not isinstance(found, Array):
                break
            counts.append(found.count)
            current = found.element
        else:
            raise TooDeep(type_id, MAX_DEPTH)
        at = tuple(counts)
        self._btf.size_bytes(type_id)
        match found:
            case Int():
                if found.bool_:
                    self.warn(
                        "bool is a byte here: a program may store more than 0 and 1 in it, which few languages bear."
                    )
                if found.size_bytes == INT128_BYTES:
                    self.warn("__int128 is aligned to 16 bytes in C; other languages may align it less.")
                if found.size_bytes & (found.size_bytes - 1):
                    return Field(name, offset, "bytes", 1, (*at, found.size_bytes), -1, comment)
                encoding: Encoding = "signed" if found.signed and not found.char else "unsigned"
                return Field(name, offset, encoding, found.size_bytes, at, -1, comment)
            case Float():
                if found.size_bytes in {4, 8}:
                    return Field(name, offset, "float", found.size_bytes, at, -1, comment)
                self.warn(f"{found.name} of {found.size_bytes} bytes stands as bytes: only 4 and 8 bytes are portable.")
                return Field(name, offset, "bytes", 1, (*at, found.size_bytes), -1, comment)
            case Enum():
                self._enum(found, hint)
                return Field(name, offset, "signed" if found.signed else "unsigned", found.size_bytes, at, -1, comment)
            case Ptr():
                self.warn("Pointers stand as plain numbers: they are addresses in the kernel, not in this program.")
                return Field(name, offset, "unsigned", self._btf.pointer_bytes, at, -1, comment)
            case Struct() | Union():
                number = self._composite(found, hint, depth + 1)
                return self._shape_field(name, number, offset, at, comment)
        raise NoSize(f"BTF type {type_id}: {comment} has no size, so it cannot be declared")

    def _spend(self, *texts: str) -> None:
        self._characters_left -= sum(map(len, texts))
        if self._characters_left < 0:
            raise TooLarge(f"The names within this type have more than {MAX_CHARACTERS} characters in all")

    def _enum(self, found: Enum, hint: str) -> None:
        if found.id not in self.enums:
            self.warn("An enumeration stands as a number with constants: a value without a name is possible.")
            self._spend(*(value.name for value in found.values))
            self.enums[found.id] = Names(found.name or hint, found.size_bytes, found.signed, found.values)

    def _composite(self, found: Composite, hint: str, depth: int) -> int:
        if depth > MAX_DEPTH:
            raise TooDeep(found.id, MAX_DEPTH)
        if found.id in self._numbers:
            return self._numbers[found.id]
        layout = self._layouts.of(found)
        name = found.name or hint
        if layout.packed:
            self.warn(f"{name} is packed: it has members that are not aligned, so take no reference to them.")
        fields: list[Field] = []
        if isinstance(found, Union):
            self._union(found, layout.places, name, fields, depth)
        else:
            self._struct(found, layout.places, name, fields, depth)
        is_union = isinstance(found, Union)
        number = self._add(name, found.size_bytes, layout.align_bytes, fields, union=is_union, packed=layout.packed)
        self._numbers[found.id] = number
        return number

    def _member(self, place: Place, owner: str, depth: int) -> Field:
        name = place.member.name or f"anon{place.index}"
        field = self._field(name, place.member.type_id, place.offset_bits // 8, f"{owner}_{name}", depth)
        if field.counts and field.total_bytes == 0:
            self.warn(f"{owner}.{name} is a flexible or empty array: it has no size, its elements follow the struct.")
        return field

    def _union(self, found: Composite, places: tuple[Place, ...], name: str, fields: list[Field], depth: int) -> None:
        self.warn(f"{name} is a union: which member is meant is not stored.")
        largest = 0
        for place in places:
            if place.bit_field:
                n_bytes = -(-place.width_bits // 8)
                fields.append(self._bits(place.member.name or f"bits{place.index}", [place], 0, n_bytes))
            else:
                fields.append(self._member(place, name, depth))
            largest = max(largest, fields[-1].total_bytes)
        if largest < found.size_bytes:
            fields.append(Field("size_of_union", 0, "bytes", 1, (found.size_bytes,), -1, "all of it", padding=True))

    def _struct(self, found: Composite, places: tuple[Place, ...], name: str, fields: list[Field], depth: int) -> None:
        end = 0
        held: list[Place] = []
        for place in (*places, None):
            if held and (place is None or not place.bit_field or place.offset_bits // 8 > _end_byte(held)):
                end = self._hold(fields, held, end)
                held = []
            if place is None:
                break
            if place.bit_field:
                held.append(place)
                continue
            offset = place.offset_bits // 8
            if offset < end:
                raise TooLarge(f"{name}: its members overlap, which no language but C with bit fields can say")
            self._pad(fields, end, offset)
            fields.append(self._member(place, name, depth))
            end = offset + fields[-1].total_bytes
        self._pad(fields, end, found.size_bytes)

    def _hold(self, fields: list[Field], held: list[Place], end: int) -> int:
        start = min(place.offset_bits for place in held) // 8
        stop = _end_byte(held)
        if start < end:
            raise TooLarge("Bit fields overlap other members, which no language but C can say")
        self._pad(fields, end, start)
        fields.append(self._bits(f"bits_{start}", held, start, stop - start))
        return stop

    def _bits(self, name: str, held: list[Place], start: int, n_bytes: int) -> Field:
        self.warn("Bit fields stand as the bytes that hold them: take the bits that the comment names.")
        end = "highest bit first" if self._btf.byte_order == "big" else "lowest bit first"
        texts = []
        for place in held:
            first = place.offset_bits - start * 8
            self._spend(place.member.name)
            texts.append(f"{place.member.name or 'unnamed'} = bits {first}..{first + place.width_bits - 1}")
            self._fields_left -= 1
        return Field(name, start, "bytes", 1, (n_bytes,), -1, f"{', '.join(texts)} ({end})")


def _end_byte(held: list[Place]) -> int:
    return -(-max(place.offset_bits + place.width_bits for place in held) // 8)


def one_line(text: str) -> str:
    """Make text safe inside a comment that ends with the line."""
    return "".join(char if char.isprintable() else "?" for char in text)
