"""Every entry of a live map as two byte arrays: by batches on one or two threads, or key after key.

No page, filter or format is known here. What is read is stamped with when, and how far it can be trusted.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from app.maps.keys import walk_keys
from app.maps.kinds import Counter, Enumerate, Kind
from app.uapi.enums import BpfMapType
from app.uapi.errors import InvalidForKernel, NotSupported
from app.uapi.kernel import MapReader
from app.uapi.syscall import BatchOutcome

BATCH_ENTRIES = 1 << 16
"""Entries asked for at once: long enough that the call costs nothing, short enough to stop between two."""
SPARE_BYTES = 4 << 20
UNCOUNTED_BYTES = 64 << 20
"""Memory to begin with for a map whose entries the kernel does not count: what it may hold says little about what it does."""
TWO_THREADS_FROM = 1 << 17
"""Entries from which a second thread pays for itself; see bench/ before changing."""

Bytes2d = NDArray[np.uint8]
Progress = Callable[[int], None]


class Completeness(Enum):
    """What a reading can be taken for."""

    EXACT = "exact"
    """A moment: nobody can write to the map any more, or all of it came in one system call of an array."""
    WALKED = "walked"
    """Each entry as it was when the walk came by; entries that came and went meanwhile may be missing."""
    CAPPED = "capped"
    """The walk stopped at the limit of entries."""
    PARTIAL = "partial"
    """The type shows less than it holds; the note says what."""


@dataclass(slots=True, kw_only=True)
class Reading:
    """The entries of one map, as the kernel gave them."""

    keys: Bytes2d
    """uint8[n_entries, key_size]."""
    values: Bytes2d
    """uint8[n_entries, value_stride]."""
    completeness: Completeness
    started_at_ns: int
    """CLOCK_REALTIME."""
    ended_at_ns: int
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.keys)


@dataclass(slots=True)
class Room:
    """Growing memory for entries; pages that are never written cost nothing."""

    key_size: int
    value_stride: int
    capacity: int
    keys: Bytes2d = field(init=False)
    values: Bytes2d = field(init=False)
    used: int = 0
    moved: bool = False
    """It outgrew the memory that it began in."""

    def __post_init__(self) -> None:
        self.keys = np.empty((self.capacity, self.key_size), np.uint8)
        self.values = np.empty((self.capacity, self.value_stride), np.uint8)

    def part(self, start: int) -> Room:
        """The memory from `start` on as a room of its own."""
        room = Room(self.key_size, self.value_stride, 0)
        room.keys, room.values, room.capacity = self.keys[start:], self.values[start:], self.capacity - start
        return room

    def ensure(self, free: int) -> None:
        """Make room for `free` further entries."""
        if self.used + free <= self.capacity:
            return
        self.capacity = max(self.capacity * 2, self.used + free)
        keys, values = self.keys, self.values
        self.keys = np.empty((self.capacity, self.key_size), np.uint8)
        self.values = np.empty((self.capacity, self.value_stride), np.uint8)
        self.keys[: self.used] = keys[: self.used]
        self.values[: self.used] = values[: self.used]
        self.moved = True

    def take(self, other: Room, first: int, last: int) -> None:
        """Append entries `first` to `last` of another room."""
        count = last - first
        self.ensure(count)
        self.keys[self.used : self.used + count] = other.keys[first:last]
        self.values[self.used : self.used + count] = other.values[first:last]
        self.used += count

    def append(self, key: bytes, value: bytes | bytearray) -> None:
        """One entry."""
        self.ensure(1)
        self.keys[self.used] = np.frombuffer(key, np.uint8)
        self.values[self.used] = np.frombuffer(value, np.uint8)[: self.value_stride]
        self.used += 1

    def windows(self, count: int) -> tuple[memoryview, memoryview]:
        """Where the next `count` keys and values go."""
        end = self.used + count
        return self.keys[self.used : end].reshape(-1).data, self.values[self.used : end].reshape(-1).data

    def reading(self, completeness: Completeness, started_at_ns: int, notes: tuple[str, ...] = ()) -> Reading:
        """What was read, as of now."""
        return Reading(
            keys=self.keys[: self.used],
            values=self.values[: self.used],
            completeness=completeness,
            started_at_ns=started_at_ns,
            ended_at_ns=time.time_ns(),
            notes=notes,
        )


def read_all(
    reader: MapReader,
    kind: Kind,
    *,
    max_entries: int,
    expected: int | None,
    limit: int,
    progress: Progress | None = None,
) -> Reading:
    """All entries of a map whose type the kernel itself can enumerate (BATCH, WALK, SLOTS, SINGLE, PEEK).

    max_entries  of the map: bounds every walk
    expected     entries that the kernel counted just before, for the size of the memory and the choice of threads
    limit        entries after which the walk stops and the reading is CAPPED
    """
    started_at_ns = time.time_ns()
    progress = progress or (lambda _entries: None)
    match kind.enumerate:
        case Enumerate.BATCH:
            room, completeness = _batched(reader, kind, max_entries, expected, limit, progress)
        case Enumerate.SLOTS:
            room, completeness = _slots(reader, max_entries, limit, progress)
        case Enumerate.SINGLE:
            room, completeness = _slots(reader, 1, limit, progress)
        case Enumerate.PEEK:
            room, completeness = _peek(reader)
        case _:
            room, completeness = _walk(reader, max_entries, limit, progress)
    return room.reading(completeness, started_at_ns)


def read_first(reader: MapReader, kind: Kind, *, count: int) -> Reading | None:
    """The first `count` entries or a few more, by one small batch or two; None where the type has no batches.

    The cost does not depend on the size of the map.
    """
    if kind.enumerate is not Enumerate.BATCH:
        return None
    started_at_ns = time.time_ns()
    room = Room(reader.key_size, reader.value_stride, count)
    outcome, token = BatchOutcome.MORE, None
    try:
        # A hash map gives whole buckets, so that a batch may stop a little short of what was asked for.
        while room.used < count and outcome is BatchOutcome.MORE:
            outcome, token = _one_batch(reader, room, token, max(count - room.used, 16))
    except (NotSupported, InvalidForKernel):
        return None
    return room.reading(Completeness.EXACT if outcome is BatchOutcome.END else Completeness.PARTIAL, started_at_ns)


def _one_batch(reader: MapReader, room: Room, token: bytes | None, count: int) -> tuple[BatchOutcome, bytes]:
    """Read one batch to the end of `room`, asking for more as long as one bucket holds more than that."""
    token_out = bytearray(max(4, reader.key_size))
    while True:
        room.ensure(count)
        keys, values = room.windows(count)
        result = reader.lookup_batch(token, token_out, keys, values, count)
        if result.outcome is not BatchOutcome.GROW:
            room.used += result.count
            return result.outcome, bytes(token_out)
        count *= 2


def _batched(
    reader: MapReader, kind: Kind, max_entries: int, expected: int | None, limit: int, progress: Progress
) -> tuple[Room, Completeness]:
    spare = _spare(reader)
    uncounted = min(max_entries, UNCOUNTED_BYTES // (reader.key_size + reader.value_stride))
    total = min(uncounted if expected is None else expected + 64, limit) + BATCH_ENTRIES // 64 * spare // 64
    hashed = kind.type in {BpfMapType.HASH, BpfMapType.LRU_HASH, BpfMapType.PERCPU_HASH, BpfMapType.LRU_PERCPU_HASH}
    try:
        if hashed and TWO_THREADS_FROM <= (expected or 0) <= limit:
            room = _two_threads(reader, max_entries, total, progress)
            if room is not None:
                return room, Completeness.WALKED
        room = Room(reader.key_size, reader.value_stride, max(total, spare))
        token: bytes | None = None
        calls = 0
        most = limit if hashed else min(limit, 2 * max_entries + BATCH_ENTRIES)
        ended = False
        # A batch that was filled to its end does not say that nothing comes behind: one entry more than the limit is asked for.
        while room.used <= most and not ended:
            outcome, token = _one_batch(reader, room, token, _ask(room, limit))
            calls += 1
            progress(room.used)
            ended = outcome is BatchOutcome.END or (kind.counter is Counter.FIXED and room.used >= max_entries)
    except (NotSupported, InvalidForKernel):
        # BPF_MAP_LOOKUP_BATCH came with Linux commit cb4d03ab499d ("bpf: Add generic support for lookup batch
        # op") (in v5.6), per-CPU and LPM maps got it later.
        return _walk(reader, max_entries, limit, progress)
    if kind.type == BpfMapType.LPM_TRIE:
        _drop_repeated(room)
    if ended and room.used <= limit:
        return room, Completeness.EXACT if kind.family == "array" and calls == 1 else Completeness.WALKED
    room.used = min(room.used, limit)
    return room, Completeness.CAPPED


def _drop_repeated(room: Room) -> None:
    """Keep the first of the entries with the same key: a trie begins anew when the key to go on behind is deleted.

    source  kernel/bpf/lpm_trie.c, trie_get_next_key
    """
    keys = np.ascontiguousarray(room.keys[: room.used]).view(np.dtype((np.void, room.key_size))).ravel()
    _, first = np.unique(keys, return_index=True)
    if len(first) < room.used:
        first.sort()
        room.keys, room.values, room.used = room.keys[first], room.values[first], len(first)
        room.capacity = room.used


def _ask(room: Room, limit: int) -> int:
    free = room.capacity - room.used
    return min(BATCH_ENTRIES, max(free, _spare(room)), max(limit - room.used, 1))


def _spare(of: MapReader | Room) -> int:
    """Entries that there is always room for: 64, fewer where that would be many megabytes for one entry's sake."""
    return max(1, min(64, SPARE_BYTES // max(of.value_stride, 1)))


def _two_threads(reader: MapReader, max_entries: int, total: int, progress: Progress) -> Room | None:
    """Two halves of a hash map at once: the token of a batch is a bucket's index, and any may be the first.

    returns  None where the token turns out not to be that, so that one thread reads the map as usual
    source   kernel/bpf/hashtab.c, __htab_map_lookup_and_delete_batch
    """
    buckets = 1 << max(max_entries - 1, 0).bit_length()
    middle = buckets // 2
    start = total // 2 + total // 16
    first = Room(reader.key_size, reader.value_stride, start + start)
    outcome, token = _one_batch(reader, first, None, min(BATCH_ENTRIES, total // 4))
    position = int.from_bytes(token[:4], "little")
    if outcome is BatchOutcome.END or not 0 < position < middle:
        return None
    second = Half(reader, middle, first.part(start))
    second.start()
    while position < middle:
        # Ask for what the buckets before the middle should still hold, so that little is read twice. The second half
        # lies behind `start`: a first half that grows into it (a very uneven hash) is not worth a second thread.
        rest = (middle - position) * first.used // position
        count = max(min(rest, BATCH_ENTRIES), 256)
        if first.used + count > start:
            second.join()
            return None
        outcome, token = _one_batch(reader, first, token, count)
        progress(first.used + second.room.used)
        here = int.from_bytes(token[:4], "little")
        if outcome is BatchOutcome.END or here <= position or first.used > start:
            second.join()
            return None
        position = here
    second.join()
    if second.problem is not None:
        raise second.problem
    _join(first, second, start, position)
    progress(first.used)
    return first


class Half(threading.Thread):
    """Reads from a bucket to the end of the table."""

    def __init__(self, reader: MapReader, bucket: int, room: Room) -> None:
        super().__init__(name="walk-half", daemon=True)
        self.reader = reader
        self.room = room
        self.bucket = bucket
        self.marks: list[tuple[int, int]] = []
        """(entries read, next bucket) after each batch."""
        self.problem: Exception | None = None

    def run(self) -> None:
        """Read to the end; an error is kept for the thread that waits."""
        token = self.bucket.to_bytes(4, "little").ljust(max(4, self.reader.key_size), b"\0")
        count = 1024  # a short first batch: what both halves read lies in it
        try:
            while True:
                outcome, token = _one_batch(self.reader, self.room, token, count)
                self.marks.append((self.room.used, int.from_bytes(token[:4], "little")))
                if outcome is BatchOutcome.END:
                    return
                count = BATCH_ENTRIES
        except Exception as problem:  # noqa: BLE001  (raised again by the thread that waits)
            self.problem = problem


def _join(first: Room, second: Half, start: int, position: int) -> None:
    """Close the gap between the halves, leaving out what both read: the buckets from the middle to `position`."""
    other = second.room
    prefix = next((used for used, bucket in second.marks if bucket >= position), other.used)
    if position == second.bucket:
        prefix = 0
    tail = first.keys[max(first.used - prefix - 4096, 0) : first.used]
    seen = {row.tobytes() for row in tail} if prefix else set()
    for index in range(prefix):
        if other.keys[index].tobytes() not in seen:
            first.take(other, index, index + 1)
    gap = start - first.used + prefix
    rest = other.used - prefix
    if other.moved or gap < 0:
        first.take(other, prefix, other.used)
        return
    # Entries of a hash have no order to keep: the last ones fill the gap, and the rest stays where it was read to.
    moved = min(gap, rest)
    end = start + other.used
    first.keys[first.used : first.used + moved] = first.keys[end - moved : end]
    first.values[first.used : first.used + moved] = first.values[end - moved : end]
    first.used += rest


def _walk(reader: MapReader, max_entries: int, limit: int, progress: Progress) -> tuple[Room, Completeness]:
    room = Room(reader.key_size, reader.value_stride, 64)
    value = bytearray(reader.value_stride)
    bound = 2 * max(max_entries, 1 << 10) + 16
    keys = walk_keys(reader, bound)
    try:
        while True:
            key = next(keys)
            if room.used >= limit:
                return room, Completeness.CAPPED
            if reader.lookup(key, value):
                room.append(key, value)
                if room.used % 4096 == 0:
                    progress(room.used)
    except StopIteration as end:
        return room, Completeness.WALKED if end.value else Completeness.CAPPED


def _slots(reader: MapReader, max_entries: int, limit: int, progress: Progress) -> tuple[Room, Completeness]:
    room = Room(reader.key_size, reader.value_stride, 64)
    value = bytearray(reader.value_stride)
    for index in range(max_entries):
        if index >= limit:
            return room, Completeness.CAPPED
        key = index.to_bytes(4, "little")
        if reader.lookup(key, value):
            room.append(key, value)
        if index % 4096 == 0:
            progress(index)
    return room, Completeness.WALKED


def _peek(reader: MapReader) -> tuple[Room, Completeness]:
    room = Room(0, reader.value_stride, 1)
    value = bytearray(reader.value_stride)
    if reader.lookup(None, value):
        room.append(b"", value)
    return room, Completeness.PARTIAL
