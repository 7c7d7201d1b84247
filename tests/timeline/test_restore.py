"""A snapshot brought back by audited edits: the map holds then what it held, and nothing else was touched."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.broker.local import client as local_client
from app.cli.service import CLI
from app.history.writer import Writer
from app.maps.bulk import edits_from, edits_of
from app.settings import Settings
from app.timeline import told
from app.timeline.differ import Diff, compare
from app.timeline.errors import CannotRestore
from app.timeline.restore import only, patch, plan_rows
from app.timeline.sides import side
from app.uapi import syscall
from app.uapi.cpus import possible_cpus
from app.uapi.enums import BpfAttachType, BpfMapType, BpfProgType
from app.uapi.loading import ProgSpec, prog_load
from app.uapi.objects import map_info, prog_info
from app.uapi.syscall import MapSpec
from app.wire.errors import BadField
from tests.columns.kernel_maps import created
from tests.livemaps import live_map, u32, u64
from tests.timeline.conftest import Past
from tests.timeline.test_differ import SOURCE, flow, types

pytestmark = pytest.mark.kernel

JUMPS = MapSpec(type=BpfMapType.PROG_ARRAY, key_size=4, value_size=4, max_entries=4, name=b"jumps")


@pytest.fixture
def past(writer: Writer, tmp_path: Path) -> Iterator[Past]:
    with local_client(Settings(data=tmp_path, allow_edits=True)) as client:
        yield Past(writer, client)


def restored(past: Past, map_id: int, ref: str, where: str = "") -> int:
    """Bring a snapshot back; how many edits it took."""
    made = compare(side(str(map_id), past.timeline, past), side(ref, past.timeline, past), past.timeline)
    with past.open_map(map_id) as opened:
        edits = edits_from(opened, plan_rows(only(made, where)))
        for edit in edits:
            report = past.client.edit(CLI, edit, "back as it was", dry_run=False)
            assert report.result == "done", report
    return len(edits)


def left(past: Past, map_id: int, ref: str) -> int:
    """Entries that still differ."""
    made = compare(side(str(map_id), past.timeline, past), side(ref, past.timeline, past), past.timeline)
    return len(made.added) + len(made.removed) + len(made.old)


def test_entries_that_changed_came_or_went_are_as_they_were(past: Past, tmp_path: Path) -> None:
    btf, (key_id, value_id) = types(SOURCE, tmp_path, "key", "flow")
    with created(btf, key_id, value_id, key_size=4, value_size=40, max_entries=16, name=b"flows") as (fd, map_id):
        for number in range(5):
            syscall.map_update(fd, u32(number), flow(number, state=number, slots=(1, 2, 3, 4)))
        kept = past.take(map_id)
        syscall.map_update(fd, u32(1), flow(11, state=5, last_ns=9, slots=(0, 7, 0, 0)))
        syscall.map_delete(fd, u32(2))
        syscall.map_update(fd, u32(9), flow(9))
        assert left(past, map_id, kept.ref) == 3
        assert restored(past, map_id, kept.ref) == 3
        assert left(past, map_id, kept.ref) == 0


def test_only_what_a_filter_selects_is_brought_back(past: Past, tmp_path: Path) -> None:
    btf, (key_id, value_id) = types(SOURCE, tmp_path, "key", "flow")
    with created(btf, key_id, value_id, key_size=4, value_size=40, max_entries=16, name=b"flows") as (fd, map_id):
        for number in range(4):
            syscall.map_update(fd, u32(number), flow(number))
        kept = past.take(map_id)
        for number in range(4):
            syscall.map_update(fd, u32(number), flow(100 + number))
        syscall.map_update(fd, u32(9), flow(9))
        assert restored(past, map_id, kept.ref, "value.packets in (1, 2)") == 2
        assert left(past, map_id, kept.ref) == 3


def test_only_fields_that_differ_are_written(past: Past, tmp_path: Path) -> None:
    btf, (key_id, value_id) = types(SOURCE, tmp_path, "key", "flow")
    with created(btf, key_id, value_id, key_size=4, value_size=40, max_entries=16, name=b"flows") as (fd, map_id):
        syscall.map_update(fd, u32(1), flow(1, drops=1))
        kept = past.take(map_id)
        syscall.map_update(fd, u32(1), flow(7, drops=2))
        made = compare(
            side(str(map_id), past.timeline, past),
            side(kept.ref, past.timeline, past),
            past.timeline,
            ignore=("value.packets",),
        )
        assert list(plan_rows(made)) == [{"key": "hex:01000000", "set": {"value.drops": 1}}]


def test_values_of_each_cpu_and_of_maps_without_types(past: Past) -> None:
    n_cpus = possible_cpus()
    percpu = MapSpec(type=BpfMapType.PERCPU_HASH, key_size=4, value_size=8, max_entries=4, name=b"cpus")
    bare = MapSpec(type=BpfMapType.ARRAY, key_size=4, value_size=12, max_entries=4, name=b"bare")
    with live_map(percpu, [(u32(1), u64(3) * n_cpus)]) as one, live_map(bare) as other:
        for fd, changed in ((one, u64(4) * n_cpus), (other, b"x" * 12)):
            map_id = map_info(fd).id
            kept = past.take(map_id)
            syscall.map_update(fd, u32(1), changed)
            assert left(past, map_id, kept.ref) == 1
            restored(past, map_id, kept.ref)
            assert left(past, map_id, kept.ref) == 0


WIDE = """
struct key { __u32 addr; };
struct count { __u64 packets; __u32 limit; __u32 state:3, mark:29; };
struct old_count { __u64 packets; __u16 limit; __u16 more; __u32 state:3, mark:29; };
struct wide { __u64 packets; __u32 slots[80]; };
"""


def count(packets: int, limit: int, state: int, mark: int) -> bytes:
    return struct.pack("<QII", packets, limit, state | mark << 3)


def rows_without(past: Past, map_id: int, ref: str, *ignore: str) -> list[dict[str, Any]]:
    """The plan that leads back but for what comparisons ignore, carried out; its rows."""
    made = compare(side(str(map_id), past.timeline, past), side(ref, past.timeline, past), past.timeline, ignore=ignore)
    with past.open_map(map_id) as opened:
        for edit in edits_from(opened, plan_rows(made)):
            assert past.client.edit(CLI, edit, "back as it was", dry_run=False).result == "done"
    return list(plan_rows(made))


def test_what_is_ignored_stays_where_the_values_of_all_cpus_are_written(past: Past, tmp_path: Path) -> None:
    btf, (key_id, value_id) = types(WIDE, tmp_path, "key", "count")
    spec = {"type": BpfMapType.PERCPU_HASH, "key_size": 4, "value_size": 16, "max_entries": 4, "name": b"cpus"}
    n_cpus = possible_cpus()
    with created(btf, key_id, value_id, **spec) as (fd, map_id):
        syscall.map_update(fd, u32(1), count(1, 10, 1, 5) * n_cpus)
        kept = past.take(map_id)
        now = [count(5000 + cpu, 20, 6, 7 + cpu) for cpu in range(n_cpus)]
        syscall.map_update(fd, u32(1), b"".join(now))
        (row,) = rows_without(past, map_id, kept.ref, "value.packets", "value.mark")
        assert row["values"] == [
            {"cpu": cpu, "value": {"packets": 5000 + cpu, "limit": 10, "state": 1, "mark": 7 + cpu}}
            for cpu in range(n_cpus)
        ]
        held = bytearray(16 * n_cpus)
        assert syscall.map_lookup(fd, u32(1), held)
        assert bytes(held) == b"".join(count(5000 + cpu, 10, 1, 7 + cpu) for cpu in range(n_cpus))


def test_what_is_ignored_stays_where_a_value_is_written_as_a_whole(past: Past, tmp_path: Path) -> None:
    btf, (key_id, value_id) = types(WIDE, tmp_path, "key", "wide")
    with created(btf, key_id, value_id, key_size=4, value_size=328, max_entries=4, name=b"wide") as (fd, map_id):
        syscall.map_update(fd, u32(1), struct.pack("<Q80I", 1, *range(80)))
        kept = past.take(map_id)
        syscall.map_update(fd, u32(1), struct.pack("<Q80I", 5000, *range(100, 180)))
        (row,) = rows_without(past, map_id, kept.ref, "value.packets", "value.slots[7]")
        assert row["value"] == {"packets": 5000, "slots": [107 if at == 7 else at for at in range(80)]}
        assert left(past, map_id, kept.ref) == 1
        assert rows_without(past, map_id, kept.ref) == [
            {"key": "hex:01000000", "set": {"value.packets": 1, "value.slots[7]": 7}}
        ]
        assert left(past, map_id, kept.ref) == 0


def test_what_is_ignored_stays_where_the_snapshot_has_another_layout(past: Past, tmp_path: Path) -> None:
    btf, (key_id, value_id, old_id) = types(WIDE, tmp_path, "key", "count", "old_count")
    spec = {"type": BpfMapType.PERCPU_HASH, "key_size": 4, "value_size": 16, "max_entries": 4, "name": b"cpus"}
    n_cpus = possible_cpus()
    with created(btf, key_id, old_id, **spec) as (fd, map_id):
        syscall.map_update(fd, u32(1), struct.pack("<QHHI", 1, 10, 3, 1 | 5 << 3) * n_cpus)
        kept = past.take(map_id)
    with created(btf, key_id, value_id, **spec) as (fd, map_id):
        syscall.map_update(fd, u32(1), count(5000, 20, 6, 7) * n_cpus)
        (row,) = rows_without(past, map_id, kept.ref, "value.packets")
        assert row["values"][0]["value"] == {"packets": 5000, "limit": 10, "state": 1, "mark": 5}


def test_a_patch_is_a_plan_that_leads_from_one_to_the_other(past: Past, tmp_path: Path) -> None:
    btf, (key_id, value_id) = types(SOURCE, tmp_path, "key", "flow")
    with created(btf, key_id, value_id, key_size=4, value_size=40, max_entries=16, name=b"flows") as (fd, map_id):
        syscall.map_update(fd, u32(1), flow(1))
        first = past.take(map_id)
        syscall.map_update(fd, u32(1), flow(2, slots=(0, 0, 0, 3)))
        syscall.map_update(fd, u32(2), flow(5))
        second = past.take(map_id)
        made = compare(side(second.ref, past.timeline, past), side(first.ref, past.timeline, past), past.timeline)
        text = b"".join(patch(made)).decode()
        assert [sorted(json.loads(line)) for line in text.splitlines()] == [["key", "set"], ["delete", "key"]]
        with past.open_map(map_id) as opened:
            for edit in edits_of(opened, text):
                past.client.edit(CLI, edit, "as a patch", dry_run=False)
        assert left(past, map_id, first.ref) == 0


def test_what_a_capped_snapshot_lacks_is_not_deleted(past: Past) -> None:
    spec = MapSpec(type=BpfMapType.HASH, key_size=4, value_size=8, max_entries=4, name=b"capped")
    with live_map(spec, [(u32(1), u64(1))]) as fd:
        map_id = map_info(fd).id
        kept = past.take(map_id)
        syscall.map_update(fd, u32(2), u64(2))
        made = compare(side(str(map_id), past.timeline, past), side(kept.ref, past.timeline, past), past.timeline)
        assert [sorted(row) for row in plan_rows(made)] == [["delete", "key"]]
        capped = replace(made, b=replace(made.b, completeness="capped"))
        assert list(plan_rows(capped)) == []


def test_a_queue_says_that_it_cannot_be_put_back(past: Past) -> None:
    spec = MapSpec(type=BpfMapType.QUEUE, key_size=0, value_size=4, max_entries=4, name=b"queue")
    with live_map(spec, [(None, u32(1))]) as fd:
        kept = past.take(map_info(fd).id)
        with pytest.raises(CannotRestore, match="put back"):
            list(plan_rows(against_itself(past, kept.ref)))


def against_itself(past: Past, ref: str) -> Diff:
    both = side(ref, past.timeline, past)
    return compare(both, both, past.timeline)


@contextlib.contextmanager
def programs(count: int, attached: int = 0) -> Iterator[list[int]]:
    """Ids of as many loaded XDP programs: r0 = 2, exit."""
    insns = bytes([0xB7, 0, 0, 0, 2, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0])
    spec = ProgSpec(type=BpfProgType.XDP, insns=insns, name=b"slot", expected_attach_type=attached)
    with contextlib.ExitStack() as loaded:
        fds = [prog_load(spec) for _ in range(count)]
        for fd in fds:
            loaded.callback(os.close, fd)
        yield [prog_info(fd).id for fd in fds]


def put(past: Past, map_id: int, slots: dict[int, str]) -> None:
    """Give slots their things, as an edit does."""
    with past.open_map(map_id) as opened:
        rows = [{"key": f"hex:{u32(slot).hex()}", "thing": thing} for slot, thing in slots.items()]
        for edit in edits_from(opened, rows):
            assert past.client.edit(CLI, edit, "as a test", dry_run=False).result == "done"


def swapped(past: Past, map_id: int, first: dict[int, str], then: dict[int, str]) -> None:
    """Slots given, kept, given otherwise, one emptied and one filled; all of it as it was after a restore."""
    put(past, map_id, first)
    ref = past.take(map_id).ref
    put(past, map_id, then)
    with past.open_map(map_id) as opened:
        for edit in edits_from(opened, [{"key": f"hex:{u32(1).hex()}", "delete": True}]):
            past.client.edit(CLI, edit, "as a test", dry_run=False)
    assert left(past, map_id, ref) == 3
    assert restored(past, map_id, ref) == 3
    assert left(past, map_id, ref) == 0


def test_slots_get_the_programs_that_they_had(past: Past) -> None:
    with programs(3) as (one, two, three), live_map(JUMPS) as fd:
        swapped(past, map_info(fd).id, {0: f"prog:{one}", 1: f"prog:{two}"}, {0: f"prog:{three}", 2: f"prog:{three}"})


def test_slots_get_the_maps_that_they_had(past: Past) -> None:
    inner = MapSpec(type=BpfMapType.ARRAY, key_size=4, value_size=8, max_entries=1)
    with live_map(inner) as one, live_map(inner) as two, live_map(inner) as three:
        a, b, c = (f"map:{map_info(fd).id}" for fd in (one, two, three))
        for kind in (BpfMapType.ARRAY_OF_MAPS, BpfMapType.HASH_OF_MAPS):
            spec = MapSpec(type=kind, key_size=4, value_size=4, max_entries=4, name=b"outer", inner_map_fd=one)
            with live_map(spec) as fd:
                swapped(past, map_info(fd).id, {0: a, 1: b}, {0: c, 2: c})


def test_slots_get_the_devices_and_queues_that_they_had(past: Past) -> None:
    lo = socket.if_nametoindex("lo")
    with programs(1, BpfAttachType.XDP_DEVMAP) as (at_device,), programs(1, BpfAttachType.XDP_CPUMAP) as (at_cpu,):
        for kind in (BpfMapType.DEVMAP, BpfMapType.DEVMAP_HASH):
            spec = MapSpec(type=kind, key_size=4, value_size=8, max_entries=4, name=b"ports")
            with live_map(spec) as fd:
                device = f"dev:{lo}+prog:{at_device}"
                swapped(past, map_info(fd).id, {0: device, 1: "dev:lo"}, {0: "dev:lo", 2: device})
        spec = MapSpec(type=BpfMapType.CPUMAP, key_size=4, value_size=8, max_entries=1, name=b"queues")
        with live_map(spec) as fd:
            map_id = map_info(fd).id
            put(past, map_id, {0: f"cpu:192+prog:{at_cpu}"})
            ref = past.take(map_id).ref
            put(past, map_id, {0: "cpu:64"})
            assert restored(past, map_id, ref) == 1
            assert left(past, map_id, ref) == 0


def test_a_thing_that_is_gone_is_said_for_its_row(past: Past) -> None:
    with live_map(JUMPS) as fd:
        map_id = map_info(fd).id
        with programs(1) as (gone,):
            put(past, map_id, {0: f"prog:{gone}"})
            ref = past.take(map_id).ref
            syscall.map_delete(fd, u32(0))
        made = compare(side(str(map_id), past.timeline, past), side(ref, past.timeline, past), past.timeline)
        with past.open_map(map_id) as opened:
            (edit,) = edits_from(opened, plan_rows(made))
        with pytest.raises(BadField, match=f"prog:{gone} cannot be opened"):
            past.client.edit(CLI, edit, "back as it was", dry_run=True)


def test_numbers_from_before_a_start_of_the_host_mean_nothing(past: Past) -> None:
    with programs(1) as (one,), live_map(JUMPS) as fd:
        map_id = map_info(fd).id
        put(past, map_id, {0: f"prog:{one}"})
        ref = past.take(map_id).ref
        made = compare(side(str(map_id), past.timeline, past), side(ref, past.timeline, past), past.timeline)
        assert made.b.kept is not None
        assert not any("started" in note for note in told.notes(made))
        before = replace(made, b=replace(made.b, kept=replace(made.b.kept, boot_id="of-the-start-before")))
        with pytest.raises(CannotRestore, match="until the host was last started: put them back one by one"):
            list(plan_rows(before))
        assert any("a number that stands for a program may mean another one" in note for note in told.notes(before))


def test_sockets_are_put_back_by_hand(past: Past) -> None:
    spec = MapSpec(type=BpfMapType.SOCKMAP, key_size=4, value_size=8, max_entries=2, name=b"socks")
    with live_map(spec) as fd:
        ref = past.take(map_info(fd).id).ref
        with pytest.raises(CannotRestore, match="stands for a socket, and nothing tells which"):
            list(plan_rows(against_itself(past, ref)))
