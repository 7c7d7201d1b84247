"""What keys held through time, kept for a moment: a page, its chart and its further pages ask for the same."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from threading import Lock

from app.columns.errors import ColumnsError
from app.timeline.story import MOST_POINTS, Series, Span, Story, number_of, thinned

KEPT = 32
KEPT_BYTES = 1 << 20
"""Of one key's values; a longer story is read each time."""
Name = tuple[int, bytes, tuple[str, ...], int, int, int]


@dataclass(slots=True)
class Stories:
    """Spans of the keys that were looked at last, for whoever may see the same of them. Safe between threads."""

    _kept: OrderedDict[Name, list[Span]] = field(default_factory=OrderedDict)
    _lock: Lock = field(default_factory=Lock)

    def spans(self, story: Story) -> list[Span]:
        """What a key held and how long, oldest first. raises Damaged"""
        points = story.points()
        if not points:
            return []
        # What there is to read changes by a new snapshot at the end, or by one that was thinned out.
        name = (story.series.id, story.key, story.hidden, len(points), points[0].id, points[-1].id)
        with self._lock:
            if name in self._kept:
                self._kept.move_to_end(name)
                return self._kept[name]
        found = story.spans()
        if sum(len(span.value or b"") for span in found) <= KEPT_BYTES:
            with self._lock:
                self._kept[name] = found
                while len(self._kept) > KEPT:
                    self._kept.popitem(last=False)
        return found


def over_time(story: Story, spans: list[Span], path: str) -> Series:
    """One field, a point a snapshot: None where the key, or in an older layout the field, was not there, or not seen."""
    points = story.points()
    begins = {span.at.id: span for span in spans}
    unseen = {point.id for span in spans for point in span.unseen}
    values: list[float | int | None] = []
    now: float | int | None = None
    for point in points:
        if point.id in begins:
            table = story.table(begins[point.id])
            try:
                now = None if table is None else number_of(table, path)
            except ColumnsError:
                now = None
        values.append(None if point.id in unseen else now)
    chosen = thinned(values, MOST_POINTS)
    return Series(
        path, [points[at].taken_ns for at in chosen], [values[at] for at in chosen], thinned=len(chosen) < len(points)
    )
