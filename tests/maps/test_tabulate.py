"""From an open map to a table, by way of the broker's own code."""

from __future__ import annotations

import os
import socket

import pytest

from app.broker.local import client as local_client
from app.maps.errors import CannotList, NoSuchMap
from app.maps.layouts import Btfs
from app.maps.opening import open_map
from app.maps.tabulate import read_sheet
from app.maps.walk import Completeness
from app.settings import Settings
from app.uapi import loading, objects, syscall
from app.uapi.cpus import possible_cpus
from app.uapi.enums import BpfMapFlag, BpfMapType
from app.uapi.syscall import MapSpec
from tests.btfs import compile_blob, compile_btf
from tests.livemaps import live_map, u32, u64

pytestmark = pytest.mark.kernel


@pytest.fixture
def client(tmp_path):
    with local_client(Settings(data=tmp_path)) as found:
        yield found


def sheet_of_map(client, fd):
    with open_map(client, Btfs(client), objects.map_info(fd).id) as opened:
        return read_sheet(opened)


def test_a_per_cpu_map_without_entries_is_an_empty_table(client):
    spec = MapSpec(type=BpfMapType.PERCPU_HASH, key_size=4, value_size=5, max_entries=10)
    with live_map(spec) as fd:
        assert sheet_of_map(client, fd).table.values.shape == (0, possible_cpus(), 5)


def test_the_padding_between_cpus_is_cut_off(client):
    spec = MapSpec(type=BpfMapType.PERCPU_ARRAY, key_size=4, value_size=5, max_entries=1)
    whole = b"".join(bytes([cpu + 1] * 5) + b"\xee\xee\xee" for cpu in range(possible_cpus()))
    with live_map(spec, [(u32(0), whole)]) as fd:
        values = sheet_of_map(client, fd).table.values
    assert [value.tobytes() for value in values[0]] == [bytes([cpu + 1] * 5) for cpu in range(possible_cpus())]


@pytest.mark.parametrize(
    ("flags", "completeness"),
    [
        pytest.param(0, Completeness.WALKED, id="its programs go on writing"),
        pytest.param(BpfMapFlag.RDONLY_PROG, Completeness.EXACT, id="nobody writes"),
    ],
)
def test_a_frozen_map_is_a_moment_where_programs_only_read(client, flags, completeness):
    spec = MapSpec(type=BpfMapType.HASH, key_size=4, value_size=8, max_entries=10, flags=flags)
    with live_map(spec, [(u32(1), u64(1))]) as fd:
        assert sheet_of_map(client, fd).reading.completeness is Completeness.WALKED
        syscall.map_freeze(fd)
        assert sheet_of_map(client, fd).reading.completeness is completeness


def test_a_frozen_map_of_devices_still_loses_one_that_goes_away(client):
    spec = MapSpec(type=BpfMapType.DEVMAP, key_size=4, value_size=4, max_entries=4)
    with live_map(spec, [(u32(1), u32(socket.if_nametoindex("lo")))]) as fd:
        syscall.map_freeze(fd)
        info = objects.map_info(fd)
        assert info.map_flags & BpfMapFlag.RDONLY_PROG  # the kernel sets it by itself
        assert sheet_of_map(client, fd).reading.completeness is Completeness.WALKED


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        pytest.param(MapSpec(type=BpfMapType.PERF_EVENT_ARRAY, key_size=4, value_size=4, max_entries=2), "perf events", id="perf"),
        pytest.param(MapSpec(type=BpfMapType.CGROUP_ARRAY, key_size=4, value_size=4, max_entries=2), "never gives back", id="cgroup"),
        pytest.param(MapSpec(type=BpfMapType.XSKMAP, key_size=4, value_size=4, max_entries=2), "AF_XDP", id="xsk"),
        pytest.param(MapSpec(type=BpfMapType.BLOOM_FILTER, key_size=0, value_size=4, max_entries=2), "surely not, or maybe", id="bloom"),
        pytest.param(
            MapSpec(type=BpfMapType.ARENA, key_size=0, value_size=0, max_entries=2, flags=BpfMapFlag.MMAPABLE),
            "never mapped",
            id="arena",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_listed_says_why_in_its_own_words(client, spec, says):
    with live_map(spec) as fd, pytest.raises(CannotList, match=says):
        sheet_of_map(client, fd)


def test_a_map_that_is_gone_has_a_name_for_it(client):
    with live_map(MapSpec(type=BpfMapType.HASH, key_size=4, value_size=8, max_entries=10)) as fd:
        map_id = objects.map_info(fd).id
    with pytest.raises(NoSuchMap, match=str(map_id)), open_map(client, Btfs(client), map_id):
        pass


def test_nothing_of_a_map_is_left_open(client):
    spec = MapSpec(type=BpfMapType.HASH, key_size=4, value_size=8, max_entries=10)
    with live_map(spec, [(u32(1), u64(1))]) as fd:
        sheet_of_map(client, fd)
        before = sorted(os.listdir("/proc/self/fd"))
        for _ in range(200):
            sheet_of_map(client, fd)
        assert sorted(os.listdir("/proc/self/fd")) == before


def test_task_storage_is_read_by_going_through_the_tasks(client):
    # The type is obligatory for storages: int32 keys, a value type of the map's own size.
    source = "struct owner { unsigned long long n; }; int use(struct owner *p) { return 0; }"
    btf = compile_btf(source)
    btf_fd = loading.btf_load(compile_blob(source))
    spec = MapSpec(
        type=BpfMapType.TASK_STORAGE,
        key_size=4,
        value_size=8,
        max_entries=0,
        flags=BpfMapFlag.NO_PREALLOC,
        btf_fd=btf_fd,
        btf_key_type_id=btf.find("int")[0],
        btf_value_type_id=btf.find("owner")[0],
    )
    pidfd = os.pidfd_open(os.getpid())
    try:
        with live_map(spec, [(u32(pidfd), u64(4711))]) as fd:
            sheet = sheet_of_map(client, fd)
    finally:
        os.close(pidfd)
        os.close(btf_fd)
    assert len(sheet.table) == 1
    assert int.from_bytes(sheet.table.keys[0][4:8].tobytes(), "little") == os.getpid()
    assert sheet.table.values[0].tobytes() == u64(4711)


def with_a_socket(map_type):
    return MapSpec(type=map_type, key_size=4, value_size=4, max_entries=8)


def test_a_socket_hash_without_room_for_cookies_tells_which_keys_are_used(client):
    spec = with_a_socket(BpfMapType.SOCKHASH)
    with live_map(spec) as fd, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as held:
        held.bind(("127.0.0.1", 0))
        syscall.map_update(fd, u32(3), u32(held.fileno()))
        sheet = sheet_of_map(client, fd)
    assert [key.tobytes() for key in sheet.table.keys] == [u32(3)]
    assert any("no cookie" in note for note in sheet.notes)


def test_a_socket_array_without_room_for_cookies_says_so(client):
    with live_map(with_a_socket(BpfMapType.SOCKMAP)) as fd, pytest.raises(CannotList, match="no cookie"):
        sheet_of_map(client, fd)
