"""One field that somebody named, as the change that goes to the broker: its place, what it held, what it is to hold."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from app.columns.cell import reading, two_readings
from app.columns.decode import Field, full_path, locate
from app.columns.encode import encode, held, in_group, is_number, overlaid, unwritable
from app.columns.errors import BadValue
from app.columns.lenses import choose
from app.columns.node import Node, NodeKind, is_in6_addr, is_octets, leaves
from app.columns.plan import Plan, plan_raw
from app.columns.written import INTEGER
from app.maps.errors import CannotEdit
from app.maps.host_names import names_for
from app.maps.opening import OpenMap
from app.uapi.kernel import cpu_stride
from app.wire.edits import ALL_CPUS, NO_CPU, Change

_EVERYTHING = 1 << 20


def part_of(opened: OpenMap, value: bytes, cpu: int = NO_CPU) -> bytes:
    """One CPU's value out of a whole one; all of it in maps without a value a CPU."""
    size = opened.facts.value_size
    start = max(cpu, 0) * cpu_stride(size) if opened.kind.per_cpu else 0
    return value[start : start + size]


@dataclass(frozen=True, slots=True)
class Target:
    """A field that was named."""

    node: Node
    """Its path without "value"."""
    path: str
    """As the broker knows it, "value.limit"."""
    lens: str
    cpu: int


def target_of(opened: OpenMap, path: str, cpu: int, given: Any) -> Target:
    """Find what a path names; a CPU in it counts more than ``cpu``. raises NoSuchField, CannotEdit"""
    field: Field = locate(opened.schema.layout, path)
    if field.group != "value":
        raise CannotEdit(f"{path} belongs to the key, which no edit changes: create another entry and delete this one")
    plan = _plan(opened)
    if "@" in path:
        if not field.fold.startswith("cpu"):
            raise CannotEdit(f"{path} is no place that can be written: name one CPU, as in value@cpu0")
        cpu = int(field.fold.removeprefix("cpu"))
    node = as_number(field.node, given)
    if opened.kind.per_cpu:
        cpus_of(opened, cpu)
    else:
        refuse_cpu(opened, cpu)
    return Target(node, full_path("value", node.path), choose.default(node, plan), cpu)


def by_cpu(opened: OpenMap, target: Target, *, split: bool = False) -> Iterator[Target]:
    """One for all CPUs where the broker takes a number for each, else one a CPU."""
    if target.cpu == ALL_CPUS and (split or not is_number(target.node)):
        for cpu in cpus_of(opened, ALL_CPUS):
            yield Target(target.node, target.path, target.lens, cpu)
    else:
        yield target


def changes_of(opened: OpenMap, target: Target, given: Any, seen: bytes) -> Iterable[Change]:
    """What changes when the field gets ``given``: one change, or those of the fields below it that differ."""
    if target.cpu == ALL_CPUS:
        return [_of_each_cpu(opened, target, given, seen)]
    data = part_of(opened, seen, target.cpu)
    new = patched(target, given, data)
    if not is_composite(target.node):
        return [_change(target, target.node, data, new)]
    return _of_composite(opened, target, data, new)


def _of_composite(opened: OpenMap, target: Target, data: bytes, new: bytes) -> Iterable[Change]:
    """Only the fields below that differ, so that nothing beside them is touched; the widest member of a union first."""
    plan, now = _plan(opened), bytearray(data)
    found = []
    for leaf in sorted(leaves(target.node, _EVERYTHING), key=lambda leaf: -leaf.size_bits):
        if unwritable(leaf) or held(leaf, bytes(now)) == held(leaf, new):
            continue
        one = Target(leaf, full_path("value", leaf.path), choose.default(leaf, plan), target.cpu)
        before = bytes(now)
        _place(now, leaf, held(leaf, new))
        found.append(_change(one, leaf, before, bytes(now)))
    return sorted(found, key=lambda change: change.offset_bits)


def _change(target: Target, node: Node, data: bytes, new: bytes) -> Change:
    old_text, new_text = two_readings(node, target.lens, data, new, names_for(target.lens))
    return Change(
        path=target.path,
        offset_bits=node.offset_bits,
        size_bits=node.size_bits,
        signed=_signed(node),
        big_endian=node.byte_order == "big",
        new=held(node, new),
        expected=held(node, data),
        cpu=target.cpu,
        old_text=old_text,
        new_text=new_text,
    )


def _of_each_cpu(opened: OpenMap, target: Target, given: Any, seen: bytes) -> Change:
    node = target.node
    parts = [part_of(opened, seen, cpu) for cpu in cpus_of(opened, ALL_CPUS)]
    each = [held(node, part) for part in parts]
    new, known = patched(target, given, parts[0]), names_for(target.lens)
    texts = [two_readings(node, target.lens, part, new, known) for part in parts]
    old_texts = [old for old, _ in texts]
    return Change(
        path=target.path,
        offset_bits=node.offset_bits,
        size_bits=node.size_bits,
        signed=_signed(node),
        big_endian=node.byte_order == "big",
        new=held(node, new),
        cpu=ALL_CPUS,
        expected_each=tuple(number for number in each if isinstance(number, int)),
        old_text=old_texts[0] if len(set(old_texts)) == 1 else " | ".join(old_texts),
        new_text=next((text for old, text in texts if old != text), texts[0][1]),
    )


def _signed(node: Node) -> bool:
    return node.signed and node.kind in {NodeKind.INT, NodeKind.ENUM}


def expecting(opened: OpenMap, target: Target, change: Change, given: Any) -> Change:
    """The same change against what its asker says that the field holds."""
    if change.path != target.path:
        return change
    if is_composite(target.node):
        raise BadValue(f"{target.path} is expected field by field: name one of its fields", target.path)
    base = bytes(opened.facts.value_size)
    wanted = patched(target, given, base)
    number, text = held(target.node, wanted), reading(target.node, target.lens, wanted, names_for(target.lens))
    if change.cpu == ALL_CPUS and isinstance(number, int):
        return msgspec.structs.replace(change, expected_each=(number,) * len(change.expected_each), old_text=text)
    return msgspec.structs.replace(change, expected=number, old_text=text)


def patched(target: Target, given: Any, base: bytes) -> bytes:
    """A whole value in which the field is as ``given``. raises BadValue"""
    named = in_group(target.node, "value")
    if is_composite(named) and not (isinstance(given, str) and not looks_like_json(given)):
        return composed(named, given, base)
    return placed(base, target.node, encode(named, given, target.lens))


def looks_like_json(text: str) -> bool:
    """A list or an object, rather than hex:… or an address."""
    return text.lstrip()[:1] in {"{", "["}


def composed(node: Node, given: Any, base: bytes) -> bytes:
    """A document, or its text, over ``base``. raises BadValue"""
    if not isinstance(given, str):
        return overlaid(node, given, base)
    try:
        document = json.loads(given)
    except (ValueError, RecursionError):
        raise BadValue(f"{node.path}: JSON as `dump` prints it was wanted, found {given[:60]}", node.path) from None
    return overlaid(node, document, base)


def _place(data: bytearray, node: Node, encoded: int | bytes) -> None:
    """Put a field into a value; every bit beside it stays."""
    if isinstance(encoded, bytes):
        data[node.offset_bytes : node.end_bytes] = encoded
        return
    n_bytes = node.size_bytes
    lead = node.offset_bits % 8
    low = lead if node.byte_order == "little" else n_bytes * 8 - lead - node.size_bits
    mask = (1 << node.size_bits) - 1
    old = int.from_bytes(data[node.offset_bytes : node.end_bytes], node.byte_order)
    new = old & ~(mask << low) | (encoded & mask) << low
    data[node.offset_bytes : node.end_bytes] = new.to_bytes(n_bytes, node.byte_order)


def placed(data: bytes, node: Node, encoded: int | bytes) -> bytes:
    """A whole key or value with a field in it."""
    new = bytearray(data)
    _place(new, node, encoded)
    return bytes(new)


def packed(node: Node, encoded: int | bytes) -> bytes:
    """The bytes of one field alone."""
    data = bytearray(node.size_bytes)
    _place(data, node, encoded)
    return bytes(data)


def as_number(node: Node, given: Any) -> Node:
    """Bytes without a type that are given as a number: a field that can be swapped."""
    if node.kind is not NodeKind.BYTES or node.path or node.size_bytes not in {1, 2, 4, 8}:
        return node
    a_number = isinstance(given, int) or (isinstance(given, str) and INTEGER.fullmatch(given.strip()) is not None)
    return plan_raw(node.size_bytes).find(f"u{node.size_bits}") if a_number else node


def is_leaf(node: Node) -> bool:
    """One field, which the broker finds by its path."""
    return not is_composite(node) and not (node.kind is NodeKind.BYTES and not node.path)


def is_composite(node: Node) -> bool:
    """Made of fields that can be changed one by one."""
    if node.special or is_in6_addr(node) or is_octets(node):
        return False
    return node.kind in {NodeKind.STRUCT, NodeKind.UNION, NodeKind.DATASEC, NodeKind.ARRAY}


def refuse_overlaps(changes: list[Change]) -> None:
    """Raise BadValue where two changes are to the same bits."""
    taken: list[tuple[int, int, int, str]] = []
    for change in changes:
        start, end = change.offset_bits, change.offset_bits + change.size_bits
        for cpu, first, last, path in taken:
            same_cpu = cpu == change.cpu or ALL_CPUS in {cpu, change.cpu}
            if same_cpu and start < last and first < end and not (path.startswith(change.path) and "." in path):
                raise BadValue(f"{change.path} shares its bytes with {path}: change one of them", change.path)
        taken.append((change.cpu, start, end, change.path))


def cpus_of(opened: OpenMap, cpu: int) -> range:
    """The CPUs that are meant. raises CannotEdit"""
    n_cpus = opened.schema.layout.n_cpus
    if cpu == ALL_CPUS:
        return range(n_cpus)
    if not 0 <= cpu < n_cpus:
        raise CannotEdit(
            f"every CPU has a value of its own: say whose, 0 to {n_cpus - 1}, or all (--cpu, or a path such as value@cpu0.x)"
        )
    return range(cpu, cpu + 1)


def refuse_cpu(opened: OpenMap, cpu: int) -> None:
    """Raise CannotEdit where no CPU can be meant, and one was named."""
    if cpu != NO_CPU:
        raise CannotEdit(f"a {opened.kind.label} has one value for all CPUs: leave the CPU out")


def _plan(opened: OpenMap) -> Plan:
    return opened.schema.layout.value or plan_raw(opened.facts.value_size)


def root_of(opened: OpenMap) -> Node:
    """The whole value as one field."""
    return _plan(opened).root


def check_expected(opened: OpenMap, expected: Mapping[str, Any], seen: bytes, *, cpu: int = NO_CPU) -> None:
    """Hold fields that are not to be changed against what somebody expects of them.

    raises  CannotEdit naming the first that holds something else; BadValue, NoSuchField
    """
    for path, given in expected.items():
        target = target_of(opened, path, cpu if cpu != NO_CPU or not opened.kind.per_cpu else 0, given)
        for each in by_cpu(opened, target, split=True):
            data = part_of(opened, seen, each.cpu)
            if held(each.node, data) != held(each.node, patched(each, given, data)):
                found = reading(each.node, each.lens, data, names_for(each.lens))
                raise CannotEdit(f"{each.path} holds {found}, not what was expected: look at the entry again")
