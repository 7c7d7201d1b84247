"""One map's history: its snapshots and the edits of it on one timeline, also of a map that is gone; a snapshot of it now."""

from __future__ import annotations

import time
from dataclasses import replace
from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response, redirect, request

from app.history.series import SeriesFacts
from app.history.snapshots import Kept
from app.maps.kinds import kind_of
from app.timeline.naming import title
from app.timeline.series_settings import settings_of
from app.timeline.sides import series_now
from app.timeline.taking import why_never
from app.timeline.timeline import Timeline
from app.web import arguments, gate, times
from app.web.backend import Backend
from app.web.changes import PAGE_S, Changes
from app.web.frame import frame_of
from app.web.history_lines import Line, by_day, of_snapshots, with_edits
from app.web.history_state import MOST
from app.web.moment_page import SECOND_NS
from app.web.moments import living
from app.web.opening import open_map
from app.web.problems import NotHere
from app.web.rendering import as_response, page_or_fragment
from app.web.snapshots_page import job_page, needs_recorder

LIMIT = 50


def blueprint(backend: Backend) -> Blueprint:
    """Pages below /series, and the history of a live map."""
    bp = Blueprint("series", __name__)
    changes = Changes()

    @bp.get("/series/<series_id>")
    def show(series_id: str) -> Response:
        timeline = backend.past.timeline()
        series = timeline.history.one_series(series_number(series_id))
        body = _body(backend, timeline, series, changes, f"/series/{series.id}")
        return page_or_fragment("history/series.html", "history/_series.html", **body)

    @bp.get("/series/<series_id>/moment")
    def moment(series_id: str) -> Response:
        number = series_number(series_id)
        at_s = arguments.whole("t", default=0, least=0, most=1 << 33)
        back = arguments.whole("map", default=0, least=0, most=arguments.MAX_ID)
        kept = backend.past.timeline().history.at(number, (at_s + 1) * SECOND_NS - 1)
        where = arguments.link(f"/maps/{back}", at=kept.ref) if back else f"/snapshots/{kept.ref}"
        return as_response(redirect(where, code=HTTPStatus.SEE_OTHER))

    @bp.get("/maps/<map_id>/history")
    def of_map(map_id: str) -> Response:
        number = arguments.map_id(map_id)
        with open_map(backend.client, backend.btfs, number) as opened:
            frame = frame_of(opened, "history")
            timeline = backend.past.timeline_or_none()
            series = series_now(number, opened.facts.name, opened.facts.type, timeline) if timeline else None
        body: dict[str, Any] = {"series": None, "why_never": why_never(frame.row.kind)}
        if timeline is not None and series is not None:
            body = _body(backend, timeline, series, changes, f"/maps/{number}/history")
        return page_or_fragment("history/of_map.html", "history/_series.html", frame=frame, **body)

    @bp.post("/maps/<map_id>/snapshots")
    def take(map_id: str) -> Response:
        needs_recorder(backend)
        number = arguments.map_id(map_id)
        with open_map(backend.client, backend.btfs, number):  # one that is not there is told of at once
            pass
        label = arguments.typed("label").strip()
        job = backend.past.recorder.take(gate.credential(), (number,), trigger="manual", label=label)
        if gate.is_htmx(request):
            return job_page(backend, job)
        return as_response(redirect(f"/snapshots/jobs/{job.id}", code=HTTPStatus.SEE_OTHER))

    return bp


def series_number(text: str) -> int:
    """A series' number from the path. raises NotHere"""
    if not (text.isascii() and text.isdecimal() and len(text) <= arguments.MAX_DIGITS and int(text)):
        raise NotHere("such history of a map: a number is a whole number from 1")
    return int(text)


def _body(backend: Backend, timeline: Timeline, series: SeriesFacts, changes: Changes, path: str) -> dict[str, Any]:
    before = arguments.whole("before", default=0, least=1, most=MOST)
    kept = timeline.history.snapshots(series_id=series.id, before=before, limit=LIMIT + 1)
    there = living(backend)
    lines = _with_changes(
        backend, timeline, of_snapshots(timeline.history, kept[:LIMIT], {series.id: series}, there), kept, changes
    )
    newest_ns = time.time_ns() if not before or not lines else lines[0].at_ns
    oldest_ns = lines[-1].at_ns if len(kept) > LIMIT else 0
    lines, more_edits = with_edits(backend, lines, series, until_ns=newest_ns, since_ns=oldest_ns)
    extent = backend.past.extents.get(timeline).get(series.id)
    return {
        "series": series,
        "title": title(series.of),
        "kind": kind_of(series.of.type),
        "why_never": why_never(kind_of(series.of.type)),
        "live_id": there.id_of(series),
        "days": by_day(lines),
        "shown": len(lines),
        "newest": kept[0] if kept and not before else None,
        "older": kept[LIMIT - 1].id if len(kept) > LIMIT else 0,
        "before": before,
        "more_edits": more_edits,
        "extent": extent,
        "first_s": extent.first_ns // SECOND_NS if extent else 0,
        "last_s": extent.last_ns // SECOND_NS if extent else 0,
        "ignore": settings_of(series).ignore,
        "alone": backend.past.is_alone,
        "ago": times.ago,
        "utc": times.utc,
        "series_path": path,
    }


def _with_changes(
    backend: Backend, timeline: Timeline, lines: list[Line], kept: list[Kept], changes: Changes
) -> list[Line]:
    """Each with what changed since the one before, as far as time allows: the newest first."""
    until_s, looker = time.monotonic() + PAGE_S, backend.looker
    found = []
    for at, line in enumerate(lines):
        before = kept[at + 1] if at + 1 < len(kept) else None
        if before is None or line.kept is None or line.series is None:
            found.append(line)
            continue
        summary = changes.between(timeline, looker, line.series, before, line.kept, until_s=until_s)
        found.append(replace(line, before=before, summary=summary))
    return found
