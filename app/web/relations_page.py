"""Who has to do with a map, as tables: programs, attachments, pins, processes, inner and outer maps."""

from __future__ import annotations

from flask import Blueprint, Response

from app.maps.opening import open_map
from app.maps.relations import relations_of
from app.web import arguments, words
from app.web.backend import Backend
from app.web.frame import frame_of
from app.web.rendering import page_or_fragment


def blueprint(backend: Backend) -> Blueprint:
    """GET /maps/ID/relations."""
    bp = Blueprint("relations", __name__)

    @bp.get("/maps/<map_id>/relations")
    def show(map_id: str) -> Response:
        number = arguments.map_id(map_id)
        with open_map(backend.client, backend.btfs, number) as opened:
            return page_or_fragment(
                "maps/relations.html",
                "maps/_relations.html",
                frame=frame_of(opened, "relations"),
                related=relations_of(opened),
                words=words,
                meaning=opened.kind.meaning.name,
            )

    return bp
