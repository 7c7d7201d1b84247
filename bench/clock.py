"""Timing in turns: A B C A B C …, so that a machine whose speed drifts drifts for all of them."""

from __future__ import annotations

import gc
import resource
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timing:
    """One operation over several runs."""

    name: str
    seconds: tuple[float, ...]

    @property
    def median_s(self) -> float:
        return statistics.median(self.seconds)


def in_turns(operations: Mapping[str, Callable[[], object]], *, runs: int) -> dict[str, Timing]:
    """Each operation `runs` times after one warm-up, one after the other in every round."""
    taken: dict[str, list[float]] = {name: [] for name in operations}
    for turn in range(runs + 1):
        for name, operation in operations.items():
            gc.collect()
            started = time.perf_counter()
            result = operation()
            elapsed = time.perf_counter() - started
            del result
            if turn:
                taken[name].append(elapsed)
    return {name: Timing(name, tuple(seconds)) for name, seconds in taken.items()}


def ratio(one: Timing, other: Timing) -> tuple[float, float, float]:
    """(least, median, largest) of the ratios round by round."""
    pairs = sorted(a / b for a, b in zip(one.seconds, other.seconds, strict=True))
    return pairs[0], statistics.median(pairs), pairs[-1]


def peak_bytes() -> int:
    """The largest resident size of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
