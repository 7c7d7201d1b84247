"""What there is of history, asked for at most every ten seconds: the whole table of snapshots is counted for it."""

from __future__ import annotations

import time
from threading import Lock

from app.history.series import Extent, SeriesFacts
from app.timeline.timeline import Timeline

KEPT_S = 10.0


class Extents:
    """Of one web process, as they were a few seconds ago at most. Safe between threads. Each raises DatabaseUnusable"""

    def __init__(self) -> None:
        self._lock = Lock()
        self._kept: dict[int, Extent] = {}
        self._series: list[SeriesFacts] = []
        self._of: Timeline | None = None
        self._until_s = 0.0

    def get(self, timeline: Timeline) -> dict[int, Extent]:
        """How much history each series has, by its id."""
        with self._lock:
            self._look(timeline)
            return self._kept

    def series(self, timeline: Timeline) -> list[SeriesFacts]:
        """Every series."""
        with self._lock:
            self._look(timeline)
            return self._series

    def _look(self, timeline: Timeline) -> None:
        if timeline is not self._of or time.monotonic() >= self._until_s:
            self._kept, self._series = timeline.history.extents(), timeline.history.series()
            self._of, self._until_s = timeline, time.monotonic() + KEPT_S
