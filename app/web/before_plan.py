"""A snapshot of a plan's map before the plan is applied, so that there is a way back to all of it."""

from __future__ import annotations

import time

from flask import g

from app.maps.kinds import Enumerate, kind_of
from app.timeline.errors import NotKept
from app.web import gate
from app.web.backend import Backend
from app.web.problems import Unkept
from app.web.waiting import wait_for
from app.wire.edits import PlanFacts
from app.wire.errors import WireError

WAIT_S = 20.0
NONE = "none"
"""In the place of a reference: there is none, and there could be none."""
_CANNOT = str(NotKept("map", "")).partition(" map")[0]
"""How the recorder's sentence about a map begins whose entries cannot be kept."""


def applies(backend: Backend, facts: PlanFacts, step: str) -> bool:
    """Rows will be written by this step, as far as can be seen from here; what is refused anyway needs no snapshot.

    One edit that waited for a second person is no plan of many: like any other single edit it has its undo.
    """
    session = g.session
    if session is None or not backend.settings.allow_edits or session.write_until_s <= time.time():
        return False
    if step == "start":
        return facts.state in {"draft", "ready", "stopped"} and (facts.user == session.user or session.role == "admin")
    return step == "approve" and facts.state == "waiting" and facts.approvals <= 1 < facts.rows


def keep(backend: Backend, facts: PlanFacts) -> str:
    """Take it: its reference, or NONE for maps whose entries cannot be kept.

    raises  Unkept with what stands in the way
    """
    if kind_of(facts.map.type).enumerate in {Enumerate.NOTHING, Enumerate.RING}:
        return NONE
    recorder = backend.past.recorder
    try:
        begun = recorder.take(gate.credential(), (facts.map.id,), trigger="pre-edit")
        job = wait_for(recorder, begun, WAIT_S)
    except WireError as problem:
        raise Unkept(str(problem)) from problem
    if job.refs:
        return job.refs[0]
    if job.state != "done":
        raise Unkept(f"it takes longer than {WAIT_S:.0f} s; it goes on, and is there in a while")
    if any(_CANNOT in problem for problem in job.problems):
        return NONE
    raise Unkept("; ".join(job.problems) or "the recorder said nothing more")
