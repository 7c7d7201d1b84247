"""A map as one JSON object: what `maps --json`, `show --json` and the HTTP API print of it."""

from __future__ import annotations

from typing import Any

from app.maps.catalog import MapRow
from app.uapi.enums import BpfMapFlag, BpfProgType


def flag_names(flags: int) -> list[str]:
    """`map_flags` by the kernel's names; bits without one as hexadecimal."""
    names = [flag.name or "" for flag in BpfMapFlag if flags & flag]
    rest = flags & ~sum(BpfMapFlag)
    return [*names, *([hex(rest)] if rest else [])]


def prog_type_name(number: int) -> str:
    """`xdp`, `sched_cls` …"""
    try:
        return BpfProgType(number).name.lower()
    except ValueError:
        return f"type_{number}"


def map_facts(row: MapRow) -> dict[str, Any]:
    """All that is known of a map without reading its entries."""
    facts = row.facts
    return {
        "id": facts.id,
        "type": row.kind.name,
        "name": facts.name,
        "key_size": facts.key_size,
        "value_size": facts.value_size,
        "max_entries": facts.max_entries,
        "flags": facts.map_flags,
        "flag_names": flag_names(facts.map_flags),
        "frozen": facts.frozen,
        "memory_bytes": facts.memlock_bytes,
        "entries": row.entries,
        "btf": row.has_btf,
        "btf_id": facts.btf_id,
        "map_extra": facts.map_extra,
        "pins": [pin.path for pin in row.pins],
        "progs": [{"id": prog.id, "type": prog_type_name(prog.type), "name": prog.name} for prog in row.progs],
        "pids": [{"pid": holder.pid, "comm": holder.comm, "fd": holder.fd} for holder in row.holders],
    }
