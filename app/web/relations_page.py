"""Who has to do with a map, as tables: programs, attachments, pins, processes, inner and outer maps."""

from __future__ import annotations

from flask import Blueprint, Response

from app.columns.key_text import key_text
from app.maps.opening import OpenMap
from app.maps.relations import Relations, relations_of
from app.web import arguments, words
from app.web.backend import Backend
from app.web.frame import frame_of
from app.web.opening import open_map
from app.web.rendering import page_or_fragment


def blueprint(backend: Backend) -> Blueprint:
    """GET /maps/ID/relations."""
    bp = Blueprint("relations", __name__)

    @bp.get("/maps/<map_id>/relations")
    def show(map_id: str) -> Response:
        number = arguments.map_id(map_id)
        with open_map(backend.client, backend.btfs, number) as opened:
            related = relations_of(opened)
            return page_or_fragment(
                "maps/relations.html",
                "maps/_relations.html",
                frame=frame_of(opened, "relations"),
                related=related,
                keys=slot_keys(opened, related),
                words=words,
                meaning=opened.kind.meaning.name,
            )

    return bp


def slot_keys(opened: OpenMap, related: Relations) -> dict[str, str]:
    """Hexadecimal key of a slot -> the key as it is written in the exact-key box."""
    plan = opened.schema.layout.key
    slots = (*related.inner_maps, *related.slot_progs)
    return {slot.key_hex: key_text(plan, bytes.fromhex(slot.key_hex)) if plan else slot.key_hex for slot in slots}
