"""POST /api/v1/maps/ID/edits and /api/v1/audit/NUMBER/undo: the same edits as on the pages, for scripts."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import msgspec
from flask import Blueprint, Response, make_response, request

from app.maps import actions, edit
from app.maps.changes import check_expected
from app.maps.errors import CannotEdit
from app.maps.opening import OpenMap
from app.maps.report import WROTE, document, lines_of
from app.maps.undo import back_of
from app.web import arguments, gate
from app.web.api import shapes
from app.web.api.questions import EditQuestion, UndoQuestion
from app.web.backend import Backend
from app.web.opening import open_map
from app.web.problems import BadArgument, EditFailed, EditRefused, NotHere
from app.wire.edits import ALL_CPUS, NO_CPU, Edit, Report

MAP_WIDE = frozenset({"freeze", "clear", "pin", "unpin"})


def blueprint(backend: Backend) -> Blueprint:
    """The write half of the API."""
    bp = Blueprint("api_edits", __name__, url_prefix="/api/v1")

    @bp.post("/maps/<map_id>/edits")
    def edit(map_id: str) -> Response:
        question = _read(EditQuestion)
        with open_map(backend.client, backend.btfs, arguments.map_id(map_id)) as opened:
            wanted = edit_of(opened, question)
            report = backend.client.edit(gate.credential(), wanted, question.reason, dry_run=question.dry_run)
            lines = lines_of(opened, wanted, report)
            return _answer(report, document(opened, wanted, report, lines, dry_run=question.dry_run))

    @bp.post("/audit/<number>/undo")
    def undo(number: str) -> Response:
        question = _read(UndoQuestion)
        if not (number.isascii() and number.isdecimal() and len(number) <= arguments.MAX_DIGITS and int(number)):
            raise NotHere("such record: records are numbered from 1")
        wanted, lines = back_of(backend.client.record(gate.credential(), int(number)))
        report = backend.client.undo(gate.credential(), int(number), question.reason, dry_run=question.dry_run)
        return _answer(report, document(None, wanted, report, lines, dry_run=question.dry_run))

    return bp


def edit_of(opened: OpenMap, asked: EditQuestion) -> Edit:
    """The edit that a question describes. raises CannotEdit and what app.maps.edit raises"""
    action = _action(asked)
    if action in MAP_WIDE:
        return actions.map_wide(opened, action, asked.path)
    if action == "push":
        return actions.push(opened, _given(asked.value))
    key, owner = edit.which(opened, None if asked.key is msgspec.UNSET else asked.key, asked.owner)
    if action == "create":
        whole = asked.create if isinstance(asked.create, dict) and asked.create else _given(asked.value)
        return edit.create_entry(opened, key, whole, asked.set, owner=owner)
    seen = edit.read_entry(opened, key, owner)
    whole_seen = None if opened.mask.any() else seen
    cpu = NO_CPU if asked.cpu is None else ALL_CPUS if asked.cpu == "all" else int(asked.cpu)
    match action:
        case "pop":
            return actions.pop(opened, whole_seen)
        case "set" if asked.value is not msgspec.UNSET:
            return edit.set_fields(
                opened, key, {"value": asked.value}, seen, cpu=cpu, owner=owner, expected=asked.expected
            )
        case "set":
            return edit.set_fields(opened, key, asked.set, seen, cpu=cpu, owner=owner, expected=asked.expected)
        case _:
            if asked.expected:
                check_expected(opened, asked.expected, seen or bytes(opened.reader.value_stride), cpu=cpu)
            if action == "put":
                return actions.put_thing(opened, key, asked.thing, whole_seen)
            return edit.delete_entry(opened, key, whole_seen, owner=owner)


def _action(asked: EditQuestion) -> str:
    named = {
        "create": asked.create is not None and asked.create is not False,
        "delete": asked.delete,
        "put": bool(asked.thing),
        "push": asked.push,
        "pop": asked.pop,
        "freeze": asked.freeze,
        "clear": asked.clear,
        "pin": asked.pin,
        "unpin": asked.unpin,
    }
    found = [name for name, given in named.items() if given]
    if not found and (asked.set or asked.value is not msgspec.UNSET):
        found = ["set"]
    if len(found) != 1:
        raise CannotEdit(
            f"say one thing to do, set, value, or one of {', '.join(named)}; found {', '.join(found) or 'none'}"
        )
    if asked.set and asked.value is not msgspec.UNSET:
        raise CannotEdit("give the whole value or fields of it, not both")
    if asked.set and found[0] not in {"set", "create"}:
        raise CannotEdit(f"set does not go with {found[0]}")
    return found[0]


def _given(value: Any) -> Any:
    return None if value is msgspec.UNSET else value


def _read(kind: type[Any]) -> Any:
    """The question, of just its shape. raises BadArgument"""
    if request.mimetype != "application/json":
        raise BadArgument("Content-Type", request.mimetype, "application/json")
    try:
        return msgspec.json.decode(request.get_data(cache=False), type=kind)
    except (msgspec.ValidationError, msgspec.DecodeError, RecursionError) as problem:
        raise BadArgument("body", str(problem)[:80], "a question as openapi.json describes it") from None


def _answer(report: Report, found: dict[str, Any]) -> Response:
    if report.result == "refused":
        raise EditRefused(report.sentence, report.result, report.audit)
    if report.result not in {*WROTE, "planned", "pending"}:
        raise EditFailed(report.sentence, report.result, report.audit)
    status = HTTPStatus.ACCEPTED if report.result == "pending" else HTTPStatus.OK
    response = make_response(msgspec.json.encode(msgspec.convert(found, shapes.EditReport)), status)
    response.headers["Content-Type"] = "application/json"
    return response
