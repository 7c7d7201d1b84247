"""Plans: many edits of one map, looked at before they are made, applied with progress, gone on with after an error."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus

from flask import Blueprint, Response, g, redirect, request

from app.columns.errors import ColumnsError
from app.maps.bulk import edits_of, in_questions, selected
from app.maps.edit import identity_of
from app.maps.errors import CannotList, MapsError
from app.maps.opening import OpenMap
from app.timeline.sides import SNAPSHOT
from app.web import arguments, before_plan, gate
from app.web.backend import Backend
from app.web.errors import status_of
from app.web.frame import frame_of
from app.web.key_words import key_columns
from app.web.opening import open_map
from app.web.plan_lines import lines
from app.web.problems import BadArgument, NotHere, Unkept
from app.web.rendering import as_response, page_or_fragment
from app.wire.edits import Edit, Plan, PlanFacts
from app.wire.errors import BadField, Declined, NotThere

PAGE_ROWS = 100
FORM_ROWS = 1000
"""Rows that a form takes; the command line takes as many as the role allows."""
APPLYING = frozenset({"start", "approve"})
"""Steps that may write: a snapshot is taken first."""
STEPS = ("check", "start", "stop", "approve", "cancel")
REFRESH_S = 1


@dataclass(frozen=True, slots=True)
class Draft:
    """What was typed into the form."""

    map_id: int
    rows: str = ""
    where: str = ""
    action: str = ""
    """With a filter: `set` or `delete`."""
    path: str = ""
    value: str = ""
    reason: str = ""
    label: str = ""


def blueprint(backend: Backend) -> Blueprint:
    """Pages below /plans."""
    bp = Blueprint("plans", __name__)

    @bp.get("/plans")
    def index() -> Response:
        before = arguments.whole("before", default=0, least=0, most=1 << 53)
        found = backend.client.plans(gate.credential(), before=before)
        return page_or_fragment(
            "plans/index.html", "plans/_index.html", plans=found.plans, older=found.before, clock=clock
        )

    @bp.get("/plans/new")
    def form() -> Response:
        draft = _typed() if request.form else _asked()  # a form only where one that was typed is come back to
        with open_map(backend.client, backend.btfs, draft.map_id) as opened:
            return _form(opened, draft)

    @bp.post("/plans/new")
    def make() -> Response:
        draft = _typed()
        with open_map(backend.client, backend.btfs, draft.map_id) as opened:
            try:
                facts = _make(backend, opened, draft)
            except (MapsError, ColumnsError, BadField, CannotList) as problem:
                field = problem.field if isinstance(problem, BadField) else "where" if draft.action else "rows"
                return _form(opened, draft, str(problem), field)
        return as_response(redirect(f"/plans/{facts.id}", code=HTTPStatus.SEE_OTHER))

    @bp.get("/plans/<plan>")
    def show(plan: str) -> Response:
        return _plan(backend, plan_number(plan))

    @bp.post("/plans/<plan>/<step>")
    def step(plan: str, step: str) -> Response:
        number = plan_number(plan)
        if step not in STEPS:
            raise NotHere("such step of a plan")
        snap = ""
        try:
            if step in APPLYING and not request.form.get("no_snapshot"):
                facts = backend.client.plan(gate.credential(), number, limit=1).facts
                if before_plan.applies(backend, facts, step):
                    snap = before_plan.keep(backend, facts)
            backend.client.plan_step(gate.credential(), number, step)
        except NotThere as none:
            raise NotHere("plan of that number") from none
        except Declined as refusal:
            return _plan(backend, number, refusal)
        except Unkept as unkept:
            return _plan(backend, number, unkept, without=step)
        return as_response(redirect(arguments.link(f"/plans/{number}", snap=snap), code=HTTPStatus.SEE_OTHER))

    return bp


def plan_number(text: str) -> int:
    """A plan's number from the path. raises NotHere"""
    if not (text.isascii() and text.isdecimal() and len(text) <= arguments.MAX_DIGITS and int(text)):
        raise NotHere("such plan: a number is a whole number from 1")
    return int(text)


def _asked() -> Draft:
    """What the address says: the map, and the filter of its page."""
    map_id = arguments.map_id(request.args.get("map", ""))
    return Draft(map_id, where=arguments.words("where"), action="set" if request.args.get("where") else "")


def _typed() -> Draft:
    form = request.form
    file = request.files.get("file")
    rows = form.get("rows", "")
    if file is not None and file.filename:
        try:
            rows = file.read().decode()
        except UnicodeDecodeError:
            raise BadArgument("file", file.filename, "text in UTF-8") from None
    return Draft(
        map_id=arguments.map_id(form.get("map", "")),
        rows=rows,
        where=form.get("where", "").strip(),
        action=form.get("action", "") if form.get("action") in {"set", "delete"} else "",
        path=form.get("path", "").strip(),
        value=form.get("value", ""),
        reason=form.get("reason", "").strip(),
        label=form.get("label", "").strip()[:200],
    )


def _make(backend: Backend, opened: OpenMap, draft: Draft) -> PlanFacts:
    """Keep the plan and check it. raises MapsError, ColumnsError, BadField"""
    if not draft.reason:
        raise BadField("Say why: the reason stands in the audit log.", "reason")
    rows: tuple[Edit, ...]
    if draft.action == "delete":
        rows = selected(opened, draft.where, delete=True, limit=FORM_ROWS)
    elif draft.action == "set":
        if not draft.path:
            raise BadField("say which field, such as value.limit", "path")
        rows = selected(opened, draft.where, fields={draft.path: draft.value}, limit=FORM_ROWS)
    else:
        rows = edits_of(opened, draft.rows, limit=FORM_ROWS)
    label = draft.label or draft.where or f"{len(rows)} rows"
    return keep_plan(backend, opened, rows, label=label, reason=draft.reason)


def keep_plan(backend: Backend, opened: OpenMap, rows: tuple[Edit, ...], *, label: str, reason: str) -> PlanFacts:
    """Hand edits of one map to the broker as a plan, and have it checked. raises what the broker refuses"""
    who, client = gate.credential(), backend.client
    facts = client.plan_make(who, identity_of(opened.facts), label=label, reason=reason)
    for some in in_questions(rows):
        facts = client.plan_rows(who, facts.id, some)
    return client.plan_step(who, facts.id, "check")


def _form(opened: OpenMap, draft: Draft, problem: str = "", field: str = "") -> Response:
    response = page_or_fragment(
        "plans/form.html", "plans/_form.html", frame=frame_of(opened, "entries"), draft=draft, problem=problem, field=field,
        example_lines=_example(opened).split("\n"), rows_limit=FORM_ROWS,
    )  # fmt: skip
    if problem:
        response.status_code = HTTPStatus.UNPROCESSABLE_ENTITY
    return response


def _example(opened: OpenMap) -> str:
    """First lines of a CSV that fits this map."""
    layout = opened.schema.layout
    value = next((node.path for node in layout.value.leaves() if not node.special), "") if layout.value else ""
    path = "value" + ("" if not value else value if value[0] == "[" else f".{value}")
    heads, cells = key_columns(opened)
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([[*heads, path], [*cells, "1"]])
    return text.getvalue().rstrip("\n")


def _plan(backend: Backend, number: int, refusal: Declined | Unkept | None = None, without: str = "") -> Response:
    """A plan's page. without: the step that is offered once more, without a snapshot before it"""
    snap = request.args.get("snap", "")
    first = arguments.whole("first", default=1, least=1, most=1 << 40)
    try:
        found: Plan = backend.client.plan(gate.credential(), number, first=first, limit=PAGE_ROWS)
    except NotThere as none:
        raise NotHere("plan of that number") from none
    facts = found.facts
    response = page_or_fragment(
        "plans/plan.html",
        "plans/_plan.html",
        facts=facts,
        lines=lines(backend, found, sees_all=g.session.role == "admin" or g.session.user == facts.user),
        first=first,
        next_first=first + PAGE_ROWS if first + PAGE_ROWS <= facts.rows else 0,
        refusal=str(refusal) if refusal else "",
        without=without,
        snap=snap if snap == before_plan.NONE or SNAPSHOT.fullmatch(snap) else "",
        steps=steps_of(facts, g.session.user, g.session.role),
        refresh_s=REFRESH_S,
        clock=clock,
        last=min(first + PAGE_ROWS - 1, facts.rows),
    )
    if refusal is not None:
        response.status_code = status_of(refusal)
    return response


def steps_of(facts: PlanFacts, user: str, role: str) -> list[tuple[str, str, str]]:
    """(step, what its button says, class of the button): what can be done now by this person."""
    mine = facts.user == user or role == "admin"
    left = facts.rows - facts.done
    rows = f"{left} row{'s' if left != 1 else ''} of {facts.map.name or f'map {facts.map.id}'}"
    steps = {
        "draft": [("start", f"Apply {rows}", "primary"), ("check", "Check again", ""), ("cancel", "Cancel plan", "")],
        "ready": [("start", f"Apply {rows}", "primary"), ("cancel", "Cancel plan", "")],
        "stopped": [
            ("start", f"Go on with {rows}", "primary"),
            ("check", "Check again", ""),
            ("cancel", "Cancel plan", ""),
        ],
        "running": [("stop", "Stop after this row", "")],
        "waiting": [("cancel", "Cancel plan", "")],
    }.get(facts.state, [])
    offered = steps if mine else []
    if facts.state == "waiting" and facts.user != user and user not in facts.approved_by:
        offered = [("approve", f"Agree, and apply {rows}", "primary"), *offered]
    return offered


def clock(at_s: int) -> str:
    """`2026-11-24 18:03`, UTC."""
    return f"{datetime.fromtimestamp(at_s, UTC):%Y-%m-%d %H:%M}"
