"""What changed from one snapshot of a map to the next, counted for lines of a timeline: within a time, and remembered."""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock

import numpy as np

from app.errors import AppError
from app.history.roots import Pieces
from app.history.series import SeriesFacts
from app.history.snapshots import Kept
from app.timeline import differ, sides
from app.timeline.series_settings import settings_of
from app.timeline.timeline import Timeline
from app.web.past import WebLooker

PAGE_S = 0.25
"""What one page spends on it."""
MOST_ROWS = 40_000
"""Entries of chunks that differ, up to which two snapshots are compared for a line."""
MOST_NAMED = 4000
"""The same where layouts differ, and every entry is read and spelled out."""
KEPT = 4000
FIELDS_SHOWN = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """One step of a map."""

    added: int
    removed: int
    changed: int
    unseen: bool
    """The later one does not hold all entries: those that it lacks were perhaps not removed."""
    fields: tuple[tuple[str, int], ...]
    """(path, entries in which it changed), most first."""
    more: int
    """Further fields."""
    schema: tuple[str, ...]
    """What is different about the map itself."""

    @property
    def is_nothing(self) -> bool:
        """No entry is different."""
        return not (self.added or self.removed or self.changed)


class Changes:
    """Counts of one web process. Safe between threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._kept: OrderedDict[tuple[object, ...], Summary] = OrderedDict()

    def between(
        self, timeline: Timeline, looker: WebLooker, series: SeriesFacts, older: Kept, newer: Kept, *, until_s: float
    ) -> Summary | None:
        """What changed; None where that would take too long, or cannot be told. until_s: CLOCK_MONOTONIC"""
        ignore = settings_of(series).ignore
        name = (older.id, newer.id, looker.hidden(series), ignore)
        with self._lock:
            if name in self._kept:
                self._kept.move_to_end(name)
                return self._kept[name]
        if time.monotonic() > until_s:
            return None
        try:
            if not _is_cheap(timeline, older, newer):
                return None
            made = differ.compare(
                sides.stored(older, timeline, looker), sides.stored(newer, timeline, looker), timeline, ignore=ignore
            )
        except AppError:  # damaged, or of another key: the page of the difference says how
            return None
        summary = _summary(made)
        with self._lock:
            self._kept[name] = summary
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return summary


def _is_cheap(timeline: Timeline, older: Kept, newer: Kept) -> bool:
    if older.root_id == newer.root_id:
        return older.layout_id == newer.layout_id
    before, after = (timeline.history.pieces_of(each) for each in (older, newer))
    if older.layout_id != newer.layout_id:
        return max(before.entries, after.entries) <= MOST_NAMED
    return max(_rows_apart(before, after), _rows_apart(after, before)) <= MOST_ROWS


def _rows_apart(one: Pieces, other: Pieces) -> int:
    """Entries in chunks that the other side does not have."""
    same = np.isin(one.key_ids, other.key_ids) & np.isin(one.value_ids, other.value_ids)
    return int(one.rows[~same].sum())


def _summary(made: differ.Diff) -> Summary:
    by_path: dict[str, set[int]] = {}
    for each in made.fields:
        by_path.setdefault(differ.plain_path(each.path), set()).update(each.rows.tolist())
    fields = sorted(((path, len(rows)) for path, rows in by_path.items()), key=lambda each: (-each[1], each[0]))
    return Summary(
        added=len(made.added),
        removed=len(made.removed),
        changed=len(made.old),
        unseen=not made.b.is_complete,
        fields=tuple(fields[:FIELDS_SHOWN]),
        more=max(len(fields) - FIELDS_SHOWN, 0),
        schema=made.schema_changes,
    )
