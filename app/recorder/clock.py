"""Whether the clock can be believed: what is thinned by age must not go because somebody set a date."""

from __future__ import annotations

import time
from dataclasses import dataclass

JUMP_S = 60.0
"""A clock that moves so far against the one that nobody sets was set."""
REST_S = 86_400.0
"""After that, nothing goes by age for a day."""
SETTLE_S = 600.0
"""Nor right after a start, before time synchronisation has had its say."""


def now_s() -> float:
    """CLOCK_BOOTTIME, the recorder's own: nobody sets it, and it goes on while the host is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def slept_s() -> float:
    """So long the host was suspended since its start."""
    return now_s() - time.monotonic()


@dataclass(slots=True)
class Clock:
    """Compares CLOCK_REALTIME with CLOCK_BOOTTIME: with CLOCK_MONOTONIC each night of a suspended host would be a clock that was set."""

    started_s: float
    """CLOCK_BOOTTIME."""
    offset_s: float
    """Of real time against it."""
    rests_until_s: float = 0.0
    why: str = ""

    def look(self, boottime_s: float, real_s: float) -> float:
        """Compare again; seconds by which it was set since, 0 when it was not."""
        offset_s = real_s - boottime_s
        moved_s = offset_s - self.offset_s
        self.offset_s = offset_s
        if abs(moved_s) < JUMP_S:
            return 0.0
        self.rests_until_s = boottime_s + REST_S
        self.why = f"the clock was set {'forward' if moved_s > 0 else 'back'} by {abs(moved_s):.0f} s, so nothing goes by age for a day"
        return moved_s

    def rests(self, boottime_s: float) -> str:
        """Why nothing may go by age now; empty when it may."""
        if boottime_s < self.rests_until_s:
            return self.why
        if boottime_s < self.started_s + SETTLE_S:
            return "it has just started, and waits for the clock to settle"
        return ""
