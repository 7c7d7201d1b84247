"""Waiting for what comes true a little later, for as long as a busy machine may need."""

from __future__ import annotations

import time
from collections.abc import Callable


def eventually(claim: Callable[[], bool], within_s: float = 15.0) -> bool:
    """Whether the claim becomes true in time."""
    end_s = time.monotonic() + within_s
    while time.monotonic() < end_s:
        if claim():
            return True
        time.sleep(0.05)
    return claim()
