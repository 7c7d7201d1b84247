"""Two steps that every edit takes: looked at, then done. What the broker refuses comes back to the form as a sentence."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus

import msgspec
from flask import Response, make_response, redirect, request

from app.columns.plan import Plan
from app.errors import AppError
from app.maps.changes import part_of
from app.maps.errors import NoSuchMap
from app.maps.opening import OpenMap
from app.maps.report import FieldLine, lines_of, visible_value
from app.uapi.errors import ObjectGone
from app.web import arguments, drafts, gate
from app.web.backend import Backend
from app.web.bytes_view import Dump, change_dumps
from app.web.edit_form import plan_of, reason_of
from app.web.edit_words import METHODS, effect
from app.web.frame import frame_of
from app.web.opening import open_map
from app.web.rendering import as_response, page_or_fragment
from app.wire.edits import NO_CPU, Edit, Report
from app.wire.errors import (
    BadField,
    CannotRecord,
    EditsOff,
    MapChanged,
    NeedsWriteSession,
    NotAllowed,
    NotThere,
    Taken,
    TooFast,
)

PREVIEWED = "previewed"
INPUTS = frozenset({"key", "thing", "owner", "path", "pin", "name", "inner_map_id"})
"""Parts of a question that have an input of their own; what is said of others stands at the head of the form."""
MAX_DUMPS = 8
WRITTEN = frozenset({"done", "replaced", "overtaken", "partial"})
STATUS: dict[type[AppError], HTTPStatus] = {
    BadField: HTTPStatus.UNPROCESSABLE_ENTITY,
    MapChanged: HTTPStatus.CONFLICT,
    ObjectGone: HTTPStatus.CONFLICT,
    Taken: HTTPStatus.CONFLICT,
    NotThere: HTTPStatus.NOT_FOUND,
    NeedsWriteSession: HTTPStatus.FORBIDDEN,
    NotAllowed: HTTPStatus.FORBIDDEN,
    EditsOff: HTTPStatus.FORBIDDEN,
    TooFast: HTTPStatus.TOO_MANY_REQUESTS,
    CannotRecord: HTTPStatus.SERVICE_UNAVAILABLE,
}
"""Refusals that come back with the form and what was typed; others are pages of their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What would come of an edit."""

    lines: list[FieldLine]
    dumps: list[tuple[str, Dump, Dump]]
    method: str
    promise: str
    why: str
    warnings: list[str]
    effect: str
    refused: str
    """Why it would not be done at all; empty when it would."""
    moved: bool
    """It would be a conflict as the entry stands now."""
    approvals: int
    digest: str


@dataclass(slots=True, kw_only=True)
class Sheet:
    """One form of an edit, on a page or in a dialog."""

    title: str
    subtitle: str
    body: str
    """Template of its inputs."""
    heading: str = "Audit log"
    """Of a page that is about no map that is there."""
    back: str
    preview_path: str
    apply_path: str
    hidden: list[tuple[str, str]] = field(default_factory=list)
    reason: str = ""
    problems: dict[str, str] = field(default_factory=dict)
    """Sentence by input."""
    flash: str = ""
    """What is wrong with the whole."""
    elevate: str = ""
    """Where a write session begins that leads back here, when that is what is wanting."""
    preview: Preview | None = None
    status: HTTPStatus = HTTPStatus.OK
    moved: list[FieldLine] = field(default_factory=list)
    """After a conflict: what was shown, what is there now, what was typed."""
    only_preview: bool = False
    """There is nothing to type but the reason: the preview is there from the start."""
    confirm_name: str = ""
    """What has to be typed to confirm, for what cannot be undone."""
    danger: bool = False


@contextmanager
def open_shown(backend: Backend, map_id: str) -> Iterator[OpenMap]:
    """The map that a form was made from, open until the `with` ends. raises MapChanged when it is gone"""
    number = arguments.map_id(map_id)
    with ExitStack() as stack:
        try:
            opened = stack.enter_context(open_map(backend.client, backend.btfs, number))
        except NoSuchMap:
            raise MapChanged(f"map {number} is gone: nothing was written; list the maps again") from None
        yield opened


def show(opened: OpenMap | None, sheet: Sheet, tab: str = "entries", **context: object) -> Response:
    """The sheet as a page, or as a fragment for a dialog."""
    response = page_or_fragment(
        "edits/page.html", "edits/_sheet.html", sheet=sheet, frame=frame_of(opened, tab) if opened else None, **context
    )
    response.status_code = sheet.status
    return response


def digest_of(edit: Edit) -> str:
    """What tells one edit from another: what was looked at must be what is done."""
    return hashlib.sha256(msgspec.msgpack.encode(edit)).hexdigest()[:32]


def was_previewed(edit: Edit) -> bool:
    """Whether the form that came in had this very edit in its preview."""
    return hmac.compare_digest(request.form.get(PREVIEWED, "").encode(), digest_of(edit).encode())


def look(backend: Backend, opened: OpenMap, edit: Edit, sheet: Sheet) -> None:
    """Ask what would come of it, and put that, or why not, into the sheet."""
    report = ask(lambda: backend.client.edit(gate.credential(), edit, sheet.reason, dry_run=True), sheet)
    if report is not None:
        sheet.preview = preview_of(opened, edit, report)


def do(backend: Backend, opened: OpenMap | None, edit: Edit, sheet: Sheet) -> Report | None:
    """Do it, if it was looked at; None: the sheet says why nothing was written."""
    if not reason_of():
        sheet.problems["reason"] = "Say why: the reason stands in the audit log."
        sheet.status = HTTPStatus.UNPROCESSABLE_ENTITY
        return None
    if not was_previewed(edit):
        sheet.flash = "Something else was typed since the preview: look at it again before it is done."
        sheet.status = HTTPStatus.CONFLICT
        return None
    report = ask(lambda: backend.client.edit(gate.credential(), edit, sheet.reason, dry_run=False), sheet)
    if report is None or report.result in {*WRITTEN, "pending"}:
        return report
    sheet.flash = report.sentence
    sheet.moved = lines_of(opened, edit, report) if opened is not None and report.result == "conflict" else []
    sheet.status = HTTPStatus.UNPROCESSABLE_ENTITY if report.result == "refused" else HTTPStatus.CONFLICT
    return None


def ask(question: Callable[[], Report], sheet: Sheet) -> Report | None:
    """The broker's report; what it declines goes to the input that is to blame, or to the head of the form."""
    try:
        return question()
    except tuple(STATUS) as refusal:
        sheet.status = STATUS[next(kind for kind in type(refusal).__mro__ if kind in STATUS)]
        name = refusal.field if isinstance(refusal, BadField) else ""
        if name == "reason" or (not sheet.only_preview and (name in INPUTS or name.startswith(("value.", "key.")))):
            sheet.problems[name] = str(refusal)
        else:
            sheet.flash = str(refusal)
        if isinstance(refusal, NeedsWriteSession):
            sheet.elevate = drafts.elevate_path()
        return None


def preview_of(opened: OpenMap, edit: Edit, report: Report) -> Preview:
    """The dry run as a page shows it."""
    refused = report.sentence if report.result == "refused" else ""
    moved = any("changed since it was shown" in warning for warning in report.warnings)
    return Preview(
        lines=lines_of(opened, edit, report),
        dumps=dumps_of(opened, report.before, report.after if edit.action not in {"delete", "pop"} else None),
        method=METHODS.get(report.method, report.method),
        promise=report.promise,
        why=report.why,
        warnings=list(report.warnings),
        effect=effect(opened, edit),
        refused=refused,
        moved=moved,
        approvals=report.approvals,
        digest=digest_of(edit),
    )


def dumps_of(opened: OpenMap, before: bytes | None, after: bytes | None) -> list[tuple[str, Dump, Dump]]:
    """Bytes before and after, those that change marked; of per-CPU values only the CPUs that change."""
    before, after = visible_value(opened, before), visible_value(opened, after)
    if before is None or after is None or len(before) != len(after):
        return []
    plan: Plan = plan_of(opened)
    n_cpus = opened.schema.layout.n_cpus
    found = []
    for cpu in range(n_cpus) if n_cpus else (NO_CPU,):
        old, new = part_of(opened, before, cpu), part_of(opened, after, cpu)
        if old != new:
            found.append((f"CPU {cpu}" if n_cpus else "", *change_dumps(old, new, plan)))
    return found[:MAX_DUMPS]


def gone_to(target: str) -> Response:
    """On to the page that shows what came of it; HTMX is told in a header, since it would swap what a redirect leads to."""
    if not gate.is_htmx(request):
        return as_response(redirect(target, code=HTTPStatus.SEE_OTHER))
    response = make_response("", HTTPStatus.OK)
    response.headers["HX-Redirect"] = target
    return response


def after(opened: OpenMap, edit: Edit, report: Report) -> Response:
    """Where an edit that was done, or that waits, leads."""
    map_id = opened.facts.id
    if report.result == "pending":
        return gone_to(f"/plans/{report.plan}")
    stays = edit.action in {"set", "replace", "create", "put"} and edit.key and opened.kind.lookup
    return gone_to(f"/maps/{map_id}{f'/entries/{edit.key.hex()}' if stays else ''}?edit={report.audit}")
