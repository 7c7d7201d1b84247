"""GET /api/v1/…: arguments, one call down, one shape."""

from __future__ import annotations

from typing import Any

import msgspec
from flask import Blueprint, Response, make_response

from app.columns.rows import ndjson_chunks
from app.maps.catalog import listing
from app.maps.counting import with_counts
from app.maps.description import describe
from app.maps.facts import map_facts
from app.maps.page import Query, read_page
from app.timeline.sides import series_of
from app.web import arguments
from app.web.api import openapi, shapes, snapshots
from app.web.backend import Backend
from app.web.moments import Seen, find, look
from app.web.opening import open_map
from app.web.problems import BadArgument
from app.web.state import EntriesState


def blueprint(backend: Backend) -> Blueprint:
    """The read half of the API."""
    bp = Blueprint("api", __name__, url_prefix="/api/v1")
    described = msgspec.json.encode(openapi.document())

    @bp.get("/openapi.json")
    def description() -> Response:
        return _json(described)

    @bp.get("/maps")
    def maps() -> Response:
        found = with_counts(backend.client, listing(backend.client))
        return _answer(
            {
                "maps": [map_facts(row) for row in found.rows],
                "taken_at_ns": found.taken_at_ns,
                "problems": list(found.problems),
            },
            shapes.MapList,
        )

    @bp.get("/maps/<map_id>")
    def one(map_id: str) -> Response:
        with open_map(backend.client, backend.btfs, arguments.map_id(map_id)) as opened:
            return _answer(describe(opened), shapes.MapDetail)

    @bp.get("/maps/<map_id>/entries")
    def entries(map_id: str) -> Response:
        number = arguments.map_id(map_id)
        chosen, at = snapshots.selection(), arguments.words("at")
        if at:
            seen = _then(backend, number, at)
            return snapshots.entries_of(backend, seen, EntriesState(map_id=number, at=at, **chosen))
        query = Query(**chosen)
        with open_map(backend.client, backend.btfs, number) as opened:
            page = read_page(opened, backend.views, query, max_entries=backend.settings.max_read_entries)
        lines = b"".join(ndjson_chunks(page.json_table)).split(b"\n")
        answer = shapes.Entries(
            map_id=number,
            entries=[msgspec.Raw(line) for line in lines if line],
            taken_at_ns=page.sheet.reading.ended_at_ns,
            completeness=page.sheet.reading.completeness.value,
            matched=page.matched,
            total=page.total,
            next_cursor=page.next_cursor,
            notes=list(page.sheet.notes),
        )
        return _json(msgspec.json.encode(answer))

    return bp


def _then(backend: Backend, map_id: int, at: str) -> Seen:
    """The snapshot of a map that `at` means. raises NoSuchMap, NoSuchSeries, NothingThen, BadWhen, NoSuchSnapshot"""
    timeline = backend.past.timeline()
    series = series_of(str(map_id), timeline, backend.looker)
    kept = find(timeline, series.id, at)
    if kept.series_id != series.id:
        raise BadArgument("at", at, f"a snapshot of map {map_id}: /api/v1/snapshots/{kept.ref}/entries has its entries")
    return look(backend, kept)


def _answer(found: dict[str, Any], shape: type[shapes.Shape]) -> Response:
    return _json(msgspec.json.encode(msgspec.convert(found, shape)))


def _json(body: bytes) -> Response:
    response = make_response(body)
    response.headers["Content-Type"] = "application/json"
    return response
