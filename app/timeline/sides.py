"""What a command or an address names: a snapshot (`s12`), a map now (`42`, `name:flows`, a pin), or a map at a time (`42@10m`)."""

from __future__ import annotations

import os
import re
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from app.columns.table import Layout, Table
from app.history.content import Entries
from app.history.errors import NoSuchSeries
from app.history.series import SeriesFacts
from app.history.snapshots import Kept
from app.history.splitter import order_of
from app.maps.errors import MapsError, NoSuchMap
from app.maps.hiding import Mask
from app.maps.host_names import boot_id
from app.maps.layouts import Schema
from app.maps.opening import OpenMap
from app.maps.tabulate import read_sheet
from app.maps.walk import Completeness, Progress
from app.timeline.errors import BadSide, BadWhen, ManySeries
from app.timeline.kept_layout import Recalled
from app.timeline.naming import title
from app.timeline.timeline import Timeline, rows_of, when_ns
from app.wire.bodies import MapFacts
from app.wire.errors import PinOutside

SNAPSHOT = re.compile(r"s[1-9][0-9]{0,17}")
COMPLETE = frozenset({Completeness.EXACT.value, Completeness.WALKED.value})
_ID = re.compile(r"[0-9]{1,10}")


class Looker(Protocol):
    """How whoever asks reaches live maps, and what they may see."""

    def resolve(self, reference: str) -> int:
        """Id of a live map. raises NoSuchMap, AmbiguousName, BadReference"""

    def open_map(self, map_id: int) -> AbstractContextManager[OpenMap]:
        """Open one, with what is hidden from them hidden."""

    def hidden(self, of: SeriesFacts) -> tuple[str, ...]:
        """Patterns of paths that they may not see in the past of a map."""


class Blind:
    """Somebody who has no live maps: a history that was opened by itself."""

    def resolve(self, reference: str) -> int:
        """There are none."""
        raise NoSuchMap(reference)

    def open_map(self, map_id: int) -> AbstractContextManager[OpenMap]:
        """There are none."""
        raise NoSuchMap(f"#{map_id}")

    def hidden(self, of: SeriesFacts) -> tuple[str, ...]:
        """The file is theirs."""
        del of
        return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """Entries at one moment, live or stored, and what they mean."""

    ref: str
    """As it can be named again: `s12`, or the map."""
    name: str
    series: SeriesFacts | None
    kept: Kept | None
    """None: a live map, read just now."""
    recalled: Recalled
    schema: Schema
    """With what is hidden marked."""
    mask: Mask
    entries: Entries | None
    """Of a live map; a stored one is opened where it differs."""
    taken_ns: int
    completeness: str
    map_id: int

    @property
    def boot_id(self) -> str:
        """Of the host's start at that moment: ids of programs, maps and devices mean the same until the next."""
        return boot_id() if self.kept is None else self.kept.boot_id

    @property
    def is_complete(self) -> bool:
        """Nothing was left out for a limit or by the type."""
        return self.completeness in COMPLETE

    @property
    def is_exact(self) -> bool:
        """One moment."""
        return self.completeness == Completeness.EXACT.value

    def table(self, layout: Layout, entries: Entries) -> Table:
        """Some of its raw entries under one of its layouts."""
        return rows_of(layout, self.recalled, entries)


def parse(text: str) -> tuple[str, str]:
    """(reference of a map, WHEN) of `MAP@WHEN`; WHEN is empty for a live map. raises BadWhen"""
    reference, at, when = text.rpartition("@")
    if not at:
        return text, ""
    try:
        when_ns(when, time.time_ns())
    except BadWhen:
        if text.startswith("/") and "/" in when:  # a path with an @ in it
            return text, ""
        raise
    return reference, when


def side(text: str, timeline: Timeline | None, looker: Looker, *, progress: Progress | None = None) -> Side:
    """What a text names.

    timeline  None where there is no history
    raises    BadSide, BadWhen, and what snapshots and maps raise
    """
    text = text.strip()
    if SNAPSHOT.fullmatch(text):
        return stored(_needed(timeline, text).history.snapshot(text), _needed(timeline, text), looker)
    reference, when = parse(text)
    if not reference:
        raise BadSide(
            text, "a snapshot (s12), a map (42, name:NAME, a pin path) or a map at a time (42@10m) was wanted"
        )
    if when:
        known = _needed(timeline, text)
        series = series_of(reference, known, looker)
        return stored(known.history.at(series.id, when_ns(when, time.time_ns())), known, looker)
    with looker.open_map(looker.resolve(reference)) as opened:
        return live(opened, timeline, progress=progress)


def stored(kept: Kept, timeline: Timeline, looker: Looker) -> Side:
    """One snapshot."""
    series = timeline.history.one_series(kept.series_id)
    moment = timeline.moment(kept, looker.hidden(series))
    return Side(
        ref=kept.ref,
        name=title(series.of),
        series=series,
        kept=kept,
        recalled=moment.recalled,
        schema=moment.schema,
        mask=moment.mask,
        entries=None,
        taken_ns=kept.taken_ns,
        completeness=kept.completeness,
        map_id=kept.map_id,
    )


def live(opened: OpenMap, timeline: Timeline | None = None, *, progress: Progress | None = None) -> Side:
    """A map now. raises CannotList"""
    sheet = read_sheet(opened, progress=progress)
    reading = sheet.reading
    order = order_of(reading.keys)
    keys, values = reading.keys, reading.values
    if order is not None:
        keys, values = keys.take(order, axis=0), values.take(order, axis=0)
    facts = opened.facts
    return Side(
        ref=str(facts.id),
        name=facts.name or f"#{facts.id}",
        series=series_now(facts.id, facts.name, facts.type, timeline) if timeline is not None else None,
        kept=None,
        recalled=Recalled(facts=facts, kind=opened.kind, schema=opened.schema, body=None),
        schema=opened.schema,
        mask=opened.mask,
        entries=Entries(keys, np.ascontiguousarray(values)),
        taken_ns=reading.ended_at_ns,
        completeness=reading.completeness.value,
        map_id=facts.id,
    )


def series_now(map_id: int, name: str, kind: int, timeline: Timeline) -> SeriesFacts | None:
    """The series that a live map was last seen in; None where it has none yet."""
    return timeline.history.series_of_map(map_id, boot_id(), name, kind)


def series_of(reference: str, timeline: Timeline, looker: Looker) -> SeriesFacts:
    """The series of a map that lives, or that once did.

    raises  NoSuchSeries, ManySeries, BadReference
    """
    try:
        map_id = looker.resolve(reference)
        with looker.open_map(map_id) as opened:
            facts = opened.facts
    except (NoSuchMap, PinOutside):  # the second: a pin that is not there any more
        return _past(reference, timeline)
    except MapsError:
        if not reference.startswith("name:"):
            raise
        return _past(reference, timeline)
    return series_now(map_id, facts.name, facts.type, timeline) or _predecessor(reference, facts, timeline)


def _predecessor(reference: str, facts: MapFacts, timeline: Timeline) -> SeriesFacts:
    """Of a live map of which there is no history yet: what it may go on with. Its number was another map's in an earlier boot."""
    every = timeline.history.series()
    alike = [
        each
        for each in every
        if (each.of.host, each.of.name, each.of.type) == (os.uname().nodename, facts.name, facts.type)
    ]
    if reference.startswith("/"):
        return _only(reference, [each for each in alike if each.of.pin == reference], timeline)
    return _only(reference, alike if facts.name else [], timeline)  # maps without a name have nothing in common


def _past(reference: str, timeline: Timeline) -> SeriesFacts:
    every = timeline.history.series()
    if _ID.fullmatch(reference):
        matching = [each for each in every if each.map_id and each.map_id == int(reference)]
    elif reference.startswith("name:"):
        matching = [each for each in every if each.of.name == reference.removeprefix("name:")]
    elif reference.startswith("/"):
        matching = [each for each in every if each.of.pin == reference]
    else:
        raise BadSide(reference, "a map is an id (12), a pin path (/sys/fs/bpf/...) or name:NAME")
    return _only(reference, matching, timeline)


def _only(reference: str, matching: list[SeriesFacts], timeline: Timeline) -> SeriesFacts:
    """The one of them that has any snapshot. raises NoSuchSeries, ManySeries"""
    extents = timeline.history.extents()
    matching = [each for each in matching if each.id in extents]
    if not matching:
        raise NoSuchSeries(reference)
    if len(matching) > 1:
        raise ManySeries(reference, tuple(f"s{extents[each.id].last_id} of {title(each.of)}" for each in matching))
    return matching[0]


def _needed(timeline: Timeline | None, text: str) -> Timeline:
    if timeline is None:
        raise BadSide(text, "there is no history yet: `bpf-atlas serve` records one, and so does `bpf-atlas snapshot`")
    return timeline
