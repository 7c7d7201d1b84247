"""Every writable map type on the real kernel: create, replace, delete, push, pop, slots by name, storages by owner, whole maps."""

from __future__ import annotations

import mmap
import os
import socket
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.broker.assembly import R0, Assembly
from app.btf.types import Kind
from app.uapi import loading, objects
from app.uapi.cpus import possible_cpus
from app.uapi.enums import BpfMapFlag, BpfMapType, BpfProgType
from app.uapi.loading import ProgSpec, prog_load
from app.uapi.syscall import MapSpec, map_create, map_freeze, map_lookup, map_next_key, map_update
from app.wire.edits import Change, Edit, NewMap
from app.wire.errors import BadField, Declined, Taken
from app.wire.records import NO_MAP
from tests.broker.editing import ROOT, WHY, Bench, bench, value_of
from tests.broker.swapping import KEY, typed_map
from tests.btfs import Writer
from tests.livemaps import live_map

pytestmark = pytest.mark.kernel

T = BpfMapType
ZERO = bytes(4)


@pytest.fixture
def desk(tmp_path: Path, bpffs: Path) -> Iterator[Bench]:
    with bench(tmp_path / "data", bpffs) as made:
        yield made


def lpm(prefix: int, address: str) -> bytes:
    return struct.pack("=I", prefix) + socket.inet_aton(address)


ENTRIES = [
    pytest.param(T.HASH, 4, 0, KEY, id="hash"),
    pytest.param(T.HASH, 4, BpfMapFlag.NO_PREALLOC, KEY, id="hash without preallocation"),
    pytest.param(T.LRU_HASH, 4, 0, KEY, id="lru_hash"),
    pytest.param(T.PERCPU_HASH, 4, 0, KEY, id="percpu_hash"),
    pytest.param(T.LRU_PERCPU_HASH, 4, 0, KEY, id="lru_percpu_hash"),
    pytest.param(T.LPM_TRIE, 8, BpfMapFlag.NO_PREALLOC, lpm(24, "10.1.2.0"), id="lpm_trie"),
]


@pytest.mark.parametrize(("type_", "key_size", "flags", "key"), ENTRIES)
def test_an_entry_is_created_replaced_deleted_and_each_taken_back(
    desk: Bench, make_map: Callable[..., int], type_: BpfMapType, key_size: int, flags: int, key: bytes
) -> None:
    fd = make_map(type_, key_size=key_size, value_size=8, flags=flags)
    n = possible_cpus() if type_ in {T.PERCPU_HASH, T.LRU_PERCPU_HASH} else 1
    size, first, second = 8 * n, b"first..." * n, b"second.." * n
    created = desk.do(fd, "create", key, value=b"first...")
    assert (created.result, created.after) == ("done", first)
    again = desk.do(fd, "create", key, value=b"other...")
    assert again.result == "conflict"
    assert value_of(fd, key, size) == first
    replaced = desk.do(fd, "replace", key, value=second, seen=first)
    assert (replaced.result, replaced.before, replaced.after) == ("done", first, second)
    assert desk.do(fd, "replace", key, value=b"third..." * n, seen=first).result == "conflict"
    assert desk.undo(replaced).result == "done"
    assert value_of(fd, key, size) == first
    assert desk.do(fd, "delete", key, seen=second).result == "conflict"
    deleted = desk.do(fd, "delete", key, seen=first)
    assert (deleted.result, deleted.before) == ("done", first)
    assert value_of(fd, key, size) is None
    assert desk.do(fd, "delete", key).result == "no_entry"
    assert desk.do(fd, "replace", key, value=second).result == "no_entry"
    assert desk.undo(deleted).result == "done"
    assert value_of(fd, key, size) == first
    map_update(fd, key, second)
    assert desk.undo(created).result == "conflict"  # it moved on: not taken back
    map_update(fd, key, first)
    assert desk.undo(created).result == "done"
    assert value_of(fd, key, size) is None


def test_a_map_that_somebody_has_mapped_is_busy_and_stays_as_it_is(desk: Bench, make_map: Callable[..., int]) -> None:
    fd = make_map(T.ARRAY, value_size=8, max_entries=1, flags=BpfMapFlag.MMAPABLE)
    with mmap.mmap(fd, mmap.PAGESIZE):
        report = desk.do(fd, "freeze")
        assert (report.result, "EBUSY" in report.sentence) == ("refused", True), report
        map_update(fd, ZERO, b"unfrozen")
    assert desk.do(fd, "freeze").result == "done"


def test_a_trie_is_asked_for_the_very_prefix(desk: Bench, make_map: Callable[..., int]) -> None:
    fd = make_map(T.LPM_TRIE, key_size=8, value_size=8, flags=BpfMapFlag.NO_PREALLOC)
    map_update(fd, lpm(8, "10.0.0.0"), b"wide....")
    narrow = lpm(24, "10.1.2.0")
    assert value_of(fd, narrow, 8) == b"wide....", "the kernel answers with the prefix that covers it"
    assert desk.plan(fd, "delete", narrow).before is None
    assert desk.do(fd, "delete", narrow).result == "no_entry"
    assert desk.do(fd, "replace", narrow, value=b"narrow..").result == "no_entry"
    assert desk.do(fd, "create", narrow, value=b"narrow..").result == "done"
    change = Change("value.u64[0]", 0, 64, new=1, expected=int.from_bytes(b"narrow..", "little"))
    assert desk.set(fd, narrow, change).result == "done"
    assert value_of(fd, lpm(8, "10.0.0.0"), 8) == b"wide...."
    assert desk.do(fd, "delete", narrow).result == "done"
    assert desk.do(fd, "create", lpm(33, "10.1.2.0"), value=b"x" * 8).result == "refused"


FULL = [
    pytest.param(T.HASH, 4, 0, lambda n: n.to_bytes(4, "little"), id="hash"),
    pytest.param(T.LPM_TRIE, 8, BpfMapFlag.NO_PREALLOC, lambda n: lpm(32, f"10.0.0.{n}"), id="trie"),
]


@pytest.mark.parametrize(("type_", "key_size", "flags", "key_of"), FULL)
def test_a_full_map_says_so_and_nothing_is_written(
    desk: Bench,
    make_map: Callable[..., int],
    type_: BpfMapType,
    key_size: int,
    flags: int,
    key_of: Callable[[int], bytes],
) -> None:
    fd = make_map(type_, key_size=key_size, value_size=8, max_entries=2, flags=flags)
    for number in (1, 2):
        map_update(fd, key_of(number), bytes(8))
    report = desk.do(fd, "create", key_of(3), value=bytes(8))
    assert (report.result, "full" in report.sentence) == ("refused", True)
    assert value_of(fd, key_of(3), 8) is None
    assert desk.records("map.create.fail")[0].result == "refused"


def test_an_array_is_written_and_never_deleted_from(desk: Bench, make_map: Callable[..., int]) -> None:
    fd = make_map(T.ARRAY, value_size=8)
    assert desk.do(fd, "replace", KEY, value=b"12345678", seen=bytes(8)).result == "done"
    for action in ("delete", "create", "clear"):
        with pytest.raises(BadField, match="array"):
            desk.do(fd, action, KEY, value=bytes(8))
    assert desk.do(fd, "replace", (999).to_bytes(4, "little"), value=bytes(8)).result == "no_entry"


@pytest.mark.parametrize("type_", [T.QUEUE, T.STACK], ids=["queue", "stack"])
def test_queues_are_pushed_to_and_popped_from(desk: Bench, make_map: Callable[..., int], type_: BpfMapType) -> None:
    fd = make_map(type_, key_size=0, value_size=8, max_entries=2)
    pushed = [desk.do(fd, "push", value=bytes([number]) * 8) for number in (1, 2)]
    assert [each.result for each in pushed] == ["done", "done"]
    full = desk.do(fd, "push", value=bytes(8))
    assert (full.result, "full" in full.sentence) == ("refused", True)
    nearest = 1 if type_ is T.QUEUE else 2
    assert desk.plan(fd, "pop").before == bytes([nearest]) * 8
    assert desk.do(fd, "pop", seen=bytes(8)).result == "conflict"
    popped = desk.do(fd, "pop", seen=bytes([nearest]) * 8)
    assert (popped.result, popped.after) == ("done", bytes([nearest]) * 8)
    assert desk.records("map.pop.ok")[0].new_value == bytes([nearest]) * 8
    assert desk.do(fd, "pop").result == "done"
    assert desk.do(fd, "pop").result == "no_entry"
    with pytest.raises(Taken, match="cannot be taken back"):
        desk.undo(popped)


def test_a_bloom_filter_is_pushed_to_for_good(desk: Bench, make_map: Callable[..., int]) -> None:
    fd = make_map(T.BLOOM_FILTER, key_size=0, value_size=8)
    assert any("never be taken out" in warning for warning in desk.plan(fd, "push", value=b"abcdefgh").warnings)
    assert desk.do(fd, "push", value=b"abcdefgh").result == "done"
    assert map_lookup(fd, None, bytearray(b"abcdefgh"))
    with pytest.raises(BadField, match="cannot be taken out"):
        desk.do(fd, "pop")


def a_program(kind: BpfProgType = BpfProgType.XDP) -> int:
    asm = Assembly()
    asm.number(R0, 2)
    asm.exit()
    return prog_load(ProgSpec(type=kind, insns=asm.code(), name=b"slot"))


def test_a_program_array_takes_programs_by_id(desk: Bench, make_map: Callable[..., int]) -> None:
    fd = make_map(T.PROG_ARRAY, value_size=4, max_entries=4)
    first, second = a_program(), a_program()
    ids = [objects.prog_info(prog).id for prog in (first, second)]
    put = desk.do(fd, "put", ZERO, thing=f"prog:{ids[0]}", seen=b"")
    assert (put.result, put.after) == ("done", struct.pack("=I", ids[0]))
    other = desk.do(fd, "put", ZERO, thing=f"prog:{ids[1]}", seen=struct.pack("=I", ids[0]))
    assert other.result == "done"
    assert desk.do(fd, "put", ZERO, thing=f"prog:{ids[1]}", seen=b"").result == "conflict"
    assert desk.undo(other).result == "done"
    assert value_of(fd, ZERO, 4) == struct.pack("=I", ids[0])
    deleted = desk.do(fd, "delete", ZERO)
    assert deleted.result == "done"
    assert desk.undo(deleted).result == "done"
    assert desk.undo(put).result == "done"
    assert value_of(fd, ZERO, 4) is None
    for thing in ("prog:4294967295", "prog:x", "map:1", "7", f"prog:{1 << 40}"):
        with pytest.raises(BadField) as error:
            desk.do(fd, "put", ZERO, thing=thing)
        assert error.value.field == "thing"
    with pytest.raises(BadField, match="descriptors"):
        desk.do(fd, "replace", ZERO, value=struct.pack("=I", ids[0]))
    os.close(first)
    os.close(second)


def test_maps_in_maps_take_maps_by_id_and_pin(desk: Bench, make_map: Callable[..., int], bpffs: Path) -> None:
    inner = make_map(T.ARRAY, value_size=8, max_entries=2)
    pinned = str(bpffs / "inner_of_a_test")
    objects.obj_pin(pinned, inner)
    inner_id = objects.map_info(inner).id
    for type_ in (T.ARRAY_OF_MAPS, T.HASH_OF_MAPS):
        fd = make_map(type_, value_size=4, max_entries=4, inner_map_fd=inner)
        report = desk.do(fd, "put", ZERO, thing=f"map:{inner_id}")
        assert (report.result, report.after) == ("done", struct.pack("=I", inner_id))
        assert desk.do(fd, "put", b"\1\0\0\0", thing=f"pin:{pinned}").result == "done"
        assert desk.undo(report).result == "done"
        unlike = make_map(T.ARRAY, value_size=16, max_entries=2)
        assert desk.do(fd, "put", ZERO, thing=f"map:{objects.map_info(unlike).id}").result == "refused"
        assert value_of(fd, ZERO, 4) is None
    Path(pinned).unlink()


def test_device_maps_take_devices_by_name(desk: Bench, make_map: Callable[..., int]) -> None:
    lo = socket.if_nametoindex("lo")
    for type_ in (T.DEVMAP, T.DEVMAP_HASH):
        fd = make_map(type_, value_size=8, max_entries=4)
        report = desk.do(fd, "put", ZERO, thing="dev:lo")
        assert (report.result, report.after) == ("done", struct.pack("=II", lo, 0))
        assert desk.undo(report).result == "done"
        assert value_of(fd, ZERO, 8) is None
        for thing in ("dev:nosuch0", "dev:lo+7", "lo"):
            with pytest.raises(BadField):
                desk.do(fd, "put", ZERO, thing=thing)


def test_cpu_maps_take_the_length_of_a_queue(desk: Bench, make_map: Callable[..., int]) -> None:
    fd = make_map(T.CPUMAP, value_size=4, max_entries=2)
    assert desk.do(fd, "put", ZERO, thing="cpu:192").after == struct.pack("=I", 192)
    for thing in ("cpu:0", "cpu:16385", "cpu:192+prog:1"):
        with pytest.raises(BadField):
            desk.do(fd, "put", ZERO, thing=thing)
    assert desk.do(fd, "delete", ZERO).result == "done"


def test_socket_maps_take_sockets_by_process_and_descriptor(desk: Bench, make_map: Callable[..., int]) -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        thing = f"socket:{os.getpid()}:{listening.fileno()}"
        for type_ in (T.SOCKMAP, T.SOCKHASH):
            fd = make_map(type_, value_size=8, max_entries=4)
            report = desk.do(fd, "put", ZERO, thing=thing)
            assert report.result == "done"
            cookie = struct.unpack("=Q", listening.getsockopt(socket.SOL_SOCKET, 57, 8))[0]  # SO_COOKIE
            assert report.after == struct.pack("=Q", cookie)
            assert desk.do(fd, "delete", ZERO).result == "done"
            assert desk.do(fd, "delete", ZERO).result == "no_entry"
            with pytest.raises(BadField):
                desk.do(fd, "put", ZERO, thing="socket:0:0")


def test_a_cgroup_array_takes_directories(desk: Bench, make_map: Callable[..., int], cgroup: Path) -> None:
    fd = make_map(T.CGROUP_ARRAY, value_size=4, max_entries=2)
    report = desk.do(fd, "put", ZERO, thing=f"cgroup:{cgroup}")
    assert report.result == "done"
    assert "shows nobody" in report.sentence
    assert desk.do(fd, "delete", ZERO).result == "done"
    with pytest.raises(BadField, match="cannot be opened"):
        desk.do(fd, "put", ZERO, thing="cgroup:/nowhere")


@pytest.fixture(scope="module")
def cgroup(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cgroup v2 of the tests' own, mounted where nothing else looks."""
    at = tmp_path_factory.mktemp("cgroup2")
    subprocess.run(["mount", "-t", "cgroup2", "none", str(at)], check=True)
    group = at / f"atlas-edits-{os.getpid()}"
    group.mkdir()
    yield group
    group.rmdir()
    subprocess.run(["umount", str(at)], check=True)


def owners(cgroup: Path, tmp_path: Path, sock: socket.socket) -> list[tuple[BpfMapType, str]]:
    return [
        (T.TASK_STORAGE, f"task:{os.getpid()}"),
        (T.CGRP_STORAGE, f"cgroup:{cgroup}"),
        (T.INODE_STORAGE, f"inode:{tmp_path}"),
        (T.SK_STORAGE, f"socket:{os.getpid()}:{sock.fileno()}"),
    ]


def test_storages_are_edited_by_their_owner(desk: Bench, cgroup: Path, tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for type_, owner in owners(cgroup, tmp_path, sock):
            with typed_map(
                "struct v { unsigned int a, b; };", type_, max_entries=0, flags=BpfMapFlag.NO_PREALLOC
            ) as fd:
                assert desk.do(fd, "delete", owner=owner).result == "no_entry"
                created = desk.do(fd, "create", owner=owner, value=b"aaaabbbb")
                assert (created.result, created.after) == ("done", b"aaaabbbb"), type_
                report = desk.do(
                    fd, "set", owner=owner,
                    changes=(Change("value.b", 32, 32, new=5, expected=int.from_bytes(b"bbbb", "little")),),
                )  # fmt: skip
                assert (report.result, report.method) == ("done", "update")
                assert "no program can look an entry of this type up" in report.why
                assert desk.undo(report).result == "done"
                assert desk.undo(created).result == "done"
                for wrong in ("", "task:0", "nobody:1", "cgroup:relative", "inode:/nowhere/at/all"):
                    with pytest.raises(BadField) as error:
                        desk.do(fd, "create", owner=wrong, value=bytes(8))
                    assert error.value.field == "owner"


def test_types_that_nobody_writes_say_why(desk: Bench, make_map: Callable[..., int]) -> None:
    ring = make_map(T.RINGBUF, key_size=0, value_size=0, max_entries=4096)
    stacks = make_map(T.STACK_TRACE, value_size=64)
    events = make_map(T.PERF_EVENT_ARRAY, value_size=4)
    for fd, action, says in (
        (ring, "push", "shared memory"),
        (stacks, "create", "only programs"),
        (events, "put", "perf events"),
    ):
        with pytest.raises(BadField, match=says):
            desk.do(fd, action, ZERO, value=bytes(64))


def test_freezing_is_for_good(desk: Bench, make_map: Callable[..., int]) -> None:
    fd = make_map()
    assert "cannot be undone" in desk.plan(fd, "freeze").warnings[0]
    report = desk.do(fd, "freeze")
    assert report.result == "done"
    for action in ("freeze", "create", "delete", "clear"):
        with pytest.raises(BadField, match="frozen"):
            desk.do(fd, action, KEY, value=bytes(8))
    with pytest.raises(Taken, match="stays frozen"):
        desk.undo(report)


def test_pins_are_made_and_removed(desk: Bench, make_map: Callable[..., int], bpffs: Path) -> None:
    fd, path = make_map(), str(bpffs / "by_an_edit")
    pinned = desk.do(fd, "pin", path=path)
    assert pinned.result == "done"
    assert desk.do(fd, "pin", path=path).result == "conflict"
    assert desk.undo(pinned).result == "done"
    assert not os.path.lexists(path)
    assert desk.do(fd, "pin", path=path).result == "done"
    other = make_map()
    with pytest.raises(BadField, match="does not pin this map"):
        desk.do(other, "unpin", path=path)
    unpinned = desk.do(fd, "unpin", path=path)
    assert unpinned.result == "done"
    assert desk.undo(unpinned).result == "done"
    Path(path).unlink()


def test_t22_pins_stay_beneath_the_bpffs(
    desk: Bench, make_map: Callable[..., int], bpffs: Path, tmp_path: Path
) -> None:
    fd = make_map()
    (bpffs / "away").symlink_to(tmp_path)
    try:
        for path in (
            "/tmp/x",
            f"{bpffs}/../x",
            f"{bpffs}/away/x",
            f"{bpffs}//x",
            f"{bpffs}/nofolder/x",
            "",
            f"{bpffs}/a\0b",
        ):
            with pytest.raises(BadField) as error:
                desk.do(fd, "pin", path=path)
            assert error.value.field == "path"
        assert list(tmp_path.glob("x")) == []
    finally:
        (bpffs / "away").unlink()


def test_clearing_deletes_every_entry(desk: Bench, make_map: Callable[..., int]) -> None:
    fd = make_map(max_entries=1000)
    for number in range(700):
        map_update(fd, number.to_bytes(4, "little"), bytes(8))
    report = desk.do(fd, "clear")
    assert (report.result, "700 entries deleted" in report.sentence) == ("done", True)
    assert not map_next_key(fd, None, bytearray(4))


def test_a_map_is_made_and_pinned(desk: Bench, bpffs: Path) -> None:
    path = str(bpffs / "made_by_an_edit")
    spec = NewMap(T.HASH, "made", 4, 8, 16, pin=path)

    def make(new: NewMap) -> object:
        return desk.client.edit(ROOT, Edit(NO_MAP, "make", new_map=new), WHY, dry_run=False)

    report = make(spec)
    assert report.result == "done"  # type: ignore[attr-defined]
    info = objects.map_info(objects.map_get_fd_by_id(report.new_map_id))  # type: ignore[attr-defined]
    assert (info.name, info.key_size, info.value_size, info.max_entries) == (b"made", 4, 8, 16)
    assert make(spec).result == "conflict"  # type: ignore[attr-defined]
    Path(path).unlink()
    bad = (
        NewMap(T.HASH, "made", 4, 8, 16),
        NewMap(T.HASH, "a name with spaces", 4, 8, 16, pin=path),
        NewMap(T.HASH, "made", 4, 8, 16, pin="/tmp/x"),
    )
    for each in bad:
        with pytest.raises(BadField):
            make(each)
    refused = make(NewMap(T.ARRAY, "made", 8, 8, 16, pin=path))
    assert refused.result == "refused"  # type: ignore[attr-defined]
    assert not os.path.lexists(path)


def test_t16_whole_values_with_kept_parts_are_refused_and_fields_go_by_swap(desk: Bench) -> None:
    timer = "struct bpf_timer { unsigned long long __opaque[2]; } __attribute__((aligned(8)));"
    with typed_map(f"{timer} struct v {{ struct bpf_timer t; unsigned long long limit; }};", max_entries=4) as fd:
        map_update(fd, KEY, bytes(24))
        planned = desk.plan(fd, "replace", KEY, value=bytes(24))
        assert (planned.result, "bpf_timer" in planned.why) == ("refused", True)
        assert desk.do(fd, "replace", KEY, value=bytes(24)).result == "refused"
        assert desk.records("map.") == []
        report = desk.set(fd, KEY, Change("value.limit", 128, 64, new=3, expected=0))
        assert (report.result, report.method) == ("done", "kernel_swap")
        assert any("bpf_timer" in warning for warning in desk.plan(fd, "delete", KEY).warnings)


@pytest.mark.parametrize(
    "flags", [BpfMapFlag.MMAPABLE, BpfMapFlag.MMAPABLE | BpfMapFlag.RDONLY_PROG], ids=["data", "rodata"]
)
def test_global_variables_are_edited_by_name(desk: Bench, flags: BpfMapFlag) -> None:
    writer = Writer()
    u32, u64 = writer.integer("unsigned int", 4), writer.integer("unsigned long", 8)
    mode = writer.struct("mode", 16, ("on", u32, 0), ("since", u64, 64))
    quota, state = writer.add(Kind.VAR, "quota", u32, 1), writer.add(Kind.VAR, "a.state", mode, 1)
    section = writer.add(Kind.DATASEC, ".bss", 24, quota, 0, 4, state, 8, 16, vlen=2)
    btf_fd = loading.btf_load(writer.blob())
    spec = MapSpec(
        type=T.ARRAY, key_size=4, value_size=24, max_entries=1, flags=flags, name=b"x.bss", btf_fd=btf_fd,
        btf_key_type_id=0, btf_value_type_id=section,
    )  # fmt: skip
    with live_map(spec) as fd:
        os.close(btf_fd)
        for path, offset_bits, size_bits in (("quota", 0, 32), ("a.state.since", 128, 64)):
            change = Change(f"value.{path}", offset_bits, size_bits, new=7, expected=0)
            report = desk.set(fd, ZERO, change)
            assert (report.result, report.method) == (
                "done",
                "update" if flags & BpfMapFlag.RDONLY_PROG else "kernel_swap",
            )
            held = value_of(fd, ZERO, 24)
            assert held is not None
            assert held[offset_bits // 8] == 7
            assert desk.undo(report).result == "done"
        assert value_of(fd, ZERO, 24) == bytes(24)


def test_a_map_frozen_between_preview_and_edit(desk: Bench, make_map: Callable[..., int]) -> None:
    fd = map_create(MapSpec(type=T.HASH, key_size=4, value_size=8, max_entries=4))
    planned = desk.plan(fd, "create", KEY, value=bytes(8))
    assert planned.result == "planned"
    map_freeze(fd)
    with pytest.raises(Declined):
        desk.do(fd, "create", KEY, value=bytes(8))
    os.close(fd)
