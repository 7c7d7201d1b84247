"""Which series each live map belongs to.

A pin names a map; without one, its name, type and owner do: a program that uses it, or the process that holds it. After a
restart of either the same names lead to the same series. Within one boot a map that is still the same one stays where it
is, though its owner went away: its number is believed only together with the boot, and with its name and type. A pin's
series goes to whichever map the pin names now, also while the map that it named before still lives.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from app.history.errors import Damaged
from app.history.series import Identity, SeriesFacts
from app.history.writer import Writer
from app.maps.catalog import MapRow
from app.uapi.enums import BpfMapType

SET_UP_NS = 120 * 1_000_000_000
"""A map whose program is not loaded after so long is not just being set up."""
_OURS = re.compile(rb"\0-m\0app\.(?:broker|web|recorder)\0")


@dataclass(frozen=True, slots=True)
class LiveMap:
    """What names a map."""

    id: int
    name: str
    type: int
    pin: str
    """The first of its pins by path; empty without one."""
    owner: str


def live_map(row: MapRow, *, ours: Callable[[int], bool] | None = None) -> LiveMap:
    """A row of the list of maps, as it is named.

    ours  whether a process of that pid says nothing about the maps that it has open; None: the service's own
    """
    pins = sorted(pin.path for pin in row.pins)
    progs = sorted(prog.name or prog.tag for prog in row.progs)
    comms = sorted(holder.comm for holder in row.holders if not (ours or _ours)(holder.pid))
    return LiveMap(row.facts.id, row.facts.name, row.facts.type, pins[0] if pins else "", (progs or comms or [""])[0])


def assign(
    writer: Writer,
    host: str,
    boot_id: str,
    maps: Sequence[LiveMap],
    now_ns: int,
    *,
    checked: Mapping[int, int] | None = None,
) -> dict[int, SeriesFacts]:
    """The series of each map, by map id; those that are new are made, and each is noted as seen now.

    checked  by id of a series, until when its newest snapshot is known to hold
    """
    known = [each for each in writer.series() if each.of.host == host]
    alive = frozenset(one.id for one in maps)
    finding = _Finding(host, now_ns, alive, {each.of: each for each in known}, writer.is_named)
    for each in sorted(known, key=lambda each: each.last_seen_ns):  # of several with one number the last that had it
        if each.boot_id == boot_id:
            finding.here[each.map_id] = each
    for one in maps:
        finding.by_pin(one)
    for one in maps:
        finding.as_before(one)
    for one in maps:
        if one.id in finding.found:
            continue
        wanted = finding.free(one)
        while True:
            try:
                series = finding.by_identity.get(wanted) or writer.series_of(
                    wanted, at_ns=now_ns, map_id=one.id, boot_id=boot_id
                )
                break
            except Damaged:  # nothing can go on with that one: another begins beside it
                wanted = finding.free(one, wanted.ordinal + 1)
        finding.take(one, series)
    seen = {
        map_id: replace(
            series,
            last_seen_ns=max(series.last_seen_ns, now_ns),
            checked_ns=max(series.checked_ns, (checked or {}).get(series.id, 0)),
            map_id=map_id,
            boot_id=boot_id,
        )
        for map_id, series in finding.found.items()
    }
    # A map that has gone on to another series is no longer the one that its number leads to in this one.
    left = [
        replace(each, map_id=0, boot_id="")
        for each in known
        if each.boot_id == boot_id and each.map_id in seen and each.id not in finding.taken
    ]
    writer.touch(*seen.values(), *left)
    return seen


@dataclass(slots=True)
class _Finding:
    """The series of maps, each given to one map."""

    host: str
    now_ns: int
    alive: frozenset[int]
    by_identity: dict[Identity, SeriesFacts]
    is_named: Callable[[Identity], bool]
    """Another series has the identity, though it may be damaged and not be among those above."""
    here: dict[int, SeriesFacts] = field(default_factory=dict)
    """By id of a map, where it was last in this boot."""
    found: dict[int, SeriesFacts] = field(default_factory=dict)
    """By id of a map, where it is."""
    taken: set[int] = field(default_factory=set)

    def take(self, one: LiveMap, series: SeriesFacts) -> None:
        """Give a map a series."""
        self.by_identity[series.of] = series
        self.found[one.id] = series
        self.taken.add(series.id)

    def by_pin(self, one: LiveMap) -> None:
        """A pinned map has its pin's series; where there is none yet, it takes along what it had without a pin."""
        if not one.pin:
            return
        wanted, before = self._wanted(one), self._before(one)
        series = self.by_identity.get(wanted)
        if series is None and before is not None and not before.of.pin and not self.is_named(wanted):
            series = replace(before, of=wanted)
        if series is not None and series.id not in self.taken:
            self.take(one, series)

    def as_before(self, one: LiveMap) -> None:
        """A map that is still the same one stays, unless another pin names it, or its series' pin names another map."""
        before = self._before(one)
        if one.id in self.found or before is None or before.id in self.taken:
            return
        if not one.pin:
            self.take(one, self._of_its_program(one, before))
        elif before.of.pin == one.pin:
            self.take(one, before)

    def free(self, one: LiveMap, ordinal: int = 0) -> Identity:
        """The identity of a map: with the first ordinal, from a given one on, that no other live map has."""
        wanted = replace(self._wanted(one), ordinal=ordinal)
        while (there := self.by_identity.get(wanted)) is not None and there.id in self.taken:
            wanted = replace(wanted, ordinal=wanted.ordinal + 1)
        return wanted

    def _of_its_program(self, one: LiveMap, before: SeriesFacts) -> SeriesFacts:
        """A loader holds a map before the program that it is for does: one that is just being set up goes by the latter."""
        if before.of.pin or one.owner in {"", before.of.owner}:
            return before
        wanted = self._wanted(one)
        series = self.by_identity.get(wanted)
        is_new = self.now_ns - before.first_seen_ns < SET_UP_NS
        if series is None:
            return replace(before, of=wanted) if is_new and not self.is_named(wanted) else before
        was_there = self.now_ns - series.last_seen_ns < SET_UP_NS
        has_another = series.map_id in self.alive and self.here.get(series.map_id) == series
        return series if (is_new or was_there) and series.id not in self.taken and not has_another else before

    def _before(self, one: LiveMap) -> SeriesFacts | None:
        before = self.here.get(one.id)
        return before if before is not None and (before.of.name, before.of.type) == (one.name, one.type) else None

    def _wanted(self, one: LiveMap) -> Identity:
        if one.pin:
            return Identity(host=self.host, pin=one.pin, name=one.name, type=one.type)
        return Identity(host=self.host, name=one.name, type=one.type, owner=one.owner)


def title(of: Identity) -> str:
    """A series in one phrase."""
    try:
        kind = BpfMapType(of.type).name.lower()
    except ValueError:
        kind = f"type_{of.type}"
    text = of.pin or f"{of.name or 'unnamed'} ({kind}{f', {of.owner}' if of.owner else ''})"
    return f"{text} #{of.ordinal + 1}" if of.ordinal else text


def _ours(pid: int) -> bool:
    """A process of this very service: that it looks at a map says nothing about the map."""
    if pid in {os.getpid(), os.getppid()}:
        return True
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    parent = int(stat.rpartition(")")[2].split()[1])
    return parent == os.getppid() and parent > 1 and _OURS.search(command) is not None
