"""One column per field: views of the bytes where the machine can read them in place, one vectorised step elsewhere.

A path is ``key`` or ``value``, then the field: "key", "key.saddr", "value.slots[3]", "value[0]". In a per-CPU map
"value.x" is the sum over all CPUs of what can be added up, and CPU 0 of what cannot (text, names, addresses, bytes);
"value@sum.x", "value@min.x", "value@max.x", "value@cpu3.x" choose, "value@each.x" keeps the CPUs as an axis.
Sums of integers are taken modulo 2**64.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.columns.errors import NoSuchField, NotOneColumn
from app.columns.node import Node, NodeKind
from app.columns.table import Bytes, Layout, Table

Column = NDArray[Any]

_PATH = re.compile(r"(key|value)(?:@([A-Za-z0-9]+))?(?:\.(?=[^.\[])|(?=\[)|$)(.*)", re.DOTALL)
_WORD_BITS = 64


@dataclass(frozen=True, slots=True)
class Field:
    """A path, looked up in a layout."""

    path: str
    group: str
    """"key" or "value"."""
    node: Node
    fold: str
    """How the CPUs become one: "" (there are none), "sum", "min", "max", "each", "any", "all", "cpu0", "cpu1" …"""


def full_path(group: str, path: str) -> str:
    """``path`` of a node with its group before it."""
    return group + ("" if not path else path if path[0] == "[" else "." + path)


def known_paths(layout: Layout) -> list[str]:
    """Every path worth suggesting."""
    return [
        full_path(group, path)
        for group, plan in (("key", layout.key), ("value", layout.value))
        if plan is not None
        for path in ("", *plan.paths())
    ]


def locate(layout: Layout, path: str) -> Field:
    """What ``path`` names. raises NoSuchField"""
    match = _PATH.fullmatch(path)
    plan = None if match is None else layout.key if match[1] == "key" else layout.value
    if match is None or plan is None:
        raise NoSuchField(path, known_paths(layout))
    try:
        node = plan.find(match[3])
    except NoSuchField:
        raise NoSuchField(path, known_paths(layout)) from None
    return Field(path, match[1], node, _fold(layout, path, match[1], match[2], node))


def column(table: Table, path: str) -> Column:
    """The field at ``path`` of every entry.

    returns  [n]: integers in their own width, uint64 or int64 for bit fields and odd widths, Python integers (object)
             beyond 64 bits; bool; float; enums and pointers as integers; text as S, ended at its first NUL.
             Arrays of these [n, count, …]. Structs, unions and bytes uint8[n, size]. In host byte order.
    raises   NoSuchField, NotOneColumn
    """
    field = locate(table.layout, path)
    return fold(field, read_field(table, field))


def read_field(table: Table, field: Field) -> Column:
    """`column` before the CPUs are folded into one: [n, …] or [n, n_cpus, …]."""
    data = table.keys if field.group == "key" else table.values
    return native(read(field.node, data, 0))


def fold(field: Field, values: Column) -> Column:
    """[n, n_cpus, …] to [n, …] in the way that ``field`` says."""
    if field.fold in {"", "each"}:
        return values
    if field.fold.startswith("cpu"):
        one: Column = values[:, int(field.fold[3:])]
        return one
    if field.fold in {"sum", "min", "max"}:
        with np.errstate(all="ignore"):  # any bytes can be a float: NaN and overflow are answers here
            folded: Column = getattr(values, field.fold)(axis=1)
        return folded
    raise NotOneColumn(f"{field.path} is a question for a filter; a column is @sum, @min, @max, @each or @cpu0 …")


def read(node: Node, data: Bytes, base_bytes: int) -> Column:
    """``node`` out of ``data`` uint8[…, size], whose bytes begin at ``base_bytes`` of the key or value.

    returns  […] or […, count, …] as `column` says, perhaps in the other byte order
    """
    start = node.offset_bytes - base_bytes
    span = data[..., start : start + node.size_bytes]
    match node.kind:
        case NodeKind.INT | NodeKind.ENUM | NodeKind.PTR:
            return _integer(node, span)
        case NodeKind.BOOL:
            return np.not_equal(_integer(node, span), 0)
        case NodeKind.FLOAT:
            return in_place(span, f"{_mark(node)}f{node.size_bytes}")[..., 0]
        case NodeKind.TEXT:
            return text(span)
        case NodeKind.ARRAY if _element_scalar(node):
            return _array(node, span)
        case _:
            return span


def native(values: Column) -> Column:
    """The same numbers in host byte order."""
    # Swapped as bytes: a cast would make a quiet NaN of a signalling one, with a warning.
    return values if values.dtype.isnative else values.byteswap().view(values.dtype.newbyteorder("="))


def in_place(span: Bytes, dtype: str) -> Column:
    """``span`` uint8[…, k * itemsize] as dtype[…, k], without a copy where the bytes of a row lie together."""
    if span.shape[-1] > 1 and span.strides[-1] != 1:
        span = np.ascontiguousarray(span)
    if span.size == 0:
        return np.zeros((*span.shape[:-1], span.shape[-1] // np.dtype(dtype).itemsize), dtype)
    return span.view(dtype)


def text(span: Bytes) -> Column:
    """``char[n]`` as S[n]: bytes after the first NUL, which C does not see either, are gone."""
    if span.size == 0:
        return np.zeros(span.shape[:-1], "S1")
    ended = np.logical_or.accumulate(span == 0, axis=-1)
    return np.where(ended, np.uint8(0), span).view(f"S{span.shape[-1]}")[..., 0]


def _fold(layout: Layout, path: str, group: str, asked: str | None, node: Node) -> str:
    if group == "key" or not layout.n_cpus:
        if asked is not None:
            raise NoSuchField(path, known_paths(layout))
        return ""
    leaf = node
    while leaf.kind is NodeKind.ARRAY and leaf.element is not None:
        leaf = leaf.element
    if asked is None:
        return "sum" if leaf.numeric else "cpu0"
    if asked in {"sum", "min", "max"}:
        if not (leaf.scalar and not leaf.special) or (asked == "sum" and leaf.kind in {NodeKind.ENUM, NodeKind.PTR}):
            raise NotOneColumn(f"{path}: {leaf.type_name} has no {asked}; use @cpu0 … @cpu{layout.n_cpus - 1} or @each")
        return asked
    number = asked.removeprefix("cpu")
    if asked in {"each", "any", "all"}:
        return asked
    if number != asked and number.isdecimal() and len(number) < 6 and int(number) < layout.n_cpus:
        return f"cpu{int(number)}"
    raise NotOneColumn(
        f"{path}: @{asked[:20]} is not one of @sum, @min, @max, @each, @any, @all, @cpu0 … @cpu{layout.n_cpus - 1}"
    )


def _mark(node: Node) -> str:
    return "<" if node.byte_order == "little" else ">"


def _element_scalar(node: Node) -> bool:
    element = node.element
    while element is not None and element.kind is NodeKind.ARRAY:
        element = element.element
    return element is not None and (element.scalar or element.kind is NodeKind.TEXT)


def _array(node: Node, span: Bytes) -> Column:
    element = node.element
    if element is None or node.count == 0:
        return np.zeros((*span.shape[:-1], node.count), np.uint8)
    if element.kind in {NodeKind.INT, NodeKind.ENUM, NodeKind.PTR, NodeKind.FLOAT} and element.stride_bits == 0:
        dtype = _dtype(element)
        if dtype is not None and element.size_bits == node.stride_bits:
            return in_place(span, dtype)
    stride_bytes = node.stride_bits // 8
    return read(element, span.reshape(*span.shape[:-1], node.count, stride_bytes), node.offset_bytes)


def _dtype(node: Node) -> str | None:
    """The machine's own type for ``node``, or None for bit fields and odd widths."""
    if node.bitfield and (node.offset_bits % 8 or node.size_bits not in {8, 16, 32, 64}):
        return None
    if node.size_bits not in {8, 16, 32, 64}:
        return None
    letter = "f" if node.kind is NodeKind.FLOAT else "i" if node.signed else "u"
    return f"{_mark(node)}{letter}{node.size_bits // 8}"


def _integer(node: Node, span: Bytes) -> Column:
    dtype = _dtype(node)
    if dtype is not None and node.offset_bits % 8 == 0:
        return in_place(span, dtype)[..., 0]
    if node.size_bits > _WORD_BITS:
        return _wide(node, span)
    return _bits(node, span)


def _bits(node: Node, span: Bytes) -> Column:
    """Up to 64 bits out of up to 9 bytes: one shift brings the field's top bit to the word's, another one down."""
    n_bytes = span.shape[-1]
    little = node.byte_order == "little"
    lead = node.offset_bits % 8
    unused = n_bytes * 8 - lead - node.size_bits  # bits behind the field, in its last byte
    low = lead if little else unused
    word = np.zeros((*span.shape[:-1], 8), np.uint8)
    if little:
        word[..., : min(n_bytes, 8)] = span[..., :8]
    else:
        word[..., 8 - min(n_bytes, 8) :] = span[..., -8:]
    bits = native(in_place(word, "<u8" if little else ">u8")[..., 0]) >> np.uint64(low)
    if n_bytes > 8:
        top = span[..., -1 if little else 0].astype(np.uint64)
        bits = bits | (top << np.uint64(_WORD_BITS - low))
    rest = _WORD_BITS - node.size_bits
    if node.signed:
        return (bits << np.uint64(rest)).view(np.int64) >> np.int64(rest)
    return (bits << np.uint64(rest)) >> np.uint64(rest)


def _wide(node: Node, span: Bytes) -> Column:
    """65 to 128 bits (in up to 17 bytes) as Python integers."""
    n_bytes = span.shape[-1]
    lead = node.offset_bits % 8
    low = lead if node.byte_order == "little" else n_bytes * 8 - lead - node.size_bits
    mask = (1 << node.size_bits) - 1
    sign = 1 << (node.size_bits - 1) if node.signed else 0
    rows = np.ascontiguousarray(span).reshape(-1, n_bytes)
    out = np.empty(len(rows), object)
    order = node.byte_order
    for index, row in enumerate(rows):
        number = int.from_bytes(row.tobytes(), order) >> low & mask
        out[index] = (number ^ sign) - sign
    return out.reshape(span.shape[:-1])
