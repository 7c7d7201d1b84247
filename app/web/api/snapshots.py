"""Snapshots below /api/v1: the list, one of them, its entries, and new ones."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import msgspec
from flask import Blueprint, Response, g, make_response, request

from app.columns.rows import ndjson_chunks
from app.history.errors import NoHistory
from app.maps.page import DEFAULT_LIMIT, MAX_LIMIT
from app.timeline import told
from app.timeline.sides import series_of
from app.web import arguments, gate
from app.web.api import shapes
from app.web.api.questions import SnapshotQuestion
from app.web.backend import Backend
from app.web.history_state import MOST
from app.web.moments import Seen, look, read
from app.web.opening import open_map
from app.web.problems import BadArgument, NotKeptAll
from app.web.snapshots_page import job_number, needs_recorder
from app.web.state import EntriesState
from app.web.waiting import wait_for
from app.wire.errors import NeedsWriteSession
from app.wire.recorder import JobFacts

LIST_LIMIT = 100
MOST_LISTED = 1000
MOST_MAPS = 1000
WAIT_S = 25.0


def blueprint(backend: Backend) -> Blueprint:
    """The history for programs."""
    bp = Blueprint("api_snapshots", __name__, url_prefix="/api/v1")

    @bp.get("/snapshots")
    def listed() -> Response:
        return _listed(backend)

    @bp.post("/snapshots")
    def take() -> Response:
        needs_recorder(backend)
        if g.session.scope != "edit":
            raise NeedsWriteSession("this API token may only read: make one of scope edit")
        asked = _question()
        map_ids = tuple(dict.fromkeys(backend.looker.resolve(str(each)) for each in asked.maps))
        for map_id in map_ids:
            with open_map(backend.client, backend.btfs, map_id):  # one that is not there is told of at once
                pass
        recorder = backend.past.recorder
        begun = recorder.take(gate.credential(), map_ids, trigger="manual", label=asked.label.strip())
        return _taken(backend, wait_for(recorder, begun, WAIT_S))

    @bp.get("/snapshots/jobs/<number>")
    def job(number: str) -> Response:
        needs_recorder(backend)
        return _json(_job(backend.past.recorder.job(job_number(number))), HTTPStatus.OK)

    @bp.get("/snapshots/<ref>")
    def one(ref: str) -> Response:
        seen = look(backend, backend.past.timeline().history.snapshot(ref))
        facts = told.snapshot_facts(seen.kept, seen.series, seen.entries)
        return _json(msgspec.convert(facts, shapes.Snapshot), HTTPStatus.OK)

    @bp.get("/snapshots/<ref>/entries")
    def entries(ref: str) -> Response:
        seen = look(backend, backend.past.timeline().history.snapshot(ref))
        return entries_of(backend, seen, EntriesState(ref=seen.kept.ref, **selection()))

    return bp


def selection() -> dict[str, Any]:
    """What an address selects of entries. raises BadArgument"""
    return {
        "where": arguments.words("where"),
        "sort": arguments.words("sort"),
        "limit": arguments.whole("limit", default=DEFAULT_LIMIT, least=1, most=MAX_LIMIT),
        "cursor": arguments.words("cursor"),
    }


def entries_of(backend: Backend, seen: Seen, state: EntriesState) -> Response:
    """A page of a snapshot's entries, in the shape of those of a live map."""
    page = read(backend, seen, state)
    lines = b"".join(ndjson_chunks(page.json_table)).split(b"\n")
    answer = shapes.Entries(
        map_id=seen.kept.map_id,
        snapshot=seen.kept.ref,
        entries=[msgspec.Raw(line) for line in lines if line],
        taken_at_ns=seen.kept.taken_ns,
        completeness=page.sheet.reading.completeness.value,
        matched=page.matched,
        total=page.total,
        next_cursor=page.next_cursor,
        notes=list(page.sheet.notes),
    )
    return _json(answer, HTTPStatus.OK)


def _listed(backend: Backend) -> Response:
    reference = arguments.words("map")
    series_id = arguments.whole("series", default=0, least=1, most=MOST)
    limit = arguments.whole("limit", default=LIST_LIMIT, least=1, most=MOST_LISTED)
    before = arguments.whole("before", default=0, least=1, most=MOST)
    try:
        timeline = backend.past.timeline()
    except NoHistory:
        if reference or series_id:
            raise
        return _json(shapes.SnapshotList(snapshots=[], next_before=None), HTTPStatus.OK)
    if reference:
        found = series_of(reference, timeline, backend.looker).id
        if series_id not in {0, found}:
            raise BadArgument("series", str(series_id), f"that of the map, {found}: give one of the two")
        series_id = found
    kept = timeline.history.snapshots(series_id=series_id, before=before, limit=limit + 1)
    snapshots = told.snapshots_told(timeline.history, kept[:limit])
    answer = {"snapshots": snapshots, "next_before": kept[limit - 1].id if len(kept) > limit else None}
    return _json(msgspec.convert(answer, shapes.SnapshotList), HTTPStatus.OK)


def _question() -> SnapshotQuestion:
    """The question, of just its shape. raises BadArgument"""
    if request.mimetype != "application/json":
        raise BadArgument("Content-Type", request.mimetype, "application/json")
    try:
        asked = msgspec.json.decode(request.get_data(cache=False), type=SnapshotQuestion)
    except (msgspec.ValidationError, msgspec.DecodeError, RecursionError) as problem:
        raise BadArgument("body", str(problem)[:80], "a question as openapi.json describes it") from None
    if not 0 < len(asked.maps) <= MOST_MAPS:
        raise BadArgument("maps", f"{len(asked.maps)} maps", f"1 to {MOST_MAPS} of them")
    return asked


def _taken(backend: Backend, job: JobFacts) -> Response:
    if job.state != "done":
        return _json(_job(job), HTTPStatus.ACCEPTED)
    if job.problems:
        raise NotKeptAll(job.problems, job.refs)
    history = backend.past.timeline().history
    found = told.snapshots_told(history, [history.snapshot(ref) for ref in job.refs])
    return _json(msgspec.convert(found, list[shapes.Snapshot]), HTTPStatus.CREATED)


def _job(job: JobFacts) -> shapes.SnapshotJob:
    return shapes.SnapshotJob(
        job=job.id, state=job.state, done=job.done, total=job.total, refs=list(job.refs), problems=list(job.problems)
    )


def _json(answer: Any, status: HTTPStatus) -> Response:
    response = make_response(msgspec.json.encode(answer), status)
    response.headers["Content-Type"] = "application/json"
    return response
