"""The two sides of a comparison as an address names them, and comparisons of snapshots kept for a moment."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from threading import Lock

from app.history.series import SeriesFacts
from app.maps.errors import AmbiguousName, NoSuchMap
from app.maps.host_names import boot_id
from app.maps.opening import OpenMap
from app.maps.views import SMALL_BYTES
from app.timeline.differ import Diff, compare
from app.timeline.errors import BadSide
from app.timeline.listing import in_order
from app.timeline.naming import title
from app.timeline.series_settings import settings_of
from app.timeline.sides import SNAPSHOT, Looker, Side, live, parse, series_now, side
from app.timeline.timeline import Timeline
from app.web.backend import Backend
from app.web.diff_totals import Total, totals
from app.wire.errors import PinOutside

LIVE = "live"
KEEP_S = 120.0
Name = tuple[str, str, tuple[str, ...], tuple[str, ...], tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Compared:
    """A comparison for people, and its fields added up."""

    made: Diff
    totals: list[Total]
    ignore: tuple[str, ...]
    """Patterns of paths that were left out."""

    @property
    def nbytes(self) -> int:
        """Memory that keeping it costs."""
        made = self.made
        tables = sum(
            table.keys.nbytes + table.values.nbytes for table in (made.added, made.removed, made.old, made.new)
        )
        return tables + sum(field.rows.nbytes for field in made.fields)


@dataclass(slots=True)
class Diffs:
    """Comparisons of two snapshots, which never change, for whoever may see the same of them. Safe between threads."""

    limit_bytes: int
    clock: Callable[[], float] = time.monotonic
    _kept: OrderedDict[Name, tuple[float, Compared]] = field(default_factory=OrderedDict)
    _lock: Lock = field(default_factory=Lock)

    def get(self, a: Side, b: Side, backend: Backend, ignore: tuple[str, ...]) -> Compared:
        """Compare two sides, or find that it was done just now. raises what differ.compare raises"""
        if a.kept is None or b.kept is None or a.series is None or b.series is None:
            return _compared(a, b, backend, ignore)
        looker = backend.looker
        name = (a.ref, b.ref, looker.hidden(a.series), looker.hidden(b.series), ignore)
        now_s = self.clock()
        with self._lock:
            self._forget(now_s)
            if name in self._kept:
                self._kept.move_to_end(name)
                return self._kept[name][1]
        found = _compared(a, b, backend, ignore)
        if found.nbytes <= self.limit_bytes:
            with self._lock:
                self._kept[name] = (now_s + KEEP_S, found)
                self._forget(now_s)
        return found

    def _forget(self, now_s: float) -> None:
        """Whatever was kept long enough, then the longest unused until the rest fits."""
        for name in [name for name, (until_s, _) in self._kept.items() if until_s <= now_s]:
            del self._kept[name]
        total = sum(each.nbytes for _, each in self._kept.values())
        while total > self.limit_bytes:
            _, (_, oldest) = self._kept.popitem(last=False)
            total -= oldest.nbytes


def _compared(a: Side, b: Side, backend: Backend, ignore: tuple[str, ...]) -> Compared:
    made = compared(backend, a, b, ignore, bare=False)
    return Compared(made, totals(made), ignore)


def compared(backend: Backend, a: Side, b: Side, ignore: tuple[str, ...], *, bare: bool) -> Diff:
    """Compare two sides, for people in the order of their keys; large ones a few at a time. raises Busy and what differ.compare raises"""
    timeline = backend.past.timeline_or_none()
    with _turn(backend, _bytes_of(a, timeline) + _bytes_of(b, timeline)):
        made = compare(a, b, timeline, ignore=ignore, bare=bare)
        return made if bare else in_order(made)


def _turn(backend: Backend, expected_bytes: int) -> AbstractContextManager[None]:
    return backend.views.turn(expected_bytes) if expected_bytes > SMALL_BYTES else nullcontext()


def _bytes_of(side: Side, timeline: Timeline | None) -> int:
    if side.entries is not None:
        return side.entries.keys.nbytes + side.entries.values.nbytes
    if side.kept is None or timeline is None:
        return 0
    pieces = timeline.history.pieces_of(side.kept)
    return pieces.entries * (pieces.key_width + pieces.value_width)


def pair(backend: Backend, a: str, b: str) -> tuple[Side, Side]:
    """What two texts name; `live` is the live map that the other one is the past of. raises what sides.side raises"""
    if a == b == LIVE:
        raise BadSide(LIVE, "the other side has to say which map is meant")
    timeline = backend.past.timeline_or_none()
    if a == LIVE:
        other = _side(backend, b, timeline)
        return _live(backend, other, timeline), other
    first = _side(backend, a, timeline)
    return first, _live(backend, first, timeline) if b == LIVE else _side(backend, b, timeline)


def _side(backend: Backend, text: str, timeline: Timeline | None) -> Side:
    text = text.strip()
    if not text or SNAPSHOT.fullmatch(text) or parse(text)[1]:
        return side(text, timeline, backend.looker)
    with backend.looker.open_map(backend.looker.resolve(text)) as opened:
        return read_live(backend, opened, timeline)


def _live(backend: Backend, other: Side, timeline: Timeline | None) -> Side:
    map_id = other.map_id if other.kept is None else live_map(other.series, timeline, backend.looker)
    with backend.looker.open_map(map_id) as opened:
        return read_live(backend, opened, timeline)


def read_live(backend: Backend, opened: OpenMap, timeline: Timeline | None) -> Side:
    """A map now; large ones are read a few at a time. raises Busy, CannotList"""
    entries = opened.facts.max_entries if opened.entries is None else opened.entries
    entry_bytes = opened.facts.key_size + opened.reader.value_stride
    with _turn(backend, min(entries, backend.settings.max_read_entries) * entry_bytes):
        return live(opened, timeline)


def live_map(series: SeriesFacts | None, timeline: Timeline | None, looker: Looker) -> int:
    """Id of the map that goes on a series now. raises BadSide"""
    if series is None:
        raise BadSide(LIVE, "no map is known to go on with the other side")
    of = series.of
    named = [of.pin] if of.pin else []  # before its number: the pin may have gone to a successor since
    named += [str(series.map_id)] if series.boot_id == boot_id() and series.map_id else []
    named += [f"name:{of.name}"] if of.name and not of.pin else []
    for reference in named:
        try:
            map_id = looker.resolve(reference)
            with looker.open_map(map_id) as opened:
                facts = opened.facts
        except (NoSuchMap, AmbiguousName, PinOutside):  # the last: a pin that is not there any more
            continue
        if (facts.name, facts.type) != (of.name, of.type):
            continue
        now = series_now(map_id, facts.name, facts.type, timeline) if timeline is not None else None
        if reference == of.pin or now is None or now.id == series.id:
            return map_id
    raise BadSide(LIVE, f"no map that is there now goes on with {title(of)}")


def ignored_in(*sides: Side) -> tuple[str, ...]:
    """What comparisons of these leave out. raises Damaged"""
    return tuple(
        dict.fromkeys(
            pattern for each in sides if each.series is not None for pattern in settings_of(each.series).ignore
        )
    )
