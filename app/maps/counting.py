"""Numbers of entries that the kernel does not count itself: by a walk with a budget, or not at all."""

from __future__ import annotations

import dataclasses
import os
import time
from typing import TYPE_CHECKING

from app.maps.brokered import reader_of
from app.maps.catalog import Listing, MapRow
from app.maps.keys import walk_keys
from app.maps.kinds import Counter, Enumerate, Kind
from app.uapi.errors import KernelError
from app.uapi.kernel import MapReader
from app.uapi.syscall import BatchOutcome
from app.wire.ask import Client

if TYPE_CHECKING:  # opening a map takes numpy, and the list of maps does without
    from app.maps.opening import OpenMap

LIMIT_STEPS = 4096
"""Steps of one walk; a map that may hold more stays uncounted in a list."""
LIMIT_BYTES = 16 << 20
"""Memory for one walk by batches, which bring the values too; where they are larger, key after key is cheaper."""
BUDGET_S = 0.1
"""For all walks of one list together."""


def with_counts(client: Client, listed: Listing, *, budget_s: float = BUDGET_S) -> Listing:
    """The list with entries counted by walking, small maps first, until the budget is used up."""
    deadline = time.monotonic() + budget_s
    counted: dict[int, int] = {}
    for row in sorted((row for row in listed.rows if _is_countable(row)), key=lambda row: row.facts.max_entries):
        if time.monotonic() > deadline:
            break
        number = _count(client, row)
        if number is not None:
            counted[row.facts.id] = number
    rows = tuple(
        dataclasses.replace(row, entries=counted[row.facts.id]) if row.facts.id in counted else row
        for row in listed.rows
    )
    return dataclasses.replace(listed, rows=rows)


def _is_countable(row: MapRow) -> bool:
    return row.entries is None and _may_be_counted(row.kind, row.facts.max_entries)


def _may_be_counted(kind: Kind, max_entries: int) -> bool:
    return kind.counter in {Counter.WALK, Counter.KERNEL} and (
        max_entries <= LIMIT_STEPS or kind.enumerate is Enumerate.BATCH
    )


def _count(client: Client, row: MapRow) -> int | None:
    try:
        opened, fd = client.map_open(row.facts.id)
    except KernelError:
        return None
    facts = opened.facts
    try:
        return count(reader_of(client, facts, fd), row.kind, facts.max_entries)
    except KernelError:
        return None
    finally:
        if fd is not None:
            os.close(fd)


def entries_of_open(opened: OpenMap) -> int | None:
    """As the list says it, of one map that is open."""
    if opened.entries is not None or not _may_be_counted(opened.kind, opened.facts.max_entries):
        return opened.entries
    try:
        return count(opened.reader, opened.kind, opened.facts.max_entries)
    except KernelError:
        return None


def count(reader: MapReader, kind: Kind, max_entries: int) -> int | None:
    """Entries of one map within LIMIT_STEPS steps; None when it holds more, or cannot tell."""
    if kind.enumerate is Enumerate.SLOTS:
        value = bytearray(reader.value_stride)
        return sum(reader.lookup(index.to_bytes(4, "little"), value) for index in range(min(max_entries, LIMIT_STEPS)))
    if kind.enumerate is Enumerate.BATCH and LIMIT_STEPS * reader.value_stride <= LIMIT_BYTES:
        keys = memoryview(bytearray(LIMIT_STEPS * reader.key_size))
        values = memoryview(bytearray(LIMIT_STEPS * reader.value_stride))
        result = reader.lookup_batch(None, bytearray(max(4, reader.key_size)), keys, values, LIMIT_STEPS)
        return result.count if result.outcome is BatchOutcome.END else None
    if kind.enumerate in {Enumerate.BATCH, Enumerate.WALK}:
        total = sum(1 for _key in walk_keys(reader, LIMIT_STEPS + 1))
        return total if total <= LIMIT_STEPS else None
    return None
