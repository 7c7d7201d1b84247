"""One key through the history of its map: when it came, when it went, what it held, and one field of it over time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from app.columns.decode import Column, column, locate
from app.columns.table import Table
from app.history.content import Entries
from app.history.errors import Damaged
from app.history.keys import KeyHistory, Point, Step, points_of
from app.history.series import SeriesFacts
from app.maps.hiding import Mask
from app.maps.layouts import Schema
from app.timeline.kept_layout import Recalled
from app.timeline.timeline import Timeline, hide_in, rows_of, without_hidden

MOST_POINTS = 2000
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Meaning:
    """What the bytes of some snapshots mean to whoever looks."""

    recalled: Recalled
    schema: Schema
    mask: Mask


@dataclass(frozen=True, slots=True)
class Span:
    """From one snapshot on, up to the next span, a key held this."""

    at: Point
    until: Point | None
    """The last snapshot that is known to hold it; None: the same as `at`."""
    value: bytes | None
    """Raw, as the kernel gave it, what is hidden zeroed; None: it was not there."""
    meaning: Meaning
    unseen: tuple[Point, ...] = ()
    """Snapshots from then on that lack the key and do not hold all entries: it is not seen there, which is not to say gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A key in three moments."""

    first_seen: Point | None
    """None: it was never there."""
    before_first: Point | None
    """The last one before that is known not to have it yet; None: there is none, so it may be older."""
    last_seen: Point | None
    gone: Point | None
    """The first snapshot after that is known to have it no more; None: there is none."""
    unseen: Point | None
    """The newest snapshot, where that lacks the key, does not hold all entries, and none says that it is gone."""
    last_changed: Point | None
    """When it last came to hold something else; None: it never changed."""
    changes: int


@dataclass(frozen=True, slots=True)
class Series:
    """One field over time."""

    path: str
    taken_ns: list[int]
    values: list[float | int | None]
    """None: the key was not there, or not seen."""
    thinned: bool
    """There were more than MOST_POINTS; extremes are kept."""


@dataclass(slots=True)
class Story:
    """Answers about one key of one series.

    hidden  patterns of paths that whoever looks may not see
    """

    timeline: Timeline
    series: SeriesFacts
    key: bytes
    hidden: tuple[str, ...] = ()
    _points: list[Point] = field(default_factory=list)
    _meanings: dict[int, Meaning] = field(default_factory=dict)

    def points(self) -> list[Point]:
        """Every snapshot of the series, oldest first."""
        if not self._points:
            with self.timeline.history.reading() as connection:
                self._points = points_of(connection, self.series.id)
        return self._points

    def spans(self, *, newest: int = 0) -> list[Span]:
        """What it held and how long, oldest first; only from the `newest` last snapshots, 0: from all. raises Damaged"""
        return self._unless_thinned(lambda: self._spans(newest))

    def _spans(self, newest: int) -> list[Span]:
        points = self.points()[-newest:] if newest else self.points()
        with self.timeline.history.reading() as connection:
            told = KeyHistory(connection, self.timeline.history.decoder, self.key)
            found = list(told.steps(points))
        spans: list[Span] = []
        where = {point.id: index for index, point in enumerate(points)}
        silent = {point.id for point in told.unseen}
        for number, step in enumerate(found):
            end = where[found[number + 1].at.id] if number + 1 < len(found) else len(points)
            part = points[where[step.at.id] : end]
            until = [point for point in part if point.id not in silent][-1]
            unseen = tuple(point for point in part if point.id in silent)
            meaning = self.meaning(step.at.layout_id)
            value = None if step.value is None else without_hidden(_row(step.value), meaning.mask).tobytes()
            if spans and spans[-1].value == value and spans[-1].meaning is meaning:
                before = spans.pop()  # only what is hidden changed
                spans.append(Span(before.at, until, value, meaning, (*before.unseen, *unseen)))
            else:
                spans.append(Span(step.at, until, value, meaning, unseen))
        return spans

    def summary(self, spans: Sequence[Span] | None = None) -> Summary:
        """When it came, went and changed, by all spans (of `spans()`). raises Damaged"""
        every = list(self.spans() if spans is None else spans)
        there = [at for at, span in enumerate(every) if span.value is not None]
        if not there:
            return Summary(
                first_seen=None, before_first=None, last_seen=None, gone=None, unseen=None, last_changed=None, changes=0
            )
        first, last = every[there[0]], every[there[-1]]
        earlier = every[there[0] - 1] if there[0] else None
        newest = self.points()[-1]
        return Summary(
            first_seen=first.at,
            before_first=None if earlier is None else earlier.until or earlier.at,
            last_seen=last.until or last.at,
            gone=every[there[-1] + 1].at if there[-1] + 1 < len(every) else None,
            unseen=newest if newest in last.unseen else None,
            last_changed=last.at if len(there) > 1 else None,
            changes=max(len(every) - 1, 0),
        )

    def vanished(self) -> tuple[Point, Point] | None:
        """(last that had it, first that had it no more), by halving the history; None where the newest has it or none of the
        halves did. Quick in a long history; a key that came back in between is told of by `spans`. raises Damaged
        """
        return self._unless_thinned(self._vanished)

    def _vanished(self) -> tuple[Point, Point] | None:
        points = self.points()
        with self.timeline.history.reading() as connection:
            told = KeyHistory(connection, self.timeline.history.decoder, self.key)
            seen = next((at for at in _backwards(len(points)) if told.value(points[at]) is not None), None)
            if seen is None or seen == len(points) - 1:
                return None
            part = points[seen:]
            at = told.halves(part, lambda value: value is None)
            last = next(point for point in reversed(part[:at]) if told.tells(point)) if at else None
        return None if at is None or last is None else (last, part[at])

    def change(self, at: str, *, path: str = "", back: bool = False) -> Step | None:
        """The next change of this entry after a snapshot, or the last one that is before it; of one field with a `path`.

        at      a reference, `s12`; of another series: from the beginning, or the end
        raises  Damaged, NoSuchField
        """
        return self._unless_thinned(lambda: self._change(at, path, back=back))

    def _change(self, at: str, path: str, *, back: bool) -> Step | None:
        points = self.points()
        here = next((index for index, point in enumerate(points) if point.ref == at), len(points) if back else 0)
        part = points[:here][::-1] if back else points[here:]
        same: Callable[[bytes | None, bytes | None], bool] = (
            self._same_field(path, part) if path else self._same_shown(part)
        )
        with self.timeline.history.reading() as connection:
            told = KeyHistory(connection, self.timeline.history.decoder, self.key)
            found = told.next_change(part, same)
        if found is None or found.before is None or not back:
            return found
        # Going back, what differs is the snapshot before the change: the change itself is the one after it.
        return Step(found.before, None)

    def field(self, path: str, *, most: int = MOST_POINTS) -> Series:
        """A number over time, a point a snapshot. raises NoSuchField, NotOneColumn, Damaged"""
        return self._unless_thinned(lambda: self._field(path, most))

    def _field(self, path: str, most: int) -> Series:
        points = self.points()
        values: list[float | int | None] = []
        known: dict[tuple[int, bytes], float | int | None] = {}
        for layout_id in {point.layout_id for point in points}:
            self.meaning(layout_id)  # by a connection of its own, before the one below is taken
        with self.timeline.history.reading() as connection:
            told = KeyHistory(connection, self.timeline.history.decoder, self.key)
            for number, point in enumerate(points):
                told.prepare(points, number)
                raw = told.value(point)
                if raw is None:
                    values.append(None)
                    continue
                name = (point.layout_id, raw)
                if name not in known:
                    known[name] = number_of(self._table(self.meaning(point.layout_id), raw), path)
                values.append(known[name])
        chosen = thinned(values, most)
        return Series(
            path,
            [points[at].taken_ns for at in chosen],
            [values[at] for at in chosen],
            thinned=len(chosen) < len(points),
        )

    def _unless_thinned(self, ask: Callable[[], Answer]) -> Answer:
        """Have something told; once more where snapshots were thinned since they were listed: they are no damage."""
        points = self.points()
        try:
            return ask()
        except Damaged:
            self._points = []
            if self.points() == points:
                raise
            return ask()

    def table(self, span: Span) -> Table | None:
        """What it held as a table of one row, for people; None where it was not there."""
        return None if span.value is None else self._table(span.meaning, span.value)

    def meaning(self, layout_id: int) -> Meaning:
        """What bytes mean. raises Damaged"""
        if layout_id not in self._meanings:
            recalled = self.timeline.recalled(layout_id)
            self._meanings[layout_id] = Meaning(recalled, *hide_in(recalled.schema, self.hidden))
        return self._meanings[layout_id]

    def _table(self, meaning: Meaning, raw: bytes) -> Table:
        keys = np.frombuffer(self.key, np.uint8).reshape(1, -1)
        values = without_hidden(_row(raw), meaning.mask)
        return rows_of(meaning.schema.layout, meaning.recalled, Entries(keys, values))

    def _same_shown(self, part: Sequence[Point]) -> Callable[[bytes | None, bytes | None], bool]:
        """All that whoever looks may see."""
        mask = self.meaning(part[0].layout_id).mask if part else np.zeros(0, bool)

        def same(one: bytes | None, other: bytes | None) -> bool:
            if one is None or other is None or one == other or len(one) != len(other) or not mask.any():
                return one == other
            return bool((without_hidden(_row(one), mask) == without_hidden(_row(other), mask)).all())

        return same

    def _same_field(self, path: str, part: Sequence[Point]) -> Callable[[bytes | None, bytes | None], bool]:
        meaning = self.meaning(part[0].layout_id) if part else None

        def same(one: bytes | None, other: bytes | None) -> bool:
            if one is None or other is None or meaning is None:
                return one is other
            if len(one) != len(other):
                return False
            first, second = (column(self._table(meaning, each), path) for each in (one, other))
            return bool(np.array_equal(first, second))

        return same


def number_of(table: Table, path: str) -> float | int | None:
    """One field of a table of one row, as a number. raises NoSuchField, NotOneColumn"""
    locate(table.layout, path)
    found: Column = column(table, path)
    if found.ndim != 1 or found.dtype.kind not in "uifbO":
        return None
    value = found[0]
    number = value.item() if isinstance(value, np.generic) else value
    return number if isinstance(number, int | float) else None


def thinned(values: Sequence[float | int | None], most: int) -> list[int]:
    """Indices of at most about `most` values, evenly, with the least and the greatest of each stretch and every gap's ends."""
    count = len(values)
    if count <= most:
        return list(range(count))
    chosen = {0, count - 1}
    stretch = max(-(-count * 3 // most), 3)
    for start in range(0, count, stretch):
        part = [at for at in range(start, min(start + stretch, count)) if values[at] is not None]
        if not part:
            chosen.add(start)
            continue
        chosen |= {part[0], min(part, key=lambda at: values[at] or 0), max(part, key=lambda at: values[at] or 0)}
    return sorted(chosen)


def _backwards(count: int) -> Iterator[int]:
    """The last, then further and further back, then the first."""
    step = 1
    at = count - 1
    while at > 0:
        yield at
        at -= step
        step *= 2
    if count:
        yield 0


def _row(raw: bytes) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    return np.frombuffer(raw, np.uint8).reshape(1, -1)
