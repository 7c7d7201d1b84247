"""A histogram in one cell: a column for each slot, as high as its share of the largest."""

from __future__ import annotations

import json
from dataclasses import dataclass

BAR_PX = 5
GAP_PX = 1
HEIGHT_PX = 18
MAX_SLOTS = 128


@dataclass(frozen=True, slots=True)
class Bars:
    """An SVG of plain rectangles: (x, y, height, what it says)."""

    width: int
    height: int
    columns: tuple[tuple[int, int, int, str], ...]
    total: int
    first: int
    last: int
    """First and last slot that is not 0; -1 where all are."""


def bars(raw: str) -> Bars | None:
    """Draw a JSON list of counts; None for anything else."""
    try:
        slots = json.loads(raw)
    except ValueError:
        return None
    if not isinstance(slots, list) or not 1 < len(slots) <= MAX_SLOTS or not all(type(slot) is int for slot in slots):
        return None
    largest = max(slots)
    if min(slots) < 0:
        return None
    used = [at for at, slot in enumerate(slots) if slot]
    columns = []
    for at, slot in enumerate(slots):
        height = max(1, slot * HEIGHT_PX // largest) if slot else 0
        if height:
            columns.append((at * (BAR_PX + GAP_PX), HEIGHT_PX - height, height, f"slot {at}: {slot}"))
    return Bars(
        width=len(slots) * (BAR_PX + GAP_PX),
        height=HEIGHT_PX + 1,
        columns=tuple(columns),
        total=sum(slots),
        first=used[0] if used else -1,
        last=used[-1] if used else -1,
    )
