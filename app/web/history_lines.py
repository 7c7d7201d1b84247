"""Lines of a timeline: snapshots of all maps, or those of one map and the edits of it on record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import msgspec
from flask import g

from app.errors import AppError
from app.history.history import History
from app.history.series import SeriesFacts
from app.history.snapshots import Kept
from app.timeline.naming import title
from app.web import audit_lines, gate, times
from app.web.backend import Backend
from app.web.changes import Summary
from app.web.moments import Living
from app.web.permissions import Need
from app.wire.records import AskRecords

COMPLETENESS = {
    "exact": ("ok", "exact"), "walked": ("ok", "walked"), "capped": ("warned", "capped"), "partial": ("warned", "partial"),
}  # fmt: skip
MOST_EDITS = 500
MOST_MAPS = 5
"""Maps of one series on one page of which edits are looked up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One snapshot, or one edit."""

    at_ns: int
    kept: Kept | None = None
    series: SeriesFacts | None = None
    title: str = ""
    entries: int = 0
    live_id: int = 0
    """Map that goes on with it; 0: none."""
    summary: Summary | None = None
    """What changed since the one before."""
    before: Kept | None = None
    """The one before, in its series."""
    edit: audit_lines.Line | None = None

    @property
    def clock(self) -> str:
        """Time of the day, UTC."""
        return times.utc(self.at_ns)[11:]

    @property
    def trust(self) -> tuple[str, str]:
        """(CSS class, word)"""
        found = self.kept.completeness if self.kept else ""
        return COMPLETENESS.get(found, ("warned", found))


def of_snapshots(history: History, kept: Sequence[Kept], series: dict[int, SeriesFacts], there: Living) -> list[Line]:
    """A line a snapshot, in their order; those of series that are damaged are left out."""
    counts = history.counts([each.root_id for each in kept])
    return [
        Line(
            at_ns=each.taken_ns,
            kept=each,
            series=series[each.series_id],
            title=title(series[each.series_id].of),
            entries=counts.get(each.root_id, 0),
            live_id=there.id_of(series[each.series_id]),
        )
        for each in kept
        if each.series_id in series
    ]


def by_day(lines: Sequence[Line]) -> list[tuple[str, list[Line]]]:
    """(day, its lines), in their order."""
    return [(day, list(some)) for day, some in groupby(lines, lambda each: times.day(each.at_ns))]


def with_edits(
    backend: Backend, lines: list[Line], series: SeriesFacts, *, until_ns: int, since_ns: int
) -> tuple[list[Line], bool]:
    """The lines of one map with the edits of it in between, newest first; and whether there are more than are shown.

    An edit is of this map where the map's number, name and type are those that the snapshots were taken of, in the same boot.
    """
    if backend.past.is_alone or g.session.role not in Need.AUDIT.value:
        return lines, False
    maps = {(each.kept.map_id, each.kept.boot_id) for each in lines if each.kept} | {(series.map_id, series.boot_id)}
    who, client = gate.credential(), backend.client
    question = AskRecords(who, limit=MOST_EDITS, code="map.", since_ns=since_ns, until_ns=until_ns)
    found: list[Line] = []
    more = False
    try:
        for map_id, boot_id in sorted(maps, reverse=True)[:MOST_MAPS]:
            page = client.records(msgspec.structs.replace(question, map_id=map_id))
            more = more or bool(page.before)
            records = [
                each
                for each in page.records
                if (each.record.boot_id, each.record.map.name, each.record.map.type)
                == (boot_id, series.of.name, series.of.type)
            ]
            found += [
                Line(at_ns=each.record.at_ns, edit=each)
                for each in audit_lines.lines(records, lambda number: client.record(who, number))
            ]
    except AppError:  # the broker is away: the snapshots are there all the same
        return lines, False
    return sorted([*lines, *found], key=lambda each: -each.at_ns), more
