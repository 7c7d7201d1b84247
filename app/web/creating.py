"""New entries: the key by its fields or as one text, the value by its fields; for queues and filters a value to put in."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response, request

from app.columns.encode import encode, in_group
from app.columns.errors import BadValue, ColumnsError
from app.columns.inputs import Input, edit_text, input_of
from app.columns.key_text import parse_key
from app.columns.lenses import choose
from app.columns.plan import Plan
from app.maps import actions, edit
from app.maps.changes import placed
from app.maps.entry import key_plan
from app.maps.errors import CannotEdit
from app.maps.opening import OpenMap
from app.maps.owned import FORMS, OWNED
from app.uapi.enums import BpfMapType
from app.web import arguments
from app.web.backend import Backend
from app.web.edit_flow import Sheet, after, do, look, open_shown, show
from app.web.edit_form import (
    ARRAY_ELEMENTS,
    FormField,
    carried,
    check,
    fields_of,
    owner_of,
    read_shown,
    reason_of,
    typed_fields,
    typed_thing,
    unplaced,
)
from app.web.opening import open_map
from app.web.words import FILLER
from app.wire.edits import NO_CPU, Edit

KEYLESS = frozenset({BpfMapType.QUEUE, BpfMapType.STACK, BpfMapType.BLOOM_FILTER})
KEY_PREFIX = "k:"


def add(bp: Blueprint, backend: Backend) -> None:
    """GET and POST /maps/ID/entries/new."""

    @bp.get("/maps/<map_id>/entries/new")
    def create_form(map_id: str) -> Response:
        with open_map(backend.client, backend.btfs, arguments.map_id(map_id)) as opened:
            return _respond(opened, _sheet(opened), typed_fields())

    @bp.post("/maps/<map_id>/entries/new/preview")
    def create_preview(map_id: str) -> Response:
        with open_shown(backend, map_id) as opened:
            return _step(backend, opened, apply=False)

    @bp.post("/maps/<map_id>/entries/new")
    def create(map_id: str) -> Response:
        with open_shown(backend, map_id) as opened:
            return _step(backend, opened, apply=True)


def _sheet(opened: OpenMap) -> Sheet:
    name = opened.facts.name or f"map #{opened.facts.id}"
    here = f"/maps/{opened.facts.id}"
    if opened.facts.type in KEYLESS:
        title = f"Put a value into {name}"
    else:
        title = f"Fill a slot of {name}" if actions.is_slot(opened.kind) else f"New entry in {name}"
    return Sheet(
        title=title, subtitle=opened.kind.label, body="edits/_new.html", back=here,
        preview_path=f"{here}/entries/new/preview", apply_path=f"{here}/entries/new", reason=reason_of(),
    )  # fmt: skip


def _step(backend: Backend, opened: OpenMap, *, apply: bool) -> Response:
    read_shown(opened)
    sheet = _sheet(opened)
    typed = typed_fields()
    wanted = _wanted(opened, sheet, typed)
    if wanted is None:
        sheet.status = HTTPStatus.UNPROCESSABLE_ENTITY
        return _respond(opened, sheet, typed)
    if apply:
        report = do(backend, opened, wanted, sheet)
        if report is not None:
            return after(opened, wanted, report)
        sheet.moved = []
        if sheet.problems or sheet.elevate or sheet.status is not HTTPStatus.CONFLICT:
            return _respond(opened, sheet, typed)
    flash, status = sheet.flash, sheet.status
    look(backend, opened, wanted, sheet)
    if flash:
        sheet.flash, sheet.status = flash, status
    return _respond(opened, sheet, typed)


def _wanted(opened: OpenMap, sheet: Sheet, typed: Mapping[str, str]) -> Edit | None:
    """The edit that the form makes; None: the sheet says what is wrong."""
    key = b""
    owner = owner_of(request.form)
    if opened.kind.enumerate in OWNED:
        if not owner:
            sheet.problems["owner"] = f"Say whose element it is: {FORMS[opened.kind.enumerate]}."
    elif opened.facts.type not in KEYLESS:
        key = _key(opened, sheet)
    if actions.is_slot(opened.kind):
        thing = typed_thing()
        try:
            wanted = actions.put_thing(opened, key, thing, None)
        except CannotEdit as problem:
            sheet.problems["thing"] = str(problem)
            return None
        return None if sheet.problems else wanted
    fields = fields_of(opened, bytes(opened.reader.value_stride), NO_CPU, typed, {}, empty=True)
    changed = {field.path: field.text for field in fields if field.is_changed}
    sheet.problems |= check(opened, changed)
    if sheet.problems:
        return None
    try:
        if opened.facts.type in KEYLESS:
            return actions.push_value(opened, edit.new_value(opened, None, changed))
        return edit.create_entry(opened, key, None, changed, owner=owner)
    except (ColumnsError, CannotEdit) as problem:
        sheet.problems[getattr(problem, "path", "") or "value"] = str(problem)
        return None


def _key(opened: OpenMap, sheet: Sheet) -> bytes:
    """Key bytes from the one text, or from the fields."""
    plan = key_plan(opened)
    text = request.form.get("key", "").strip()
    if text:
        try:
            return parse_key(plan, text)
        except BadValue as bad:
            sheet.problems["key"] = str(bad)
            return b""
    data = bytes(plan.size_bytes)
    for field in _key_fields(plan, _typed_key(), {}):
        if field.input.kind == "readonly":
            continue
        node = plan.find(field.path.removeprefix("key").removeprefix("."))
        try:
            data = placed(data, node, encode(in_group(node, "key"), field.text, choose.default(node, plan)))
        except BadValue as bad:
            sheet.problems[field.path] = str(bad)
    return data


def _typed_key() -> dict[str, str]:
    return {
        name.removeprefix(KEY_PREFIX): request.form.getlist(name)[-1]
        for name in request.form
        if name.startswith(KEY_PREFIX)
    }


def _key_fields(plan: Plan, typed: Mapping[str, str], problems: Mapping[str, str]) -> list[FormField]:
    found = []
    zeros = bytes(plan.size_bytes)
    for number, leaf in enumerate(plan.leaves(ARRAY_ELEMENTS)):
        path = "key" if not leaf.path else f"key{leaf.path}" if leaf.path[0] == "[" else f"key.{leaf.path}"
        lens = choose.default(leaf, plan)
        of = input_of(leaf, lens)
        if of.kind != "readonly" and leaf.name and FILLER.fullmatch(leaf.name):
            of = Input(kind="readonly", hint=of.hint, note="it only fills a hole: zero")
        initial = edit_text(leaf, zeros, lens)
        found.append(FormField(
            path=path, label=leaf.path or "key", id=f"key-{number}", input=of, text=typed.get(path, initial), initial=initial,
            place=f"byte {leaf.offset_bytes}", problem=problems.get(path, ""), prefix=KEY_PREFIX,
        ))  # fmt: skip
    return found


def _respond(opened: OpenMap, sheet: Sheet, typed: Mapping[str, str]) -> Response:
    sheet.hidden = carried(opened, None, NO_CPU)
    context: dict[str, Any] = {
        "slot": None,
        "thing": "",
        "fields": [],
        "key_fields": [],
        "owner_form": "",
        "with_key": False,
    }
    if opened.kind.enumerate in OWNED:
        context["owner_form"] = FORMS[opened.kind.enumerate]
    elif opened.facts.type not in KEYLESS:
        context["with_key"] = True
        context["key_fields"] = _key_fields(key_plan(opened), _typed_key(), sheet.problems)
    if actions.is_slot(opened.kind):
        context["slot"] = actions.thing_form(opened.client, opened.kind, opened.facts.value_size)
        context["thing"] = typed_thing()
    else:
        empty = bytes(opened.reader.value_stride)
        context["fields"] = fields_of(opened, empty, NO_CPU, typed, sheet.problems, empty=True)
    told = [*unplaced(sheet.problems, [*context["fields"], *context["key_fields"]])]
    if told:
        sheet.flash = " ".join([*([sheet.flash] if sheet.flash else []), *told])
    return show(
        opened, sheet, key_given=request.form.get("key", ""), owner_given=request.form.get("owner", ""),
        per_cpu=opened.kind.per_cpu, **context,
    )  # fmt: skip
