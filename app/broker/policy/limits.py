"""So many a minute: times of the last minute are kept for each key, no more of them than are allowed."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Hashable
from threading import Lock

from app.wire.errors import TooFast

PERIOD_S = 60.0
_SWEEP_AT = 1_000
"""Keys; above this those without a recent time go."""


class Limits:
    """Shared by the broker's threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives seconds."""
        self._clock = clock
        self._lock = Lock()
        self._times: dict[Hashable, deque[float]] = {}

    def take(self, key: Hashable, per_minute: int) -> None:
        """Count one, if in the last 60 s there were fewer than `per_minute`; 0 allows any number.

        raises  TooFast, and nothing is counted
        """
        if per_minute <= 0:
            return
        now_s = self._clock()
        with self._lock:
            times = self._times.setdefault(key, deque())
            while times and now_s - times[0] >= PERIOD_S:
                times.popleft()
            if len(times) >= per_minute:
                retry_s = min(int(PERIOD_S), max(1, math.ceil(times[len(times) - per_minute] + PERIOD_S - now_s)))
                raise TooFast(
                    f"the policy allows {per_minute} such edits a minute and person: try again in {retry_s} s", retry_s
                )
            times.append(now_s)
            if len(self._times) > _SWEEP_AT:
                self._sweep(now_s)

    def _sweep(self, now_s: float) -> None:
        for key in [key for key, times in self._times.items() if not times or now_s - times[-1] >= PERIOD_S]:
            del self._times[key]
