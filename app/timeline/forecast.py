"""What recording a map takes, as it is recorded or as it would be under other rules."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from app.history.series import Identity
from app.history.volume import Volume, volumes
from app.timeline.naming import title
from app.timeline.timeline import Timeline
from app.wire.recorder import Paced


@dataclass(frozen=True, slots=True)
class Forecast:
    """Of one live map."""

    paced: Paced
    title: str
    of: Identity | None
    """Its series; None where it has none yet."""
    snapshots: int
    """Kept in the last day, besides its first."""
    day_bytes: int | None
    """None: nothing is known yet."""
    month_bytes: int | None


def forecasts(timeline: Timeline | None, maps: Iterable[Paced], now_ns: int) -> list[Forecast]:
    """One for each map, in the same order. `timeline` may be none where there is no history yet. raises DatabaseUnusable"""
    taken: dict[int, Volume] = {}
    named: dict[int, Identity] = {}
    if timeline is not None:
        with timeline.history.reading() as connection:
            taken = volumes(connection, now_ns)
        named = {each.id: each.of for each in timeline.history.series()}
    return [_forecast(each, taken.get(each.series_id), named.get(each.series_id)) for each in maps]


def _forecast(paced: Paced, volume: Volume | None, of: Identity | None) -> Forecast:
    name = title(of) if of else f"#{paced.map_id}"
    if volume is None or not volume.is_known or not paced.interval_s:
        return Forecast(paced, name, of, volume.snapshots if volume else 0, None, None)
    faster = paced.now_s / paced.interval_s if paced.now_s else 1.0
    return Forecast(
        paced, name, of, volume.snapshots, volume.day_bytes(faster), volume.month_bytes(faster, paced.interval_s)
    )
