"""One map in full as one JSON object: what `show --json` and the HTTP API say of it."""

from __future__ import annotations

from typing import Any

from app.btf import declare
from app.btf.errors import BtfError
from app.maps.catalog import MapRow
from app.maps.counting import entries_of_open
from app.maps.facts import map_facts, prog_type_name
from app.maps.opening import OpenMap
from app.maps.relations import Slot, relations_of
from app.uapi.enums import BpfLinkType


def link_type_name(number: int) -> str:
    """`xdp`, `tracing` …"""
    try:
        return BpfLinkType(number).name.lower()
    except ValueError:
        return f"type_{number}"


def describe(opened: OpenMap) -> dict[str, Any]:
    """Facts, relations and schema of an open map."""
    related = relations_of(opened)
    row = MapRow(
        facts=opened.facts,
        kind=opened.kind,
        entries=entries_of_open(opened),
        pins=tuple(pin for pin in related.pins if pin.kind == "map"),
        progs=related.progs,
        holders=related.holders,
    )
    schema = opened.schema
    kind = opened.kind
    return {
        **map_facts(row),
        "links": [
            {"id": link.id, "type": link_type_name(link.type), "prog_id": link.prog_id, "target": link.target}
            for link in related.links
        ],
        "prog_pins": [{"path": pin.path, "prog_id": pin.id} for pin in related.pins if pin.kind == "prog"],
        "inner_maps": [_slot(slot) for slot in related.inner_maps],
        "outer_maps": [{"id": outer.id, "name": outer.name} for outer in related.outer_maps],
        "slot_progs": [_slot(slot) for slot in related.slot_progs],
        "listing": {"how": kind.enumerate.value, "why": kind.why, "instead": kind.instead},
        "schema": {
            "source": schema.source,
            "notes": list(schema.notes),
            "key": _declaration(opened, schema.key_type_id),
            "value": _declaration(opened, schema.value_type_id),
            "prog_types": sorted({prog_type_name(prog.type) for prog in related.progs}),
        },
    }


def _slot(slot: Slot) -> dict[str, Any]:
    return {"key": f"hex:{slot.key_hex}", "id": slot.object_id, "name": slot.name}


def _declaration(opened: OpenMap, type_id: int) -> str:
    """C text of a type with offsets, empty where there is none."""
    btf = opened.schema.btf
    if btf is None or not type_id:
        return ""
    try:
        return declare.c(btf, type_id, comments=True).text
    except BtfError as problem:
        return f"/* not to be declared: {problem} */"
