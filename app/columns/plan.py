"""A key's or value's fields, laid out from its BTF type, from a list of names, or as bare bytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from app.btf import types
from app.btf.errors import BtfError
from app.columns.errors import ColumnsError, NoSuchField
from app.columns.node import (
    KPTR_TAGS,
    SPECIAL,
    ByteOrder,
    Node,
    NodeKind,
    is_octets,
    leaves,
)

if TYPE_CHECKING:
    from app.btf.parse import Btf

MAX_NODES = 20_000
MAX_DEPTH = 64
MAX_EMPTY_ELEMENTS = 4096
"""An array of empty structs takes no bytes, so its size bounds nothing."""
FLOAT_BYTES = frozenset({2, 4, 8})
"""Other floats (``long double``) differ by machine: they are shown as bytes."""
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
        builder = _Builder(btf)
        root = builder.build(type_id, name="", path="", offset_bits=0, room_bits=size_bytes * 8, depth=0)
    except (BtfError, _Unfit) as error:
        return replace(plan_raw(size_bytes), note=f"Shown as bytes: {error}")
    if root.size_bits != size_bytes * 8 and not builder.flexible:
        told = f"Shown as bytes: {root.type_name or 'the type'} has {type_bytes} bytes by its BTF, the map {size_bytes}"
        return replace(plan_raw(size_bytes), note=told)
    return Plan(size_bytes=size_bytes, root=replace(root, size_bits=size_bytes * 8), typed=True)


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


class _Unfit(Exception):
    """The type cannot be laid out in the bytes there are."""


class _Builder:
    """Builds nodes of one BTF, within bounds on their number and depth."""

    def __init__(self, btf: Btf) -> None:
        self._btf = btf
        self._order: ByteOrder = btf.byte_order
        self._left = MAX_NODES
        self.flexible = False

    def build(self, type_id: int, *, name: str, path: str, offset_bits: int, room_bits: int, depth: int) -> Node:
        """The node of ``type_id`` at ``offset_bits``; it and all below must fit into ``room_bits``."""
        self._left -= 1
        if self._left < 0 or depth > MAX_DEPTH:
            raise _Unfit(f"its type has more than {MAX_NODES} fields or nests deeper than {MAX_DEPTH}")
        chain, tags, target = self._strip(type_id)
        common = Node(
            kind=NodeKind.BYTES, name=name, path=path, type_name=self._btf.name_of(type_id), chain=chain,
            offset_bits=offset_bits, byte_order=self._order,
        )  # fmt: skip
        node = self._typed(common, target, tags, room_bits, depth)
        if node.size_bits > room_bits:
            raise _Unfit(f"{node.path or node.type_name} needs {node.size_bits} bits where {room_bits} are left")
        return node

    def _typed(self, node: Node, target: int, tags: frozenset[str], room_bits: int, depth: int) -> Node:
        t = self._btf.type(target)
        match t:
            case types.Int():
                return self._int(node, t)
            case types.Enum():
                return replace(
                    node, kind=NodeKind.ENUM, size_bits=t.size_bytes * 8, signed=t.signed, enum=t.values,
                    wide_enum=t.wide,
                )  # fmt: skip
            case types.Float() if t.size_bytes not in FLOAT_BYTES:
                return replace(node, size_bits=t.size_bytes * 8, count=t.size_bytes)
            case types.Float():
                return replace(node, kind=NodeKind.FLOAT, size_bits=t.size_bytes * 8, signed=True)
            case types.Ptr():
                tags = self._strip(t.target)[1]
                special = next(iter(sorted(tags & KPTR_TAGS)), "")
                return replace(node, kind=NodeKind.PTR, size_bits=self._btf.size_bytes(target) * 8, special=special)
            case types.Array():
                return self._array(node, t, room_bits, depth)
            case types.Struct() | types.Union():
                kind = NodeKind.STRUCT if isinstance(t, types.Struct) else NodeKind.UNION
                special = t.name if t.name in SPECIAL else ""
                size_bits = t.size_bytes * 8
                members = self._members(node, t, room_bits, depth)
                if self.flexible and room_bits > size_bits:
                    size_bits = room_bits
                return replace(node, kind=kind, size_bits=size_bits, children=tuple(members), special=special)
            case types.Datasec():
                return self._datasec(node, t, room_bits, depth)
            case _:
                raise _Unfit(f"{node.path or node.type_name or 'its type'} is a {t.kind.name}, which has no bytes")

    def _strip(self, type_id: int) -> tuple[tuple[str, ...], frozenset[str], int]:
        """(typedef names, type tags, first type that is neither) on the way from ``type_id``."""
        chain: list[str] = []
        tags: set[str] = set()
        for _ in range(MAX_DEPTH):
            t = self._btf.type(type_id)
            match t:
                case types.Typedef():
                    chain.append(t.name)
                case types.TypeTag():
                    tags.add(t.value)
                case types.Volatile() | types.Const() | types.Restrict():
                    pass
                case _:
                    return tuple(chain), frozenset(tags), type_id
            type_id = t.target
        raise _Unfit("its typedefs go round in a circle")

    def _int(self, node: Node, t: types.Int) -> Node:
        size_bits = t.size_bytes * 8
        if t.bits > size_bits or t.offset_bits + t.bits > size_bits or size_bits > 128:
            raise _Unfit(f"integer {t.name} of {t.bits} bits does not fit its {t.size_bytes} bytes")
        if t.bits != size_bits or t.offset_bits:  # bit field of the old encoding
            offset_bits = node.offset_bits + t.offset_bits
            return replace(
                node, kind=NodeKind.INT, offset_bits=offset_bits, size_bits=t.bits, signed=t.signed, bitfield=True
            )
        if t.bool_:
            return replace(node, kind=NodeKind.BOOL, size_bits=size_bits)
        return replace(node, kind=NodeKind.INT, size_bits=size_bits, signed=t.signed, char=t.char)

    def _array(self, node: Node, t: types.Array, room_bits: int, depth: int) -> Node:
        stride_bits = self._btf.size_bytes(t.element) * 8
        count = t.count
        if count and stride_bits == 0 and count > MAX_EMPTY_ELEMENTS:
            raise _Unfit(f"{node.path or node.type_name} has {count} elements without a size")
        if count * stride_bits > room_bits:
            raise _Unfit(f"{node.path or node.type_name} needs {count * stride_bits} bits where {room_bits} are left")
        element = self.build(
            t.element, name="", path=node.path + "[0]", offset_bits=node.offset_bits,
            room_bits=stride_bits, depth=depth + 1,
        )  # fmt: skip
        text = count > 0 and element.kind is NodeKind.INT and element.size_bits == 8 and self._is_char(t.element)
        return replace(
            node, kind=NodeKind.TEXT if text else NodeKind.ARRAY, size_bits=count * stride_bits,
            element=element, count=count, stride_bits=stride_bits,
        )  # fmt: skip

    def _is_char(self, type_id: int) -> bool:
        """Bpftool's rule for text: ``char`` by name or encoding, qualified or not, but not through a typedef."""
        chain, _, target = self._strip(type_id)
        t = self._btf.type(target)
        return not chain and isinstance(t, types.Int) and (t.char or t.name == "char")

    def _members(self, node: Node, t: types.Struct | types.Union, room_bits: int, depth: int) -> Iterator[Node]:
        for index, member in enumerate(t.members):
            last = index == len(t.members) - 1 and isinstance(t, types.Struct)
            here_bits = room_bits - member.offset_bits
            path = f"{node.path}.{member.name}" if node.path else member.name
            offset_bits = node.offset_bits + member.offset_bits
            if member.bits:
                field = self._bit_field(member.type_id, member.name, path, offset_bits, member.bits)
                if member.bits > here_bits:
                    raise _Unfit(f"{path} ends outside its struct")
            else:
                if offset_bits % 8 and not isinstance(self._btf.resolve(member.type_id), types.Int):
                    raise _Unfit(f"{path} does not start at a byte")
                field = self.build(
                    member.type_id, name=member.name, path=path if member.name else node.path,
                    offset_bits=offset_bits, room_bits=max(here_bits, 0), depth=depth + 1,
                )  # fmt: skip
                if last and t.size_bytes * 8 < room_bits:
                    field = self._stretched(field, here_bits)
            if member.name:
                yield field
            elif field.kind in {NodeKind.STRUCT, NodeKind.UNION}:
                yield from field.children

    def _bit_field(self, type_id: int, name: str, path: str, offset_bits: int, bits: int) -> Node:
        self._left -= 1
        if bits > 128 or self._left < 0:
            raise _Unfit(f"{path} is a bit field of {bits} bits")
        chain, _, target = self._strip(type_id)
        t = self._btf.type(target)
        if not isinstance(t, types.Int | types.Enum):
            raise _Unfit(f"{path} is a bit field of a {t.kind.name}")
        return Node(
            kind=NodeKind.ENUM if isinstance(t, types.Enum) else NodeKind.INT, name=name, path=path, chain=chain,
            type_name=self._btf.name_of(type_id), offset_bits=offset_bits, size_bits=bits, bitfield=True,
            signed=t.signed, byte_order=self._order, enum=t.values if isinstance(t, types.Enum) else (),
        )  # fmt: skip

    def _stretched(self, field: Node, here_bits: int) -> Node:
        """A flexible array takes what is left of the value."""
        if field.kind is not NodeKind.ARRAY or field.count or not field.stride_bits or field.element is None:
            return field
        self.flexible = True
        count = here_bits // field.stride_bits
        text = field.element.type_name in {"char", "const char"} and count > 0
        kind = NodeKind.TEXT if text else NodeKind.ARRAY
        return replace(field, kind=kind, count=count, size_bits=count * field.stride_bits)

    def _datasec(self, node: Node, t: types.Datasec, room_bits: int, depth: int) -> Node:
        children = []
        for variable in t.variables:
            var = self._btf.type(variable.type_id)
            here_bits = room_bits - variable.offset_bytes * 8
            if here_bits < 0:
                raise _Unfit(f"variable {var.name} starts outside {t.name}")
            target = getattr(var, "target", None)
            if target is None:
                raise _Unfit(f"{t.name} holds a {var.kind.name}")
            children.append(self.build(
                target, name=var.name, path=var.name, offset_bits=node.offset_bits + variable.offset_bytes * 8,
                room_bits=here_bits, depth=depth + 1,
            ))  # fmt: skip
        return replace(node, kind=NodeKind.DATASEC, name=t.name, size_bits=t.size_bytes * 8, children=tuple(children))


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
        common, kind=NodeKind.TEXT if text else NodeKind.ARRAY, type_name=f"{element.type_name}[{size_bytes}]",
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
