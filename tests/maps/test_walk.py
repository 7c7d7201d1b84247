"""Walks over real maps: complete, bounded, and each stable key once."""

from __future__ import annotations

import os
import threading

import numpy as np
import pytest

from app.maps import walk
from app.maps.keys import walk_keys
from app.maps.kinds import KINDS, Enumerate, kind_of
from app.maps.walk import Completeness, read_all, read_first
from app.uapi import syscall
from app.uapi.cpus import possible_cpus
from app.uapi.enums import BpfMapFlag, BpfMapType
from app.uapi.errors import NotSupported
from app.uapi.syscall import MapSpec
from tests.livemaps import HUGE_TRIE, live_map, reader_of, u32, u64

pytestmark = pytest.mark.kernel


def all_of(fd, spec, *, limit=1 << 30, expected=None):
    return read_all(
        reader_of(fd, spec), kind_of(spec.type), max_entries=spec.max_entries, expected=expected, limit=limit
    )


def as_dict(reading):
    return {key.tobytes(): value.tobytes() for key, value in zip(reading.keys, reading.values, strict=True)}


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param(MapSpec(type=BpfMapType.HASH, key_size=4, value_size=8, max_entries=5000), id="hash"),
        pytest.param(
            MapSpec(type=BpfMapType.HASH, key_size=4, value_size=8, max_entries=5000, flags=1), id="not preallocated"
        ),
        pytest.param(MapSpec(type=BpfMapType.LRU_HASH, key_size=4, value_size=8, max_entries=9000), id="lru"),
        pytest.param(MapSpec(type=BpfMapType.HASH, key_size=4, value_size=5, max_entries=5000), id="odd value size"),
        pytest.param(MapSpec(type=BpfMapType.HASH, key_size=1, value_size=8, max_entries=256), id="one-byte key"),
    ],
)
def test_every_entry_comes_once(spec):
    number = min(spec.max_entries, 256 if spec.key_size == 1 else 4000)
    entries = [
        (i.to_bytes(spec.key_size, "little"), (i * 3).to_bytes(spec.value_size, "little")) for i in range(number)
    ]
    with live_map(spec, entries) as fd:
        reading = all_of(fd, spec)
    assert as_dict(reading) == dict(entries)
    assert len(reading) == number
    assert reading.completeness is Completeness.WALKED


def test_an_array_in_one_call_is_exact():
    spec = MapSpec(type=BpfMapType.ARRAY, key_size=4, value_size=8, max_entries=300)
    with live_map(spec, [(u32(7), u64(7))]) as fd:
        reading = all_of(fd, spec, expected=300)
    assert len(reading) == 300
    assert reading.completeness is Completeness.EXACT
    assert as_dict(reading)[u32(7)] == u64(7)


def full(map_type, key_size=4, flags=0):
    return MapSpec(type=map_type, key_size=key_size, value_size=8, max_entries=3000, flags=flags)


@pytest.mark.parametrize(
    ("spec", "completeness"),
    [
        pytest.param(full(BpfMapType.ARRAY), Completeness.EXACT, id="array"),
        pytest.param(full(BpfMapType.PERCPU_ARRAY), Completeness.WALKED, id="per-CPU array"),
        pytest.param(full(BpfMapType.HASH), Completeness.WALKED, id="hash"),
        pytest.param(full(BpfMapType.HASH, flags=BpfMapFlag.NO_PREALLOC), Completeness.WALKED, id="not preallocated"),
        pytest.param(full(BpfMapType.PERCPU_HASH), Completeness.WALKED, id="per-CPU hash"),
        pytest.param(full(BpfMapType.LPM_TRIE, 8, BpfMapFlag.NO_PREALLOC), Completeness.WALKED, id="trie"),
    ],
)
def test_as_many_entries_as_the_limit_allows_are_all_of_them(spec, completeness, monkeypatch):
    value = u64(1) * (possible_cpus() if spec.type in syscall.PER_CPU_TYPES else 1)
    prefix = u32(32) if spec.type is BpfMapType.LPM_TRIE else b""
    number = spec.max_entries
    with live_map(spec, [(prefix + u32(each), value) for each in range(number)]) as fd:
        reading = all_of(fd, spec, limit=number)
        assert (len(reading), reading.completeness) == (number, completeness)
        below = all_of(fd, spec, limit=number - 1)
        assert len(below) <= number - 1
        assert below.completeness is Completeness.CAPPED
        monkeypatch.setattr(walk, "BATCH_ENTRIES", 100)  # in many calls
        reading = all_of(fd, spec, limit=number)
        assert (len(reading), reading.completeness) == (number, Completeness.WALKED)
        assert len(as_dict(reading)) == number


def test_an_array_is_exact_up_to_what_one_call_brings():
    for number, completeness in ((walk.BATCH_ENTRIES, Completeness.EXACT), (70_000, Completeness.WALKED)):
        spec = MapSpec(type=BpfMapType.ARRAY, key_size=4, value_size=8, max_entries=number)
        with live_map(spec) as fd:
            reading = all_of(fd, spec, expected=number)
        assert (len(reading), reading.completeness) == (number, completeness)


def test_per_cpu_values_come_for_every_possible_cpu():
    spec = MapSpec(type=BpfMapType.PERCPU_HASH, key_size=4, value_size=5, max_entries=10)
    whole = b"".join(bytes([cpu] * 5).ljust(8, b"\0") for cpu in range(possible_cpus()))
    with live_map(spec, [(u32(1), whole)]) as fd:
        assert as_dict(all_of(fd, spec)) == {u32(1): whole}


def test_a_trie_lists_prefixes_as_written():
    spec = MapSpec(type=BpfMapType.LPM_TRIE, key_size=8, value_size=4, max_entries=10, flags=BpfMapFlag.NO_PREALLOC)
    entries = {u32(24) + bytes([10, 1, 2, 99]): u32(1), u32(8) + bytes([10, 0, 0, 0]): u32(2)}
    with live_map(spec, list(entries.items())) as fd:
        assert as_dict(all_of(fd, spec)) == entries


def test_empty_slots_are_left_out():
    inner = MapSpec(type=BpfMapType.ARRAY, key_size=4, value_size=4, max_entries=1)
    with live_map(inner) as inner_fd:
        spec = MapSpec(type=BpfMapType.ARRAY_OF_MAPS, key_size=4, value_size=4, max_entries=50, inner_map_fd=inner_fd)
        with live_map(spec, [(u32(3), u32(inner_fd)), (u32(40), u32(inner_fd))]) as fd:
            assert sorted(as_dict(all_of(fd, spec))) == [u32(3), u32(40)]


@pytest.mark.parametrize(("map_type", "shown"), [(BpfMapType.QUEUE, 1), (BpfMapType.STACK, 3)])
def test_queues_are_peeked_and_keep_what_they_have(map_type, shown):
    spec = MapSpec(type=map_type, key_size=0, value_size=8, max_entries=5)
    with live_map(spec, [(None, u64(number)) for number in (1, 2, 3)]) as fd:
        reading = all_of(fd, spec)
        assert [value.tobytes() for value in reading.values] == [u64(shown)]
        assert reading.completeness is Completeness.PARTIAL
        popped = bytearray(8)
        assert [syscall.map_lookup_and_delete(fd, None, popped) for _ in range(4)] == [True, True, True, False]


def test_an_empty_queue_is_empty():
    spec = MapSpec(type=BpfMapType.QUEUE, key_size=0, value_size=8, max_entries=5)
    with live_map(spec) as fd:
        assert len(all_of(fd, spec)) == 0


def test_the_limit_caps_and_says_so():
    spec = MapSpec(type=BpfMapType.HASH, key_size=4, value_size=8, max_entries=5000)
    with live_map(spec, [(u32(i), u64(i)) for i in range(3000)]) as fd:
        reading = all_of(fd, spec, limit=1000)
    assert reading.completeness is Completeness.CAPPED
    assert 0 < len(reading) <= 1000


def test_the_first_entries_do_not_cost_the_whole_map():
    spec = MapSpec(type=BpfMapType.HASH, key_size=4, value_size=8, max_entries=100_000)
    with live_map(spec, []) as fd:
        keys = np.arange(50_000, dtype=np.uint32)
        syscall.map_update_batch(fd, keys, np.arange(50_000, dtype=np.uint64), 50_000)
        reading = read_first(reader_of(fd, spec), kind_of(spec.type), count=101)
    assert reading is not None
    assert 101 <= len(reading) <= 130
    assert reading.completeness is Completeness.PARTIAL


def test_two_threads_read_what_one_reads():
    spec = MapSpec(type=BpfMapType.HASH, key_size=8, value_size=8, max_entries=300_000)
    number = 250_000
    keys = np.random.default_rng(7).permutation(np.arange(number, dtype=np.uint64))
    with live_map(spec) as fd:
        syscall.map_update_batch(fd, keys, keys * 2, number)
        reading = all_of(fd, spec, expected=number)
    assert len(reading) == number
    found = reading.keys.copy().view(np.uint64).ravel()
    assert (np.sort(found) == np.arange(number)).all()
    assert (reading.values.copy().view(np.uint64).ravel() == found * 2).all()


@pytest.mark.parametrize("used", [0, 1, 3, 200_000])
def test_two_threads_agree_on_nearly_empty_tables(used):
    spec = MapSpec(type=BpfMapType.HASH, key_size=8, value_size=8, max_entries=1 << 20)
    with live_map(spec) as fd:
        keys = np.arange(used, dtype=np.uint64)
        if used:
            syscall.map_update_batch(fd, keys, keys, used)
        reading = all_of(fd, spec, expected=walk.TWO_THREADS_FROM)
    assert sorted(reading.keys.copy().view(np.uint64).ravel().tolist()) == keys.tolist()


class Churn(threading.Thread):
    """Deletes and reinserts the keys from `first` on until told to stop."""

    def __init__(self, fd, first, number):
        super().__init__(daemon=True)
        self.fd, self.keys, self.stop = fd, [u32(i) for i in range(first, first + number)], threading.Event()

    def run(self):
        while not self.stop.is_set():
            for key in self.keys:
                syscall.map_delete(self.fd, key)
                syscall.map_update(self.fd, key, u64(1))

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.join()


@pytest.mark.parametrize("way", ["batch", "walk", "two threads"])
def test_under_churn_the_walk_ends_and_each_stable_key_comes_once(way, monkeypatch):
    stable, moving = (180_000, 400) if way == "two threads" else (20_000, 400)
    spec = MapSpec(type=BpfMapType.HASH, key_size=4, value_size=8, max_entries=stable + moving + 10)
    with live_map(spec) as fd:
        keys = np.arange(stable, dtype=np.uint32)
        syscall.map_update_batch(fd, keys, np.zeros(stable, np.uint64), stable)
        reader = reader_of(fd, spec)
        if way == "walk":

            def refuse(*_args):
                raise NotSupported(syscall.BpfCmd.MAP_LOOKUP_BATCH, 524)

            monkeypatch.setattr(reader, "lookup_batch", refuse)
        with Churn(fd, stable, moving):
            for _ in range(3):
                reading = read_all(
                    reader, kind_of(spec.type), max_entries=spec.max_entries, expected=stable + moving, limit=1 << 30
                )
                found = reading.keys.copy().view(np.uint32).ravel()
                assert len(np.unique(found)) == len(found)
                if way != "walk":
                    # Key after key, a restart may meet the bound; batches see every key that stays.
                    assert set(keys.tolist()) <= set(found.tolist())


def test_a_key_that_is_deleted_all_the_time_does_not_keep_a_walk_going():
    small = MapSpec(type=BpfMapType.HASH, key_size=4, value_size=8, max_entries=64)
    with live_map(small, [(u32(i), u64(i)) for i in range(64)]) as fd:
        reader = reader_of(fd, small)
        original = reader.next_key

        def hostile(key, out):
            found = original(key, out)
            if found:  # whatever was asked about is gone by the time of the next question
                syscall.map_delete(fd, bytes(out))
                syscall.map_update(fd, u32(1000 + int.from_bytes(out, "little")), u64(0))
            return found

        reader.next_key = hostile
        steps = sum(1 for _ in walk_keys(reader, 200))
    assert steps <= 200


def test_a_walk_that_is_always_sent_back_to_the_start_does_not_call_itself_complete(monkeypatch):
    spec = MapSpec(type=BpfMapType.SOCKHASH, key_size=4, value_size=8, max_entries=8)
    with live_map(spec) as fd:
        reader = reader_of(fd, spec)
        monkeypatch.setattr(reader, "lookup", lambda key, value: True)
        monkeypatch.setattr(
            reader, "next_key", lambda key, out: out.__setitem__(slice(None), u32(0 if key == u32(1) else 1)) or True
        )
        reading = read_all(reader, kind_of(spec.type), max_entries=8, expected=None, limit=1 << 30)
    assert reading.completeness is Completeness.CAPPED
    assert len(reading) == 2


def test_memory_is_made_for_what_an_uncounted_map_holds_not_for_what_it_might():
    spec = HUGE_TRIE
    entries = [(u32(32) + u32(number), bytes([number]) * spec.value_size) for number in range(1, 20)]
    with live_map(spec, entries) as fd:
        reader = reader_of(fd, spec)
        reading = read_all(reader, kind_of(spec.type), max_entries=100_000, expected=None, limit=1 << 30)
        assert as_dict(reading) == dict(entries)


def test_a_trie_that_begins_anew_gives_each_key_once_and_ends(monkeypatch):
    spec = MapSpec(type=BpfMapType.LPM_TRIE, key_size=8, value_size=8, max_entries=1000, flags=BpfMapFlag.NO_PREALLOC)
    entries = [(u32(32) + number.to_bytes(4, "big"), u64(number)) for number in range(100)]
    with live_map(spec, entries) as fd:
        monkeypatch.setattr(walk, "BATCH_ENTRIES", 16)
        reader = reader_of(fd, spec)
        original = reader.lookup_batch
        gone: set[bytes] = set()

        def hostile(token, token_out, *rest):
            result = original(token, token_out, *rest)
            if len(gone) < 5:  # the key to go on behind is deleted
                gone.add(bytes(token_out))
                syscall.map_delete(fd, bytes(token_out))
            return result

        reader.lookup_batch = hostile
        reading = read_all(reader, kind_of(spec.type), max_entries=1000, expected=None, limit=1 << 30)
        found = [key.tobytes() for key in reading.keys]
        assert len(gone) == 5
        assert len(found) == len(set(found))
        assert {key for key, _ in entries} - gone <= set(found)
        assert as_dict(reading).items() <= dict(entries).items()


def test_every_type_of_the_kernel_has_a_row_with_words_where_it_cannot_be_listed():
    for map_type in BpfMapType:
        if map_type is BpfMapType.UNSPEC:
            continue
        kind = KINDS[map_type]
        assert kind.label
        assert kind.listable or (kind.why and kind.instead)


def test_a_type_of_tomorrow_is_tried_key_by_key():
    kind = kind_of(4711)
    assert kind.enumerate is Enumerate.WALK
    assert "newer" in kind.why


def test_no_descriptor_is_left_by_reading():
    spec = MapSpec(type=BpfMapType.HASH, key_size=4, value_size=8, max_entries=10)
    with live_map(spec, [(u32(1), u64(1))]) as fd:
        before = os.listdir("/proc/self/fd")
        for _ in range(100):
            all_of(fd, spec)
        assert len(os.listdir("/proc/self/fd")) == len(before)
