"""The types of a map: to read as a tree with offsets, to see to scale, and to copy as C, Rust, Go or Python."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from flask import Blueprint, Response

from app.btf import declare
from app.btf.declaration import Declaration
from app.btf.errors import BtfError
from app.btf.outline import Row, outline
from app.btf.parse import Btf
from app.columns.plan import Plan
from app.maps.layouts import Schema
from app.maps.opening import OpenMap
from app.web import arguments
from app.web.backend import Backend
from app.web.drawing import Drawing, draw
from app.web.frame import frame_of
from app.web.opening import open_map
from app.web.rendering import page_or_fragment

LANGUAGES = {"c": "C", "rust": "Rust", "go": "Go", "python": "Python"}
DECLARE: dict[str, Callable[[Btf, int], Declaration]] = {
    "c": lambda btf, type_id: declare.c(btf, type_id, comments=True),
    "rust": declare.rust,
    "go": declare.go,
    "python": declare.python,
}
MAX_TEXT_CHARS = 200_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Key or value."""

    title: str
    plan: Plan
    rows: list[Row]
    drawing: Drawing | None
    declaration: Declaration | None
    problem: str


def blueprint(backend: Backend) -> Blueprint:
    """GET /maps/ID/schema."""
    bp = Blueprint("schema", __name__)

    @bp.get("/maps/<map_id>/schema")
    def show(map_id: str) -> Response:
        number = arguments.map_id(map_id)
        language = arguments.choice("lang", LANGUAGES, "c")
        with open_map(backend.client, backend.btfs, number) as opened:
            return page_or_fragment(
                "maps/schema.html",
                "maps/_schema.html",
                frame=frame_of(opened, "schema"),
                schema=opened.schema,
                parts=parts(opened, language),
                language=language,
                languages=LANGUAGES,
            )

    return bp


def parts(opened: OpenMap, language: str) -> list[Part]:
    """Key and value, as far as the map has them."""
    schema = opened.schema
    found = []
    for title, plan, type_id in (
        ("key", schema.layout.key, schema.key_type_id),
        ("value", schema.layout.value, schema.value_type_id),
    ):
        if plan is not None:
            found.append(_part(title, plan, type_id, schema, language))
    return found


def _part(title: str, plan: Plan, type_id: int, schema: Schema, language: str) -> Part:
    rows: list[Row] = []
    declaration: Declaration | None = None
    problem = ""
    if schema.btf is not None and type_id:
        try:
            rows = outline(schema.btf, type_id)
            declaration = DECLARE[language](schema.btf, type_id)
        except BtfError as error:
            problem = str(error)
    else:
        rows = [
            Row(
                0,
                node.path,
                node.path or title,
                node.type_name,
                node.offset_bits,
                node.size_bits,
                is_padding=False,
                note="",
            )
            for node in plan.leaves()
        ]
    drawing = draw(plan)
    return Part(title=title, plan=plan, rows=rows, drawing=drawing, declaration=declaration, problem=problem)
