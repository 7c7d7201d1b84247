"""A type as Go: structs whose holes are blank fields, with bytes where Go cannot place a field."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.btf.declaration import Declaration
from app.btf.shape import INT128_BYTES, Field, Shape, Shapes, one_line, shapes_of
from app.btf.words import Unique, camel, plain

if TYPE_CHECKING:
    from app.btf.parse import Btf

MAX_ALIGN_BYTES = 8
"""No type of Go asks for more."""


def go(btf: Btf, type_id: int, *, name: str = "value") -> Declaration:
    """Declare a type in Go; see ``Declaration``. ``name`` is for a type that has none.

    raises   BtfError
    """
    return _Writer(shapes_of(btf, type_id, name)).declaration()


class _Writer:
    def __init__(self, shapes: Shapes) -> None:
        self._shapes = shapes
        self._warnings = list(shapes.warnings)
        given = Unique()
        self._names = [given(camel(shape.name)) for shape in shapes.shapes]
        self._aligns: list[int] = []

    def declaration(self) -> Declaration:
        shapes = self._shapes
        lines: list[str] = []
        constants = Unique()
        for enum in shapes.enums:
            word = f"{'int' if enum.signed else 'uint'}{enum.size_bytes * 8}"
            lines += [f"const ( // enum {one_line(enum.name)}"]
            for value in enum.values:
                number = value.value if enum.signed else value.value & ((1 << enum.size_bytes * 8) - 1)
                lines.append(f"\t{constants(plain(value.name))} {word} = {number}")
            lines += [")", ""]
        for shape in shapes.shapes:
            lines += [*self._shape(shape), ""]
        if shapes.top.shape < 0 or shapes.top.counts:
            type_text = camel(shapes.name)
            lines.append(f"type {type_text} {self._type(shapes.top)[0]} // {one_line(shapes.top.comment)}")
        else:
            type_text = self._names[shapes.top.shape]
        return Declaration("\n".join(lines).rstrip() + "\n", tuple(dict.fromkeys(self._warnings)), type_text)

    def _type(self, field: Field) -> tuple[str, int]:
        """Return the type's text and the alignment that Go gives it on 64-bit machines."""
        counts = field.counts
        match field.encoding:
            case "shape" if self._shapes.shapes[field.shape].union:
                text, align, counts = "byte", 1, (*counts, field.size_bytes)
            case "shape":
                text, align = self._names[field.shape], self._aligns[field.shape]
            case "bytes":
                text, align = "byte", 1
            case "float":
                text, align = f"float{field.size_bytes * 8}", field.size_bytes
            case _ if field.size_bytes == INT128_BYTES:
                self._warnings.append(
                    "Go has no 128-bit integer: it stands as two uint64, low half first on little-endian."
                )
                text, align, counts = "uint64", 8, (*counts, 2)
            case _:
                text, align = f"{'' if field.encoding == 'signed' else 'u'}int{field.size_bytes * 8}", field.size_bytes
        return "".join(f"[{count}]" for count in counts) + text, align

    def _shape(self, shape: Shape) -> list[str]:
        name = self._names[shape.number]
        if shape.union:
            self._aligns.append(1)
            self._warnings.append(f"Go has no unions: {name} stands as its {shape.size_bytes} bytes where it is used.")
            lines = [f"// {name} is a union of {shape.size_bytes} bytes:"]
            return lines + [f"//   {one_line(field.name)} {self._type(field)[0]}" for field in shape.fields]
        given = Unique()
        limit = 1
        while limit < MAX_ALIGN_BYTES and shape.size_bytes % (limit * 2) == 0 and shape.size_bytes:
            limit *= 2
        lines = [f"type {name} struct {{ // {shape.size_bytes} bytes"]
        most = 1
        for field in shape.fields:
            note = f"// offset {field.offset_bytes}: {one_line(field.comment)}"
            text, align = self._type(field)
            word = given(camel(field.name)) if field.name and not field.padding else "_"
            if field.total_bytes == 0:
                self._warnings.append(f"{name}.{word} has no size and is left out: Go would add bytes for it.")
                lines.append(f"\t// {word} {text} {note[3:]}")
                continue
            if field.offset_bytes % align or align > limit:
                self._warnings.append(f"{name}.{word} is not aligned as Go would have it: it stands as bytes.")
                text, align = f"[{field.total_bytes}]byte", 1
            most = max(most, align)
            lines.append(f"\t{word} {text} {note}")
        self._aligns.append(most)
        return [*lines, "}"]
