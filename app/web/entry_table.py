"""The table of entries on a page, of a live map or of a snapshot: its columns, their groups, and its rows as text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from app.columns.cell import HEAD_LIMIT, Cell, Head, cells, head, heads, row_count
from app.columns.errors import ColumnsError
from app.columns.plan import Plan
from app.columns.table import Layout
from app.maps.host_names import boot_id, names_of
from app.maps.kinds import Enumerate, Kind, Meaning
from app.maps.opening import OpenMap
from app.maps.page import Page
from app.maps.walk import Completeness
from app.timeline.timeline import Moment
from app.web.bars import Bars, bars
from app.web.state import EntriesState
from app.web.text import plural, thousands
from app.web.words import FILLER
from app.wire.bodies import MapFacts

KEY_COLUMNS = 8
VALUE_COLUMNS = 9
MAX_CPUS_AS_COLUMNS = 16
FOLD = re.compile(r"@\w+")
FOLD_WORDS = {"sum": ", added up", "min": ", the smallest", "max": ", the largest", "each": ""}
OWNED = frozenset(
    {Enumerate.SOCKETS, Enumerate.INODES, Enumerate.TASKS, Enumerate.CGROUPS, Enumerate.RING, Enumerate.PEEK}
)
"""Types whose shown keys are not what a look-up takes."""
COMPLETENESS = {
    Completeness.EXACT: ("ok", "one moment, complete"),
    Completeness.WALKED: ("ok", "walked once, complete"),
    Completeness.CAPPED: ("warned", "stopped at the limit, not complete"),
    Completeness.PARTIAL: ("warned", "all that this type shows"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What the entries are of."""

    kind: Kind
    facts: MapFacts
    layout: Layout
    entries: int | None
    """Where it is known without reading them."""
    has_links: bool
    """A row leads to its entry."""
    called: Mapping[int, str] = field(default_factory=dict)
    """Names by id of what values stand for; empty for other maps, and for the past, in which ids mean nothing."""
    boot_id: str
    """Of the host's start in which they were read."""
    first: str = ""
    """What to say of a page for which not all was read."""


def live(opened: OpenMap) -> Subject:
    """An open map."""
    links = opened.kind.enumerate not in OWNED and opened.facts.key_size > 0
    return Subject(
        kind=opened.kind,
        facts=opened.facts,
        layout=opened.schema.layout,
        entries=opened.entries,
        has_links=links and opened.kind.lookup and not opened.schema.layout.datasec,
        called=_called(opened),
        boot_id=boot_id(),
        first="the first of the map, read just now",
    )


def past(moment: Moment, entries: int) -> Subject:
    """A snapshot of so many entries."""
    return Subject(
        kind=moment.recalled.kind,
        facts=moment.recalled.facts,
        layout=moment.schema.layout,
        entries=entries,
        has_links=moment.schema.layout.key is not None and not moment.schema.layout.datasec,
        boot_id=moment.kept.boot_id,
        first="the first of the snapshot, in the order of their bytes",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One row of the table."""

    key_hex: str
    """Empty where a look-up cannot take the key."""
    cells: list[Cell]
    bars: dict[int, Bars]
    """Histograms by column."""
    map_link: int
    """Id of the map that the value names, or 0."""
    named: str
    """What the map or program that the value names is called; empty where it names none, or one that went away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """What the table and the bar above it show."""

    heads: list[Head]
    groups: list[tuple[str, str, int]]
    """(group, what it is, columns)"""
    lines: list[Line]
    page: Page
    clock: str
    took_ms: int
    trust: tuple[str, str]
    """(CSS class, words)"""
    rows: str
    notes: list[str]


def tabled(page: Page, subject: Subject, state: EntriesState) -> Sheet:
    """One page of the table. raises what a column or a lens can have wrong"""
    layout = page.sheet.table.layout
    chosen = chosen_heads(layout, state)
    table = page.table
    rows = cells(table, chosen, slice(0, row_count(table)), names_of(subject.boot_id))
    keys = [key.tobytes().hex() for key in table.keys] if subject.has_links else []
    called = subject.called
    nested = subject.kind.meaning is Meaning.MAP_ID and bool(called)
    ids = [int.from_bytes(value[:4].tobytes(), "little") for value in table.values] if called else []
    lines = [
        Line(
            key_hex=keys[index] if index < len(keys) else "",
            cells=row,
            bars={at: drawn for at, one in enumerate(chosen) if one.lens == "bars" and (drawn := bars(row[at].raw))},
            map_link=ids[index] if nested and ids else 0,
            named=called.get(ids[index], "") if ids else "",
        )
        for index, row in enumerate(rows)
    ]
    reading = page.sheet.reading
    return Sheet(
        heads=chosen,
        groups=_groups(subject, layout, chosen, state),
        lines=lines,
        page=page,
        clock=_clock(reading.ended_at_ns),
        took_ms=max(round((reading.ended_at_ns - reading.started_at_ns) / 1e6), 0),
        trust=COMPLETENESS[reading.completeness] if page.matched is not None else ("", subject.first),
        rows=_rows_text(page, len(lines), subject),
        notes=list(page.sheet.notes),
    )


def chosen_heads(layout: Layout, state: EntriesState) -> list[Head]:
    """The columns: those that the address names, else the first of key and value."""
    if state.columns:
        return _folded(layout, heads(layout, lenses=_for(state), columns=list(state.columns)), state)
    every = heads(layout, lenses=dict(state.lenses))
    if layout.datasec:
        return every
    keys, values = ([one for one in every if one.group == group] for group in ("key", "value"))
    keys = ([one for one in keys if not FILLER.fullmatch(one.label)] or keys)[:KEY_COLUMNS]
    values = ([one for one in values if not FILLER.fullmatch(one.label)] or values)[:VALUE_COLUMNS]
    return _folded(layout, keys + values, state)


def _for(state: EntriesState) -> dict[str, str]:
    return {path: lens for path, lens in state.lenses if path in state.columns}


def _folded(layout: Layout, chosen: list[Head], state: EntriesState) -> list[Head]:
    """Columns of per-CPU values as the address wants the CPUs: added up, the smallest, the largest, or each one."""
    if not layout.n_cpus or state.fold == "sum":
        return chosen
    plain = [one.group == "key" or "@" in one.path for one in chosen]
    return [
        each for one, keep in zip(chosen, plain, strict=True) for each in ([one] if keep else _fold(layout, one, state))
    ][:HEAD_LIMIT]


def _fold(layout: Layout, one: Head, state: EntriesState) -> list[Head]:
    ways = (
        [f"cpu{cpu}" for cpu in range(min(layout.n_cpus, MAX_CPUS_AS_COLUMNS))]
        if state.fold == "each"
        else [state.fold]
    )
    folded = []
    for way in ways:
        try:
            each = head(layout, one.path.replace("value", f"value@{way}", 1), one.lens)
            folded.append(replace(each, label=f"{one.label} · {way.replace('cpu', 'CPU ')}"))
        except ColumnsError:
            return [one]
    return folded


def _groups(subject: Subject, layout: Layout, chosen: list[Head], state: EntriesState) -> list[tuple[str, str, int]]:
    groups = []
    if layout.datasec:
        return []
    for group, plan in (("key", layout.key), ("value", layout.value)):
        width = sum(one.group == group for one in chosen)
        if width and plan is not None:
            what = _what(subject, group, plan)
            if group == "value" and layout.n_cpus:
                what += f" on each of {plural(layout.n_cpus, 'CPU')}{FOLD_WORDS[state.fold]}"
                if state.fold == "each" and layout.n_cpus > MAX_CPUS_AS_COLUMNS:
                    what += f", of which the first {MAX_CPUS_AS_COLUMNS} are shown"
            groups.append((group, what, width))
    return groups


def _what(subject: Subject, group: str, plan: Plan) -> str:
    """``struct flow_key · 16 B``; no type's name where the fields are the map type's own, or none is known."""
    if group == "key" and subject.kind.enumerate in OWNED:
        return "record" if subject.kind.enumerate is Enumerate.RING else "owner"
    size = f"{plan.size_bytes} B"
    if not plan.typed:
        return f"{size}, no BTF"
    return size if plan.type_name in {"", "struct"} else f"{plan.type_name} · {size}"


def _called(opened: OpenMap) -> dict[int, str]:
    """Names by id of what the values of a map of maps or a program array stand for; empty for other maps."""
    if opened.kind.meaning is Meaning.MAP_ID:
        return {each.id: each.name for each in opened.client.maps().maps}
    if opened.kind.meaning is Meaning.PROG_ID:
        return {each.id: each.name for each in opened.client.progs().progs}
    return {}


def choices(subject: Subject, state: EntriesState) -> list[tuple[Head, bool]]:
    """Every column there could be, and whether it is shown."""
    layout = subject.layout
    if layout.datasec or subject.kind.enumerate is Enumerate.RING:
        return []
    shown = {FOLD.sub("", one.path) for one in chosen_heads(layout, state)}
    every = heads(layout, lenses={path: lens for path, lens in state.lenses if "@" not in path})
    return [(one, one.path in shown) for one in every]


def example(layout: Layout) -> str:
    """A filter that fits this map, as the placeholder of the filter box."""
    if layout.datasec:
        return ""
    every = heads(layout)
    number = next((one.path for one in every if one.numeric and one.group == "value" and not one.special), "")
    address = next((one.path for one in every if one.lens == "ipv4"), "")
    parts = [f"{number} > 1000" if number else "", f"{address} in 10.0.0.0/8" if address else ""]
    return " and ".join(part for part in parts if part)


def _rows_text(page: Page, shown: int, subject: Subject) -> str:
    if page.sheet.table.layout.datasec:
        return plural(shown, "variable")
    if page.matched is None:
        of = f" of about {thousands(subject.entries)}" if subject.entries is not None else ""
        return f"first {thousands(shown)}{of}"
    if not shown:
        return "no rows"
    if shown == 1:
        return f"row {thousands(page.offset + 1)}"
    return f"rows {thousands(page.offset + 1)}–{thousands(page.offset + shown)}"


def _clock(at_ns: int) -> str:
    local = datetime.fromtimestamp(at_ns / 1e9, tz=UTC).astimezone()
    return f"{local:%H:%M:%S}.{at_ns // 1_000_000 % 1000:03d}"
