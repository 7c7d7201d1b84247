"""The backlog of a ring buffer, looked at through a read-only mapping: nothing is consumed, nothing written."""

from __future__ import annotations

import mmap
import struct

from app.broker.host import Host, Reply, with_fd
from app.uapi import objects
from app.uapi.enums import BpfMapType
from app.wire import bodies
from app.wire.errors import LimitExceeded, WrongMapType

LIMIT_BYTES = 64 << 20
"""Most that one answer brings."""
LIMIT_STEPS = 1_000_000
"""Records that are passed over on the way to the newest ones."""

_POSITION = struct.Struct("=Q")
_HEADER = struct.Struct("=I")
_HEADER_BYTES = 8  # kernel/bpf/ringbuf.c, struct bpf_ringbuf_hdr: length, page offset
_LENGTH = 0x3FFFFFFF  # without BPF_RINGBUF_BUSY_BIT and BPF_RINGBUF_DISCARD_BIT


def answer_ring(_: Host, question: bodies.AskRing) -> Reply:
    """Positions, and the newest records that fit the limit.

    A read-only descriptor of a ring buffer cannot be mapped, and a read-write one would let its holder consume: so the
    descriptor stays here and is closed at once.
    """
    if not 0 <= question.limit_bytes <= LIMIT_BYTES:
        raise LimitExceeded(
            f"a look at a ring buffer brings at most {LIMIT_BYTES} bytes, {question.limit_bytes} were asked for"
        )
    return Reply(with_fd(objects.map_get_fd_by_id(question.map_id), lambda fd: _look(fd, question.limit_bytes)))


def _look(map_fd: int, limit_bytes: int) -> bodies.Ring:
    info = objects.map_info(map_fd)
    if info.type not in (BpfMapType.RINGBUF, BpfMapType.USER_RINGBUF):
        raise WrongMapType(f"map {info.id} is no ring buffer: read its entries instead")
    # Consumer's page, producer's page, and the data twice over, so that a record never wraps.
    data_at = 2 * mmap.PAGESIZE
    with mmap.mmap(map_fd, data_at + 2 * info.max_entries, mmap.MAP_SHARED, mmap.PROT_READ) as area:
        (consumer,) = _POSITION.unpack_from(area, 0)
        (producer,) = _POSITION.unpack_from(area, mmap.PAGESIZE)
        # A user ring buffer's producer is a process and may have written nonsense.
        if not 0 <= producer - consumer <= info.max_entries:
            producer = consumer
        start = _first_within(area, data_at, info.max_entries, consumer, producer, limit_bytes)
        end = min(producer, start + limit_bytes)
        at = data_at + start % info.max_entries
        data = area[at : at + end - start]
        # What was consumed while it was copied may have been overwritten: the new position is a record's start too.
        (consumed,) = _POSITION.unpack_from(area, 0)
    if start < consumed:
        data = data[min(consumed - start, len(data)) :]
        start = min(consumed, end)
    return bodies.Ring(consumer_bytes=consumer, producer_bytes=producer, start_bytes=start, data=data)


def _first_within(
    area: mmap.mmap, data_at: int, size_bytes: int, consumer: int, producer: int, limit_bytes: int
) -> int:
    """Position of the first record from which no more than `limit_bytes` are left; records are passed over one by one."""
    at = consumer
    for _ in range(LIMIT_STEPS):
        if producer - at <= limit_bytes:
            break
        (length,) = _HEADER.unpack_from(area, data_at + at % size_bytes)
        at += (_HEADER_BYTES + (length & _LENGTH) + 7) // 8 * 8
    return min(at, producer)
