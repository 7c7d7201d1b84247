"""Moments of the past as pages say them: UTC, and how long ago."""

from __future__ import annotations

import time
from datetime import UTC, datetime

MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86_400


def ago(at_ns: int, now_ns: int | None = None) -> str:
    """`12 s`, `3 min`, `5 h`, `8 d` since a moment of CLOCK_REALTIME; `now` within the second, or of what is to come."""
    seconds = ((time.time_ns() if now_ns is None else now_ns) - at_ns) // 1_000_000_000
    if seconds < 1:
        return "now"
    for unit, name in ((DAY_S, "d"), (HOUR_S, "h"), (MINUTE_S, "min")):
        if seconds >= unit * 2 or (unit == MINUTE_S and seconds >= unit):
            return f"{seconds // unit} {name}"
    return f"{seconds} s"


def utc(at_ns: int) -> str:
    """`2026-11-24 18:03:11`."""
    return f"{_at(at_ns):%Y-%m-%d %H:%M:%S}"


def day(at_ns: int) -> str:
    """`Tuesday 24 November 2026`."""
    at = _at(at_ns)
    return f"{at:%A} {at.day} {at:%B %Y}"


def _at(at_ns: int) -> datetime:
    return datetime.fromtimestamp(at_ns // 1_000_000_000, UTC)
