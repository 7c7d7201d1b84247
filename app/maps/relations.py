"""Who has to do with a map: programs, what they are attached to, pins, processes, inner and outer maps."""

from __future__ import annotations

from dataclasses import dataclass

from app.maps.catalog import map_holders
from app.maps.errors import MapsError
from app.maps.kinds import Meaning, kind_of
from app.maps.layouts import Btfs
from app.maps.opening import OpenMap, open_map
from app.maps.tabulate import read_sheet
from app.uapi.errors import KernelError
from app.wire.ask import Client
from app.wire.bodies import HolderFacts, LinkFacts, MapFacts, PinFacts, ProgFacts

LIMIT_NESTED = 1000
"""Inner maps or programs of one map that are listed."""
LIMIT_OUTER = 64
"""Maps of maps that are searched for one that holds this map."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """One place in a map of maps or a program array, and what is in it."""

    key_hex: str
    object_id: int
    name: str
    """Empty when the object went away meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Relations:
    """Everything known that refers to a map or that it refers to."""

    progs: tuple[ProgFacts, ...]
    links: tuple[LinkFacts, ...]
    """Of those programs, and those that are about the map itself."""
    pins: tuple[PinFacts, ...]
    """Of the map and of those programs."""
    holders: tuple[HolderFacts, ...]
    inner_maps: tuple[Slot, ...]
    outer_maps: tuple[MapFacts, ...]
    slot_progs: tuple[Slot, ...]
    """Programs that the map's own values name (program arrays, device and CPU maps)."""
    problems: tuple[str, ...]


def relations_of(opened: OpenMap) -> Relations:
    """Look everything up anew."""
    client, facts = opened.client, opened.facts
    all_progs = {prog.id: prog for prog in client.progs().progs}
    progs = tuple(prog for prog in all_progs.values() if facts.id in prog.map_ids)
    prog_ids = frozenset(prog.id for prog in progs)
    pins = client.pins()
    holders = client.holders()
    maps = client.maps().maps
    names = {each.id: each.name for each in maps}
    inner: tuple[Slot, ...] = ()
    slot_progs: tuple[Slot, ...] = ()
    if opened.kind.meaning is Meaning.MAP_ID:
        inner = _slots(opened, names)
    elif opened.kind.meaning in {Meaning.PROG_ID, Meaning.DEVICE, Meaning.CPU}:
        slot_progs = _slots(opened, {prog.id: prog.name for prog in all_progs.values()})
    return Relations(
        progs=progs,
        links=tuple(link for link in client.links().links if link.prog_id in prog_ids or link.map_id == facts.id),
        pins=tuple(
            pin
            for pin in pins.pins
            if (pin.kind == "map" and pin.id == facts.id) or (pin.kind == "prog" and pin.id in prog_ids)
        ),
        holders=tuple(holder for holder in map_holders(holders) if holder.id == facts.id),
        inner_maps=inner,
        outer_maps=_outer(client, opened.btfs, maps, facts.id),
        slot_progs=slot_progs,
        problems=tuple(problem for problem in (pins.problem, holders.problem) if problem),
    )


def _slots(opened: OpenMap, names: dict[int, str]) -> tuple[Slot, ...]:
    """Ids that the values begin or end with: a program array's and an outer map's is the value itself, that of
    device and CPU maps is its second word.
    """
    word = 4 if opened.kind.meaning in {Meaning.DEVICE, Meaning.CPU} else 0
    if opened.facts.value_size < word + 4:
        return ()
    try:
        table = read_sheet(opened, limit=LIMIT_NESTED).table
    except (MapsError, KernelError):
        return ()
    found = []
    for key, value in zip(table.keys, table.values, strict=True):
        object_id = int.from_bytes(value[word : word + 4].tobytes(), "little")
        if object_id:
            found.append(Slot(key_hex=key.tobytes().hex(), object_id=object_id, name=names.get(object_id, "")))
    return tuple(found)


def _outer(client: Client, btfs: Btfs, maps: tuple[MapFacts, ...], map_id: int) -> tuple[MapFacts, ...]:
    outer = [facts for facts in maps if kind_of(facts.type).meaning is Meaning.MAP_ID][:LIMIT_OUTER]
    found = []
    for facts in outer:
        try:
            with open_map(client, btfs, facts.id) as opened:
                if any(slot.object_id == map_id for slot in _slots(opened, {})):
                    found.append(facts)
        except (MapsError, KernelError):
            continue
    return tuple(found)
