"""openapi.json, made from the shapes that the answers are checked against."""

from __future__ import annotations

import re
from typing import Any, get_args, get_origin

import msgspec

from app.web.api import diff_shapes, questions, shapes
from app.web.audit_state import KINDS
from app.web.errors import Problem

VERSION = "1"
_REF = "#/components/schemas/"
_PLACE = re.compile(r"{\w+}")


def _query(name: str, schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "schema": schema, "description": description}


MAP_ID = {
    "name": "id",
    "in": "path",
    "required": True,
    "schema": {"type": "integer", "minimum": 1, "maximum": (1 << 32) - 1},
    "description": "The kernel's id of the map.",
}
ENTRIES_QUERY = [
    _query("where", {"type": "string", "maxLength": 4000}, "Filter, such as `value.packets > 1000 and key.saddr in 10.0.0.0/8`."),
    _query("sort", {"type": "string", "maxLength": 4000}, "A path, with `-` before it for the largest first."),
    _query("limit", {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}, "Entries on a page."),
    _query("cursor", {"type": "string", "maxLength": 4000}, "`next_cursor` of the page before."),
]  # fmt: skip
AUDIT_QUERY = [
    _query("map", {"type": "integer", "minimum": 1, "maximum": (1 << 32) - 1}, "Only of the map of this id."),
    _query("user", {"type": "string", "maxLength": 200}, "Only of this person."),
    _query("kind", {"type": "string", "enum": sorted(filter(None, KINDS))}, "Only events of this kind."),
    _query("q", {"type": "string", "maxLength": 400}, "Somewhere in reason, detail, map name, field or user."),
    _query("since", {"type": "string", "maxLength": 60}, "An ISO time, or `30s`, `10m`, `2h`, `3d` ago."),
    _query("key", {"type": "string", "maxLength": 2000}, "Only of the entry under this key, in hexadecimal."),
    _query("limit", {"type": "integer", "minimum": 1, "maximum": 500, "default": 50}, "Records on a page."),
    _query("before", {"type": "integer", "minimum": 0}, "`before` of the page before this one."),
]  # fmt: skip
AT = _query(
    "at",
    {"type": "string", "maxLength": 60},
    "As of a snapshot of the map, `s12`, or of a time: ISO, or `30s`, `10m`, `2h`, `3d` ago.",
)
SNAPSHOT = {
    "name": "ref",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "pattern": "^s[1-9][0-9]*$"},
    "description": "Reference of the snapshot.",
}
JOB = MAP_ID | {
    "schema": {"type": "integer", "minimum": 1},
    "description": "`job` of an answer with status 202.",
}
SNAPSHOTS_QUERY = [
    _query("map", {"type": "string", "maxLength": 4000}, "Only of this map: an id, a pin path, or `name:NAME`; also of one that is gone."),
    _query("series", {"type": "integer", "minimum": 1}, "Only of this series."),
    _query("limit", {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}, "Snapshots on a page."),
    _query("before", {"type": "integer", "minimum": 1}, "`next_before` of the page before this one."),
]  # fmt: skip
DIFF_QUERY = [
    _query(name, {"type": "string", "maxLength": 4000}, "A snapshot, `s12`; a map now, `42`, `name:NAME` or a pin path; a map at a time, `42@10m`; or `live`: the map that goes on with the other side.") | {"required": True}
    for name in ("a", "b")
] + [
    _query("ignore", {"type": "string", "enum": ["0", "1"], "default": "1"}, "`0`: also what the map's rules leave out of comparisons."),
    _query("summary", {"type": "string", "enum": ["0", "1"], "default": "0"}, "`1`: counts and fields alone; without it every entry that differs comes, however many there are."),
]  # fmt: skip
PATHS: tuple[tuple[str, str, list[dict[str, Any]], type, tuple[int, ...]], ...] = (
    # path, summary, parameters, answer, errors
    ("/maps", "Every map of this host", [], shapes.MapList, (401, 403, 503)),
    ("/maps/{id}", "One map in full", [MAP_ID], shapes.MapDetail, (401, 403, 404, 410, 503)),
    ("/maps/{id}/entries", "A page of entries", [MAP_ID, *ENTRIES_QUERY, AT], shapes.Entries, (400, 401, 403, 404, 409, 410, 422, 503)),
    ("/snapshots", "The history, newest first", SNAPSHOTS_QUERY, shapes.SnapshotList, (400, 401, 403, 404, 409, 503)),
    ("/snapshots/{ref}", "One snapshot", [SNAPSHOT], shapes.Snapshot, (401, 403, 404, 503)),
    ("/snapshots/{ref}/entries", "A page of its entries", [SNAPSHOT, *ENTRIES_QUERY], shapes.Entries, (400, 401, 403, 404, 410, 422, 429, 503)),
    ("/snapshots/jobs/{id}", "How far snapshots are that were asked for", [JOB], shapes.SnapshotJob, (401, 403, 404, 503)),
    ("/diff", "Two sides compared", DIFF_QUERY, diff_shapes.Difference, (400, 401, 403, 404, 409, 422, 429, 503)),
    ("/audit", "The audit log, newest first", AUDIT_QUERY, shapes.AuditRecords, (400, 401, 403, 503)),
)  # fmt: skip
ANSWERS: dict[str, dict[str, tuple[type, str]]] = {
    # path: status, (answer, what it means), where it is not 200 and one object
    "/snapshots": {
        "201": (list[shapes.Snapshot], "Taken, one a map"),
        "202": (shapes.SnapshotJob, "It takes longer: ask for the job"),
    },
    "/maps/{id}/edits": {
        "200": (shapes.EditReport, "Done"),
        "202": (shapes.EditReport, "Waits for more people to agree"),
    },
}
"""Of operations that change something."""
AUDIT_NUMBER = MAP_ID | {
    "schema": {"type": "integer", "minimum": 1},
    "description": "Number of the edit's record in the audit log.",
}
QUESTIONS: tuple[tuple[str, str, list[dict[str, Any]], type, type, tuple[int, ...]], ...] = (
    # path, summary, parameters, question, answer, errors
    ("/maps/{id}/edits", "Change one entry, or the map", [MAP_ID], questions.EditQuestion, shapes.EditReport,
     (400, 401, 403, 404, 409, 410, 422, 429, 503)),
    ("/audit/{id}/undo", "Take an edit back", [AUDIT_NUMBER], questions.UndoQuestion, shapes.EditReport,
     (400, 401, 403, 404, 409, 422, 429, 503)),
    ("/snapshots", "Take snapshots of some maps now", [], questions.SnapshotQuestion, shapes.Snapshot,
     (400, 401, 403, 404, 409, 410, 422, 503)),
)  # fmt: skip


def document() -> dict[str, Any]:
    """OpenAPI 3.1."""
    described = [route[3] for route in PATHS] + [each for route in QUESTIONS for each in route[3:5]]
    described += [shapes.SnapshotJob]
    paths: dict[str, dict[str, Any]] = {route[0]: {"get": _operation(*route)} for route in PATHS}
    for asking in QUESTIONS:
        paths.setdefault(asking[0], {})["post"] = _asking(*asking)
    _, components = msgspec.json.schema_components([*described, Problem], ref_template="#/components/schemas/{name}")
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "bpf-atlas",
            "version": VERSION,
            "summary": "The live eBPF maps of a Linux host",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/api/v1"}],
        "security": [{"session": []}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"session": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(
    path: str, summary: str, parameters: list[dict[str, Any]], answer: type, errors: tuple[int, ...]
) -> dict[str, Any]:
    return {
        "operationId": "get_" + _PLACE.sub("one", path.strip("/")).replace("/", "_"),
        "summary": summary,
        "parameters": parameters,
        "responses": {
            "200": {"description": "Done", **_content("application/json", answer)},
            **{
                str(code): {"description": "Refused", **_content("application/problem+json", Problem)}
                for code in errors
            },
        },
    }


def _asking(
    path: str, summary: str, parameters: list[dict[str, Any]], question: type, answer: type, errors: tuple[int, ...]
) -> dict[str, Any]:
    """An operation that changes something: its question is a body."""
    described = _operation(path, summary, parameters, answer, errors)
    described["operationId"] = described["operationId"].replace("get_", "post_", 1)
    schema = {"$ref": f"#/components/schemas/{question.__name__}"}
    described["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    if path in ANSWERS:
        del described["responses"]["200"]
        described["responses"] |= {
            status: {"description": says, **_content("application/json", one)}
            for status, (one, says) in ANSWERS[path].items()
        }
    return described


def _content(kind: str, answer: Any) -> dict[str, Any]:
    if get_origin(answer) is list:
        return {
            "content": {kind: {"schema": {"type": "array", "items": {"$ref": _REF + get_args(answer)[0].__name__}}}}
        }
    return {"content": {kind: {"schema": {"$ref": _REF + answer.__name__}}}}
