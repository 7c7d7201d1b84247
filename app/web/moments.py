"""One snapshot as whoever is signed in may see it: what it is of, those beside it, and pages of its entries."""

from __future__ import annotations

import time
from contextlib import nullcontext
from dataclasses import dataclass, replace

from app.columns.cell import heads
from app.errors import AppError
from app.history.series import SeriesFacts
from app.history.snapshots import Kept
from app.maps.host_names import boot_id
from app.maps.kinds import Counter, Enumerate
from app.maps.page import SMALL_ENTRIES, Page, Query, first_page, limit_of, page_of, parse_cursor
from app.maps.tabulate import Sheet
from app.maps.views import SMALL_BYTES, Identity, View
from app.maps.walk import Completeness
from app.timeline.errors import BadWhen
from app.timeline.naming import title
from app.timeline.sides import SNAPSHOT
from app.timeline.timeline import Moment, Timeline, when_ns
from app.web.backend import Backend
from app.web.problems import BadArgument
from app.web.state import EntriesState

ROW_EXTRA_BYTES = 16
"""What a row costs beside its key and value while it is put in order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A snapshot, looked at by somebody."""

    timeline: Timeline
    series: SeriesFacts
    moment: Moment
    hidden: tuple[str, ...]
    entries: int

    @property
    def kept(self) -> Kept:
        """The snapshot itself."""
        return self.moment.kept

    @property
    def title(self) -> str:
        """What it is of, in one phrase."""
        return title(self.series.of)


def look(backend: Backend, kept: Kept) -> Seen:
    """A snapshot with what is hidden from whoever asks marked. raises Damaged, NoSuchSnapshot"""
    timeline = backend.past.timeline()
    series = timeline.history.one_series(kept.series_id)
    hidden = backend.looker.hidden(series)
    return Seen(
        timeline=timeline,
        series=series,
        moment=timeline.moment(kept, hidden),
        hidden=hidden,
        entries=timeline.history.count(kept),
    )


def find(timeline: Timeline, series_id: int, at: str) -> Kept:
    """What `?at=` means for a series: a snapshot of any, or the newest at or before a WHEN.

    raises  NoSuchSnapshot, NothingThen, BadArgument, Damaged
    """
    if SNAPSHOT.fullmatch(at):
        return timeline.history.snapshot(at)
    try:
        then_ns = when_ns(at, time.time_ns())
    except BadWhen:
        wanted = "a snapshot (s12), a time such as 2026-11-24T18:03 (UTC), or 30s, 10m, 2h, 3d for so long ago"
        raise BadArgument("at", at, wanted) from None
    return timeline.history.at(series_id, then_ns)


def read(backend: Backend, seen: Seen, state: EntriesState) -> Page:
    """One page of its entries; the first one of an unfiltered large snapshot opens few of its chunks.

    raises  BadCursor, ViewGone, Busy, Damaged, and what a filter or an order can have wrong
    """
    query = Query(where=state.where, sort=state.sort or _natural(seen), limit=state.limit, cursor=state.cursor)
    limit = limit_of(query, seen.moment.recalled.facts.value_size * max(seen.moment.schema.layout.n_cpus, 1))
    if not (query.cursor or query.where or query.sort) and seen.entries > SMALL_ENTRIES:
        return first_page(seen.timeline.sheet(seen.kept, seen.hidden, limit=limit + 1), limit)
    return page_of(backend.views, view_of(backend, seen, query.cursor), query, limit)


def view_of(backend: Backend, seen: Seen, cursor: str = "") -> View:
    """All of its entries, as somebody who may see the same read them lately, or read now. raises ViewGone, Busy, Damaged"""
    of: Identity = ("snapshot", seen.kept.id, *sorted(seen.hidden))
    token, _, _ = parse_cursor(cursor)
    if token:
        return backend.views.get(token, of)
    found = backend.views.read_since(of, 0)  # a snapshot does not change
    if found is not None:
        return found
    pieces = seen.timeline.history.pieces_of(seen.kept)
    row_bytes = pieces.key_width + pieces.value_width + ROW_EXTRA_BYTES
    limit = max(min(backend.settings.max_read_entries, backend.views.sheet_limit_bytes // row_bytes), 1)
    expected_bytes = min(pieces.entries, limit) * row_bytes
    with backend.views.turn(expected_bytes) if expected_bytes > SMALL_BYTES else nullcontext():
        return backend.views.keep(of, _sheet(seen, limit))


def _sheet(seen: Seen, limit: int) -> Sheet:
    if seen.entries <= limit:
        return seen.timeline.sheet(seen.kept, seen.hidden)
    sheet = seen.timeline.sheet(seen.kept, seen.hidden, limit=limit)
    return replace(sheet, reading=replace(sheet.reading, completeness=Completeness.CAPPED))


def _natural(seen: Seen) -> str:
    """Elements of an array stand in the order of their numbers; everything else in that of its keys' bytes."""
    kind, layout = seen.moment.recalled.kind, seen.moment.schema.layout
    is_array = kind.counter is Counter.FIXED or kind.enumerate is Enumerate.SLOTS
    if not is_array or layout.key is None or layout.datasec or seen.entries > SMALL_ENTRIES:
        return ""
    return next((one.path for one in heads(layout, limit=1) if one.group == "key" and one.numeric), "")


@dataclass(frozen=True, slots=True)
class Living:
    """The maps that there are now, as far as that can be told."""

    boot_id: str
    by_id: dict[int, tuple[str, int]]

    def id_of(self, series: SeriesFacts) -> int:
        """Id of the map that goes on with a series; 0 where there is none."""
        there = self.by_id.get(series.map_id)
        return series.map_id if there == (series.of.name, series.of.type) and series.boot_id == self.boot_id else 0


def living(backend: Backend) -> Living:
    """Ask the broker; none where it does not answer, or where a history was opened by itself."""
    if backend.past.is_alone:
        return Living("", {})
    try:
        return Living(boot_id(), {each.id: (each.name, each.type) for each in backend.client.maps().maps})
    except AppError:
        return Living("", {})
