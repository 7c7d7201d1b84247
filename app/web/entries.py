"""The entries of a map: filtered, ordered, paged; one look-up by exact key; the same as a file; and as they once were."""

from __future__ import annotations

from flask import Blueprint, Response, redirect

from app.columns.errors import ColumnsError
from app.maps import rings
from app.maps.actions import is_slot
from app.maps.entry import is_member, key_plan, parse
from app.maps.errors import CannotList, CannotLookUp
from app.maps.kinds import Enumerate
from app.maps.opening import OpenMap
from app.maps.page import Query, read_page
from app.uapi.enums import BpfMapType
from app.web import arguments, moment_page
from app.web.backend import Backend
from app.web.downloads import download
from app.web.edited import edited
from app.web.entry_table import KEY_COLUMNS, Sheet, choices, example, live, tabled
from app.web.errors import status_of
from app.web.frame import frame_of
from app.web.opening import open_map
from app.web.permits import permits
from app.web.rendering import as_response, page_or_fragment
from app.web.state import FORMATS, EntriesState, is_form, read_state


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
            if state.at:
                return moment_page.of_map(backend, opened, state, file_kind)
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
    subject = live(opened)
    try:
        field = "key"
        if state.key:
            found = _exact(opened, state.key)
            if isinstance(found, Response):
                return found
            answer = found
        field = "where"
        query = Query(where=state.where, sort=state.sort, limit=state.limit, cursor=state.cursor)
        page = read_page(opened, backend.views, query, max_entries=backend.settings.max_read_entries)
        sheet = tabled(page, subject, state)
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
        kind=opened.kind,
        sheet=sheet,
        refusal=refusal,
        problem=str(problem) if problem else "",
        column=getattr(problem, "column", None),
        bad_field=field if problem else "",
        answer=answer,
        choices=choices(subject, state) if not (refusal or problem) else [],
        look_up=_look_up_hint(opened),
        example=example(subject.layout) if not refusal else "",
        has_past=backend.past.timeline_or_none() is not None,
        entry_base=f"/maps/{opened.facts.id}/entries/",
        whole=_whole_entry(opened),
        backlog=rings.look(opened.client, opened.facts.id) if opened.kind.enumerate is Enumerate.RING else None,
        bloom=opened.facts.type == BpfMapType.BLOOM_FILTER,
    )
    if isinstance(problem, ColumnsError | CannotLookUp):
        response.status_code = status_of(problem)
    return response


def _exact(opened: OpenMap, text: str) -> Response | str:
    if opened.facts.type == BpfMapType.BLOOM_FILTER:
        maybe = is_member(opened, parse(opened, text))
        return (
            "Maybe: the filter has all bits of this value set." if maybe else "Surely not: this value was never put in."
        )
    key = parse(opened, text)
    return as_response(redirect(f"/maps/{opened.facts.id}/entries/{key.hex()}", code=303))


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
