"""Two sides compared: by chunks and bytes where their layouts are the same, by the names of fields where they are not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from app.columns.decode import full_path, read
from app.columns.json_text import template
from app.columns.node import REDACTED, Node, NodeKind, leaves
from app.columns.plan import Plan
from app.columns.table import Layout, Table
from app.history import chunks, diff
from app.history.content import Entries
from app.history.errors import Unlike
from app.timeline.sides import Side
from app.timeline.timeline import Timeline, without_hidden
from app.wire.patterns import Relation, closest

ARRAY_LIMIT = 256
"""Elements of an array that are compared one by one; longer ones are one field."""
Rows = NDArray[np.int64]
Bytes2d = NDArray[np.uint8]
_JSON_SAFE_BITS = 64


@dataclass(frozen=True, slots=True)
class FieldDiff:
    """One field, and the changed entries in which it differs."""

    path: str
    """As a filter calls it; of a per-CPU map `value@cpu0.x`."""
    old_node: Node
    new_node: Node
    cpu: int
    """-1: there are none."""
    rows: Rows
    """int64[k] into the changed entries, ascending."""

    @property
    def numeric(self) -> bool:
        """A difference of its values is a number."""
        nodes = (self.old_node, self.new_node)
        return all(node.numeric and node.size_bits <= _JSON_SAFE_BITS for node in nodes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Diff:
    """What leads from side `a` to side `b`."""

    a: Side
    b: Side
    added: Table
    removed: Table
    old: Table
    """The entries that changed, as they were …"""
    new: Table
    """… and as they are, row by row."""
    fields: tuple[FieldDiff, ...]
    unchanged: int
    ignored: int
    """Entries that differ only where a rule says that it does not matter; they count as unchanged, too."""
    schema_changes: tuple[str, ...]
    """What is different about the two layouts, a sentence each."""

    @property
    def exact(self) -> bool:
        """Both sides are one moment."""
        return self.a.is_exact and self.b.is_exact

    @property
    def seconds(self) -> float:
        """From a to b."""
        return (self.b.taken_ns - self.a.taken_ns) / 1e9

    @property
    def fields_changed(self) -> int:
        """Cells that differ."""
        return sum(len(field.rows) for field in self.fields)

    def old_values(self, field: FieldDiff, rows: Rows) -> Bytes2d:
        """Values of some changed entries uint8[k, size], of the field's CPU."""
        return _of_cpu(self.old.values[rows], field.cpu)

    def new_values(self, field: FieldDiff, rows: Rows) -> Bytes2d:
        """The same, as they are."""
        return _of_cpu(self.new.values[rows], field.cpu)

    def deltas(self, field: FieldDiff) -> NDArray[np.float64] | NDArray[np.int64]:
        """New less old of a numeric field, for its rows; integers modulo 2**64, as signed."""
        old = read(field.old_node, self.old_values(field, field.rows), 0)
        new = read(field.new_node, self.new_values(field, field.rows), 0)
        if old.dtype.kind == "f" or new.dtype.kind == "f":
            with np.errstate(over="ignore", invalid="ignore"):  # what comes of endless ones is no number
                return new.astype(np.float64) - old.astype(np.float64)
        with np.errstate(over="ignore"):
            return (new.astype(np.uint64) - old.astype(np.uint64)).view(np.int64)


def compare(a: Side, b: Side, timeline: Timeline | None, *, ignore: Sequence[str] = (), bare: bool = True) -> Diff:
    """Compare two sides.

    ignore  patterns of paths that do not matter: counters, timestamps
    bare    in the layout that `dump --json` prints; else in the one for people
    raises  Unlike where keys have other sizes; Damaged
    """
    layout_a, layout_b = ((side.schema.json_layout if bare else side.schema.layout) for side in (a, b))
    key_a, key_b = (side.recalled.facts.key_size for side in (a, b))
    if (layout_a.key is None) != (layout_b.key is None) or (layout_a.key is not None and layout_b.key is not None and (
        layout_a.key.size_bytes != layout_b.key.size_bytes
    )):  # fmt: skip
        raise Unlike(f"{a.name} has keys of {key_a} bytes, {b.name} of {key_b}")
    if layout_a == layout_b and _width(a, timeline) == _width(b, timeline):
        return _by_bytes(a, b, layout_a, timeline, ignore)
    return _by_names(a, b, layout_a, layout_b, timeline, ignore)


def _by_bytes(a: Side, b: Side, layout: Layout, timeline: Timeline | None, ignore: Sequence[str]) -> Diff:
    if a.kept is not None and b.kept is not None and timeline is not None:
        found = timeline.history.compare(a.kept, b.kept)
    else:
        found = diff.compare_entries(entries_of(a, timeline), entries_of(b, timeline))
    old = a.table(layout, Entries(found.changed.keys, cleared(a, found.changed.old)))
    new = b.table(layout, Entries(found.changed.keys, cleared(b, found.changed.new)))
    fields = _fields(layout, old, new)
    made = Diff(
        a=a, b=b,
        added=b.table(layout, Entries(found.added.keys, cleared(b, found.added.values))),
        removed=a.table(layout, Entries(found.removed.keys, cleared(a, found.removed.values))),
        old=old, new=new, fields=fields, unchanged=found.unchanged, ignored=0, schema_changes=_facts_changed(a, b),
    )  # fmt: skip
    return _without(made, ignore)


def _by_names(
    a: Side, b: Side, layout_a: Layout, layout_b: Layout, timeline: Timeline | None, ignore: Sequence[str]
) -> Diff:
    before, after = entries_of(a, timeline), entries_of(b, timeline)
    source = chunks.sources(after.keys, before.keys)
    there = np.flatnonzero(source >= 0)
    gone = np.ones(len(before), bool)
    gone[source[there]] = False
    old_table = a.table(layout_a, Entries(before.keys, cleared(a, before.values)))
    new_table = b.table(layout_b, Entries(after.keys, cleared(b, after.values)))
    old, new = old_table.take(source[there]), new_table.take(there)
    fields, notes = _common(layout_a, layout_b, old, new)
    rows = np.unique(np.concatenate([np.zeros(0, np.int64), *(field.rows for field in fields)]))
    made = Diff(
        a=a, b=b,
        added=new_table.take(np.flatnonzero(source < 0)),
        removed=old_table.take(np.flatnonzero(gone)),
        old=old.take(rows), new=new.take(rows),
        fields=tuple(replace(field, rows=np.searchsorted(rows, field.rows)) for field in fields),
        unchanged=len(there) - len(rows), ignored=0, schema_changes=(*_facts_changed(a, b), *notes),
    )  # fmt: skip
    return _without(made, ignore)


def entries_of(side: Side, timeline: Timeline | None) -> Entries:
    """All entries of a side, in the order of the keys, what is hidden still in those of the past."""
    if side.entries is not None:
        return side.entries
    if side.kept is None or timeline is None:
        raise TypeError("a stored side without a history")
    return timeline.history.entries(side.kept)


def cleared(side: Side, values: Bytes2d) -> Bytes2d:
    """Raw values with what is hidden from whoever looks zeroed."""
    return values if side.kept is None else without_hidden(values, side.mask)


def field_texts(field: FieldDiff, made: Diff, rows: Rows) -> tuple[list[bytes], list[bytes]]:
    """(old, new) of a field as JSON, for some of its rows."""
    old = template(field.old_node).render(np.ascontiguousarray(made.old_values(field, rows)))
    new = template(field.new_node).render(np.ascontiguousarray(made.new_values(field, rows)))
    return old, new


def _width(side: Side, timeline: Timeline | None) -> int:
    if side.entries is not None:
        return int(side.entries.values.shape[1])
    if side.kept is None or timeline is None:
        return -1
    return timeline.history.pieces_of(side.kept).value_width


def _fields(layout: Layout, old: Table, new: Table) -> tuple[FieldDiff, ...]:
    """Fields that differ, by their bits; what is in no field is told as the whole value."""
    plan = layout.value
    if plan is None or not len(old):
        return ()
    found: list[FieldDiff] = []
    named = np.zeros(len(old), bool)
    cpus: Sequence[int] = range(layout.n_cpus) if layout.n_cpus else (-1,)
    for cpu in cpus:
        xor = _of_cpu(old.values, cpu) ^ _of_cpu(new.values, cpu)
        touched = np.bitwise_or.reduce(xor, axis=0) if len(xor) else xor
        for node in leaves(plan.root, ARRAY_LIMIT):
            mask = mask_of(node)
            here = slice(node.offset_bytes, node.end_bytes)
            if node.special == REDACTED or not (touched[here] & mask).any():
                continue
            rows = np.flatnonzero((xor[:, here] & mask).any(axis=1))
            found.append(FieldDiff(_path(node, cpu), node, node, cpu, rows))
            named[rows] = True
        rest = np.flatnonzero(xor.any(axis=1) & ~named)
        if len(rest):  # padding, or members of a union that share bytes with none of the leaves
            raw = Node(kind=NodeKind.BYTES, size_bits=plan.size_bytes * 8, count=plan.size_bytes)
            found.append(FieldDiff(_path(raw, cpu), raw, raw, cpu, rest))
            named[rest] = True
    return tuple(found)


def mask_of(node: Node) -> NDArray[np.uint8]:
    """Bits of a field within its bytes."""
    mask = np.full(node.size_bytes, 255, np.uint8)
    if node.bitfield and node.byte_order == "little" and node.size_bytes:
        bits = ((1 << node.size_bits) - 1) << (node.offset_bits % 8)
        mask = np.frombuffer(bits.to_bytes(node.size_bytes, "little"), np.uint8)
    return mask


def _common(layout_a: Layout, layout_b: Layout, old: Table, new: Table) -> tuple[list[FieldDiff], tuple[str, ...]]:
    """Fields of one name on both sides that print something else; and what is only on one side."""
    if layout_a.value is None or layout_b.value is None:
        return [], ()
    ours, theirs = _by_path(layout_a.value), _by_path(layout_b.value)
    n_cpus = min(layout_a.n_cpus, layout_b.n_cpus)
    cpus: Sequence[int] = range(n_cpus) if n_cpus else (-1,)
    found = []
    for path, node in ours.items():
        other = theirs.get(path)
        if other is None or REDACTED in {node.special, other.special}:
            continue
        for cpu in cpus:
            before, after = _of_cpu(old.values, cpu), _of_cpu(new.values, cpu)
            texts = (
                template(node).render(np.ascontiguousarray(before)),
                template(other).render(np.ascontiguousarray(after)),
            )
            rows = np.array([at for at, (one, two) in enumerate(zip(*texts, strict=True)) if one != two], np.int64)
            if len(rows):
                found.append(FieldDiff(_path(node, cpu), node, other, cpu, rows))
    notes = [f"{full_path('value', path)} is only in the first" for path in ours if path not in theirs]
    notes += [f"{full_path('value', path)} is only in the second" for path in theirs if path not in ours]
    notes += [
        f"{full_path('value', path)} was {node.type_name or node.kind.value}, and is {theirs[path].type_name or theirs[path].kind.value}"
        for path, node in ours.items()
        if path in theirs and (node.type_name, node.size_bits) != (theirs[path].type_name, theirs[path].size_bits)
    ]
    if layout_a.n_cpus != layout_b.n_cpus:
        notes.append(f"one side has values of {layout_a.n_cpus} CPUs, the other of {layout_b.n_cpus}")
    return found, tuple(notes)


def _by_path(plan: Plan) -> dict[str, Node]:
    return {node.path: node for node in leaves(plan.root, ARRAY_LIMIT)}


def _facts_changed(a: Side, b: Side) -> tuple[str, ...]:
    one, other = a.recalled.facts, b.recalled.facts
    told = [
        f"{name} was {getattr(one, name)}, and is {getattr(other, name)}"
        for name in ("name", "type", "value_size", "max_entries", "map_flags")
        if getattr(one, name) != getattr(other, name)
    ]
    if a.series is not None and b.series is not None and a.series.id == b.series.id and a.map_id != b.map_id:
        told.append(f"the map was made anew in between: #{a.map_id}, then #{b.map_id}")
    return tuple(told)


def _without(made: Diff, ignore: Sequence[str]) -> Diff:
    """The same without fields that do not matter, and without entries in which nothing else is to be seen."""
    kept = tuple(each for each in made.fields if closest(ignore, plain_path(each.path)) is not Relation.COVERS)
    seen, rows = (
        np.unique(np.concatenate([np.zeros(0, np.int64), *(field.rows for field in some)]))
        for some in (made.fields, kept)
    )
    gone = len(made.old) - len(rows)
    if not gone:
        return replace(made, fields=kept)
    return replace(
        made,
        old=made.old.take(rows),
        new=made.new.take(rows),
        fields=tuple(replace(field, rows=np.searchsorted(rows, field.rows)) for field in kept),
        unchanged=made.unchanged + gone,
        ignored=len(seen) - len(rows),  # not what differs in nothing that may be seen
    )


def plain_path(path: str) -> str:
    """A path without its CPU."""
    group, at, rest = path.partition("@")
    if not at:
        return path
    step = min((index for index in (rest.find("."), rest.find("[")) if index >= 0), default=len(rest))
    return group + rest[step:]


def _path(node: Node, cpu: int) -> str:
    return full_path("value" if cpu < 0 else f"value@cpu{cpu}", node.path)


def _of_cpu(values: Bytes2d, cpu: int) -> Bytes2d:
    return values if cpu < 0 else values[:, cpu]
