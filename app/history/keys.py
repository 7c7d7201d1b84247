"""One key through time: what it held at each snapshot, when it came and went, without reading what did not change.

A snapshot whose chunks at that key are those of the one before holds the same there. So a walk opens each distinct chunk
once, and a search by halves opens about as many as the logarithm says.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from sqlalchemy import Connection, select

from app.history import content, roots, snapshots
from app.history.chunks import Decoder
from app.history.roots import Pieces
from app.history.tables import Snapshot

ROOTS_AT_ONCE = 200
COMPLETE = frozenset({"exact", "walked"})
IMPORTED = "import"
"""Trigger of a snapshot that was taken in from another history: its number says nothing about when it was taken."""


@dataclass(frozen=True, slots=True)
class Point:
    """A snapshot, as a search needs it."""

    id: int
    root_id: int
    layout_id: int
    taken_ns: int
    boot_id: str
    completeness: str

    @property
    def ref(self) -> str:
        """As people name it."""
        return f"s{self.id}"

    @property
    def is_complete(self) -> bool:
        """It holds all entries: what it lacks was not there."""
        return self.completeness in COMPLETE


@dataclass(frozen=True, slots=True)
class Step:
    """From this snapshot on a key holds this."""

    at: Point
    value: bytes | None
    """None: it is not there."""
    before: Point | None = None
    """Of a change: the last snapshot that is known to hold what it held before."""


@dataclass(slots=True)
class KeyHistory:
    """Answers about one key of one series, within one reading of the database."""

    connection: Connection
    decoder: Decoder
    key: bytes
    opened: int = 0
    """Times that chunks had to be opened."""
    unseen: list[Point] = field(default_factory=list)
    """Of the last walk: snapshots that lack the key and do not hold all entries, so that nothing is known of it."""
    _lists: dict[int, Pieces] = field(default_factory=dict)
    _known: dict[tuple[int, tuple[tuple[int, int], ...]], bytes | None] = field(default_factory=dict)

    def value(self, point: Point) -> bytes | None:
        """What it held then. raises Damaged"""
        pieces = self._list(point.root_id)
        if pieces.key_width != len(self.key):
            return None
        held_in = ((int(pieces.key_ids[at]), int(pieces.value_ids[at])) for at in pieces.holding(self.key))
        place = pieces.value_width, tuple(held_in)
        if place not in self._known:
            self.opened += 1
            found = content.find(self.connection, self.decoder, pieces, self.key)
            self._known[place] = (
                None if found is None else content.value_at(self.connection, self.decoder, pieces, *found)
            )
        return self._known[place]

    def tells(self, point: Point) -> bool:
        """Whether a snapshot says anything of the key: one that does not hold all entries only does where it has it."""
        # Entries without keys are one, which is the first that is read.
        return point.is_complete or not self.key or self.value(point) is not None

    def steps(self, points: Sequence[Point]) -> Iterator[Step]:
        """What it held at the first of some snapshots that tells, and each time that it changed after."""
        last: Step | None = None
        for point in self._telling(points):
            value = self.value(point)
            if last is None or value != last.value:
                last = Step(point, value)
                yield last

    def next_change(self, points: Sequence[Point], same: Callable[[bytes | None, bytes | None], bool]) -> Step | None:
        """The first of some snapshots at which it holds something else than at the first of them that tells.

        same  whether two values count as the same: all bytes, or one field
        """
        first: Step | None = None
        before: Point | None = None
        for point in self._telling(points):
            value = self.value(point)
            if first is not None and not same(first.value, value):
                return Step(point, value, before)
            first, before = first or Step(point, value), point
        return None

    def _telling(self, points: Sequence[Point]) -> Iterator[Point]:
        self.unseen = []
        for number, point in enumerate(points):
            self.prepare(points, number)
            if self.tells(point):
                yield point
            else:
                self.unseen.append(point)

    def halves(self, points: Sequence[Point], holds: Callable[[bytes | None], bool]) -> int | None:
        """Index of the first snapshot from which on something holds, found by halving: right where it holds from one
        moment on, else one of the moments at which it began to hold. None where it does not hold at the last that tells.
        """
        low, high = (self._nearest(points, some) for some in (range(len(points)), range(len(points) - 1, -1, -1)))
        if low is None or high is None or not holds(self.value(points[high])):
            return None
        if holds(self.value(points[low])):
            return low
        while high - low > 1:
            middle = (low + high) // 2
            middle = self._nearest(points, (*range(middle, low, -1), *range(middle + 1, high))) or low
            if middle == low:
                break
            if holds(self.value(points[middle])):
                high = middle
            else:
                low = middle
        return high

    def _nearest(self, points: Sequence[Point], order: Iterable[int]) -> int | None:
        """The first of some places whose snapshot tells."""
        return next((at for at in order if self.tells(points[at])), None)

    def _list(self, root_id: int) -> Pieces:
        if root_id not in self._lists:
            self._lists[root_id] = roots.load(self.connection, root_id)
        return self._lists[root_id]

    def prepare(self, points: Sequence[Point], number: int) -> None:
        """For a walk over points, which is at `number`: fetch the lists of the next ones at once, and forget those before."""
        if number % ROOTS_AT_ONCE:
            return
        ids = {point.root_id for point in points[number : number + ROOTS_AT_ONCE]}
        kept = {each: self._lists[each] for each in ids if each in self._lists}
        self._lists = {**kept, **roots.load_many(self.connection, [each for each in ids if each not in kept])}


def points_of(connection: Connection, series_id: int) -> list[Point]:
    """Every snapshot of a series, oldest first; those whose rows are damaged are passed over."""
    rows = {
        row["id"]: row
        for row in connection.execute(select(Snapshot).where(Snapshot.series_id == series_id)).mappings()
        if snapshots.seal_of(dict(row)) == row["seal"]
    }
    return [
        Point(number, *(rows[number][name] for name in ("root_id", "layout_id", "taken_ns", "boot_id", "completeness")))
        for number in in_order((row["id"], row["taken_ns"], row["trigger"]) for row in rows.values())
    ]


def in_order(snapshots_: Iterable[tuple[int, int, str]]) -> list[int]:
    """Numbers of snapshots, oldest first, from (number, when it was taken, trigger) of each.

    Those that were taken here stand in the order of their numbers, whatever the clock said; one that was taken in from
    elsewhere stands by its time, behind the last of the former that is older.
    """
    every = sorted(snapshots_)
    own = [each for each in every if each[2] != IMPORTED]
    others = sorted((each[1], each[0]) for each in every if each[2] == IMPORTED)
    # The least time from each of the own ones on: it never falls, also where the clock was set back.
    least = list(accumulate((taken_ns for _, taken_ns, _ in reversed(own)), min))[::-1]
    found: list[int] = []
    done = 0
    for taken_ns, number in others:
        place = bisect.bisect_left(least, taken_ns)
        found += [each[0] for each in own[done:place]]
        found.append(number)
        done = max(done, place)
    return found + [each[0] for each in own[done:]]
