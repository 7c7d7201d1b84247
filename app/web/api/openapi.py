"""openapi.json, made from the shapes that the answers are checked against."""

from __future__ import annotations

from typing import Any

import msgspec

from app.web.api import questions, shapes
from app.web.audit_state import KINDS
from app.web.errors import Problem

VERSION = "1"


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
PATHS: tuple[tuple[str, str, list[dict[str, Any]], type, tuple[int, ...]], ...] = (
    # path, summary, parameters, answer, errors
    ("/maps", "Every map of this host", [], shapes.MapList, (401, 403, 503)),
    ("/maps/{id}", "One map in full", [MAP_ID], shapes.MapDetail, (401, 403, 404, 410, 503)),
    ("/maps/{id}/entries", "A page of entries", [MAP_ID, *ENTRIES_QUERY], shapes.Entries, (400, 401, 403, 404, 409, 410, 422, 503)),
    ("/audit", "The audit log, newest first", AUDIT_QUERY, shapes.AuditRecords, (400, 401, 403, 503)),
)  # fmt: skip
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
)  # fmt: skip


def document() -> dict[str, Any]:
    """OpenAPI 3.1."""
    described = [route[3] for route in PATHS] + [each for route in QUESTIONS for each in route[3:5]]
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
        "paths": {route[0]: {"get": _operation(*route)} for route in PATHS}
        | {route[0]: {"post": _asking(*route)} for route in QUESTIONS},
        "components": {
            "schemas": components,
            "securitySchemes": {"session": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(
    path: str, summary: str, parameters: list[dict[str, Any]], answer: type, errors: tuple[int, ...]
) -> dict[str, Any]:
    def content(kind: str, name: str) -> dict[str, Any]:
        return {"content": {kind: {"schema": {"$ref": f"#/components/schemas/{name}"}}}}

    return {
        "operationId": "get_" + path.strip("/").replace("{id}", "one").replace("/", "_"),
        "summary": summary,
        "parameters": parameters,
        "responses": {
            "200": {"description": "Done", **content("application/json", answer.__name__)},
            **{
                str(code): {"description": "Refused", **content("application/problem+json", "Problem")}
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
    if question is questions.EditQuestion:
        described["responses"]["202"] = described["responses"]["200"] | {
            "description": "Waits for more people to agree"
        }
    return described
