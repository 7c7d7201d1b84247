"""A type as Rust: ``#[repr(C)]`` structs and unions whose every byte is a field."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.btf.declaration import Declaration
from app.btf.shape import Field, Shape, Shapes, one_line, shapes_of
from app.btf.words import RUST_KEYWORDS, Unique, plain

if TYPE_CHECKING:
    from app.btf.parse import Btf


def rust(btf: Btf, type_id: int, *, name: str = "value") -> Declaration:
    """Declare a type in Rust; see ``Declaration``. ``name`` is for a type that has none.

    raises   BtfError
    """
    shapes = shapes_of(btf, type_id, name)
    names = [plain(shape.name, RUST_KEYWORDS) for shape in shapes.shapes]
    constants = Unique()
    lines: list[str] = []
    for enum in shapes.enums:
        word = f"{'i' if enum.signed else 'u'}{enum.size_bytes * 8}"
        for value in enum.values:
            constant = constants(plain(value.name, RUST_KEYWORDS))
            lines.append(
                f"pub const {constant}: {word} = {_wrapped(value.value, enum.size_bytes, signed=enum.signed)};"
            )
        lines.append("")
    for shape in shapes.shapes:
        lines += [*_shape(shape, names), ""]
    if shapes.top.shape < 0 or shapes.top.counts:
        alias = plain(shapes.name, RUST_KEYWORDS)
        lines.append(f"pub type {alias} = {_type(shapes.top, names)}; // {one_line(shapes.top.comment)}")
        return Declaration("\n".join(lines) + "\n", shapes.warnings, alias)
    return Declaration("\n".join(lines), _warnings(shapes), names[shapes.top.shape])


def _warnings(shapes: Shapes) -> tuple[str, ...]:
    extra = []
    if any(shape.union for shape in shapes.shapes):
        extra.append(
            "Reading a member of a Rust union is unsafe: every byte pattern must be valid for it, as it is here."
        )
    return (*shapes.warnings, *extra)


def _wrapped(value: int, size_bytes: int, *, signed: bool) -> int:
    value &= (1 << size_bytes * 8) - 1
    return value - (1 << size_bytes * 8) if signed and value >> (size_bytes * 8 - 1) else value


def _type(field: Field, names: list[str]) -> str:
    match field.encoding:
        case "shape":
            text = names[field.shape]
        case "bytes":
            text = "u8"
        case "float":
            text = f"f{field.size_bytes * 8}"
        case _:
            text = f"{'i' if field.encoding == 'signed' else 'u'}{field.size_bytes * 8}"
    for count in reversed(field.counts):
        text = f"[{text}; {count}]"
    return text


def _shape(shape: Shape, names: list[str]) -> list[str]:
    given = Unique()
    lines = [
        f"#[repr(C{', packed' if shape.packed else ''})]",
        "#[derive(Clone, Copy)]",
        "#[allow(non_camel_case_types)]",
        f"pub {'union' if shape.union else 'struct'} {names[shape.number]} {{ // {shape.size_bytes} bytes",
    ]
    for field in shape.fields:
        word = given(plain(field.name, RUST_KEYWORDS) if field.name else f"_pad{field.offset_bytes}")
        lines.append(
            f"    pub {word}: {_type(field, names)}, // offset {field.offset_bytes}: {one_line(field.comment)}"
        )
    return [*lines, "}"]
