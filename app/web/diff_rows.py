"""Rows of a comparison as its page shows them: only those of the page are decoded, however many there are."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from app.columns import where as filtering
from app.columns.cell import Cell, Head, cells, column_cells, head, told_apart
from app.columns.decode import full_path
from app.columns.errors import ColumnsError
from app.columns.key_text import parse_key
from app.columns.lenses.show import Names
from app.columns.node import NodeKind, leaves
from app.columns.plan import ARRAY_LIMIT, plan_raw
from app.columns.table import Layout, Table
from app.maps.hiding import Mask
from app.maps.host_names import names_of
from app.timeline.differ import Diff, FieldDiff, Rows, plain_path
from app.timeline.listing import fitting
from app.web.bytes_view import Dump, change_dumps, dump
from app.web.diff_state import DiffState
from app.web.diff_totals import NO_STEP, Step, head_of, steps
from app.web.words import FILLER
from app.wire.patterns import Relation, closest

PAGE_ROWS = 100
RAW_ROWS = 25
"""Of a page of hex dumps."""
KEY_COLUMNS = 8
VALUE_COLUMNS = 9
MOST_COLUMNS = 32
MOST_FIELDS = 16
"""Of one entry that are shown at once."""
MOST_DUMP_LINES = 16
MOST_CPUS = 4
SIGNS = {"added": "+", "removed": "\N{MINUS SIGN}", "changed": "~"}
NO_CELL = Cell("", "", "text", "")
BESIDES = Cell(
    "bytes in no field", "they are padding, or no type says what they are; the raw layout shows them", "opaque", ""
)
NOTHING: Rows = np.zeros(0, np.int64)
_CPU = re.compile(r"@cpu(\d+)")


@dataclass(frozen=True, slots=True)
class Selection:
    """Rows of each kind that fit, int64[n]."""

    added: Rows
    removed: Rows
    changed: Rows

    def __len__(self) -> int:
        return len(self.added) + len(self.removed) + len(self.changed)


@dataclass(frozen=True, slots=True)
class FieldLine:
    """One field of one entry."""

    path: str
    label: str
    old: Cell
    new: Cell
    numeric: bool
    step: Step


@dataclass(slots=True, kw_only=True)
class EntryLine:
    """One entry."""

    kind: str
    key_hex: str
    keys: list[Cell]
    fields: list[FieldLine] = field(default_factory=list)
    more: int = 0
    """Fields that differ, too, and are not shown."""
    parts: list[tuple[str, Cell]] = field(default_factory=list)
    """Of an entry that one side lacks: the fields that the other holds, by their labels."""
    pairs: list[tuple[Cell, Cell, bool]] = field(default_factory=list)
    """Side by side: (old, new, whether they differ), a pair a column."""
    dumps: list[tuple[str, Dump | None, Dump | None]] = field(default_factory=list)
    """Bytes: (CPU, old, new)."""

    @property
    def sign(self) -> str:
        """`+`, `−`, `~`."""
        return SIGNS[self.kind]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """One page of the rows."""

    key_heads: list[Head]
    heads: list[Head]
    """Columns of the value, where both sides stand in one table."""
    columns_left_out: int
    lines: list[EntryLine]
    matched: int
    pages: int
    first: int
    """Number of the first row, from 1."""


def selected(made: Diff, state: DiffState) -> Selection:
    """Rows that the address asks for.

    raises  WhereError and the filter's other errors, BadKey
    """
    added, removed, changed = (np.ones(len(table), bool) for table in (made.added, made.removed, made.new))
    if state.where:
        added, removed, changed = fitting(made, filtering.parse(state.where))
    if state.key:
        key = np.frombuffer(key_of(made, state.key), np.uint8)
        added &= _has_key(made.added, key)
        removed &= _has_key(made.removed, key)
        changed &= _has_key(made.new, key)
    if state.field:
        touched = np.zeros(len(changed), bool)
        for each in fields_meant(made, state.field):
            touched[each.rows] = True
        changed &= touched
        added[:] = removed[:] = False
    kept = state.kinds or tuple(SIGNS)
    return Selection(*(
        np.flatnonzero(rows) if kind in kept else NOTHING for kind, rows in zip(SIGNS, (added, removed, changed), strict=True)
    ))  # fmt: skip


def key_of(made: Diff, text: str) -> bytes:
    """Bytes of a key in any form that the exact-key box takes. raises BadKey"""
    plan = made.b.schema.layout.key or made.a.schema.layout.key or plan_raw(made.b.recalled.facts.key_size)
    return parse_key(plan, text)


def fields_meant(made: Diff, pattern: str) -> list[FieldDiff]:
    """Fields that a path or a pattern of paths covers."""
    return [
        each
        for each in made.fields
        if pattern == each.path or closest((pattern,), plain_path(each.path)) is Relation.COVERS
    ]


def sheet(made: Diff, state: DiffState, rows: Selection) -> Sheet:
    """The page that the address asks for; the last one where there are fewer."""
    per_page = RAW_ROWS if state.layout == "raw" else PAGE_ROWS
    pages = max(-(-len(rows) // per_page), 1)
    start = (min(state.page, pages) - 1) * per_page
    added, removed, changed = _cut(rows, start, start + per_page)
    old, new = names_of(made.a.boot_id), names_of(made.b.boot_id)
    key_heads = _key_heads(made)
    of_added, of_removed, of_changed = (
        _keyed(kind, made, table.keys[rows], key_heads, shown)
        for kind, table, rows, shown in (
            ("added", made.added, added, new),
            ("removed", made.removed, removed, old),
            ("changed", made.new, changed, new),
        )
    )
    tables = made.added.take(added), made.removed.take(removed), made.old.take(changed), made.new.take(changed)
    columns: list[Head] = []
    left_out = 0
    match state.layout:
        case "side":
            columns, left_out = value_heads(made, only_changed=state.only_changed)
            _side(of_added, tables[0], columns, new, new=True)
            _side(of_removed, tables[1], columns, old, new=False)
            _side_by_side(of_changed, (tables[2], old), (tables[3], new), columns)
        case "raw":
            _whole_dumps(of_added, tables[0], new=True)
            _whole_dumps(of_removed, tables[1], new=False)
            _change_dumps(of_changed, tables[2], tables[3])
        case _:
            _values(of_added, tables[0], new)
            _values(of_removed, tables[1], old)
            _field_lines(of_changed, made, changed, state.field, (old, new))
    return Sheet(
        key_heads=key_heads, heads=columns, columns_left_out=left_out, lines=of_added + of_removed + of_changed, matched=len(rows), pages=pages,
        first=start + 1 if len(rows) else 0,
    )  # fmt: skip


def _has_key(table: Table, key: NDArray[np.uint8]) -> Mask:
    if table.keys.shape[1] != len(key):
        return np.zeros(len(table), bool)
    found: Mask = (table.keys == key).all(axis=1)
    return found


def _cut(rows: Selection, start: int, end: int) -> tuple[Rows, Rows, Rows]:
    """Rows `start` to `end` of the three kinds behind each other."""
    parts = []
    before = 0
    for part in (rows.added, rows.removed, rows.changed):
        parts.append(part[max(start - before, 0) : max(end - before, 0)])
        before += len(part)
    return parts[0], parts[1], parts[2]


def _key_heads(made: Diff) -> list[Head]:
    plan = made.new.layout.key
    if plan is None:
        return []
    layout = Layout(key=plan, value=None)
    every = [head(layout, full_path("key", node.path)) for node in leaves(plan.root, ARRAY_LIMIT)]
    return ([one for one in every if not FILLER.fullmatch(one.label)] or every)[:KEY_COLUMNS]


def _keyed(kind: str, made: Diff, keys: NDArray[np.uint8], key_heads: list[Head], shown: Names) -> list[EntryLine]:
    """A line for each row of one kind, with its key."""
    table = Table(Layout(key=made.new.layout.key, value=None), keys, np.zeros((len(keys), 0), np.uint8))
    found = cells(table, key_heads, None, shown)
    return [EntryLine(kind=kind, key_hex=key.tobytes().hex(), keys=row) for key, row in zip(keys, found, strict=True)]


def value_heads(made: Diff, *, only_changed: bool) -> tuple[list[Head], int]:
    """(columns of the value, how many more there are): all of them, or those in which anything differs."""
    if only_changed:
        paths = list(dict.fromkeys(plain_path(each.path) for each in made.fields))
    else:
        paths = [
            full_path("value", node.path)
            for table in (made.new, made.old)
            if table.layout.value is not None
            for node in leaves(table.layout.value.root, ARRAY_LIMIT)
        ]
        paths = list(dict.fromkeys(paths))
        paths = [path for path in paths if not FILLER.fullmatch(path.partition(".")[2] or path)] or paths
    found = []
    for path in paths[: MOST_COLUMNS if only_changed else VALUE_COLUMNS]:
        one = head_of(made, path)
        if one is not None:
            found.append(one)
    return found, len(paths) - len(found)


def _column(table: Table, one: Head, shown: Names) -> list[Cell]:
    try:
        return column_cells(table, one, shown)
    except ColumnsError:  # the other side's field
        return [NO_CELL] * len(table)


def _side(lines: list[EntryLine], table: Table, columns: list[Head], shown: Names, *, new: bool) -> None:
    for one in columns:
        for line, cell in zip(lines, _column(table, one, shown), strict=True):
            line.pairs.append((NO_CELL, cell, True) if new else (cell, NO_CELL, True))


def _side_by_side(
    lines: list[EntryLine], old: tuple[Table, Names], new: tuple[Table, Names], columns: list[Head]
) -> None:
    for one in columns:
        pairs = zip(lines, *(_column(table, one, shown) for table, shown in (old, new)), strict=True)
        for line, before, after in pairs:
            differ = (before.raw, before.title) != (after.raw, after.title)
            line.pairs.append((*told_apart(before, after), differ))


def _values(lines: list[EntryLine], table: Table, shown: Names) -> None:
    for line, parts in zip(lines, parts_of(table, shown), strict=True):
        line.parts = parts


def parts_of(table: Table, shown: Names) -> list[list[tuple[str, Cell]]]:
    """The first fields of each entry's value, by their labels."""
    columns = [one for one in _leaf_heads(table.layout) if not FILLER.fullmatch(one.label)][:MOST_FIELDS]
    found = cells(table, columns, None, shown)
    return [[(one.label, cell) for one, cell in zip(columns, row, strict=True)] for row in found]


def _leaf_heads(layout: Layout) -> list[Head]:
    if layout.value is None:
        return []
    nodes = islice(leaves(layout.value.root, ARRAY_LIMIT), 2 * MOST_FIELDS)
    return [head(layout, full_path("value", node.path)) for node in nodes]


def _field_lines(lines: list[EntryLine], made: Diff, rows: Rows, pattern: str, shown: tuple[Names, Names]) -> None:
    """The fields of each entry that differ, those of a pattern before the others."""
    meant = {id(each) for each in fields_meant(made, pattern)} if pattern else set()
    for each in sorted(made.fields, key=lambda one: id(one) not in meant) if meant else made.fields:
        starts, ends = np.searchsorted(each.rows, rows), np.searchsorted(each.rows, rows, side="right")
        here = np.flatnonzero(ends > starts)
        wanted = [at for at in here.tolist() if len(lines[at].fields) < MOST_FIELDS]
        for at in here.tolist():
            lines[at].more += len(lines[at].fields) >= MOST_FIELDS
        if not wanted:
            continue
        at_rows = rows[wanted]
        one = head_of(made, each.path)
        plain = one is None or (each.old_node.kind is NodeKind.BYTES and not each.old_node.path and _is_typed(made))
        if one is None or plain:
            before = after = [BESIDES] * len(wanted)
            moved = [NO_STEP] * len(wanted)
        else:
            sides = zip((made.old, made.new), shown, strict=True)
            before, after = (_column(table.take(at_rows), one, known) for table, known in sides)
            moved = steps(made, each, at_rows, one)
        for at, old, new, step in zip(wanted, before, after, moved, strict=True):
            lines[at].fields.append(
                FieldLine(each.path, _label(each.path), *told_apart(old, new), one is not None and one.numeric, step)
            )


def _is_typed(made: Diff) -> bool:
    return made.new.layout.value is not None and made.new.layout.value.typed


def _label(path: str) -> str:
    """`packets · CPU 3`, of `value@cpu3.packets`."""
    plain = plain_path(path)
    cpu = _CPU.search(path)
    return (plain.partition(".")[2] or plain) + (f" · CPU {cpu[1]}" if cpu and plain != path else "")


def _short(shown: Dump) -> Dump:
    kept = shown.lines[:MOST_DUMP_LINES]
    left = sum(len(run.text.split()) for line in shown.lines[MOST_DUMP_LINES:] for run in line.runs)
    return replace(shown, lines=kept, left_out=shown.left_out + left)


def _whole_dumps(lines: list[EntryLine], table: Table, *, new: bool) -> None:
    for at, line in enumerate(lines):
        for cpu, data in _by_cpu(table, at)[:MOST_CPUS]:
            one = _short(dump(data, table.layout.value))
            line.dumps.append((cpu, None, one) if new else (cpu, one, None))


def _change_dumps(lines: list[EntryLine], old: Table, new: Table) -> None:
    for at, line in enumerate(lines):
        both = zip(_by_cpu(old, at), _by_cpu(new, at), strict=False)
        differ = [(cpu, before, after) for (cpu, before), (_, after) in both if before != after]
        for cpu, before, after in differ[:MOST_CPUS]:
            was, now = change_dumps(before, after, new.layout.value)
            line.dumps.append((cpu, _short(was), _short(now)))
        line.more = max(len(differ) - MOST_CPUS, 0)


def _by_cpu(table: Table, at: int) -> list[tuple[str, bytes]]:
    """(CPU, bytes) of a value; the CPU is empty where there is but one value."""
    value = table.values[at]
    if value.ndim == 1:
        return [("", value.tobytes())]
    return [(f"CPU {cpu}", each.tobytes()) for cpu, each in enumerate(value)]
