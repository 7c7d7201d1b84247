"""How much history each map has, asked for at most every ten seconds: the whole table of snapshots is counted for it."""

from __future__ import annotations

import time
from threading import Lock

from app.history.series import Extent
from app.timeline.timeline import Timeline

KEPT_S = 10.0


class Extents:
    """Of one web process. Safe between threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._kept: dict[int, Extent] = {}
        self._of: Timeline | None = None
        self._until_s = 0.0

    def get(self, timeline: Timeline) -> dict[int, Extent]:
        """By id of a series, as they were a few seconds ago at most. raises DatabaseUnusable"""
        with self._lock:
            if timeline is not self._of or time.monotonic() >= self._until_s:
                self._kept = timeline.history.extents()
                self._of, self._until_s = timeline, time.monotonic() + KEPT_S
            return self._kept
