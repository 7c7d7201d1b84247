"""What people chose for one map's history."""

from __future__ import annotations

import msgspec

from app.history.errors import Damaged
from app.history.series import SeriesFacts


class SeriesSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Stored with its series; names are for ever."""

    ignore: tuple[str, ...] = ()
    """Patterns of paths that comparisons leave out: counters, timestamps."""


def settings_of(series: SeriesFacts) -> SeriesSettings:
    """Of one series; the defaults where nothing was chosen. raises Damaged"""
    if not series.settings:
        return SeriesSettings()
    try:
        return msgspec.msgpack.decode(series.settings, type=SeriesSettings)
    except (msgspec.MsgspecError, ValueError) as problem:
        raise Damaged(f"what was chosen for series {series.id}", str(problem)) from problem
