"""What every page about one map shows above its tabs: name, facts, who uses it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from app.maps.catalog import MapRow, map_holders
from app.maps.counting import count
from app.maps.kinds import Counter as Counted
from app.maps.opening import OpenMap
from app.uapi.errors import KernelError
from app.web import words

NAMES_SHOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """The head of a map's pages."""

    row: MapRow
    name: str
    flags: list[str]
    used_by: str
    held_by: str
    tab: str


def frame_of(opened: OpenMap, tab: str) -> Frame:
    """Facts of an open map and of those who refer to it."""
    row = _row(opened)
    progs = [prog.name or f"program {prog.id}" for prog in row.progs]
    processes = Counter((holder.comm, holder.pid) for holder in row.holders)
    held = [f"{comm} ({pid})" for comm, pid in processes]
    if row.pins:
        held.append(f"{len(row.pins)} pin" + ("s" if len(row.pins) > 1 else ""))
    return Frame(
        row=row,
        name=row.facts.name or f"{row.kind.label} #{row.facts.id}",
        flags=words.map_flags(row.facts),
        used_by=_some(progs) or "no program",
        held_by=_some(held) or "nothing that can be seen",
        tab=tab,
    )


def _row(opened: OpenMap) -> MapRow:
    client, map_id = opened.client, opened.facts.id
    return MapRow(
        facts=opened.facts,
        kind=opened.kind,
        entries=_entries(opened),
        pins=tuple(pin for pin in client.pins().pins if pin.kind == "map" and pin.id == map_id),
        progs=tuple(prog for prog in client.progs().progs if map_id in prog.map_ids),
        holders=tuple(holder for holder in map_holders(client.holders()) if holder.id == map_id),
    )


def _entries(opened: OpenMap) -> int | None:
    if opened.entries is not None or opened.kind.counter is Counted.UNKNOWN:
        return opened.entries
    try:
        return count(opened.reader, opened.kind, opened.facts.max_entries)
    except KernelError:
        return None


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:NAMES_SHOWN])
    return f"{shown} and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else shown
