"""Says how far a long read is, on a terminal and only there."""

from __future__ import annotations

import sys
import time

QUIET_S = 1.0
"""Nothing is said about what takes less."""


class Progress:
    """Call it with the number of entries so far; `done` wipes the line."""

    def __init__(self, what: str, total: int | None) -> None:
        self._what = what
        self._total = total
        self._started_s = self._said_s = time.monotonic()
        self._shown = False
        self._tty = sys.stderr.isatty()

    def __call__(self, entries: int) -> None:
        """Entries read so far."""
        of = f" of {self._total:,}" if self._total else ""
        self.say(f"{entries:,}{of} entries")

    def say(self, text: str) -> None:
        """How far it is, in other words; `text` steers nothing."""
        now = time.monotonic()
        if not self._tty or now - self._started_s < QUIET_S or now - self._said_s < 0.1:  # noqa: PLR2004  (10 a second)
            return
        self._said_s, self._shown = now, True
        sys.stderr.write(f"\r\x1b[K{self._what}: {text}")
        sys.stderr.flush()

    def done(self) -> None:
        """Leave nothing behind."""
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
