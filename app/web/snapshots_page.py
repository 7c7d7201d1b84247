"""The history of all maps: what was kept when and why; labels, deletions, and snapshots as one file."""

from __future__ import annotations

import time
from collections.abc import Iterator
from http import HTTPStatus
from secrets import token_hex
from typing import IO

from flask import Blueprint, Response, redirect, request

from app.history import archive
from app.history.errors import Damaged, NoHistory
from app.history.history import Selection
from app.history.series import Extent, SeriesFacts
from app.history.snapshots import Kept
from app.maps.recorded import type_name
from app.timeline.naming import title
from app.timeline.timeline import Timeline
from app.web import arguments, gate, times
from app.web.backend import Backend
from app.web.errors import status_of
from app.web.history_lines import by_day, of_snapshots
from app.web.history_state import LIMIT, TRIGGERS, HistoryState, is_form, matches, read_state
from app.web.moments import living, look
from app.web.problems import BadArgument, NotHere
from app.web.recorder_strip import strip
from app.web.rendering import as_response, page_or_fragment
from app.wire.errors import BadField, NotAllowed
from app.wire.recorder import JobFacts

MOST_EXPORTED = 500
BLOCK_BYTES = 1 << 18
MOST_LABEL = 200
REFRESH_S = 1


def blueprint(backend: Backend) -> Blueprint:
    """Pages below /snapshots that are not about one snapshot's entries."""
    bp = Blueprint("snapshots", __name__)

    @bp.get("/snapshots")
    def index() -> Response:
        state = read_state()
        if is_form():
            return as_response(redirect(state.link(before=state.before), code=HTTPStatus.SEE_OTHER))
        return _index(backend, state)

    @bp.post("/snapshots/export")
    def export() -> Response:
        return _export(backend, request.form.getlist("ref"))

    @bp.get("/snapshots/jobs/<number>")
    def job(number: str) -> Response:
        needs_recorder(backend)
        return job_page(backend, backend.past.recorder.job(job_number(number)))

    @bp.post("/snapshots/<ref>/label")
    def label(ref: str) -> Response:
        needs_recorder(backend)
        kept = backend.past.timeline().history.snapshot(ref)
        backend.past.recorder.label(gate.credential(), kept.ref, arguments.typed("label", MOST_LABEL).strip())
        return as_response(redirect(_back(f"/snapshots/{kept.ref}"), code=HTTPStatus.SEE_OTHER))

    @bp.get("/snapshots/<ref>/delete")
    def delete_form(ref: str) -> Response:
        needs_recorder(backend)
        return _confirm(backend, backend.past.timeline().history.snapshot(ref))

    @bp.post("/snapshots/<ref>/delete")
    def delete(ref: str) -> Response:
        needs_recorder(backend)
        kept = backend.past.timeline().history.snapshot(ref)
        if arguments.typed("word").strip() != kept.ref:
            return _confirm(backend, kept, BadField(f"to delete it, type {kept.ref}", "word"))
        backend.past.recorder.forget(gate.credential(), (kept.ref,))
        return as_response(redirect(f"/series/{kept.series_id}", code=HTTPStatus.SEE_OTHER))

    return bp


def needs_recorder(backend: Backend) -> None:
    """Raises  NotHere for a history that was opened by itself"""
    if backend.past.is_alone:
        raise NotHere("recorder: this history was opened by itself, to be read")


def job_number(text: str) -> int:
    """A job's number from the path. raises NotHere"""
    if not (text.isascii() and text.isdecimal() and len(text) <= arguments.MAX_DIGITS):
        raise NotHere("such job: a number is a whole number from 1")
    return int(text)


def job_page(backend: Backend, facts: JobFacts) -> Response:
    """How far a job is: as a fragment it asks for itself again until it is done."""
    del backend
    return page_or_fragment("history/job.html", "history/_job.html", job=facts, refresh_s=REFRESH_S)


def _back(otherwise: str) -> str:
    """The page of ours that a form names as its own."""
    where = gate.local_path(request.form.get("next"))
    return where if where.startswith(("/snapshots", "/series/", "/maps/")) else otherwise


def _index(backend: Backend, state: HistoryState) -> Response:
    timeline = _timeline_or_none(backend)
    series: dict[int, SeriesFacts] = {}
    damaged: list[Damaged] = []
    lines, maps, older = [], [], 0
    if timeline is not None:
        every = timeline.history.series(damaged=damaged)
        series = {each.id: each for each in every if matches(each, state.q)}
        if state.by:
            maps = _maps(backend, timeline, list(series.values()), state)
        else:
            among = Selection(series=series if state.q else None, trigger=state.trigger, labelled=bool(state.labelled))
            kept = timeline.history.snapshots(
                series_id=state.series, among=among, since_ns=state.since_ns, until_ns=state.until_ns, before=state.before,
                limit=LIMIT + 1, damaged=damaged,
            )  # fmt: skip
            older = kept[LIMIT - 1].id if len(kept) > LIMIT else 0
            lines = of_snapshots(timeline.history, kept[:LIMIT], {each.id: each for each in every}, living(backend))
    return page_or_fragment(
        "history/index.html",
        "history/_index.html",
        state=state,
        strip=strip(backend),
        alone=backend.past.is_alone,
        days=by_day(lines),
        shown=len(lines),
        maps=maps,
        older=older,
        chosen=title(series[state.series].of) if state.series in series else "",
        n_series=len(series),
        damaged=damaged,
        triggers=TRIGGERS,
        ago=times.ago,
        utc=times.utc,
        type_name=type_name,
    )


def _maps(
    backend: Backend, timeline: Timeline, series: list[SeriesFacts], state: HistoryState
) -> list[tuple[SeriesFacts, str, Extent, int]]:
    """(series, title, how much history it has, id of the map that goes on with it), the last changed first."""
    extents, there = backend.past.extents.get(timeline), living(backend)
    found = [
        (each, title(each.of), extents[each.id], there.id_of(each))
        for each in series
        if each.id in extents and state.series in {0, each.id}
    ]
    return sorted(found, key=lambda each: -each[2].last_ns)


def _timeline_or_none(backend: Backend) -> Timeline | None:
    """None where there is no history yet; one that cannot be used is an error, as it should not be taken for none."""
    try:
        return backend.past.timeline()
    except NoHistory:
        return None


def _confirm(backend: Backend, kept: Kept, problem: BadField | None = None) -> Response:
    response = page_or_fragment(
        "history/delete.html", "history/_delete.html", seen=look(backend, kept), problem=str(problem) if problem else "",
        utc=times.utc,
    )  # fmt: skip
    if problem:
        response.status_code = status_of(problem)
    return response


def _export(backend: Backend, refs: list[str]) -> Response:
    wanted = list(dict.fromkeys(refs))
    if not wanted:
        raise BadArgument("ref", "nothing", "a snapshot: choose at least one of the list")
    if len(wanted) > MOST_EXPORTED:
        raise BadArgument("ref", f"{len(wanted)} snapshots", f"at most {MOST_EXPORTED}: choose fewer")
    timeline = backend.past.timeline()
    kept = [timeline.history.snapshot(ref) for ref in wanted]
    needed_bytes = 0
    for each in kept:
        seen = look(backend, each)
        if seen.moment.mask.any():  # the file has raw bytes, and whoever has it sees all of them
            raise NotAllowed(
                f"{each.ref} holds values that the policy hides from your role, and the file would have them: ask an admin"
            )
        facts, n_cpus = seen.moment.recalled.facts, max(seen.moment.schema.layout.n_cpus, 1)
        needed_bytes = max(needed_bytes, seen.entries * (facts.key_size + facts.value_size * n_cpus))
    path = backend.settings.data / "web" / f"export-{token_hex(8)}.db"
    with backend.views.turn(needed_bytes):
        archive.export(timeline.history, kept, path)
    file = path.open("rb")
    path.unlink()  # its name goes at once, and the rest of it with the last byte
    response = Response(_blocks(file), content_type="application/vnd.sqlite3")
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    response.headers["Content-Disposition"] = f'attachment; filename="bpf-atlas-snapshots-{stamp}.db"'
    return response


def _blocks(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        while block := file.read(BLOCK_BYTES):
            yield block
