"""A key's or value's fields, laid out from its BTF type, from a list of names, or as bare bytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from app.btf.errors import BtfError
from app.columns.build import Builder, Unfit
from app.columns.errors import ColumnsError, NoSuchField
from app.columns.node import MADE_TEXT, Node, NodeKind, is_octets, leaves

if TYPE_CHECKING:
    from app.btf.parse import Btf

ARRAY_LIMIT = 8
"""Arrays of more elements than this are one cell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Where each field of a key (or value) of ``size_bytes`` is."""

    size_bytes: int
    root: Node
    typed: bool
    """False where nothing is known but the bytes."""
    note: str = ""
    """Why a map with BTF is shown as bytes all the same, else ""."""

    @property
    def type_name(self) -> str:
        """C spelling of the whole."""
        return self.root.type_name

    @property
    def padding(self) -> tuple[tuple[int, int], ...]:
        """Ranges of bytes (from, to) that belong to no field."""
        used = bytearray(self.size_bytes)
        _mark(self.root, used, 0)
        return tuple(_gaps(used))

    def leaves(self, array_limit: int = ARRAY_LIMIT) -> list[Node]:
        """The fields that make one cell each, in order (see `app.columns.node.leaves`)."""
        return list(leaves(self.root, array_limit))

    def find(self, path: str) -> Node:
        """The field at ``path`` ("packets", "slots[3]", "a.b.c"; "" is the whole).

        In bytes without a type, ``u8[0]``, ``u32[1]``, ``i64[0]`` … read a number at that place, in the host's order.
        raises  NoSuchField with the nearest path there is
        """
        node, rest = self.root, path
        while rest:
            step = _step(node, rest, first=not node.path)
            if step is None:
                raise NoSuchField(path, self.paths())
            node, rest = step
        return node

    def paths(self) -> list[str]:
        """Every path worth suggesting: structs, arrays and leaves, each array by its first element only."""
        if not self.typed:
            return [f"{name}[0]" for name in _VIEWS if _VIEWS[name][0] <= self.size_bytes]
        return [node.path for node in _walk(self.root) if node.path]


def plan_type(btf: Btf, type_id: int, size_bytes: int) -> Plan:
    """The fields of BTF type ``type_id`` in a key or value of ``size_bytes``.

    A flexible array at the end takes what its struct leaves over. A type that cannot be laid out in that size (another
    size, hostile BTF) gives bytes with a note, never an error.
    """
    try:
        type_bytes = btf.size_bytes(type_id)
        if type_bytes > size_bytes:
            return _mismatch(btf.name_of(type_id), type_bytes, size_bytes)
        builder = Builder(btf)
        root = builder.build(type_id, name="", path="", offset_bits=0, room_bits=size_bytes * 8, depth=0)
    except (BtfError, Unfit) as error:
        return replace(plan_raw(size_bytes), note=f"Shown as bytes: {error}")
    if type_bytes != size_bytes and not builder.flexible:
        return _mismatch(root.type_name, type_bytes, size_bytes)
    if builder.flexible:
        root = replace(root, size_bits=size_bytes * 8)
    return Plan(size_bytes=size_bytes, root=root, typed=True)


def plan_raw(size_bytes: int) -> Plan:
    """Bytes of which nothing is known."""
    root = Node(
        kind=NodeKind.BYTES, type_name=f"unsigned char[{size_bytes}]", size_bits=size_bytes * 8, count=size_bytes
    )
    return Plan(size_bytes=size_bytes, root=root, typed=False)


def plan_made(fields: Sequence[tuple[str, str, int]]) -> Plan:
    """Fields one after the other, without gaps: (name, kind, size_bytes), as walks make keys of their own.

    kind  "u8" "u16" "u32" "u64" "i8" … "i64" (host order), "text" (char array), "bytes" (octets)
    A single field with the name "" is the whole key.
    raises  ColumnsError for another kind
    """
    nodes = []
    offset_bits = 0
    for name, kind, size_bytes in fields:
        nodes.append(_made(name, kind, size_bytes, offset_bits))
        offset_bits += size_bytes * 8
    if len(nodes) == 1 and not nodes[0].name:
        root = nodes[0]
    else:
        root = Node(kind=NodeKind.STRUCT, type_name="struct", size_bits=offset_bits, children=tuple(nodes))
    return Plan(size_bytes=offset_bits // 8, root=root, typed=True)


def _mismatch(type_name: str, type_bytes: int, size_bytes: int) -> Plan:
    told = f"Shown as bytes: {type_name or 'the type'} has {type_bytes} bytes by its BTF, the map has {size_bytes}"
    return replace(plan_raw(size_bytes), note=told)


def _made(name: str, kind: str, size_bytes: int, offset_bits: int) -> Node:
    common = Node(kind=NodeKind.INT, name=name, path=name, offset_bits=offset_bits, size_bits=size_bytes * 8)
    if kind in _VIEWS and _VIEWS[kind][0] == size_bytes:
        return replace(common, signed=kind[0] == "i", type_name=f"__{kind[0].replace('i', 's')}{kind[1:]}")
    if kind not in {"text", "bytes"}:
        raise ColumnsError(
            f"a made field is one of u8 … i64 of its own size, text or bytes; found {kind} of {size_bytes}"
        )
    text = kind == "text"
    element = replace(
        common, name="", path=f"{name}[0]", size_bits=8, signed=text, type_name="char" if text else "unsigned char"
    )
    return replace(
        common, kind=NodeKind.TEXT if text else NodeKind.ARRAY,
        type_name=MADE_TEXT if text else f"{element.type_name}[{size_bytes}]",
        element=element, count=size_bytes, stride_bits=8,
    )  # fmt: skip


_VIEWS = {f"{sign}{8 * size}": (size, sign == "i") for size in (1, 2, 4, 8) for sign in "ui"}


def _step(node: Node, rest: str, *, first: bool) -> tuple[Node, str] | None:
    """(field, what is left of the path) one step along ``rest`` from ``node``, or None."""
    if rest[0] == "[" and node.element is not None:
        number, bracket, after = rest[1:].partition("]")
        if not bracket or not number.isdecimal() or not number.isascii() or len(number) > 9:
            return None
        return (node.at(int(number)), after) if int(number) < node.count else None
    if not first and rest[0] != ".":
        return None
    rest = rest if first else rest[1:]
    if node.kind is NodeKind.BYTES:
        return _view_step(node, rest)
    found = None
    for child in node.children:  # the longest name, as a variable's may hold a dot
        after = rest[len(child.name) :]
        if rest.startswith(child.name) and (not after or after[0] in ".[") and (
            found is None or len(child.name) > len(found.name)
        ):  # fmt: skip
            found = child
    return None if found is None else (found, rest[len(found.name) :])


def _view_step(node: Node, rest: str) -> tuple[Node, str] | None:
    name, bracket, after = rest.partition("[")
    if name not in _VIEWS:
        return None
    size_bytes, signed = _VIEWS[name]
    number = Node(
        kind=NodeKind.INT, path=f"{name}[0]", type_name=name, offset_bits=node.offset_bits, size_bits=size_bytes * 8,
        signed=signed, byte_order=node.byte_order,
    )  # fmt: skip
    array = replace(
        number, kind=NodeKind.ARRAY, name=name, path=name, element=number, count=node.size_bytes // size_bytes,
        stride_bits=size_bytes * 8, size_bits=node.size_bits // (size_bytes * 8) * size_bytes * 8,
    )  # fmt: skip
    if array.count == 1 and not bracket:  # eight bytes have one u64 and need no index
        return replace(number, path=name), after
    return array, bracket + after


def _walk(node: Node) -> Iterator[Node]:
    yield node
    for child in node.children:
        yield from _walk(child)
    if node.element is not None and not is_octets(node) and node.kind is not NodeKind.TEXT and node.count:
        yield from _walk(node.element)


def _mark(node: Node, used: bytearray, base: int) -> None:
    if node.element is not None and (node.element.children or node.element.element is not None):
        one = bytearray(node.stride_bits // 8)
        _mark(node.element, one, node.element.offset_bytes)
        used[node.offset_bytes - base : node.end_bytes - base] = bytes(one) * node.count
    elif node.children:
        for child in node.children:
            _mark(child, used, base)
    elif node.kind not in {NodeKind.STRUCT, NodeKind.UNION, NodeKind.DATASEC}:
        used[node.offset_bytes - base : node.end_bytes - base] = b"\1" * node.size_bytes


def _gaps(used: Iterable[int]) -> Iterator[tuple[int, int]]:
    start = None
    end = 0
    for at, byte in enumerate(used):
        end = at + 1
        if byte == 0 and start is None:
            start = at
        elif byte and start is not None:
            yield start, at
            start = None
    if start is not None:
        yield start, end
