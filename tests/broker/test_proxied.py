"""Reading through the broker gives what reading through a descriptor gives."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from app.broker.host import Host
from app.broker.local import LocalTransport
from app.uapi import syscall
from app.uapi.enums import BpfMapType
from app.uapi.errors import KernelError, NotSupported
from app.wire.ask import Client
from app.wire.errors import LimitExceeded, WrongMapType
from tests.broker.conftest import fill, id_of
from tests.broker.test_storage import storage

pytestmark = pytest.mark.kernel


def test_a_walk_by_keys_sees_every_entry(client: Client, make_map: Callable[..., int]) -> None:
    fd = make_map()
    fill(fd, 50)
    found, key = {}, client.next_key(id_of(fd), None)
    while key is not None:
        value = client.lookup(id_of(fd), key)
        assert value is not None
        found[int.from_bytes(key, "little")] = int.from_bytes(value, "little")
        key = client.next_key(id_of(fd), key)
    assert found == {number: number * 3 for number in range(50)}
    assert client.lookup(id_of(fd), (99).to_bytes(4, "little")) is None


@pytest.mark.parametrize("count", [7, 64, 100_000], ids=["in parts", "at once", "more than is given at once"])
def test_batches_see_every_entry(client: Client, make_map: Callable[..., int], count: int) -> None:
    fd = make_map()
    fill(fd, 50)
    found: set[int] = set()
    token = None
    while True:
        batch = client.batch(id_of(fd), token, count)
        assert (len(batch.keys), len(batch.values)) == (batch.count * 4, batch.count * 8)
        found |= {int.from_bytes(batch.keys[at : at + 4], "little") for at in range(0, len(batch.keys), 4)}
        token = batch.token
        if token is None:
            break
        count += batch.grow * 64
    assert found == set(range(50))


def test_per_cpu_values_come_for_every_possible_cpu(client: Client, make_map: Callable[..., int]) -> None:
    fd = make_map(BpfMapType.PERCPU_ARRAY, value_size=5, max_entries=2)
    value = client.lookup(id_of(fd), bytes(4))
    assert value == bytes(8 * client.hello().possible_cpus)


def test_a_bloom_filter_is_asked_with_the_value(client: Client, make_map: Callable[..., int]) -> None:
    fd = make_map(BpfMapType.BLOOM_FILTER, 0, 8, 64)
    syscall.map_update(fd, None, b"is in it")
    assert client.lookup(id_of(fd), b"", b"is in it") is not None
    assert client.lookup(id_of(fd), b"", b"is not in") is None


def test_large_values_need_no_large_question(client: Client, make_map: Callable[..., int]) -> None:
    fd = make_map(BpfMapType.ARRAY, value_size=1 << 20, max_entries=1)
    value = os.urandom(1 << 20)
    syscall.map_update(fd, bytes(4), value)
    assert client.lookup(id_of(fd), bytes(4), bytes(1 << 20)) == value


@pytest.mark.parametrize("key", [b"", b"123", b"12345"])
def test_keys_of_another_size_never_reach_the_kernel(client: Client, make_map: Callable[..., int], key: bytes) -> None:
    map_id = id_of(make_map())
    with pytest.raises(LimitExceeded, match="4 bytes"):
        client.lookup(map_id, key)
    with pytest.raises(LimitExceeded, match="4 bytes"):
        client.next_key(map_id, key)
    with pytest.raises(LimitExceeded, match="4 bytes"):
        client.batch(map_id, key + b"12345", 4)


def test_types_without_batches_say_so(client: Client, make_map: Callable[..., int]) -> None:
    with pytest.raises(NotSupported):
        client.batch(id_of(make_map(BpfMapType.STACK_TRACE, 4, 8)), None, 4)


def test_maps_without_entries_are_refused(client: Client, make_map: Callable[..., int]) -> None:
    """Neither keys nor values: no division by their size is left to be tried."""
    ring = id_of(make_map(BpfMapType.RINGBUF, 0, 0, 4096))
    with pytest.raises(WrongMapType, match="no entries"):
        client.batch(ring, None, 4)
    for ask in (client.lookup, client.next_key):
        with pytest.raises(KernelError):
            ask(ring, b"")


def test_the_brokers_own_descriptors_are_nobodys_key(client: Client, make_map: Callable[..., int]) -> None:
    fd = storage(make_map, BpfMapType.TASK_STORAGE, 8)
    with pytest.raises(WrongMapType, match="descriptors of the asking process"):
        client.lookup(id_of(fd), bytes(4))


def test_a_host_that_cannot_pass_descriptors_passes_none(make_map: Callable[..., int], tmp_path: object) -> None:
    host = Host(bpffs=os.path, passes_descriptors=False)  # type: ignore[arg-type]
    before = len(os.listdir("/proc/self/fd"))
    with Client(LocalTransport(host)) as client:
        opened, fd = client.map_open(id_of(make_map(BpfMapType.ARRAY)))
    assert fd is None
    assert opened.facts.type == BpfMapType.ARRAY
    assert len(os.listdir("/proc/self/fd")) == before + 1
