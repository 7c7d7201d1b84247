"""Text for people: the columns of a page, and its cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from app.columns.decode import (
    Column,
    Field,
    fold,
    full_path,
    known_paths,
    locate,
    native,
    read,
    read_field,
)
from app.columns.errors import NoSuchField, UnknownLens
from app.columns.json_text import numbers, template
from app.columns.lenses import choose, show
from app.columns.lenses.show import NO_NAMES, Names
from app.columns.node import REDACTED, Node, NodeKind, is_in6_addr, is_octets, leaves
from app.columns.plan import ARRAY_LIMIT, Plan
from app.columns.table import Bytes, Layout, Table

HEAD_LIMIT = 64
TEXT_BYTES = 256
"""A cell's text is cut here …"""
TITLE_BYTES = 4096
"""… and its title here, both with a mark."""
MARK = "…"
_LIST_ELEMENTS = 512
_NUMBER_LENSES = frozenset({"number", "be", "bytes", "duration", "seconds", "float"})
_VARIABLE_HEADS = (("variable", "text"), ("type", "text"), ("value", "struct"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """One column of a page."""

    path: str
    """What a filter calls it, "value.packets"."""
    label: str
    """The path without its group; "key" or "value" where that is all there is."""
    group: str
    """"key" or "value"."""
    type_name: str
    lens: str
    choices: tuple[str, ...]
    """Lenses that can show it."""
    numeric: bool
    """Right-aligned, on the last digit."""
    special: str = ""
    """The kernel's name of a field that is its own ("bpf_timer"), else ""."""
    bitfield: bool = False


@dataclass(frozen=True, slots=True)
class Cell:
    """One field of one entry."""

    text: str
    """Through the lens, at most TEXT_BYTES characters and the mark."""
    title: str
    """The exact value, the bytes, or what each CPU has; "" when the text says it all."""
    kind: str
    """"number", "name", "text", "bytes", "list", "struct" or "opaque"."""
    raw: str
    """The exact value to copy: decimal digits, JSON, or text."""


def heads(
    layout: Layout, *, lenses: Mapping[str, str] | None = None, columns: Sequence[str] | None = None,
    limit: int = HEAD_LIMIT,
) -> list[Head]:  # fmt: skip
    """The columns of a page: the leaves of key and value in order, at most ``limit``; or just ``columns``.

    A section of global variables has the columns variable, type and value instead, and its rows are the variables.
    lenses  path -> lens, over the ones that names and types suggest
    raises  UnknownLens, NoSuchField (also for a lens given to a path that is not there)
    """
    chosen = dict(lenses or {})
    if layout.datasec and layout.value is not None and layout.value.root.kind is NodeKind.DATASEC and columns is None:
        return [
            Head(path=name, label=name, group="value" if name == "value" else "key", type_name="", lens=lens,
                 choices=(lens,), numeric=False)
            for name, lens in _VARIABLE_HEADS
        ]  # fmt: skip
    for path in chosen:
        locate(layout, path)
    if columns is not None:
        return [head(layout, path, chosen.get(path)) for path in columns]
    paths = (
        full_path(group, node.path)
        for group, plan in (("key", layout.key), ("value", layout.value))
        if plan is not None
        for node in leaves(plan.root, ARRAY_LIMIT)
    )
    return [head(layout, path, chosen.get(path)) for path in islice(paths, limit)]


def head(layout: Layout, path: str, lens: str | None = None) -> Head:
    """One column. raises NoSuchField, UnknownLens"""
    field = locate(layout, path)
    node = field.node
    suitable = choose.choices(node)
    if lens is not None and lens not in suitable:
        raise UnknownLens(path, lens, suitable)
    used = lens or choose.default(node, _plan(layout, field.group))
    return Head(
        path=path, label=path.partition(".")[2] or path, group=field.group, type_name=node.type_name, lens=used,
        choices=suitable, numeric=used in _NUMBER_LENSES, special=node.special, bitfield=node.bitfield,
    )  # fmt: skip


def row_count(table: Table) -> int:
    """Rows that a page can show: entries, or variables of a section."""
    value = table.layout.value
    if table.layout.datasec and value is not None and value.root.kind is NodeKind.DATASEC:
        return len(value.root.children) if len(table) else 0
    return len(table)


def cells(
    table: Table,
    page_heads: Sequence[Head],
    indices: NDArray[np.int64] | slice | Sequence[int] | None = None,
    names: Names = NO_NAMES,
) -> list[list[Cell]]:
    """One list of cells per row at ``indices`` (None: all), a cell per head."""
    chosen = slice(None) if indices is None else indices
    if page_heads and page_heads[0].path == _VARIABLE_HEADS[0][0] and table.layout.datasec:
        return _variables(table, chosen, names)
    page = table.take(chosen if isinstance(chosen, slice) else np.asarray(chosen, np.int64))
    columns = [column_cells(page, one, names) for one in page_heads]
    return [list(row) for row in zip(*columns, strict=True)] if columns else [[] for _ in range(len(page))]


def column_cells(page: Table, one: Head, names: Names = NO_NAMES) -> list[Cell]:
    """The cells of one column, for all of ``page``."""
    field = locate(page.layout, one.path)
    return _fields(page, field, one.lens, names)


def reading(node: Node, lens: str, data: bytes, names: Names = NO_NAMES) -> str:
    """Text of ``node`` in one whole key or value ``data``, through ``lens``."""
    return _one(node, lens, data, names).text


def two_readings(node: Node, lens: str, old: bytes, new: bytes, names: Names = NO_NAMES) -> tuple[str, str]:
    """The same of two whole values, told apart where they differ."""
    before, after = told_apart(_one(node, lens, old, names), _one(node, lens, new, names))
    return before.text, after.text


def told_apart(old: Cell, new: Cell) -> tuple[Cell, Cell]:
    """Two cells of one field; where both read the same and are not, as two moments of one millisecond, the exact values."""
    if old.text != new.text or old.raw == new.raw or max(len(old.raw), len(new.raw)) > TEXT_BYTES:
        return old, new
    return replace(old, text=old.raw), replace(new, text=new.raw)


def _one(node: Node, lens: str, data: bytes, names: Names) -> Cell:
    return _single(Field("value", "value", node, ""), lens, np.frombuffer(data, np.uint8).reshape(1, -1), names)[0]


def _fields(page: Table, field: Field, lens: str, names: Names) -> list[Cell]:
    data = page.keys if field.group == "key" else page.values
    if field.fold in {"", "each"} and data.ndim == 2:
        return _single(field, lens, data, names)
    if field.node.scalar and field.node.numeric and field.fold in {"sum", "min", "max"}:
        each = read_field(page, field)
        total = fold(field, each)
        told = [", ".join(map(str, row[:_LIST_ELEMENTS])) for row in each.tolist()]
        shown = _numbers(field.node, lens, total, names)
        title = f"{field.fold} of {page.layout.n_cpus} CPUs: "
        return [replace(cell, title=_cut(title + text, TITLE_BYTES)) for cell, text in zip(shown, told, strict=True)]
    if field.fold in {"sum", "min", "max"}:
        folded = numbers(fold(field, read_field(page, field)))
        return [_json_cell("list", text.decode(), TEXT_BYTES) for text in folded]
    if field.fold.startswith("cpu") and "@" in field.path:
        return _single(field, lens, data[:, int(field.fold[3:])], names)
    return _per_cpu(page, field, lens, names)


def _per_cpu(page: Table, field: Field, lens: str, names: Names) -> list[Cell]:
    """What cannot be added up: one text where all CPUs agree, else that of each."""
    n_rows, n_cpus, size_bytes = page.values.shape
    flat = _single(field, lens, page.values.reshape(n_rows * n_cpus, size_bytes), names)
    out = []
    for row in range(n_rows):
        some = flat[row * n_cpus : (row + 1) * n_cpus]
        if len({cell.raw for cell in some}) == 1:
            out.append(some[0])
            continue
        told = "\n".join(f"CPU {cpu}: {cell.text}" for cpu, cell in enumerate(some))
        text = " | ".join(cell.text for cell in some)
        raw = "[" + ",".join(cell.raw for cell in some) + "]"
        out.append(Cell(_cut(text, TEXT_BYTES), _cut(told, TITLE_BYTES), some[0].kind, raw))
    return out


def _single(field: Field, lens: str, data: Bytes, names: Names) -> list[Cell]:
    """Data uint8[n, size] -> n cells."""
    node = field.node
    span = data[:, node.offset_bytes : node.end_bytes]
    if node.special == REDACTED:
        return [Cell(REDACTED, "hidden from your role by the policy", "opaque", "")] * len(data)
    if node.special:
        return [Cell(node.special, f"{node.special}: only the kernel can use these bytes", "opaque", "")] * len(data)
    if node.scalar:
        return _numbers(node, lens, _scalars(node, data), names)
    if node.kind is NodeKind.TEXT and lens == "text":
        return [_text_cell(row) for row in _rows(span)]
    if node.kind is NodeKind.BYTES or is_octets(node) or is_in6_addr(node) or lens in {"octets", "ipv6", "mac", "ipv4"}:
        return _octet_cells(node, lens, span, data, names)
    return _json_cells(node, data)


def _scalars(node: Node, data: Bytes) -> Column:
    return native(read(node, data, 0))


def _numbers(node: Node, lens: str, values: Column, names: Names) -> list[Cell]:
    if node.kind is NodeKind.FLOAT:
        return [Cell(show.floating(number), "", "number", show.floating(number)) for number in values.tolist()]
    kind = "number" if lens in _NUMBER_LENSES or lens in {"hex", "plain", "pointer"} else "name"
    out = []
    for number in values.tolist():
        exact = str(int(number))
        text = show.integer(lens, node, int(number), names)
        title = "" if text == exact else exact
        if node.kind is NodeKind.ENUM and lens == "enum" and text == exact:
            title = f"{exact} is no {node.type_name}"
        out.append(Cell(_cut(text, TEXT_BYTES), title, kind, exact))
    return out


def _octet_cells(node: Node, lens: str, span: Bytes, data: Bytes, names: Names) -> list[Cell]:
    if lens in {"number", "plain", "hex"} and node.size_bytes in {1, 2, 4, 8}:
        number = Node(
            kind=NodeKind.INT, offset_bits=node.offset_bits, size_bits=node.size_bytes * 8, byte_order=node.byte_order
        )
        return _numbers(number, lens, _scalars(number, data), names)
    if lens in {"list", "struct", "bars"}:
        return _json_cells(node, data)
    out = []
    for row in _rows(span):
        plain = show.octets("octets", row[:TITLE_BYTES])
        text = plain if lens == "octets" else show.octets(lens, row)
        title = "" if text == plain and len(plain) <= TEXT_BYTES else _cut(plain, TITLE_BYTES)
        kind = "text" if lens == "text" else "bytes"
        out.append(Cell(_cut(text, TEXT_BYTES), title, kind, row[:TITLE_BYTES].hex()))
    return out


def _text_cell(row: bytes) -> Cell:
    text = show.text(row)
    ended = row.split(b"\0", 1)
    rest = ended[1].rstrip(b"\0") if len(ended) > 1 else b""
    title = f"{text}, then behind the NUL: {rest.hex(' ')}" if rest else text if len(text) > TEXT_BYTES else ""
    return Cell(_cut(text, TEXT_BYTES), _cut(title, TITLE_BYTES), "text", text)


def _json_cells(node: Node, data: Bytes) -> list[Cell]:
    """Arrays and structs as compact lists; of long arrays only the beginning is rendered."""
    kind = "list" if node.kind is NodeKind.ARRAY else "struct"
    cut = node.count > _LIST_ELEMENTS
    if cut:
        node = replace(node, count=_LIST_ELEMENTS, size_bits=_LIST_ELEMENTS * node.stride_bits)
    lines = (show.printable(line.decode()) for line in template(node).render(data))
    return [_json_cell(kind, line[:-1] + ",…]" if cut else line, TEXT_BYTES) for line in lines]


def _json_cell(kind: str, exact: str, limit: int) -> Cell:
    spaced = exact.replace(",", ", ") if kind == "list" else exact.replace(",", ", ").replace('"', "")
    title = _cut(exact, TITLE_BYTES) if len(spaced) > limit else ""
    return Cell(_cut(spaced, limit), title, kind, _cut(exact, TITLE_BYTES))


def _variables(table: Table, indices: NDArray[np.int64] | slice | Sequence[int], names: Names) -> list[list[Cell]]:
    plan = _plan(table.layout, "value")
    variables = plan.root.children
    at = range(len(variables))[indices] if isinstance(indices, slice) else [int(index) for index in indices]
    out = []
    for index in at:
        node = variables[index]
        value = _fields(table, Field(node.path, "value", node, ""), choose.default(node, plan), names)[0]
        where = f"bytes {node.offset_bytes} to {node.end_bytes}"
        name = Cell(show.printable(node.name), where, "name", node.name)
        out.append([name, Cell(show.printable(node.type_name), where, "name", node.type_name), value])
    return out


def _plan(layout: Layout, group: str) -> Plan:
    plan = layout.key if group == "key" else layout.value
    if plan is None:
        raise NoSuchField(group, known_paths(layout))
    return plan


def _rows(span: Bytes) -> list[bytes]:
    return [row.tobytes() for row in span]


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[:limit] + MARK
