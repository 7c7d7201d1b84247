"""Which series each live map belongs to.

A pin names a map; without one, its name, type and owner do: a program that uses it, or the process that holds it. After a
restart of either the same names lead to the same series. Within one boot a map that is still the same one stays where it
is, though its owner went away: its number is believed only together with the boot, and with its name and type.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from app.history.errors import Damaged
from app.history.series import Identity, SeriesFacts
from app.history.writer import Writer
from app.maps.catalog import MapRow
from app.uapi.enums import BpfMapType

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
    by_identity = {each.of: each for each in known}
    here = {each.map_id: each for each in known if each.boot_id == boot_id}
    found: dict[int, SeriesFacts] = {}
    taken: set[int] = set()
    for one in maps:  # first those that are where they were
        before = here.get(one.id)
        if before is not None and (before.of.name, before.of.type) == (one.name, one.type):
            if one.pin and before.of.pin != one.pin:
                wanted = Identity(host=host, pin=one.pin, name=one.name, type=one.type)
                if before.of.pin or wanted in by_identity:
                    continue  # another pin: another series
                before = replace(before, of=wanted)  # it was pinned since, and takes its history along
                by_identity[wanted] = before
            found[one.id] = before
            taken.add(before.id)
    for one in maps:
        if one.id not in found:
            wanted = _free(one, host, by_identity, taken)
            while True:
                try:
                    series = by_identity.get(wanted) or writer.series_of(
                        wanted, at_ns=now_ns, map_id=one.id, boot_id=boot_id
                    )
                    break
                except Damaged:  # nothing can go on with that one: another begins beside it
                    wanted = _free(one, host, by_identity, taken, ordinal=wanted.ordinal + 1)
            by_identity[wanted] = series
            taken.add(series.id)
            found[one.id] = series
    seen = {
        map_id: replace(
            series,
            last_seen_ns=max(series.last_seen_ns, now_ns),
            checked_ns=max(series.checked_ns, (checked or {}).get(series.id, 0)),
            map_id=map_id,
            boot_id=boot_id,
        )
        for map_id, series in found.items()
    }
    writer.touch(*seen.values())
    return seen


def _free(
    one: LiveMap, host: str, by_identity: dict[Identity, SeriesFacts], taken: set[int], *, ordinal: int = 0
) -> Identity:
    """The identity of a map: with the first ordinal, from a given one on, that no other live map has."""
    if one.pin:
        wanted = Identity(host=host, pin=one.pin, name=one.name, type=one.type, ordinal=ordinal)
    else:
        wanted = Identity(host=host, name=one.name, type=one.type, owner=one.owner, ordinal=ordinal)
    while (there := by_identity.get(wanted)) is not None and there.id in taken:
        wanted = replace(wanted, ordinal=wanted.ordinal + 1)
    return wanted


def title(of: Identity) -> str:
    """A series in one phrase."""
    if of.pin:
        return of.pin
    try:
        kind = BpfMapType(of.type).name.lower()
    except ValueError:
        kind = f"type_{of.type}"
    text = f"{of.name or 'unnamed'} ({kind}{f', {of.owner}' if of.owner else ''})"
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
