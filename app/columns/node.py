"""One field of a key or value: where its bits are and what they mean."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum
from typing import Literal

from app.btf.types import EnumValue

ByteOrder = Literal["little", "big"]


class NodeKind(Enum):
    """How a field's bytes are read."""

    INT = "int"
    """An integer of 1 to 128 bits, byte-aligned or a bit field."""
    BOOL = "bool"
    ENUM = "enum"
    PTR = "ptr"
    FLOAT = "float"
    TEXT = "text"
    """``char[n]``."""
    BYTES = "bytes"
    """Bytes of which nothing is known: a map without BTF, or a part that its BTF leaves open."""
    STRUCT = "struct"
    UNION = "union"
    ARRAY = "array"
    DATASEC = "datasec"
    """A section of global variables; its children are the variables."""


SCALARS = frozenset({NodeKind.INT, NodeKind.BOOL, NodeKind.ENUM, NodeKind.PTR, NodeKind.FLOAT})
COMPOSITES = frozenset({NodeKind.STRUCT, NodeKind.UNION, NodeKind.DATASEC})

SPECIAL = frozenset({
    "bpf_spin_lock", "bpf_res_spin_lock", "bpf_timer", "bpf_wq", "bpf_task_work", "bpf_list_head", "bpf_list_node",
    "bpf_rb_root", "bpf_rb_node", "bpf_refcount",
})  # fmt: skip
"""Structs that the kernel keeps for itself inside a value: what a look-up shows of them means nothing."""
MADE_TEXT = "text"
"""Type name of text that is ours (a path, a command) rather than a map's: always a string, UTF-8 and all."""
REDACTED = "redacted"
"""`special` of a field that whoever looks may not see: the bytes that come with it are zeros."""
KPTR_TAGS = frozenset({"kptr", "kptr_untrusted", "kptr_ref", "percpu_kptr", "uptr"})
"""Type tags that make a pointer a kernel-managed one; a look-up shows 0."""
_IN6_NAME = re.compile(r"addr|ip(v?6)?$|^ip|v6")


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One field, at an offset from the start of the whole key or value (its root has path "")."""

    kind: NodeKind
    name: str = ""
    path: str = ""
    """As a filter writes it after ``key`` or ``value``: "packets", "a.b", "slots[3]", "[0]"."""
    type_name: str = ""
    """C spelling, "struct flow_key", "__be32", "char[16]"."""
    chain: tuple[str, ...] = ()
    """The typedefs passed on the way, outermost first, without the type that they end at."""
    offset_bits: int = 0
    """A big-endian bit field counts from the most significant bit, as BTF does."""
    size_bits: int = 0
    bitfield: bool = False
    signed: bool = False
    char: bool = False
    """BTF says "char" by encoding; compilers of today write a signed integer called ``char`` instead."""
    byte_order: ByteOrder = "little"
    children: tuple[Node, ...] = ()
    """Members, those of nameless structs and unions folded in."""
    element: Node | None = None
    """Element 0 of an array or text."""
    count: int = 0
    """Elements of an array or text."""
    stride_bits: int = 0
    """From one element to the next."""
    enum: tuple[EnumValue, ...] = ()
    wide_enum: bool = False
    """An ENUM64; the enumerators of the others have 32 bits, whatever the size of the field."""
    special: str = ""
    """The kernel's own name of a field that only the kernel may use ("bpf_timer", "kptr" …), else ""."""

    @property
    def offset_bytes(self) -> int:
        """The byte that the field starts in."""
        return self.offset_bits // 8

    @property
    def size_bytes(self) -> int:
        """Bytes that hold the field; a bit field's may be shared with its neighbours."""
        return (self.offset_bits % 8 + self.size_bits + 7) // 8

    @property
    def end_bytes(self) -> int:
        """The first byte after it."""
        return self.offset_bytes + self.size_bytes

    @property
    def scalar(self) -> bool:
        """One number, name or truth value."""
        return self.kind in SCALARS

    @property
    def numeric(self) -> bool:
        """Something that can be added up: integers and floats, no names, addresses or truth values."""
        return self.kind in {NodeKind.INT, NodeKind.FLOAT} and not self.special

    def at(self, index: int) -> Node:
        """Element ``index`` of this array. raises IndexError"""
        if self.element is None or not 0 <= index < self.count:
            raise IndexError(index)
        return moved(self.element, index * self.stride_bits, len(self.path), f"[{index}]", skip=3)

    def members(self) -> Iterator[Node]:
        """Fields one step further down: children, or each element."""
        if self.element is None:
            yield from self.children
        else:
            yield from (self.at(index) for index in range(self.count))


def moved(node: Node, by_bits: int, prefix: int, step: str, skip: int) -> Node:
    """``node`` and all below it shifted by ``by_bits``; in each path the ``skip`` characters after the first
    ``prefix`` ones ("[0]") become ``step`` ("[7]").
    """
    return replace(
        node,
        path=node.path[:prefix] + step + node.path[prefix + skip :],
        offset_bits=node.offset_bits + by_bits,
        children=tuple(moved(child, by_bits, prefix, step, skip) for child in node.children),
        element=None if node.element is None else moved(node.element, by_bits, prefix, step, skip),
    )


def is_octets(node: Node) -> bool:
    """An array of plain 8-bit numbers, such as a MAC or an address: one cell, one lens."""
    element = node.element
    return (
        node.kind is NodeKind.ARRAY and element is not None and element.kind is NodeKind.INT and element.size_bits == 8
    )


def is_in6_addr(node: Node) -> bool:
    """``struct in6_addr``, a struct or union of 16 bytes that only holds one address (u8[16], u16[8], u32[4], u64[2]),
    or such an array that is named like one.
    """
    if node.size_bits != 128:
        return False
    if node.kind is NodeKind.ARRAY:
        wide = node.element is not None and node.element.kind is NodeKind.INT and not is_octets(node)
        return wide and _IN6_NAME.search(node.name.lower()) is not None
    if node.kind not in {NodeKind.STRUCT, NodeKind.UNION}:
        return False
    if any("in6_addr" in name for name in (node.type_name, *node.chain)):
        return True
    if not node.children or (node.kind is NodeKind.STRUCT and len(node.children) > 1 and not _overlap(node)):
        return False
    return all(
        is_in6_addr(child)
        or (
            child.kind is NodeKind.ARRAY
            and child.size_bits == 128
            and child.element is not None
            and child.element.kind is NodeKind.INT
        )
        for child in node.children
    )


def _overlap(node: Node) -> bool:
    return all(child.offset_bits == node.offset_bits and child.size_bits == 128 for child in node.children)


def leaves(node: Node, array_limit: int) -> Iterator[Node]:
    """The fields below ``node`` that each make one cell, in order: arrays longer than ``array_limit`` are one cell,
    and so are octets, text, special fields and IPv6 addresses.
    """
    if node.special or is_in6_addr(node):
        yield node
    elif node.kind in COMPOSITES:
        for child in node.children:
            yield from leaves(child, array_limit)
    elif node.kind is NodeKind.ARRAY and not is_octets(node) and 0 < node.count <= array_limit:
        for child in node.members():
            yield from leaves(child, array_limit)
    else:
        yield node
