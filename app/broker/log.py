"""The broker's log: one JSON line an event on standard error; what strangers can cause is written at a limited rate."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from datetime import UTC, datetime
from threading import Lock

import msgspec

STDERR = 2
LINES = 20
"""So many limited lines are written in each period; what was left out is counted in the next line."""
PERIOD_S = 10.0

_encoder = msgspec.json.Encoder()


_silent = threading.Event()


def silence() -> None:
    """Write nothing from here on: this process is a command, whose standard error is its user's."""
    _silent.set()


def write(event: str, **facts: object) -> None:
    """One line. Facts that came from others are data to the JSON encoder: no line break of theirs becomes one here."""
    if _silent.is_set():
        return
    line = {"ts": datetime.now(UTC).isoformat(timespec="milliseconds"), "service": "broker", "event": event, **facts}
    try:
        os.write(STDERR, _encoder.encode(line) + b"\n")
    except OSError:  # Nobody reads the log any more: not a reason to stop answering.
        return


class Limited:
    """Writes at most LINES of each event in PERIOD_S: one kind of noise does not hide another."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._since_s = 0.0
        self._written: Counter[str] = Counter()
        self._left_out: Counter[str] = Counter()

    def write(self, event: str, **facts: object) -> None:
        """One line, or none. `event` is one of ours, never a stranger's text."""
        with self._lock:
            now_s = time.monotonic()
            if now_s - self._since_s > PERIOD_S:
                self._since_s = now_s
                self._written.clear()
            if self._written[event] == LINES:
                self._left_out[event] += 1
                return
            self._written[event] += 1
            left_out = self._left_out.pop(event, 0)
        if left_out:
            facts["left_out_before"] = left_out
        write(event, **facts)
