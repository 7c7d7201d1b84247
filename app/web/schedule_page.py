"""Which maps are recorded, how often and by which rule, what that takes, and the rules themselves."""

from __future__ import annotations

import operator
import time
from dataclasses import dataclass
from http import HTTPStatus

from flask import Blueprint, Response, redirect, request

from app.history.errors import NoHistory
from app.history.volume import MONTH_DAYS
from app.maps.recorded import type_name
from app.timeline.forecast import Forecast, forecasts
from app.web import arguments, gate
from app.web.backend import Backend
from app.web.recorder_strip import strip
from app.web.rendering import as_response, page_or_fragment
from app.web.snapshots_page import needs_recorder
from app.wire.errors import Declined, RecorderAbsent
from app.wire.recorder import MOST_RULES_CHARS, ScheduleFacts

PATH = "/snapshots/schedule"
MOST_LINES = 1000
EXAMPLE = """[[rule]]
maps = ["cilium_ct*"]        # patterns of names; pins and types likewise
every = "5m"                 # 30s, 5m, 2h, 1d, or "never"
entries = 1_000_000          # also when it is as large as this
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One live map."""

    of: Forecast
    type: str
    every: str
    was: str
    """How often it is looked at now, where the rules that are tried change that."""
    lately: str
    """How often it really is, where that is much less."""


def blueprint(backend: Backend) -> Blueprint:
    """GET and POST /snapshots/schedule."""
    bp = Blueprint("schedule", __name__)

    @bp.get(PATH)
    def show() -> Response:
        needs_recorder(backend)
        try:
            return _page(backend, backend.past.recorder.schedule())
        except RecorderAbsent:
            return page_or_fragment(
                "history/schedule.html", "history/_schedule.html", strip=strip(backend), schedule=None
            )

    @bp.post(PATH)
    def change() -> Response:
        needs_recorder(backend)
        recorder = backend.past.recorder
        text = arguments.typed("rules", MOST_RULES_CHARS).replace("\r\n", "\n")
        try:
            if request.form.get("step") == "save":
                recorder.rules(gate.credential(), text)
                return as_response(redirect(PATH, code=HTTPStatus.SEE_OTHER))
            return _page(backend, recorder.schedule(text), tried=text)
        except Declined as refusal:
            if type(refusal) is not Declined:  # not the rules are what is wrong
                raise
            response = _page(backend, recorder.schedule(), tried=text, problem=str(refusal))
            response.status_code = HTTPStatus.UNPROCESSABLE_ENTITY
            return response

    return bp


def _page(backend: Backend, found: ScheduleFacts, *, tried: str | None = None, problem: str = "") -> Response:
    try:
        timeline = backend.past.timeline()
    except NoHistory:
        timeline = None
    lines = [_line(each) for each in forecasts(timeline, found.maps, time.time_ns())]
    recorded = sorted(
        (each for each in lines if not each.of.paced.why_not), key=lambda each: -(each.of.month_bytes or -1)
    )
    left_out = sorted((each for each in lines if each.of.paced.why_not), key=operator.attrgetter("of.title"))
    known = [each for each in recorded if each.of.month_bytes is not None]
    return page_or_fragment(
        "history/schedule.html",
        "history/_schedule.html",
        strip=strip(backend),
        schedule=found,
        lines=recorded[:MOST_LINES],
        left_out=left_out[:MOST_LINES],
        n_recorded=len(recorded),
        n_unknown=len(recorded) - len(known),
        day_bytes=sum(each.of.day_bytes or 0 for each in known),
        month_bytes=sum(each.of.month_bytes or 0 for each in known),
        month_days=MONTH_DAYS,
        tried=tried,
        text=found.rules if tried is None else tried,
        example=EXAMPLE,
        problem=problem,
        default_every=interval(found.default_s),
    )


def _line(of: Forecast) -> Line:
    paced = of.paced
    return Line(
        of=of,
        type=type_name(of.of.type) if of.of else "",
        every=interval(paced.interval_s),
        was=interval(paced.now_s) if paced.now_s != paced.interval_s else "",
        lately=interval(paced.lately_s) if paced.lately_s else "",
    )


def interval(seconds: float) -> str:
    """`30 s`, `5 min`, `2 h`, `1 d`; `never` for 0."""
    if not seconds:
        return "never"
    for unit, name in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= unit and seconds % unit == 0:
            return f"{int(seconds // unit)} {name}"
    return f"{seconds:.0f} s"
