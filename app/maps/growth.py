"""How fast maps fill: the kernel's counts now against those of a few minutes ago.

The recorder samples and writes a small file; the web reads it. Both agree on it here.
"""

from __future__ import annotations

import os
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path

import msgspec

from app.wire.bodies import MapFacts

INTERVAL_S = 10.0
WINDOW = 60
"""Samples kept, the newest ones: ten minutes."""
STALE_S = 60.0
"""A file older than this says nothing about now."""


class Growth(msgspec.Struct, frozen=True, array_like=True):
    """One map that has more or fewer entries than before."""

    map_id: int
    entries: int
    per_minute: float
    full_in_s: float | None
    """At this rate; None when it does not grow."""


class GrowthFile(msgspec.Struct, frozen=True):
    """What the recorder tells."""

    taken_at_ns: int
    window_s: float
    maps: list[Growth]


@dataclass(frozen=True, slots=True)
class Sample:
    """The counts of one moment."""

    taken_at_s: float
    """CLOCK_MONOTONIC."""
    entries: dict[int, int]


class Window:
    """The last few samples."""

    def __init__(self) -> None:
        self._samples: deque[Sample] = deque(maxlen=WINDOW)

    def add(self, taken_at_s: float, maps: tuple[MapFacts, ...]) -> None:
        """One more sample; maps that the kernel does not count are left out."""
        self._samples.append(
            Sample(taken_at_s, {facts.id: facts.entries for facts in maps if facts.entries is not None})
        )

    def growth(self, maps: tuple[MapFacts, ...]) -> GrowthFile:
        """Rates of the maps that changed, over as much of the window as each one has lived."""
        newest = self._samples[-1]
        sizes = {facts.id: facts.max_entries for facts in maps}
        found = []
        for map_id, entries in newest.entries.items():
            first = next(sample for sample in self._samples if map_id in sample.entries)
            minutes = (newest.taken_at_s - first.taken_at_s) / 60
            change = entries - first.entries[map_id]
            if not minutes or not change:
                continue
            per_minute = change / minutes
            left = sizes.get(map_id, 0) - entries
            found.append(Growth(map_id, entries, per_minute, left / per_minute * 60 if per_minute > 0 else None))
        window_s = newest.taken_at_s - self._samples[0].taken_at_s
        return GrowthFile(taken_at_ns=time.time_ns(), window_s=window_s, maps=found)


def path_of(data: Path) -> Path:
    """Where the file is in a data directory."""
    return data / "recorder" / "growth.json"


def write(path: Path, growth: GrowthFile) -> None:
    """Replace the file in one step: a reader sees the old one or the new one."""
    draft = path.with_suffix(".new")
    draft.write_bytes(msgspec.json.encode(growth))
    os.replace(draft, path)


def read(path: Path) -> GrowthFile | None:
    """The newest growth; None when nobody samples, or not recently."""
    try:
        found = msgspec.json.decode(path.read_bytes(), type=GrowthFile)
    except (OSError, msgspec.DecodeError):
        return None
    return found if time.time_ns() - found.taken_at_ns < STALE_S * 1e9 else None
