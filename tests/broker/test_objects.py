"""What is listed equals what the kernel, bpftool and /proc say."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from app.broker import vmlinux
from app.broker.holders import _by_proc
from app.broker.host import text
from app.broker.objects import COUNTED, _function_names, _link_facts
from app.uapi import loading, objects, syscall
from app.uapi.enums import BpfAttachType, BpfLinkType, BpfMapFlag, BpfMapType, BpfProgType
from app.uapi.loading import ProgSpec
from app.uapi.objects import LinkInfo
from app.wire.ask import Client
from app.wire.bodies import LinkFacts
from tests.broker.conftest import Running, fill, id_of

pytestmark = pytest.mark.kernel

RETURN_0 = bytes.fromhex("b700000000000000 9500000000000000")


def bpftool(*arguments: str) -> list[dict[str, object]]:
    done = subprocess.run(["bpftool", "-j", *arguments], check=True, capture_output=True)
    return msgspec.json.decode(done.stdout, type=list[dict[str, object]])


@pytest.mark.parametrize("type_", sorted(COUNTED - {BpfMapType.HASH_OF_MAPS}))
@pytest.mark.parametrize("count", [0, 1, 33])
@pytest.mark.parametrize("flags", [0, BpfMapFlag.NO_PREALLOC], ids=["preallocated", "not preallocated"])
def test_entries_are_the_true_number(
    client: Client, make_map: Callable[..., int], type_: BpfMapType, count: int, flags: int
) -> None:
    if "LRU" in type_.name:
        flags = 0
    fd = make_map(type_, value_size=8, flags=flags)
    stride = 8 * (client.hello().possible_cpus if type_ in syscall.PER_CPU_TYPES else 1)
    for number in range(count):
        syscall.map_update(fd, number.to_bytes(4, "little"), bytes(stride))
    if count:
        assert syscall.map_delete(fd, bytes(4))
    facts = {each.id: each for each in client.maps().maps}[id_of(fd)]
    assert facts.entries == max(count - 1, 0)
    assert client.map_open(id_of(fd))[0].facts.entries == facts.entries


def test_types_that_keep_no_counter_have_none(client: Client, make_map: Callable[..., int]) -> None:
    array = make_map(BpfMapType.ARRAY)
    assert {each.id: each.entries for each in client.maps().maps}[id_of(array)] is None


def test_maps_are_as_bpftool_lists_them(client: Client, make_map: Callable[..., int]) -> None:
    frozen = make_map(name=b"frozen_one")
    syscall.map_freeze(frozen)
    make_map(BpfMapType.LPM_TRIE, key_size=8, flags=BpfMapFlag.NO_PREALLOC)
    ours = {each.id: each for each in client.maps().maps}
    theirs = {each["id"]: each for each in bpftool("map", "list")}
    common = ours.keys() & theirs.keys()
    assert {id_of(frozen)} <= common
    for map_id in common:
        mine, other = ours[map_id], theirs[map_id]
        assert (mine.name, mine.key_size, mine.value_size, mine.max_entries, mine.map_flags) == (
            other.get("name", ""),
            other["bytes_key"],
            other["bytes_value"],
            other["max_entries"],
            other["flags"],
        )
        assert mine.frozen == bool(other["frozen"])
        if mine.btf_id:  # bpftool 7.1 repeats the last map's id for one that has none
            assert mine.btf_id == other["btf_id"]
    assert ours[id_of(frozen)].frozen
    assert ours[id_of(frozen)].memlock_bytes > 0


def test_five_hundred_maps_are_listed_at_once(client: Client, make_map: Callable[..., int]) -> None:
    fds = [make_map(max_entries=4) for _ in range(500)]
    assert {id_of(fd) for fd in fds} <= {each.id for each in client.maps().maps}


def test_names_that_are_no_text_are_shown_as_escapes(client: Client) -> None:
    # The kernel takes letters, digits, '_' and '.' only, so what is undecodable can come from older kernels alone.
    assert text(b"ok\xff\n") == "ok\\xff\n"


def test_a_program_tells_its_maps(client: Client, make_map: Callable[..., int]) -> None:
    fd = make_map()
    insns = bytes([0x18, 0x11, 0, 0]) + fd.to_bytes(4, "little") + bytes(8) + RETURN_0  # ld_imm64 r1, map_fd
    prog = loading.prog_load(ProgSpec(type=BpfProgType.SOCKET_FILTER, insns=insns, name=b"one_map"))
    try:
        facts = {each.id: each for each in client.progs().progs}[objects.prog_info(prog).id]
        assert (facts.name, facts.type, facts.map_ids) == ("one_map", BpfProgType.SOCKET_FILTER, (id_of(fd),))
        other = {each["id"]: each for each in bpftool("prog", "list")}[facts.id]
        assert (facts.tag, facts.created_by_uid, facts.memlock_bytes) == (
            other["tag"],
            other["uid"],
            other["bytes_memlock"],
        )
        boot_s = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
        assert abs(boot_s + facts.loaded_at_ns / 1e9 - time.time()) < 60
    finally:
        os.close(prog)


def test_links_say_what_they_are_attached_to(client: Client) -> None:
    prog = loading.prog_load(ProgSpec(type=BpfProgType.RAW_TRACEPOINT, insns=RETURN_0))
    link = loading.raw_tracepoint_open(b"sched_switch", prog)
    try:
        links = {each.id: each for each in client.links().links}
        facts = links[objects.link_info(link).id]
        assert (facts.prog_id, facts.target) == (objects.prog_info(prog).id, "sched_switch")
        assert "iterator bpf_map" in {each.target for each in links.values()}  # the broker's own
    finally:
        os.close(link)
        os.close(prog)


def test_tracing_links_name_their_function() -> None:
    # As the kernel tells of an fentry link; attaching one takes trampolines, which not every kernel has.
    number = vmlinux.load().func_ids(["vfs_read"])["vfs_read"]
    details: dict[str, int | bytes] = {
        "attach_type": BpfAttachType.TRACE_FENTRY,
        "target_obj_id": 1,
        "target_btf_id": number,
    }
    info = LinkInfo(type=BpfLinkType.TRACING, id=7, prog_id=8, details=details)
    assert _link_facts(info, _function_names([info])) == LinkFacts(
        id=7,
        type=BpfLinkType.TRACING,
        prog_id=8,
        attach_type=BpfAttachType.TRACE_FENTRY,
        target="vfs_read",
        map_id=None,
    )


def test_holders_are_who_fdinfo_shows(broker: Running, client: Client, make_map: Callable[..., int]) -> None:
    fd = make_map()
    fill(fd, 1)
    prog = loading.prog_load(ProgSpec(type=BpfProgType.SOCKET_FILTER, insns=RETURN_0))
    link_prog = loading.prog_load(ProgSpec(type=BpfProgType.RAW_TRACEPOINT, insns=RETURN_0))
    link = loading.raw_tracepoint_open(b"sched_switch", link_prog)
    btf = objects.btf_get_fd_by_id(1)
    child = os.fork()  # a second process that holds the map
    if not child:
        time.sleep(60)
        os._exit(0)
    try:
        interesting = {os.getpid(), child, broker.pid}
        by_iterator = [each for each in client.holders().holders if each.pid in interesting]
        by_proc = [each for each in _by_proc("").holders if each.pid in interesting]
        assert by_iterator == by_proc
        found = {(each.pid, each.fd): (each.kind, each.id) for each in by_iterator}
        assert found[os.getpid(), fd] == found[child, fd] == ("map", id_of(fd))
        assert found[os.getpid(), prog] == ("prog", objects.prog_info(prog).id)
        assert found[os.getpid(), link] == ("link", objects.link_info(link).id)
        assert found[os.getpid(), btf] == ("btf", 1)
        comm = Path("/proc/self/comm").read_text().rstrip("\n")
        assert {each.comm for each in by_iterator if each.pid == os.getpid()} == {comm}
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
        for each in (prog, link, link_prog, btf):
            os.close(each)


def test_hello_tells_what_works(broker: Running, client: Client) -> None:
    hello = client.hello()
    assert hello.passes_descriptors
    assert hello.effective_capabilities == "000000c000200000"
    assert hello.boot_id == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    works = {each.name: each.works for each in hello.capabilities}
    assert all(works.values()), works
    assert {
        "bpf",
        "list",
        "open",
        "btf",
        "bpffs",
        "counts",
        "processes",
        "files",
        "sockets",
        "passing",
        "batch",
    } <= set(works)
    assert all(bool(each.remedy) != each.works for each in hello.capabilities)
