"""A live map back to a snapshot: what would change, looked at first, then a plan of edits. Nothing is written here."""

from __future__ import annotations

from dataclasses import dataclass, replace
from http import HTTPStatus

from flask import Blueprint, Response, redirect, request

from app.columns.errors import ColumnsError
from app.maps.bulk import edits_of
from app.maps.errors import MapsError
from app.maps.opening import OpenMap
from app.timeline import told
from app.timeline.differ import Diff
from app.timeline.errors import BadSide, CannotRestore, NothingToRestore
from app.timeline.listing import in_order, order_note
from app.timeline.restore import check, only, patch, remarks
from app.timeline.sides import Side, side
from app.web import arguments, diff_rows, times
from app.web.backend import Backend
from app.web.diff_page import looks_counted
from app.web.diff_sides import compared, ignored_in, live_map, read_live
from app.web.diff_state import ON_OFF, DiffState
from app.web.diff_totals import totals
from app.web.errors import status_of
from app.web.frame import frame_of
from app.web.opening import open_map
from app.web.plans_page import keep_plan
from app.web.rendering import as_response, page_or_fragment
from app.wire.errors import BadField

MOST_ROWS = 10_000
"""That a request makes a plan of; the command takes as many as the role allows."""
SHOWN_TOTALS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is to be brought back, and with which words."""

    snap: str
    map: str = ""
    """The live map; empty: the one that goes on with the snapshot's."""
    only: str = ""
    """A filter: just these entries."""
    counters: bool = False
    """Fields that comparisons of the map ignore are set back, too."""
    page: int = 1
    reason: str = ""
    confirm: str = ""

    def link(self, **change: object) -> str:
        """The address of the preview."""
        other = replace(self, **({"page": 1} | change))  # type: ignore[arg-type]
        return arguments.link(
            "/restore", snap=other.snap, map=other.map, only=other.only, counters="1" if other.counters else "",
            page=other.page if other.page > 1 else "",
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """From what the live map holds to what the snapshot does."""

    backend: Backend
    now: Side
    then: Side
    ignore: tuple[str, ...]
    wanted: Wanted

    def diff(self, *, bare: bool) -> Diff:
        """The comparison, narrowed by the filter. raises WhereError and the filter's other errors, Unlike"""
        made = only(self.whole(bare=bare), self.wanted.only)
        return made if bare else in_order(made)  # of a part that a filter left there may be few enough

    def whole(self, *, bare: bool) -> Diff:
        """The comparison of all entries. raises Unlike, Busy"""
        return compared(self.backend, self.now, self.then, self.ignore, bare=bare)


def blueprint(backend: Backend) -> Blueprint:
    """GET and POST /restore."""
    bp = Blueprint("restore", __name__)

    @bp.get("/restore")
    def show() -> Response:
        wanted = _asked() if not request.form else _typed()  # a form where one that was typed is come back to
        if any(value == "" for value in request.args.values()):
            return as_response(redirect(wanted.link(), code=HTTPStatus.SEE_OTHER))
        return _with(backend, wanted, make=False)

    @bp.post("/restore")
    def make() -> Response:
        return _with(backend, _typed(), make=True)

    return bp


def _asked() -> Wanted:
    return Wanted(
        snap=arguments.words("snap"),
        map=arguments.words("map"),
        only=arguments.words("only"),
        counters=arguments.choice("counters", ON_OFF, "0") == "1",
        page=arguments.whole("page", default=1, least=1, most=1 << 24),
    )


def _typed() -> Wanted:
    return Wanted(
        snap=arguments.typed("snap").strip(),
        map=arguments.typed("map", 4200).strip(),
        only=arguments.typed("only", arguments.MAX_TEXT_CHARS).strip(),
        counters=request.form.get("counters") == "1",
        reason=arguments.typed("reason", 1000).strip(),
        confirm=arguments.typed("confirm").strip(),
    )


def _with(backend: Backend, wanted: Wanted, *, make: bool) -> Response:
    timeline, looker = backend.past.timeline(), backend.looker
    then = side(wanted.snap, timeline, looker) if wanted.snap else None
    if then is None or then.kept is None:
        raise BadSide(wanted.snap, "what is brought back is a snapshot (s12), or a map at a time (42@10m)")
    map_id = looker.resolve(wanted.map) if wanted.map else live_map(then.series, timeline, looker)
    with open_map(backend.client, backend.btfs, map_id) as opened:
        check(opened.kind, then.boot_id)
        now = read_live(backend, opened, timeline)
        ignore = () if wanted.counters else ignored_in(now, then)
        way = Way(backend=backend, now=now, then=then, ignore=ignore, wanted=wanted)
        if not make:
            return _preview(opened, way)
        try:
            return _make(backend, opened, way)
        except (MapsError, ColumnsError, BadField, NothingToRestore, CannotRestore) as problem:
            return _preview(opened, way, problem)


def _make(backend: Backend, opened: OpenMap, way: Way) -> Response:
    made, wanted = way.diff(bare=True), way.wanted
    rows = rows_in(made)
    if not rows:
        raise NothingToRestore
    if rows > MOST_ROWS:
        raise BadField(
            f"these are {rows} edits, {MOST_ROWS} are the most here: narrow the filter, or use `bpf-atlas restore`",
            "only",
        )
    if not wanted.reason:
        raise BadField("Say why: the reason stands in the audit log.", "reason")
    name = name_of(opened)
    if deletes(made) and wanted.confirm != name:
        raise BadField(f"type {name}, as entries will be deleted", "confirm")
    text = b"".join(patch(made)).decode()
    if not text:
        raise NothingToRestore
    edits = edits_of(opened, text, limit=MOST_ROWS)
    kept = way.then.kept
    label = f"back to {way.then.ref}" + (f" of {times.utc(kept.taken_ns)} UTC" if kept is not None else "")
    label += f", only {wanted.only}" if wanted.only else ""
    facts = keep_plan(backend, opened, edits, label=label[:200], reason=wanted.reason)
    return as_response(redirect(f"/plans/{facts.id}", code=HTTPStatus.SEE_OTHER))


def rows_in(made: Diff) -> int:
    """Edits that a restore takes, at most."""
    return len(made.added) + len(made.old) + deletes(made)


def deletes(made: Diff) -> int:
    """Entries that go: none where the snapshot may just not have seen them."""
    return len(made.removed) if made.b.is_complete else 0


def name_of(opened: OpenMap) -> str:
    """What is typed to confirm."""
    return opened.facts.name or f"#{opened.facts.id}"


def _preview(opened: OpenMap, way: Way, problem: Exception | None = None) -> Response:
    wanted = way.wanted
    filter_problem: ColumnsError | None = None
    try:
        made = way.diff(bare=False)
    except ColumnsError as error:
        filter_problem = error
        made = way.whole(bare=False)
    state = DiffState(a=str(opened.facts.id), b=way.then.ref, page=wanted.page)
    added = totals(made)
    said = problem or filter_problem
    field = "only" if filter_problem else getattr(problem, "field", "")
    kept = way.then.kept
    response = page_or_fragment(
        "restore/page.html",
        "restore/_page.html",
        frame=frame_of(opened, "entries"),
        wanted=wanted,
        made=made,
        then=way.then,
        clock=times.utc(way.then.taken_ns),
        ago=times.ago(way.then.taken_ns),
        label=kept.label if kept is not None else "",
        counts=told.counts(made),
        deletes=deletes(made),
        rows=rows_in(made),
        most_rows=MOST_ROWS,
        name=name_of(opened),
        seen_whole=made.b.is_complete,
        remarks=(*made.schema_changes, *remarks(opened.kind)),
        notes=[*told.notes(made), *filter(None, [order_note(made)])],
        ignored=way.ignore,
        racing=[total.path for total in added if total.step.text and looks_counted(total.path)][:SHOWN_TOTALS],
        state=state,
        sides=[way.now, way.then],
        sheet=diff_rows.sheet(made, state, diff_rows.selected(made, state)),
        entry_link=_links(way),
        turn=lambda page: wanted.link(page=page),
        problem=str(said) if said else "",
        field=field,
    )
    if said is not None:
        response.status_code = status_of(said)  # type: ignore[arg-type]
    return response


def _links(way: Way) -> dict[str, str]:
    series = way.then.series
    where = f"/series/{series.id}/entries/" if series is not None else f"/maps/{way.now.map_id}/entries/"
    return dict.fromkeys(("added", "removed", "changed"), where)
