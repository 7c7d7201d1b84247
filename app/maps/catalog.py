"""The live maps of this host: the list, and which of them a reference means. No numpy here: `maps` starts quickly."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from dataclasses import dataclass

from app.maps.errors import AmbiguousName, BadReference, NoSuchMap
from app.maps.kinds import Counter, Kind, kind_of
from app.wire.ask import Client
from app.wire.bodies import HolderFacts, HolderList, MapFacts, PinFacts, ProgFacts

_ID = re.compile(r"[0-9]{1,10}")
MAX_ID = (1 << 32) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class MapRow:
    """One map in the list, with who refers to it."""

    facts: MapFacts
    kind: Kind
    entries: int | None
    """None: not known without reading it."""
    pins: tuple[PinFacts, ...]
    progs: tuple[ProgFacts, ...]
    holders: tuple[HolderFacts, ...]

    @property
    def pressure(self) -> float | None:
        """Entries over max_entries, 0 to 1; None where that says nothing (arrays, queues, storages)."""
        if self.entries is None or self.kind.counter is Counter.FIXED or not self.facts.max_entries:
            return None
        return self.entries / self.facts.max_entries

    @property
    def has_btf(self) -> bool:
        """Its values have a type."""
        return bool(self.facts.btf_id or self.facts.btf_vmlinux_value_type_id)

    @property
    def unreferenced(self) -> bool:
        """No program uses it and no process holds it: only a pin, or another map, keeps it."""
        return not self.progs and not self.holders


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """All maps at one moment."""

    rows: tuple[MapRow, ...]
    taken_at_ns: int
    problems: tuple[str, ...]
    """What the list may lack and why, a sentence each."""


def listing(client: Client) -> Listing:
    """Every map of the host with its pins, programs and holders."""
    maps = client.maps()
    pins = client.pins()
    holders = client.holders()
    by_map_pin: defaultdict[int, list[PinFacts]] = defaultdict(list)
    for pin in pins.pins:
        if pin.kind == "map":
            by_map_pin[pin.id].append(pin)
    by_map_prog: defaultdict[int, list[ProgFacts]] = defaultdict(list)
    for prog in client.progs().progs:
        for map_id in prog.map_ids:
            by_map_prog[map_id].append(prog)
    by_map_holder: defaultdict[int, list[HolderFacts]] = defaultdict(list)
    for holder in map_holders(holders):
        by_map_holder[holder.id].append(holder)
    rows = tuple(
        MapRow(
            facts=facts,
            kind=kind_of(facts.type),
            entries=entries_of(facts),
            pins=tuple(by_map_pin[facts.id]),
            progs=tuple(by_map_prog[facts.id]),
            holders=tuple(by_map_holder[facts.id]),
        )
        for facts in maps.maps
    )
    problems = [problem for problem in (pins.problem, holders.problem) if problem]
    if maps.unreadable:
        problems.append(f"{len(maps.unreadable)} maps were listed and could not be opened: gone, or refused")
    return Listing(rows=rows, taken_at_ns=maps.taken_at_ns, problems=tuple(problems))


def map_holders(found: HolderList) -> tuple[HolderFacts, ...]:
    """Descriptors of maps in other processes: that this one has a map open while it looks says nothing about the map."""
    return tuple(holder for holder in found.holders if holder.kind == "map" and holder.pid != os.getpid())


def entries_of(facts: MapFacts) -> int | None:
    """The number of entries where it is known without reading the map."""
    kind = kind_of(facts.type)
    if kind.counter is Counter.FIXED:
        return facts.max_entries
    if kind.counter is Counter.KERNEL:
        return facts.entries
    return None


def resolve(client: Client, reference: str) -> int:
    """Map id of a reference: an id, a pin path, or name:NAME.

    raises  BadReference, NoSuchMap, AmbiguousName, and the kernel's word on a pin that cannot be opened
    """
    if _ID.fullmatch(reference):
        map_id = int(reference)
        if not 0 < map_id <= MAX_ID:
            raise NoSuchMap(f"#{reference}")
        return map_id
    if reference.startswith("name:"):
        name = reference.removeprefix("name:")
        found = tuple(facts.id for facts in client.maps().maps if facts.name == name)
        if not found:
            raise NoSuchMap(f"named {name}")
        if len(found) > 1:
            raise AmbiguousName(name, found)
        return found[0]
    if reference.startswith("/"):
        opened, fd = client.pin_open(reference)
        if fd is not None:
            os.close(fd)
        return opened.facts.id
    raise BadReference(reference)
