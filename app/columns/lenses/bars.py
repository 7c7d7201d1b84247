"""Histograms: an array of counters as bars with the range that each counts."""

from __future__ import annotations

from dataclasses import dataclass

from app.columns.decode import Column, column
from app.columns.errors import NotOneColumn
from app.columns.table import Table


@dataclass(frozen=True, slots=True)
class Bar:
    """One slot of a power-of-two histogram, as bcc and libbpf-tools fill them."""

    low: int
    high: int
    """The last number that the slot counts."""
    count: int


def bars(table: Table, path: str, row: int) -> list[Bar]:
    """The slots of the array at ``path`` of one entry (of a per-CPU map: added up), the empty tail left off.

    raises  NotOneColumn if it is not an array of integers, NoSuchField
    """
    counts: Column = column(table.take(slice(row, row + 1)), path)
    if counts.ndim != 2 or counts.dtype.kind not in "iu":
        raise NotOneColumn(f"{path} is not an array of counters; bars need one")
    numbers = counts[0].tolist()
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return [Bar(0 if slot == 0 else 1 << slot, (2 << slot) - 1, count) for slot, count in enumerate(numbers)]
