"""Two sides compared: a summary first, then rows; the same as a file; and what comparisons of a map leave out."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from http import HTTPStatus

from flask import Blueprint, Response, g, redirect, request

from app.columns.cell import Head, heads
from app.columns.errors import ColumnsError
from app.history.errors import HistoryError
from app.history.series import SeriesFacts
from app.maps.errors import MapsError
from app.maps.walk import Completeness
from app.settings import MIB
from app.timeline import told
from app.timeline.differ import Diff
from app.timeline.errors import TimelineError
from app.timeline.listing import order_note
from app.timeline.naming import title
from app.timeline.series_settings import settings_of
from app.timeline.sides import Side
from app.uapi.errors import KernelError
from app.web import arguments, diff_rows, gate, times
from app.web.backend import Backend
from app.web.diff_files import file_of
from app.web.diff_sides import LIVE, Compared, Diffs, compared, ignored_in, pair
from app.web.diff_state import FORMATS, DiffState, is_form, read_state
from app.web.entry_table import COMPLETENESS
from app.web.errors import status_of
from app.web.permissions import NEEDS
from app.web.rendering import as_response, page_or_fragment
from app.wire.errors import BadField, NotThere

NEWEST = 50
"""Snapshots that a box offers."""
SHOWN_TOTALS = 12
MOST_TOTALS = 400
SUGGESTED = 8
MOST_PATTERNS = 50
MOST_PATTERN_CHARS = 200
_SPLIT = re.compile(r"[\s,;]+")
_PATTERN = re.compile(r"value([.\[].*)?")
_COUNTER = re.compile(
    r"(.*_)?(packets?|pkts?|bytes|octets|counts?|counters?|cnt|hits|misses|drops?|dropped|errors?|calls|runs|events|total"
    r"|seq|[rt]x(_.*)?|ns|time|stamp|tstamp|timestamp|seen|last|expires|jiffies)(_.*)?(\[.*\])*"
)
_MOVING = frozenset({"ktime", "wall", "duration"})
PROBLEMS = (MapsError, TimelineError, HistoryError, ColumnsError, KernelError)


@dataclass(frozen=True, slots=True, kw_only=True)
class SideView:
    """One side, in words."""

    ref: str
    name: str
    link: str
    """Where the side itself is shown."""
    live: bool
    clock: str
    ago: str
    entries: int
    trust: tuple[str, str]
    """(CSS class, words)"""
    label: str
    previous: str
    """Address with the snapshot before this one instead; empty where there is none."""
    next: str
    next_word: str
    notes: list[str]


def blueprint(backend: Backend) -> Blueprint:
    """GET /diff, POST /series/ID/ignore."""
    bp = Blueprint("diff", __name__)
    kept = Diffs(backend.settings.view_memory_mib * MIB // 2)

    @bp.get("/diff")
    def show() -> Response:
        state = read_state()
        file_kind = arguments.choice("format", FORMATS)
        if is_form():
            return as_response(redirect(state.link(page=state.page, format=file_kind), code=HTTPStatus.SEE_OTHER))
        if not (state.a and state.b):
            return _choose(backend, state)
        try:
            a, b = pair(backend, state.a, state.b)
            ignore = ignored_in(a, b) if state.ignore else ()
            if file_kind:
                return file_of(compared(backend, a, b, ignore, bare=True), file_kind)
            found = kept.get(a, b, backend, ignore)
        except PROBLEMS as problem:
            if file_kind:
                raise
            return _choose(backend, state, problem)
        return _page(backend, state, found)

    @bp.post("/series/<series_id>/ignore")
    def ignore(series_id: str) -> Response:
        number = arguments.map_id(series_id)
        patterns = patterns_in(
            arguments.typed("patterns", MOST_PATTERNS * MOST_PATTERN_CHARS), request.form.getlist("more")
        )
        try:
            backend.past.recorder.ignore(gate.credential(), number, patterns)
        except NotThere:
            backend.past.timeline().history.one_series(number)  # says that there is none
            raise
        back = gate.local_path(request.form.get("next"))
        return as_response(redirect(back if back.startswith("/diff") else "/diff", code=HTTPStatus.SEE_OTHER))

    return bp


def patterns_in(text: str, more: Iterable[str] = ()) -> tuple[str, ...]:
    """Patterns of paths out of what was typed. raises BadField"""
    found = tuple(dict.fromkeys(each for each in (*_SPLIT.split(text), *more) if each))
    if len(found) > MOST_PATTERNS:
        raise BadField(
            f"these are {len(found)} patterns, {MOST_PATTERNS} are the most: one with * covers many", "patterns"
        )
    for each in found:
        if len(each) > MOST_PATTERN_CHARS or _PATTERN.fullmatch(each) is None:
            raise BadField(
                f"{each[:60]!r} is no pattern of a value's fields: write value.packets, or value.*_ns", "patterns"
            )
    return found


def _page(backend: Backend, state: DiffState, found: Compared) -> Response:
    made = found.made
    # The address that stays right: what was so long ago then is a snapshot now.
    state = _settled(state, made)
    problem: ColumnsError | None = None
    rows = diff_rows.Selection(*(diff_rows.NOTHING,) * 3)
    try:
        rows = diff_rows.selected(made, state)
    except ColumnsError as error:
        problem = error
    series = made.b.series or made.a.series
    response = page_or_fragment(
        "diff/page.html",
        "diff/_page.html",
        state=state,
        made=made,
        sides=[_side_view(backend, made.a, state, "a"), _side_view(backend, made.b, state, "b")],
        counts=told.counts(made),
        totals=sorted(found.totals, key=lambda total: -total.entries)[:MOST_TOTALS],
        totals_shown=SHOWN_TOTALS,
        totals_in_all=len(found.totals),
        remarks=made.schema_changes,
        notes=[*told.notes(made), *filter(None, [order_note(made)])],
        seen_whole=made.b.is_complete,
        between=_between(made),
        sheet=diff_rows.sheet(made, state, rows),
        problem=str(problem) if problem else "",
        column=getattr(problem, "column", None),
        bad_field=_bad_field(state, problem),
        series=series,
        ignored=found.ignore,
        patterns=settings_of(series).ignore if series is not None else (),
        suggested=_suggested(found, series),
        may_edit=g.session.role in NEEDS["diff.ignore"].value and not backend.past.is_alone,
        restores=[side.ref for side in (made.a, made.b) if side.kept is not None],
        opposite="" if backend.past.is_alone else _live_twin(state, made),
        entry_link=_entry_links(made),
        turn=lambda page: state.link(page=page),
    )
    if problem is not None:
        response.status_code = status_of(problem)
    return response


def _settled(state: DiffState, made: Diff) -> DiffState:
    a, b = (side.ref if side.kept is not None else text for side, text in ((made.a, state.a), (made.b, state.b)))
    return replace(state, a=a, b=b)


def _bad_field(state: DiffState, problem: ColumnsError | None) -> str:
    if problem is None:
        return ""
    return "key" if state.key and not state.where else "where"


def _side_view(backend: Backend, side: Side, state: DiffState, place: str) -> SideView:
    timeline = backend.past.timeline_or_none()
    before = after = newest = None
    entries = 0 if side.entries is None else len(side.entries)
    if side.kept is not None and timeline is not None:
        before, after = timeline.history.beside(side.kept)
        entries = timeline.history.count(side.kept)
    elif side.series is not None and timeline is not None:
        newest = timeline.history.newest(side.series.id)
    earlier = before or newest
    following = after.ref if after is not None else ""
    if side.kept is not None and not following and not backend.past.is_alone and _other(state, place) != LIVE:
        following = LIVE
    return SideView(
        ref=side.ref,
        name=side.name,
        link=f"/snapshots/{side.ref}" if side.kept is not None else f"/maps/{side.map_id}",
        live=side.kept is None,
        clock=times.utc(side.taken_ns),
        ago=times.ago(side.taken_ns),
        entries=entries,
        trust=COMPLETENESS[Completeness(side.completeness)],
        label=side.kept.label if side.kept is not None else "",
        previous=state.link(**{place: earlier.ref}) if earlier is not None else "",
        next=state.link(**{place: following}) if following else "",
        next_word="live now" if following == LIVE else "snapshot after",
        notes=side.kept.notes.splitlines() if side.kept is not None else [],
    )


def _other(state: DiffState, place: str) -> str:
    return state.b if place == "a" else state.a


def _between(made: Diff) -> str:
    """How far apart they are, in words."""
    return times.ago(0, int(abs(made.seconds) * 1e9)) if abs(made.seconds) >= 1 else "less than a second"


def _live_twin(state: DiffState, made: Diff) -> str:
    """The address that holds side b against the live map; empty where b is live."""
    return state.link(b=LIVE) if made.b.kept is not None and state.a != LIVE else ""


def _entry_links(made: Diff) -> dict[str, str]:
    """By kind of row the beginning of the address of one entry, `…/KEYHEX`."""
    links = {}
    for kind, side in (("added", made.b), ("removed", made.a), ("changed", made.b)):
        if side.series is not None:
            links[kind] = f"/series/{side.series.id}/entries/"
        elif side.kept is None and side.recalled.kind.lookup:
            links[kind] = f"/maps/{side.map_id}/entries/"
    return links


def _suggested(found: Compared, series: SeriesFacts | None) -> list[str]:
    """Fields that count or tell the time, as patterns: first those that differ here."""
    if series is None:
        return []
    layout = found.made.b.schema.layout
    differs = [total.path for total in found.totals]
    every = heads(layout) if layout.value is not None and not layout.datasec else []
    known = [one.path for one in every if one.group == "value" and _moves(one)]
    counted = [path for path in differs if path in known or looks_counted(path)]
    patterns = [re.sub(r"\[\d+\]", "[*]", path) for path in (*counted, *known) if path != "value"]
    have = settings_of(series).ignore
    return [path for path in dict.fromkeys(patterns) if path not in have][:SUGGESTED]


def _moves(one: Head) -> bool:
    return one.lens in _MOVING or looks_counted(one.path)


def looks_counted(path: str) -> bool:
    """By its name a field counts, or tells the time."""
    return _COUNTER.fullmatch(path.rpartition(".")[2]) is not None


def _choose(backend: Backend, state: DiffState, problem: Exception | None = None) -> Response:
    """A form for the two sides, with what went wrong."""
    maps: list[tuple[str, str]] = []
    if not backend.past.is_alone:
        maps = [(str(each.id), each.name or f"#{each.id}") for each in backend.client.maps().maps]
    newest: list[tuple[str, str]] = []
    timeline = backend.past.timeline_or_none()
    if timeline is not None:
        names = {each.id: title(each.of) for each in timeline.history.series()}
        newest = [
            (
                kept.ref,
                f"{names[kept.series_id]}, {times.utc(kept.taken_ns)} UTC{', ' + kept.label if kept.label else ''}",
            )
            for kept in timeline.history.snapshots(limit=NEWEST)
            if kept.series_id in names
        ]
    response = page_or_fragment(
        "diff/choose.html", "diff/_choose.html", state=state, problem=str(problem) if problem else "", maps=maps,
        snapshots=newest, history=timeline is not None, alone=backend.past.is_alone,
    )  # fmt: skip
    if problem is not None:
        response.status_code = status_of(problem)  # type: ignore[arg-type]
    return response
