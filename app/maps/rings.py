"""What a ring buffer still holds, record by record, without taking anything out.

source  kernel/bpf/ringbuf.c: each record begins with {u32 len, u32 pgoff}; bit 31 of len is set while a program is
        still writing, bit 30 when it was thrown away; the next one begins at the next multiple of 8.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import Enum

import numpy as np

from app.columns.plan import plan_raw
from app.columns.table import Layout
from app.maps.kinds import Enumerate
from app.maps.layouts import OWNER_KEYS
from app.maps.walk import Completeness, Reading
from app.wire.ask import Client
from app.wire.bodies import Ring

HEADER_BYTES = 8
BUSY = 1 << 31
DISCARDED = 1 << 30
SHOWN_BYTES = 4096
"""Bytes of one record that are shown; a record may be as large as the buffer."""


class RecordState(Enum):
    """How far a record is."""

    READY = "ready"
    BUSY = "being written"
    DISCARDED = "discarded"


@dataclass(frozen=True, slots=True)
class Record:
    """One record that its consumer has not read yet."""

    position_bytes: int
    """As producer and consumer positions count: since the buffer was made, never wrapping."""
    state: RecordState
    size_bytes: int
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """A ring buffer at one moment."""

    ring: Ring
    records: tuple[Record, ...]
    taken_at_ns: int
    skipped_bytes: int
    """Of the oldest records, left out when the backlog is longer than what was fetched."""

    @property
    def behind_bytes(self) -> int:
        """How far the consumer is behind the producer."""
        return self.ring.producer_bytes - self.ring.consumer_bytes


def look(client: Client, map_id: int) -> Backlog:
    """Look at a ring buffer through the broker's read-only mapping."""
    ring = client.ring(map_id)
    skipped = ring.start_bytes - ring.consumer_bytes
    records = tuple(parse_records(ring.data, ring.start_bytes))  # the broker cuts between two records
    return Backlog(ring=ring, records=records, taken_at_ns=time.time_ns(), skipped_bytes=skipped)


def parse_records(data: bytes, start_bytes: int) -> list[Record]:
    """The records that begin at the start of `data`; stops at one that is still being written or makes no sense."""
    records: list[Record] = []
    offset = 0
    while offset + HEADER_BYTES <= len(data):
        word = int.from_bytes(data[offset : offset + 4], "little")
        size_bytes = word & ~(BUSY | DISCARDED)
        end = offset + HEADER_BYTES + size_bytes
        state = RecordState.BUSY if word & BUSY else RecordState.DISCARDED if word & DISCARDED else RecordState.READY
        if end > len(data):
            break
        body = data[offset + HEADER_BYTES : min(end, offset + HEADER_BYTES + SHOWN_BYTES)]
        records.append(Record(start_bytes + offset, state, size_bytes, body))
        offset = (end + 7) // 8 * 8
    return records


def as_reading(backlog: Backlog) -> tuple[Reading, Layout]:
    """The records as entries: key {u64 position, u32 size, char state[12]}, value as wide as the longest record."""
    width = max((len(record.data) for record in backlog.records), default=1)
    keys = np.zeros((len(backlog.records), OWNER_KEYS[Enumerate.RING].size_bytes), np.uint8)
    values = np.zeros((len(backlog.records), max(width, 1)), np.uint8)
    for row, record in enumerate(backlog.records):
        state = record.state.name.lower().encode().ljust(12, b"\0")
        key = record.position_bytes.to_bytes(8, "little") + record.size_bytes.to_bytes(4, "little") + state
        keys[row] = np.frombuffer(key, np.uint8)
        values[row, : len(record.data)] = np.frombuffer(record.data, np.uint8)
    notes = ["only what its consumer has not read yet; a record shorter than the longest one is filled up with zeros"]
    if backlog.skipped_bytes:
        notes.append(f"the oldest {backlog.skipped_bytes} bytes were left out")
    reading = Reading(
        keys=keys,
        values=values,
        completeness=Completeness.PARTIAL,
        started_at_ns=backlog.taken_at_ns,
        ended_at_ns=backlog.taken_at_ns,
        notes=tuple(notes),
    )
    return reading, Layout(OWNER_KEYS[Enumerate.RING], plan_raw(values.shape[1]))
