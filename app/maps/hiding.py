"""Values that the policy hides from whoever looks: their bytes are zeroed as they are read, and their fields say so.

What is hidden is hidden in whole bytes, in every element of an array, and in whatever else lies on the same bytes, such
as another member of a union. Below the reading nobody has the bytes any more: not a filter, not a sort, not a file.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from app.columns.decode import full_path
from app.columns.node import REDACTED, Node, NodeKind, is_in6_addr, is_octets
from app.columns.table import Layout
from app.maps.walk import Reading
from app.uapi.kernel import MapReader
from app.uapi.syscall import BatchResult
from app.wire.patterns import Relation, closest

Mask = NDArray[np.bool_]
NOTE = "the policy hides some of its values from your role; they are shown as redacted"
_INDEX = re.compile(r"\[[^\]]*\]")
_VIEWS = tuple(f"{sign}{bits}" for sign in "ui" for bits in (8, 16, 32, 64))
_WORD = 8


def hide(layout: Layout, patterns: tuple[str, ...]) -> tuple[Layout, Mask]:
    """Give a layout whose hidden fields show nothing, and which of the value's bytes are to be zeroed."""
    plan = layout.value
    if plan is None or not patterns:
        return layout, np.zeros(0 if plan is None else plan.size_bytes, bool)
    root = _marked(plan.root, tuple(_INDEX.sub("[*]", pattern) for pattern in patterns))
    mask = np.zeros(plan.size_bytes, bool)
    _cover(root, mask, 0)
    hidden = replace(plan, root=_shadowed(root, mask, 0)) if mask.any() else plan
    return replace(layout, value=hidden), mask


def cleared(reading: Reading, mask: Mask) -> Reading:
    """Zero what is hidden in a reading whose values are as the kernel gives them."""
    if not mask.any() or not reading.values.size:
        return reading
    values = reading.values if reading.values.flags.writeable else reading.values.copy()
    values[:, _each_cpu(mask, values.shape[1])] = 0
    return dataclasses.replace(reading, values=values)


class HidingReader:
    """A MapReader that gives zeros for what is hidden."""

    def __init__(self, reader: MapReader, mask: Callable[[], Mask]) -> None:
        """`mask` is asked when the first value is read: it takes the map's BTF."""
        self._reader = reader
        self._mask = mask
        self.key_size, self.value_stride = reader.key_size, reader.value_stride
        self.next_key = reader.next_key

    def lookup(self, key: bytes | None, value: bytearray | memoryview) -> bool:
        """See MapReader."""
        found = self._reader.lookup(key, value)
        self._clear(memoryview(value), 1)
        return found

    def lookup_batch(
        self, token: bytes | None, token_out: bytearray, keys: memoryview, values: memoryview, count: int
    ) -> BatchResult:
        """See MapReader."""
        result = self._reader.lookup_batch(token, token_out, keys, values, count)
        self._clear(values, count)
        return result

    def _clear(self, values: memoryview, count: int) -> None:
        mask = self._mask()
        if mask.any():
            table = np.frombuffer(values, np.uint8)[: count * self.value_stride].reshape(count, self.value_stride)
            table[:, _each_cpu(mask, self.value_stride)] = 0


def _each_cpu(mask: Mask, stride_bytes: int) -> Mask:
    """Repeat it for each CPU's value, each padded to 8 bytes; where the sizes say something else, all is hidden."""
    if len(mask) == stride_bytes:
        return mask
    padded = -(-len(mask) // _WORD) * _WORD
    if not padded or stride_bytes % padded:
        return np.ones(stride_bytes, bool)
    return np.tile(np.pad(mask, (0, padded - len(mask))), stride_bytes // padded)


def _marked(node: Node, patterns: tuple[str, ...]) -> Node:
    """Mark what the patterns mean."""
    match closest(patterns, full_path("value", node.path)):
        case Relation.APART:
            return node
        case Relation.COVERS:
            return _hidden(node)
    if node.kind is NodeKind.BYTES:
        return _hidden(node) if _view_meant(node, patterns) else node
    if node.element is not None:
        element = _marked(node.element, patterns)
        if element is node.element:
            return node
        return replace(node, element=element) if element.children or element.element else _hidden(node)
    children = tuple(_marked(child, patterns) for child in node.children)
    if children == node.children:
        return node
    return _hidden(node) if is_in6_addr(node) else replace(node, children=children)


def _view_meant(node: Node, patterns: tuple[str, ...]) -> bool:
    """A pattern names a number in bytes without a type, as `value.u32[1]`."""
    bases = [full_path("value", f"{node.path}.{view}" if node.path else view) for view in _VIEWS]
    return any(closest(patterns, path) is Relation.COVERS for base in bases for path in (base, f"{base}[0]"))


def _hidden(node: Node) -> Node:
    """Give a field of the same bytes that shows nothing."""
    return Node(
        kind=NodeKind.BYTES,
        name=node.name,
        path=node.path,
        type_name=node.type_name,
        offset_bits=node.offset_bytes * 8,
        size_bits=node.size_bytes * 8,
        count=node.size_bytes,
        special=REDACTED,
    )


def _cover(node: Node, mask: Mask, base: int) -> None:
    """Note the bytes of hidden fields. `mask` begins at byte `base` of the value."""
    here = slice(node.offset_bytes - base, node.end_bytes - base)
    if node.special == REDACTED:
        mask[here] = True
    elif node.element is not None and node.count and node.stride_bits:
        one = np.zeros(node.stride_bits // 8, bool)
        _cover(node.element, one, node.element.offset_bytes)
        if one.any():
            mask[here] |= np.tile(one, node.count)[: mask[here].size]
    else:
        for child in node.children:
            _cover(child, mask, base)


def _shadowed(node: Node, mask: Mask, base: int) -> Node:
    """Mark also what lies on the same bytes as a hidden field."""
    here = mask[node.offset_bytes - base : node.end_bytes - base]
    if node.special == REDACTED or not here.any():
        return node
    if node.scalar or node.kind in {NodeKind.TEXT, NodeKind.BYTES} or is_octets(node) or is_in6_addr(node):
        return _hidden(node)
    if node.element is not None:
        stride_bytes = node.stride_bits // 8
        if not stride_bytes or here.size % stride_bytes:
            return _hidden(node)
        any_element: Mask = np.logical_or.reduce(here.reshape(-1, stride_bytes), axis=0)
        element = _shadowed(node.element, any_element, node.element.offset_bytes)
        return replace(node, element=element) if element.children or element.element else _hidden(node)
    return replace(node, children=tuple(_shadowed(child, mask, base) for child in node.children))
