"""openapi.json, made from the shapes that the answers are checked against."""

from __future__ import annotations

from typing import Any

import msgspec

from app.web.api import shapes
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
PATHS: tuple[tuple[str, str, list[dict[str, Any]], type, tuple[int, ...]], ...] = (
    # path, summary, parameters, answer, errors
    ("/maps", "Every map of this host", [], shapes.MapList, (401, 403, 503)),
    ("/maps/{id}", "One map in full", [MAP_ID], shapes.MapDetail, (401, 403, 404, 410, 503)),
    ("/maps/{id}/entries", "A page of entries", [MAP_ID, *ENTRIES_QUERY], shapes.Entries, (400, 401, 403, 404, 409, 410, 422, 503)),
)  # fmt: skip


def document() -> dict[str, Any]:
    """OpenAPI 3.1."""
    answers = [answer for _, _, _, answer, _ in PATHS]
    _, components = msgspec.json.schema_components([*answers, Problem], ref_template="#/components/schemas/{name}")
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
        "paths": {route[0]: {"get": _operation(*route)} for route in PATHS},
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
