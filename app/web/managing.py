"""What is done to a whole map: freeze, pin, unpin, clear, pop; and the making of a new one."""

from __future__ import annotations

from http import HTTPStatus

from flask import Blueprint, Response, request

from app.maps import actions, edit
from app.maps.errors import CannotEdit
from app.maps.kinds import KINDS
from app.maps.opening import OpenMap
from app.maps.owned import FORMS, OWNED
from app.uapi.enums import BpfMapType
from app.web import arguments, gate
from app.web.backend import Backend
from app.web.edit_flow import Preview, Sheet, after, ask, digest_of, do, gone_to, look, open_shown, show
from app.web.edit_form import carried, read_shown, reason_of
from app.web.edit_words import METHODS
from app.web.frame import frame_of
from app.web.opening import open_map
from app.web.permits import permits
from app.web.problems import BadArgument
from app.web.rendering import page_or_fragment
from app.wire.edits import NO_CPU, Edit, NewMap

ACTS = ("freeze", "pin", "unpin", "clear", "pop")
MAX_NUMBER = (1 << 32) - 1


def add(bp: Blueprint, backend: Backend) -> None:
    """/maps/ID/manage and /maps/new."""

    @bp.get("/maps/<map_id>/manage")
    def manage(map_id: str) -> Response:
        number = arguments.map_id(map_id)
        with open_map(backend.client, backend.btfs, number) as opened:
            return page_or_fragment(
                "edits/manage.html", "edits/_manage.html", frame=frame_of(opened, "manage"),
                permits=permits(backend.client, number), owner_form=FORMS.get(opened.kind.enumerate, ""),
                bpffs=str(backend.settings.bpffs), hidden=carried(opened, None, NO_CPU),
                keyless=opened.facts.type in {BpfMapType.QUEUE, BpfMapType.STACK}, owned=opened.kind.enumerate in OWNED,
            )  # fmt: skip

    @bp.post("/maps/<map_id>/manage/preview")
    def act_preview(map_id: str) -> Response:
        with open_shown(backend, map_id) as opened:
            return _act(backend, opened, apply=False)

    @bp.post("/maps/<map_id>/manage")
    def act(map_id: str) -> Response:
        with open_shown(backend, map_id) as opened:
            return _act(backend, opened, apply=True)

    @bp.get("/maps/new")
    def make_form() -> Response:
        return _make_page(backend, _make_sheet())

    @bp.post("/maps/new")
    def make() -> Response:
        return _make(backend)


def _act(backend: Backend, opened: OpenMap, *, apply: bool) -> Response:
    shown = read_shown(opened)
    action = request.form.get("act", "")
    if action not in ACTS:
        raise BadArgument("act", action, "one of " + ", ".join(ACTS))
    path = request.form.get("path", "").strip()
    name = opened.facts.name or f"map #{opened.facts.id}"
    here = f"/maps/{opened.facts.id}/manage"
    sheet = Sheet(
        title=f"{action.capitalize()} {name}", subtitle=path or opened.kind.label, body="", back=here,
        preview_path=f"{here}/preview", apply_path=here, reason=reason_of(), only_preview=True,
        danger=action in {"freeze", "clear", "unpin", "pop"}, confirm_name=name if action in {"clear", "freeze"} else "",
    )  # fmt: skip
    wanted: Edit | None = None
    try:
        seen = (shown.seen if apply else edit.read_entry(opened, b"")) if action == "pop" else None
        wanted = actions.pop(opened, seen) if action == "pop" else actions.map_wide(opened, action, path)
    except CannotEdit as problem:
        sheet.flash, sheet.status = str(problem), HTTPStatus.UNPROCESSABLE_ENTITY
    sheet.hidden = [*carried(opened, wanted.seen if wanted else None, NO_CPU), ("act", action), ("path", path)]
    if wanted is None:
        return show(opened, sheet, "manage")
    if apply:
        if sheet.confirm_name and request.form.get("confirm", "") != sheet.confirm_name:
            sheet.problems["confirm"] = f"Type {sheet.confirm_name} to confirm."
            sheet.status = HTTPStatus.UNPROCESSABLE_ENTITY
        else:
            report = do(backend, opened, wanted, sheet)
            if report is not None:
                if report.result == "pending":
                    return after(opened, wanted, report)
                return gone_to(f"{here if action != 'pop' else here.removesuffix('/manage')}?edit={report.audit}")
    status, flash = sheet.status, sheet.flash
    look(backend, opened, wanted, sheet)
    if status is not HTTPStatus.OK:
        sheet.status, sheet.flash = status, flash
    return show(opened, sheet, "manage")


# ---- a new map ---------------------------------------------------------------------------------------------------------


def _make_sheet() -> Sheet:
    return Sheet(
        title="Make a map", heading="New map", subtitle="pinned, so that it lives on", body="edits/_make.html", back="/",
        preview_path="/maps/new", apply_path="/maps/new", reason=reason_of(),
    )  # fmt: skip


def _make(backend: Backend) -> Response:
    sheet = _make_sheet()
    spec = _spec(sheet)
    if spec is None:
        sheet.status = HTTPStatus.UNPROCESSABLE_ENTITY
        return _make_page(backend, sheet)
    wanted = actions.make_map(spec)
    if request.form.get("apply"):
        report = do(backend, None, wanted, sheet)
        if report is not None:
            return gone_to(
                f"/plans/{report.plan}"
                if report.result == "pending"
                else f"/maps/{report.new_map_id}?edit={report.audit}"
            )
    status, flash = sheet.status, sheet.flash
    planned = ask(lambda: backend.client.edit(gate.credential(), wanted, sheet.reason, dry_run=True), sheet)
    if status is not HTTPStatus.OK:
        sheet.status, sheet.flash = status, flash
    if planned is not None:
        sheet.preview = Preview(
            lines=[], dumps=[], method=METHODS.get(planned.method, planned.method), promise=planned.promise, why=planned.why,
            warnings=list(planned.warnings), effect=f"Make {KINDS[spec.type].label} {spec.name or 'without a name'}",
            refused=planned.sentence if planned.result == "refused" else "", moved=False, approvals=planned.approvals,
            digest=digest_of(wanted),
        )  # fmt: skip
    return _make_page(backend, sheet)


def _spec(sheet: Sheet) -> NewMap | None:
    """The map that the form describes; None: the sheet says what is wrong."""
    numbers = {}
    for name, label, default in (
        ("key_size", "key size", "0"), ("value_size", "value size", "0"), ("max_entries", "number of entries", "0"),
        ("inner_map_id", "inner map", "0"), ("map_extra", "number of hashes", "0"),
    ):  # fmt: skip
        text = request.form.get(name, "").strip() or default
        if not (text.isascii() and text.isdecimal() and len(text) <= arguments.MAX_DIGITS and int(text) <= MAX_NUMBER):
            sheet.problems[name] = f"{label}: a whole number up to {MAX_NUMBER} was wanted, found {text[:20]}"
            continue
        numbers[name] = int(text)
    kind = next((one for one in actions.MAKEABLE if one.name == request.form.get("type", "")), None)
    if kind is None:
        sheet.problems["type"] = "type: one of those in the list was wanted"
    flags = 0
    for name, flag in actions.MAKE_FLAGS.items():
        flags |= flag if request.form.get(name) else 0
    if kind is None or sheet.problems:
        return None
    return NewMap(
        type=kind.type, name=request.form.get("name", "").strip(), map_flags=flags, pin=request.form.get("pin", "").strip(),
        **numbers,
    )  # fmt: skip


def _make_page(backend: Backend, sheet: Sheet) -> Response:
    given = {
        name: request.form.get(name, "")
        for name in ("type", "name", "key_size", "value_size", "max_entries", "inner_map_id", "map_extra", "pin")
    }
    flags = {name: bool(request.form.get(name)) for name in actions.MAKE_FLAGS}
    return show(
        None, sheet, given=given, flags=flags, makeable=actions.MAKEABLE, maps=backend.client.maps().maps,
        bpffs=str(backend.settings.bpffs),
    )  # fmt: skip
