"""Taking an edit back: what that would change, and the doing."""

from __future__ import annotations

from http import HTTPStatus

from flask import Blueprint, Response

from app.maps.errors import NoSuchMap
from app.maps.undo import back_of
from app.web import gate
from app.web.arguments import MAX_DIGITS
from app.web.backend import Backend
from app.web.edit_flow import WRITTEN, Preview, Sheet, ask, dumps_of, gone_to
from app.web.edit_form import reason_of
from app.web.edit_words import METHODS
from app.web.frame import frame_of
from app.web.opening import open_map
from app.web.problems import NotHere
from app.web.rendering import page_or_fragment
from app.wire.edits import Edit, Report


def blueprint(backend: Backend) -> Blueprint:
    """/audit/NUMBER/undo."""
    bp = Blueprint("undo", __name__)

    @bp.get("/audit/<number>/undo")
    def form(number: str) -> Response:
        return _page(backend, _number(number), _sheet(number))

    @bp.post("/audit/<number>/undo")
    def apply(number: str) -> Response:
        sheet, of = _sheet(number), _number(number)
        if not sheet.reason:
            sheet.problems["reason"] = "Say why: the reason stands in the audit log."
            sheet.status = HTTPStatus.UNPROCESSABLE_ENTITY
            return _page(backend, of, sheet)
        report = ask(lambda: backend.client.undo(gate.credential(), of, sheet.reason, dry_run=False), sheet)
        if report is None:
            return _page(backend, of, sheet)
        if report.result in WRITTEN:
            return gone_to(_where(backend, of, report))
        if report.result == "pending":
            return gone_to(f"/plans/{report.plan}")
        sheet.flash = report.sentence
        sheet.status = HTTPStatus.UNPROCESSABLE_ENTITY if report.result == "refused" else HTTPStatus.CONFLICT
        return _page(backend, of, sheet)

    return bp


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= MAX_DIGITS and int(text)):
        raise NotHere("such record: records are numbered from 1")
    return int(text)


def _sheet(number: str) -> Sheet:
    return Sheet(
        title=f"Take back edit {number}", subtitle="as an edit of its own", body="", back=f"/audit/{number}",
        preview_path="", apply_path=f"/audit/{number}/undo", reason=reason_of(), only_preview=True,
    )  # fmt: skip


def _page(backend: Backend, number: int, sheet: Sheet) -> Response:
    status, flash, problems = sheet.status, sheet.flash, dict(sheet.problems)
    edit, lines = back_of(backend.client.record(gate.credential(), number))
    report = ask(lambda: backend.client.undo(gate.credential(), number, "", dry_run=True), sheet)
    frame = None
    try:
        with open_map(backend.client, backend.btfs, edit.map.id) as opened:
            frame = frame_of(opened, "entries")
            dumps = [] if report is None else dumps_of(opened, report.before, report.after)
    except NoSuchMap:
        dumps = []
    if report is not None:
        sheet.preview = Preview(
            lines=lines, dumps=dumps, method=METHODS.get(report.method, report.method), promise=report.promise, why=report.why,
            warnings=list(report.warnings), effect=f"Take back edit {number} of {edit.map.name or f'map #{edit.map.id}'}",
            refused=report.sentence if report.result == "refused" else "",
            moved=any("changed since it was shown" in warning for warning in report.warnings), approvals=report.approvals, digest="",
        )  # fmt: skip
    if status is not HTTPStatus.OK:
        sheet.status, sheet.flash, sheet.problems = status, flash, problems
    if sheet.elevate:
        sheet.elevate = f"/elevate?next={sheet.apply_path}"
    sheet.subtitle = f"map #{edit.map.id} {edit.map.name}"
    response = page_or_fragment("edits/page.html", "edits/_sheet.html", sheet=sheet, frame=frame)
    response.status_code = sheet.status
    return response


def _where(backend: Backend, number: int, report: Report) -> str:
    """The page that shows what came of it."""
    edit: Edit = back_of(backend.client.record(gate.credential(), number))[0]
    entry = f"/entries/{edit.key.hex()}" if edit.key and edit.action in {"set", "replace", "create", "put"} else ""
    return f"/maps/{edit.map.id}{entry}?edit={report.audit}"
