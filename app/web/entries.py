"""The entries of a map: filtered, ordered, paged; one look-up by exact key; the same as a file."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from flask import Blueprint, Response, redirect

from app.columns.cell import HEAD_LIMIT, Cell, Head, cells, head, heads, row_count
from app.columns.errors import ColumnsError
from app.columns.plan import Plan
from app.columns.table import Layout
from app.maps import rings
from app.maps.actions import is_slot
from app.maps.entry import is_member, key_plan, parse
from app.maps.errors import CannotList, CannotLookUp
from app.maps.host_names import names
from app.maps.kinds import Enumerate, Meaning
from app.maps.opening import OpenMap
from app.maps.page import Page, Query, read_page
from app.maps.walk import Completeness
from app.uapi.enums import BpfMapType
from app.web import arguments
from app.web.backend import Backend
from app.web.bars import Bars, bars
from app.web.downloads import download
from app.web.edited import edited
from app.web.errors import status_of
from app.web.frame import frame_of
from app.web.opening import open_map
from app.web.permits import permits
from app.web.rendering import as_response, page_or_fragment
from app.web.state import FORMATS, EntriesState, is_form, read_state
from app.web.text import plural, thousands
from app.web.words import FILLER

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


def blueprint(backend: Backend) -> Blueprint:
    """GET /maps/ID."""
    bp = Blueprint("entries", __name__)

    @bp.get("/maps/<map_id>")
    def show(map_id: str) -> Response:
        state = read_state(arguments.map_id(map_id))
        file_kind = arguments.choice("format", FORMATS)
        if is_form() and not state.key and not file_kind:
            return as_response(redirect(state.link(cursor=state.cursor), code=303))
        with open_map(backend.client, backend.btfs, state.map_id) as opened:
            if file_kind:
                return download(
                    backend, opened, kind=file_kind, where=state.where, sort=state.sort, cursor=state.cursor,
                    columns=list(state.columns),
                )  # fmt: skip
            return _page(backend, opened, state)

    return bp


def _page(backend: Backend, opened: OpenMap, state: EntriesState) -> Response:
    problem: Exception | None = None
    field = ""
    answer = ""
    sheet: Sheet | None = None
    refusal: CannotList | None = None
    try:
        field = "key"
        if state.key:
            found = _exact(opened, state.key)
            if isinstance(found, Response):
                return found
            answer = found
        field = "where"
        sheet = read_sheet(backend, opened, state)
    except CannotList as cannot:
        refusal = cannot
    except (ColumnsError, CannotLookUp) as error:
        problem = error
    response = page_or_fragment(
        "maps/entries.html",
        "maps/_entries.html",
        frame=frame_of(opened, "entries"),
        edited=edited(backend.client, opened.facts.id),
        permits=permits(backend.client, opened.facts.id),
        new=_new(opened),
        state=state,
        sheet=sheet,
        refusal=refusal,
        problem=str(problem) if problem else "",
        column=getattr(problem, "column", None),
        bad_field=field if problem else "",
        answer=answer,
        choices=_choices(opened, state) if not (refusal or problem) else [],
        look_up=_look_up_hint(opened),
        example=_example(opened) if not refusal else "",
        whole=_whole_entry(opened),
        backlog=rings.look(opened.client, opened.facts.id) if opened.kind.enumerate is Enumerate.RING else None,
        bloom=opened.facts.type == BpfMapType.BLOOM_FILTER,
    )
    if isinstance(problem, ColumnsError | CannotLookUp):
        response.status_code = status_of(problem)
    return response


def read_sheet(backend: Backend, opened: OpenMap, state: EntriesState) -> Sheet:
    """One page of the table. raises CannotList and what a filter, an order or a column can have wrong"""
    query = Query(where=state.where, sort=state.sort, limit=state.limit, cursor=state.cursor)
    page = read_page(opened, backend.views, query, max_entries=backend.settings.max_read_entries)
    layout = page.sheet.table.layout
    chosen = chosen_heads(layout, state)
    table = page.table
    rows = cells(table, chosen, slice(0, row_count(table)), names())
    linked = opened.kind.enumerate not in OWNED and opened.facts.key_size > 0
    keys = [key.tobytes().hex() for key in table.keys] if linked else []
    if layout.datasec or (linked and not opened.kind.lookup):
        keys = []
    nested = opened.kind.meaning is Meaning.MAP_ID
    called = _called(opened)
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
        groups=_groups(opened, layout, chosen, state),
        lines=lines,
        page=page,
        clock=_clock(reading.ended_at_ns),
        took_ms=max(round((reading.ended_at_ns - reading.started_at_ns) / 1e6), 0),
        trust=COMPLETENESS[reading.completeness]
        if page.matched is not None
        else ("", "the first of the map, read just now"),
        rows=_rows_text(page, len(lines), opened),
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


def _groups(opened: OpenMap, layout: Layout, chosen: list[Head], state: EntriesState) -> list[tuple[str, str, int]]:
    groups = []
    if layout.datasec:
        return []
    for group, plan in (("key", layout.key), ("value", layout.value)):
        width = sum(one.group == group for one in chosen)
        if width and plan is not None:
            what = _what(opened, group, plan)
            if group == "value" and layout.n_cpus:
                what += f" on each of {plural(layout.n_cpus, 'CPU')}{FOLD_WORDS[state.fold]}"
                if state.fold == "each" and layout.n_cpus > MAX_CPUS_AS_COLUMNS:
                    what += f", of which the first {MAX_CPUS_AS_COLUMNS} are shown"
            groups.append((group, what, width))
    return groups


def _what(opened: OpenMap, group: str, plan: Plan) -> str:
    """``struct flow_key · 16 B``; no type's name where the fields are the map type's own, or none is known."""
    if group == "key" and opened.kind.enumerate in OWNED:
        return "record" if opened.kind.enumerate is Enumerate.RING else "owner"
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


def _choices(opened: OpenMap, state: EntriesState) -> list[tuple[Head, bool]]:
    layout = opened.schema.layout
    if layout.datasec or opened.kind.enumerate is Enumerate.RING:
        return []
    shown = {FOLD.sub("", one.path) for one in chosen_heads(layout, state)}
    every = heads(layout, lenses={path: lens for path, lens in state.lenses if "@" not in path})
    return [(one, one.path in shown) for one in every]


def _exact(opened: OpenMap, text: str) -> Response | str:
    if opened.facts.type == BpfMapType.BLOOM_FILTER:
        maybe = is_member(opened, parse(opened, text))
        return (
            "Maybe: the filter has all bits of this value set." if maybe else "Surely not: this value was never put in."
        )
    key = parse(opened, text)
    return as_response(redirect(f"/maps/{opened.facts.id}/entries/{key.hex()}", code=303))


def _example(opened: OpenMap) -> str:
    """A filter that fits this map, as the placeholder of the filter box."""
    layout = opened.schema.layout
    if layout.datasec:
        return ""
    every = heads(layout)
    number = next((one.path for one in every if one.numeric and one.group == "value" and not one.special), "")
    address = next((one.path for one in every if one.lens == "ipv4"), "")
    parts = [f"{number} > 1000" if number else "", f"{address} in 10.0.0.0/8" if address else ""]
    return " and ".join(part for part in parts if part)


def _new(opened: OpenMap) -> tuple[str, str]:
    """(action, word) of what makes something new in this map."""
    if opened.kind.enumerate is Enumerate.PEEK or opened.facts.type == BpfMapType.BLOOM_FILTER:
        return "push", "Put in"
    return ("put", "Fill a slot") if is_slot(opened.kind) else ("create", "New entry")


def _whole_entry(opened: OpenMap) -> str:
    """Address of the one entry of a map of global variables, with every field and byte."""
    only_one = opened.schema.layout.datasec or opened.kind.enumerate is Enumerate.SINGLE
    return f"/maps/{opened.facts.id}/entries/{'00' * opened.facts.key_size}" if only_one else ""


def _look_up_hint(opened: OpenMap) -> str:
    """Placeholder of the exact-key box: the fields in order; empty where there is no look-up."""
    if _whole_entry(opened):
        return ""
    try:
        plan = key_plan(opened)
    except CannotLookUp:
        return ""
    names_of = [node.path or node.type_name for node in plan.leaves() if not node.special][:KEY_COLUMNS]
    return ", ".join(names_of) if plan.typed and names_of else "hex:… or bytes"


def _rows_text(page: Page, shown: int, opened: OpenMap) -> str:
    if page.sheet.table.layout.datasec:
        return plural(shown, "variable")
    if page.matched is None:
        of = f" of about {thousands(opened.entries)}" if opened.entries is not None else ""
        return f"first {thousands(shown)}{of}"
    if not shown:
        return "no rows"
    if shown == 1:
        return f"row {thousands(page.offset + 1)}"
    return f"rows {thousands(page.offset + 1)}–{thousands(page.offset + shown)}"


def _clock(at_ns: int) -> str:
    local = datetime.fromtimestamp(at_ns / 1e9, tz=UTC).astimezone()
    return f"{local:%H:%M:%S}.{at_ns // 1_000_000 % 1000:03d}"
