"""What is about to be done to the history, in words for the audit log."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from app.history.errors import Damaged
from app.history.history import History
from app.history.series import SeriesFacts
from app.history.snapshots import Kept
from app.timeline.naming import title

MOST_NAMES, MOST_NAME_CHARS = 20, 200
"""Of a stranger's file, which may name anything."""


def named(history: History, refs: Iterable[str]) -> str:
    """Snapshots with their maps: `s12, s14 of flows; s13 of ct4`. raises NoSuchSnapshot"""
    by_map: dict[str, list[str]] = {}
    for ref in refs:
        try:
            of = title(history.one_series(history.snapshot(ref).series_id).of)
        except Damaged:
            of = "a map that cannot be read any more"
        by_map.setdefault(of, []).append(ref)
    return "; ".join(f"{', '.join(some)} of {of}" for of, some in by_map.items())


def labelled(history: History, ref: str, label: str) -> str:
    """A label that is given or taken away. raises NoSuchSnapshot"""
    return f"{named(history, [ref])}: {label or 'no label any more'}"


def left_out(series: SeriesFacts, patterns: Sequence[str]) -> str:
    """What comparisons of a map leave out from now on."""
    return f"{title(series.of)}: {', '.join(patterns) or 'nothing is left out any more'}"


def taken_in(source: History, kept: Sequence[Kept]) -> str:
    """Snapshots of another history."""
    maps = sorted({title(each.of)[:MOST_NAME_CHARS] for each in source.series()})
    more = f" and {len(maps) - MOST_NAMES:,} more maps" if len(maps) > MOST_NAMES else ""
    return f"{len(kept)} of {', '.join(maps[:MOST_NAMES])}{more}"
