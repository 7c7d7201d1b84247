"""Entries as they were: a snapshot by itself, a live map at a moment, and one entry of either."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus

import numpy as np
from flask import Blueprint, Response, redirect

from app.columns.errors import ColumnsError
from app.history.content import Entries
from app.history.errors import NoSuchSeries
from app.history.snapshots import Kept
from app.maps.host_names import names_of
from app.maps.opening import OpenMap
from app.maps.tabulate import Sheet
from app.timeline.sides import series_now
from app.web import arguments, times
from app.web.backend import Backend
from app.web.downloads import file_of
from app.web.entry_page import json_text, parts
from app.web.entry_table import choices, example, past, tabled
from app.web.errors import status_of
from app.web.frame import frame_of
from app.web.moments import Seen, find, living, look, read, view_of
from app.web.problems import BadArgument, NotHere
from app.web.rendering import as_response, page_or_fragment
from app.web.state import FORMATS, EntriesState, is_form, read_state

SECOND_NS = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """Which moment is shown, and the way to its neighbours."""

    kept: Kept
    older: Kept | None
    newer: Kept | None
    live_id: int
    """Map that goes on with it; 0: none."""
    first_s: int
    last_s: int
    """Of its series' history."""

    @property
    def at_s(self) -> int:
        """When it was taken."""
        return self.kept.taken_ns // SECOND_NS


def blueprint(backend: Backend) -> Blueprint:
    """GET /snapshots/REF and below."""
    bp = Blueprint("moments", __name__)

    @bp.get("/snapshots/<ref>")
    def show(ref: str) -> Response:
        seen = look(backend, backend.past.timeline().history.snapshot(ref))
        state = read_state(ref=seen.kept.ref)
        file_kind = arguments.choice("format", FORMATS)
        if is_form() and not file_kind:
            return as_response(redirect(state.link(cursor=state.cursor), code=HTTPStatus.SEE_OTHER))
        return _page(backend, seen, state, file_kind)

    @bp.get("/snapshots/<ref>/changes")
    def changes(ref: str) -> Response:
        history = backend.past.timeline().history
        kept = history.snapshot(ref)
        before, _ = history.beside(kept)
        if before is None:
            raise NotHere(f"snapshot before {kept.ref}, the first of its map,")
        where = arguments.link("/diff", a=before.ref, b=kept.ref)
        return as_response(redirect(where, code=HTTPStatus.SEE_OTHER))

    @bp.get("/snapshots/<ref>/entries/<key_hex>")
    def entry(ref: str, key_hex: str) -> Response:
        return _entry(backend, look(backend, backend.past.timeline().history.snapshot(ref)), key_hex)

    return bp


def of_map(backend: Backend, opened: OpenMap, state: EntriesState, file_kind: str) -> Response:
    """The page of a live map as it was `state.at`. raises NoHistory, NoSuchSeries, NothingThen, BadArgument"""
    timeline, facts = backend.past.timeline(), opened.facts
    series = series_now(facts.id, facts.name, facts.type, timeline)
    if series is None:
        raise NoSuchSeries(facts.name or f"map {facts.id}")
    kept = find(timeline, series.id, state.at)
    if kept.series_id != series.id:  # another map's
        return as_response(redirect(f"/snapshots/{kept.ref}", code=HTTPStatus.SEE_OTHER))
    return _page(backend, look(backend, kept), state, file_kind, opened)


def bar_of(backend: Backend, seen: Seen, live_id: int | None = None) -> Bar:
    """The bar above a moment. live_id: None: to be found out"""
    older, newer = seen.timeline.history.beside(seen.kept)
    extent = backend.past.extents.get(seen.timeline).get(seen.series.id)
    moments_ns = [seen.kept.taken_ns, *((extent.first_ns, extent.last_ns) if extent else ())]
    return Bar(
        kept=seen.kept,
        older=older,
        newer=newer,
        live_id=living(backend).id_of(seen.series) if live_id is None else live_id,
        first_s=min(moments_ns) // SECOND_NS,
        last_s=max(moments_ns) // SECOND_NS,
    )


def _page(backend: Backend, seen: Seen, state: EntriesState, file_kind: str, opened: OpenMap | None = None) -> Response:
    if file_kind:
        return file_of(
            backend, view_of(backend, seen, state.cursor), kind=file_kind, where=state.where, sort=state.sort,
            columns=list(state.columns), name=f"{seen.series.of.name or 'map'}-{seen.kept.ref}",
        )  # fmt: skip
    subject = past(seen.moment, seen.entries)
    sheet, problem = None, None
    try:
        sheet = tabled(read(backend, seen, state), subject, state)
    except ColumnsError as error:
        problem = error
    response = page_or_fragment(
        "history/moment.html" if opened is None else "history/at.html",
        "history/_moment.html",
        frame=frame_of(opened, "entries") if opened is not None else None,
        seen=seen,
        kind=seen.moment.recalled.kind,
        bar=bar_of(backend, seen, opened.facts.id if opened is not None else None),
        alone=backend.past.is_alone,
        state=state,
        sheet=sheet,
        problem=str(problem) if problem else "",
        column=getattr(problem, "column", None),
        bad_field="where" if problem else "",
        choices=choices(subject, state) if not problem else [],
        example=example(subject.layout),
        entry_base=f"/snapshots/{seen.kept.ref}/entries/",
        whole=f"/snapshots/{seen.kept.ref}/entries/{_only_key(seen)}" if subject.layout.datasec else "",
        ago=times.ago,
        utc=times.utc,
    )
    if problem is not None:
        response.status_code = status_of(problem)
    return response


def _only_key(seen: Seen) -> str:
    """Of a map of global variables."""
    return "00" * seen.moment.recalled.facts.key_size


def _entry(backend: Backend, seen: Seen, key_hex: str) -> Response:
    history = seen.timeline.history
    key = _key(seen, key_hex)
    value = history.value(seen.kept, key)
    if value is None:
        raise NotHere(f"entry under hex:{key.hex()[:64]} in {seen.kept.ref}")
    sheet: Sheet = seen.moment.sheet(_one(key, value))
    return page_or_fragment(
        "history/entry.html",
        "history/_entry.html",
        seen=seen,
        bar=bar_of(backend, seen),
        alone=backend.past.is_alone,
        state=EntriesState(ref=seen.kept.ref),
        key_hex=key.hex(),
        parts=parts(sheet.table, names_of(seen.kept.boot_id)),
        json=json_text(sheet),
        notes=list(sheet.notes),
        ago=times.ago,
        utc=times.utc,
    )


def _one(key: bytes, value: bytes) -> Entries:
    return Entries(*(np.frombuffer(each, np.uint8).reshape(1, -1) for each in (key, value)))


def _key(seen: Seen, text: str) -> bytes:
    """The key of an address. raises BadArgument"""
    size = seen.timeline.history.pieces_of(seen.kept).key_width
    try:
        key = bytes.fromhex(text) if text.isascii() and " " not in text else b""
    except ValueError:
        key = b""
    if not size or len(key) != size:
        wanted = (
            f"{size} bytes in hexadecimal, {2 * size} digits" if size else "wanted: entries of this map have no keys"
        )
        raise BadArgument("key", text, wanted)
    return key
