"""A type as Python: ctypes structures whose every byte is a field."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.btf.declaration import Declaration
from app.btf.shape import INT128_BYTES, Field, Shape, one_line, shapes_of
from app.btf.words import PYTHON_KEYWORDS, Unique, plain

if TYPE_CHECKING:
    from app.btf.parse import Btf


def python(btf: Btf, type_id: int, *, name: str = "value") -> Declaration:
    """Declare a type with ctypes; see ``Declaration``. ``name`` is for a type that has none.

    raises   BtfError
    """
    shapes = shapes_of(btf, type_id, name)
    names = [_class_name(shape.name) for shape in shapes.shapes]
    prefix = "BigEndian" if btf.byte_order == "big" else ""
    lines = ["import ctypes", ""]
    constants = Unique()
    for enum in shapes.enums:
        lines.append(f"# enum {one_line(enum.name)}")
        lines += [f"{constants(plain(value.name, PYTHON_KEYWORDS))} = {value.value}" for value in enum.values]
        lines.append("")
    for shape in shapes.shapes:
        lines += ["", *_shape(shape, names, prefix), ""]
    warnings = tuple(sentence for sentence in shapes.warnings if "big-endian" not in sentence)
    if shapes.top.shape < 0 or shapes.top.counts:
        alias = plain(shapes.name, PYTHON_KEYWORDS)
        lines.append(f"{alias} = {_type(shapes.top, names, prefix)}  # {one_line(shapes.top.comment)}")
        return Declaration("\n".join(lines) + "\n", warnings, alias)
    return Declaration("\n".join(lines), warnings, names[shapes.top.shape])


def _class_name(name: str) -> str:
    """Return the name with one underscore in front at most: within a class Python changes those with two."""
    name = plain(name, PYTHON_KEYWORDS)
    return f"_{name.lstrip('_')}" if name.startswith("__") else name


def _type(field: Field, names: list[str], prefix: str) -> str:
    counts = field.counts
    match field.encoding:
        case "shape":
            text = names[field.shape]
        case "bytes":
            text = "ctypes.c_uint8"
        case "float":
            text = {4: "ctypes.c_float", 8: "ctypes.c_double"}[field.size_bytes]
        case _ if field.size_bytes == INT128_BYTES:
            text, counts = "ctypes.c_uint64", (*counts, 2)
        case _:
            text = f"ctypes.c_{'' if field.encoding == 'signed' else 'u'}int{field.size_bytes * 8}"
            if field.comment.startswith("char["):
                text = "ctypes.c_char"
    if prefix and field.encoding in {"float", "signed", "unsigned"} and not field.name and field.shape < 0:
        text += ".__ctype_be__"
    for count in reversed(counts):
        text = f"({text} * {count})"
    return text


def _shape(shape: Shape, names: list[str], prefix: str) -> list[str]:
    given = Unique()
    lines = [
        f"class {names[shape.number]}(ctypes.{prefix}{'Union' if shape.union else 'Structure'}):",
        f"    # {shape.size_bytes} bytes; holes are fields, so nothing is left to the platform's alignment",
        '    _layout_ = "ms"',
        "    _pack_ = 1",
        "    _fields_ = [",
    ]
    for field in shape.fields:
        word = given(plain(field.name, PYTHON_KEYWORDS) if field.name else f"_pad{field.offset_bytes}")
        kind = _type(field, names, prefix)
        lines.append(f'        ("{word}", {kind}),  # offset {field.offset_bytes}: {one_line(field.comment)}')
    return [*lines, "    ]"]
