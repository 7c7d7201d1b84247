"""BTF types to nodes, within bounds, so that hostile BTF ends as an `Unfit` and soon."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from app.btf import types
from app.columns.node import KPTR_TAGS, SPECIAL, ByteOrder, Node, NodeKind

if TYPE_CHECKING:
    from app.btf.parse import Btf

MAX_NODES = 20_000
MAX_DEPTH = 64
MAX_EMPTY_ELEMENTS = 4096
"""An array of empty structs takes no bytes, so its size bounds nothing."""
FLOAT_BYTES = frozenset({2, 4, 8})
"""Other floats (``long double``) differ by machine: they are shown as bytes."""


class Unfit(Exception):
    """The type cannot be laid out in the bytes there are."""


class Builder:
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
            raise Unfit(f"its type has more than {MAX_NODES} fields or nests deeper than {MAX_DEPTH}")
        chain, tags, target = self._strip(type_id)
        common = Node(
            kind=NodeKind.BYTES, name=name, path=path, type_name=self._btf.name_of(type_id), chain=chain,
            offset_bits=offset_bits, byte_order=self._order,
        )  # fmt: skip
        node = self._typed(common, target, tags, room_bits, depth)
        if node.size_bits > room_bits:
            raise Unfit(f"{node.path or node.type_name} needs {node.size_bits} bits where {room_bits} are left")
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
                raise Unfit(f"{node.path or node.type_name or 'its type'} is a {t.kind.name}, which has no bytes")

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
        raise Unfit("its typedefs go round in a circle")

    def _int(self, node: Node, t: types.Int) -> Node:
        size_bits = t.size_bytes * 8
        if t.bits > size_bits or t.offset_bits + t.bits > size_bits or size_bits > 128:
            raise Unfit(f"integer {t.name} of {t.bits} bits does not fit its {t.size_bytes} bytes")
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
            raise Unfit(f"{node.path or node.type_name} has {count} elements without a size")
        if count * stride_bits > room_bits:
            raise Unfit(f"{node.path or node.type_name} needs {count * stride_bits} bits where {room_bits} are left")
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
                    raise Unfit(f"{path} ends outside its struct")
            else:
                if offset_bits % 8 and not isinstance(self._btf.resolve(member.type_id), types.Int):
                    raise Unfit(f"{path} does not start at a byte")
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
            raise Unfit(f"{path} is a bit field of {bits} bits")
        chain, _, target = self._strip(type_id)
        t = self._btf.type(target)
        if not isinstance(t, types.Int | types.Enum):
            raise Unfit(f"{path} is a bit field of a {t.kind.name}")
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
                raise Unfit(f"variable {var.name} starts outside {t.name}")
            target = getattr(var, "target", None)
            if target is None:
                raise Unfit(f"{t.name} holds a {var.kind.name}")
            children.append(self.build(
                target, name=var.name, path=var.name, offset_bits=node.offset_bits + variable.offset_bytes * 8,
                room_bits=here_bits, depth=depth + 1,
            ))  # fmt: skip
        return replace(node, kind=NodeKind.DATASEC, name=t.name, size_bits=t.size_bytes * 8, children=tuple(children))
