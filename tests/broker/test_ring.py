"""A look at a ring buffer takes nothing out of it."""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Callable

import pytest

from app.uapi import loading, objects
from app.uapi.enums import BpfMapType, BpfProgType
from app.uapi.errors import InvalidForKernel
from app.uapi.loading import ProgSpec, prog_test_run
from app.wire.ask import Client
from app.wire.errors import LimitExceeded, WrongMapType
from tests.broker.conftest import id_of

pytestmark = pytest.mark.kernel

SIZE = 4096


def producer(ring_fd: int) -> int:
    """A socket filter that outputs the packet's first 8 bytes… as they stand on its stack: a counter it is given none of."""
    insns = [
        struct.pack("<BBhi", 0x7A, 10, -8, 0x1122),  # *(u64 *)(r10 - 8) = 0x1122
        struct.pack("<BBhi", 0x18, 0x11, 0, ring_fd) + bytes(8),  # r1 = ring
        struct.pack("<BBhi", 0xBF, 0xA2, 0, 0),  # r2 = r10
        struct.pack("<BBhi", 0x07, 0x02, 0, -8),  # r2 -= 8
        struct.pack("<BBhi", 0xB7, 0x03, 0, 8),  # r3 = 8
        struct.pack("<BBhi", 0xB7, 0x04, 0, 0),  # r4 = 0
        struct.pack("<BBhi", 0x85, 0, 0, 130),  # call bpf_ringbuf_output
        struct.pack("<BBhi", 0x95, 0, 0, 0),
    ]
    return loading.prog_load(ProgSpec(type=BpfProgType.SOCKET_FILTER, insns=b"".join(insns)))


def positions(ring_fd: int) -> tuple[int, int]:
    with mmap.mmap(ring_fd, 2 * mmap.PAGESIZE, mmap.MAP_SHARED, mmap.PROT_READ) as area:
        return struct.unpack_from("<Q", area, 0)[0], struct.unpack_from("<Q", area, mmap.PAGESIZE)[0]


@pytest.fixture
def ring(make_map: Callable[..., int]) -> int:
    return make_map(BpfMapType.RINGBUF, 0, 0, SIZE)


def output(ring: int, count: int) -> None:
    prog = producer(ring)
    try:
        for _ in range(count):
            assert prog_test_run(prog, bytes(64)) in {0, 2**32 - 11}  # -EAGAIN: the buffer is full
    finally:
        os.close(prog)


RECORD = struct.pack("<II", 8, 0) + struct.pack("<Q", 0x1122)


def records(data: bytes) -> list[bytes]:
    """Each record with its page offset zeroed, which is about where in the kernel's memory the buffer lies."""
    return [data[at : at + 4] + bytes(4) + data[at + 8 : at + 16] for at in range(0, len(data), 16)]


def test_the_backlog_is_seen_and_stays(client: Client, ring: int) -> None:
    output(ring, 5)
    for _ in range(3):
        seen = client.ring(id_of(ring))
        assert (seen.consumer_bytes, seen.start_bytes, seen.producer_bytes) == (0, 0, 80)
        assert records(seen.data) == [RECORD] * 5
    assert positions(ring) == (0, 80)


def test_an_empty_one_is_empty(client: Client, ring: int) -> None:
    assert client.ring(id_of(ring)).data == b""


def test_only_the_newest_whole_records_come_within_the_limit(client: Client, ring: int) -> None:
    output(ring, 10)
    seen = client.ring(id_of(ring), 50)
    assert (seen.start_bytes, seen.producer_bytes) == (112, 160)
    assert records(seen.data) == [RECORD] * 3
    assert client.ring(id_of(ring), 0).data == b""


def test_records_past_the_wrap_come_whole(client: Client, ring: int) -> None:
    output(ring, 200)
    with mmap.mmap(ring, mmap.PAGESIZE, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE) as consumer:
        struct.pack_into("<Q", consumer, 0, 200 * 16)  # a consumer that is done with all of them
    output(ring, 100)
    seen = client.ring(id_of(ring))
    assert (seen.consumer_bytes, seen.producer_bytes) == (3200, 4800)
    assert records(seen.data) == [RECORD] * 100


def test_a_full_one_is_seen_whole(client: Client, ring: int) -> None:
    output(ring, 300)
    seen = client.ring(id_of(ring))
    assert records(seen.data) == [RECORD] * (seen.producer_bytes // 16)
    assert seen.producer_bytes > SIZE - 32


def test_a_user_ring_buffer_with_nonsense_positions_is_empty(client: Client, make_map: Callable[..., int]) -> None:
    fd = make_map(BpfMapType.USER_RINGBUF, 0, 0, SIZE)
    with mmap.mmap(fd, mmap.PAGESIZE, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE, offset=mmap.PAGESIZE) as page:
        struct.pack_into("<Q", page, 0, 2**63 + 8)
        assert client.ring(id_of(fd)).data == b""
        struct.pack_into("<Q", page, 0, 64)
        assert len(client.ring(id_of(fd)).data) == 64
        assert len(client.ring(id_of(fd), 32).data) <= 32


def test_other_maps_and_other_sizes_are_declined(client: Client, ring: int, make_map: Callable[..., int]) -> None:
    with pytest.raises(WrongMapType, match="no ring buffer"):
        client.ring(id_of(make_map()))
    with pytest.raises(LimitExceeded):
        client.ring(id_of(ring), 2**31)


def test_the_descriptor_that_is_passed_cannot_consume(client: Client, ring: int) -> None:
    _, fd = client.map_open(id_of(ring))
    assert fd is not None
    try:
        with pytest.raises(OSError, match="Invalid argument"):
            mmap.mmap(fd, mmap.PAGESIZE, mmap.MAP_SHARED, mmap.PROT_READ)
    finally:
        os.close(fd)
    with pytest.raises(InvalidForKernel):
        objects.map_get_fd_by_id(id_of(ring), 24)
