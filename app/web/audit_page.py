"""The audit log: who changed what, when and why; one record; verifying the chain; all of it as a file."""

from __future__ import annotations

from itertools import chain

from flask import Blueprint, Response, g, redirect

from app.maps.recorded import lines as file_lines
from app.maps.recorded import type_name
from app.web import arguments, gate
from app.web.audit_lines import Line, changes, clock, line, lines, spelled
from app.web.audit_state import KINDS, AuditState, is_form, read_state
from app.web.backend import Backend
from app.web.blocks import blocks
from app.web.problems import NotHere
from app.web.rendering import as_response, page_or_fragment
from app.wire.errors import NotThere
from app.wire.records import Verdict

MAX_NUMBER = (1 << 63) - 1
UNDONE_LIMIT = 20


def blueprint(backend: Backend) -> Blueprint:
    """Pages below /audit."""
    bp = Blueprint("audit", __name__)

    @bp.get("/audit")
    def show() -> Response:
        state = read_state()
        if is_form():
            return as_response(redirect(state.link(before=state.before), code=303))
        return _page(backend, state, None)

    @bp.post("/audit/verify")
    def verify() -> Response:
        return _page(backend, read_state(), backend.client.verify(gate.credential()))

    @bp.get("/audit.jsonl")
    def export() -> Response:
        question = read_state().question(gate.credential())
        stream = file_lines(backend.client, question, 0)
        first = next(stream, b"")  # what can be refused is refused before the first byte
        response = Response(blocks(chain((first,), stream)), content_type="application/x-ndjson")
        response.headers["Content-Disposition"] = 'attachment; filename="bpf-atlas-audit.jsonl"'
        return response

    @bp.get("/audit/<number>")
    def one(number: str) -> Response:
        return _record(backend, record_number(number))

    return bp


def record_number(text: str) -> int:
    """A record's number from the path. raises NotHere"""
    if not (text.isascii() and text.isdecimal() and len(text) <= arguments.MAX_DIGITS and int(text)):
        raise NotHere("such record: a number is a whole number from 1")
    return int(text)


def _page(backend: Backend, state: AuditState, verdict: Verdict | None) -> Response:
    who, client = gate.credential(), backend.client
    found = client.records(state.question(who))
    rows: list[Line] = lines(found.records, lambda number: client.record(who, number), verdict)
    return page_or_fragment(
        "audit/log.html",
        "audit/_log.html",
        state=state,
        rows=rows,
        found=found,
        kinds=KINDS,
        verdict=verdict,
        type_name=type_name,
        here=state.link(before=state.before),
    )


def _record(backend: Backend, number: int) -> Response:
    try:
        group = backend.client.record(gate.credential(), number)
    except NotThere as none:
        raise NotHere("record of that number in the audit log") from none
    if group.intent.number != number:  # an outcome is shown with what it is the outcome of
        return as_response(redirect(f"/audit/{group.intent.number}", code=303))
    record = group.intent.record
    outcome = group.outcome
    shown = line(group.intent, outcome)
    undoable = (
        outcome is not None
        and outcome.record.result in {"done", "overtaken", "partial"}
        and not group.undone_by
        and not record.redacted
        and g.session.role in {"editor", "admin"}
    )
    return page_or_fragment(
        "audit/record.html",
        "audit/_record.html",
        line=shown,
        record=record,
        outcome=outcome,
        ended_at=clock(outcome.record.at_ns) if outcome is not None else "",
        changes=changes(record, outcome.record if outcome is not None else record),
        undone_by=group.undone_by[:UNDONE_LIMIT],
        undoable=undoable,
        spelled=spelled,
        type_name=type_name,
    )
