"""The door to bpf(2) and the table of errors."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from app.uapi import _build, errors, loading, objects, syscall
from app.uapi.cpus import count_list
from app.uapi.enums import ENOTSUPP, BpfAttachType, BpfCmd, BpfMapFlag, BpfMapType, BpfProgType
from app.uapi.kernel import BufferTooShort, stride
from app.uapi.syscall import BatchOutcome, MapSpec
from tests.livemaps import live_map, reader_of, u32, u64

HASH = MapSpec(type=BpfMapType.HASH, key_size=4, value_size=8, max_entries=100, name=b"uapi_hash")


def test_generated_declarations_are_what_the_builder_writes(tmp_path):
    _build.generate(tmp_path / "_abi.py")
    assert (tmp_path / "_abi.py").read_bytes() == _build.TARGET.read_bytes()


@pytest.mark.parametrize(("text", "number"), [("0", 1), ("0-1", 2), ("0-3,8", 5), ("0-3,8-11\n", 8)])
def test_cpu_lists_are_counted(text, number):
    assert count_list(text) == number


@pytest.mark.parametrize(
    ("cmd", "number", "kind", "says"),
    [
        pytest.param(BpfCmd.MAP_GET_FD_BY_ID, errno.ENOENT, errors.ObjectGone, "list the maps again", id="gone"),
        pytest.param(BpfCmd.MAP_GET_NEXT_ID, errno.EPERM, errors.NotPermitted, "CAP_SYS_ADMIN", id="not root"),
        pytest.param(BpfCmd.MAP_LOOKUP_ELEM, ENOTSUPP, errors.NotSupported, "ENOTSUPP", id="the kernel's own errno"),
        pytest.param(BpfCmd.OBJ_PIN, errno.EPERM, errors.NotPermitted, "mount -t bpf", id="no bpffs"),
        pytest.param(BpfCmd.MAP_CREATE, errno.EXDEV, errors.KernelError, "EXDEV", id="never seen"),
    ],
)
def test_errno_becomes_a_class_and_a_remedy(cmd, number, kind, says):
    error = errors.error_for(cmd, number)
    assert type(error) is kind
    assert says in str(error)


@pytest.mark.kernel
class TestMaps:
    def test_create_info_update_lookup_delete(self):
        with live_map(HASH, [(u32(7), u64(49))]) as fd:
            info = objects.map_info(fd)
            assert (info.type, info.key_size, info.value_size, info.max_entries, info.name) == (
                1,
                4,
                8,
                100,
                b"uapi_hash",
            )
            value = bytearray(8)
            assert syscall.map_lookup(fd, u32(7), value)
            assert value == u64(49)
            assert not syscall.map_lookup(fd, u32(8), value)
            assert syscall.map_delete(fd, u32(7))
            assert not syscall.map_delete(fd, u32(7))

    def test_batch_tells_more_end_and_grow(self):
        with live_map(HASH, [(u32(i), u64(i)) for i in range(100)]) as fd:
            token, keys, values = bytearray(4), bytearray(400), bytearray(800)
            assert syscall.map_lookup_batch(fd, None, token, keys, values, 100).outcome is BatchOutcome.END
            part = syscall.map_lookup_batch(fd, None, token, keys, values, 50)
            assert part.outcome is BatchOutcome.MORE
            assert 0 < part.count <= 50
        crowded = MapSpec(type=BpfMapType.HASH, key_size=4, value_size=8, max_entries=2000)
        with live_map(crowded, [(u32(i), u64(i)) for i in range(2000)]) as fd:
            outcomes = set()
            start: bytes | None = None
            for _ in range(3000):
                result = syscall.map_lookup_batch(fd, start, token, bytearray(4), bytearray(8), 1)
                outcomes.add(result.outcome)
                if result.outcome is not BatchOutcome.MORE:
                    break
                start = bytes(token)
            assert BatchOutcome.GROW in outcomes

    def test_read_only_descriptor_may_look_and_not_write(self):
        with live_map(HASH, [(u32(1), u64(1))]) as fd:
            read_only = objects.map_get_fd_by_id(objects.map_info(fd).id, BpfMapFlag.RDONLY)
            try:
                assert syscall.map_lookup(read_only, u32(1), bytearray(8))
                with pytest.raises(errors.NotPermitted, match="read-only"):
                    syscall.map_update(read_only, u32(1), u64(2))
                with pytest.raises(errors.NotPermitted):
                    syscall.map_delete(read_only, u32(1))
                with pytest.raises(errors.NotPermitted):
                    syscall.map_freeze(read_only)
            finally:
                os.close(read_only)

    def test_ids_are_listed_and_an_id_of_nothing_is_gone(self):
        with live_map(HASH) as fd:
            map_id = objects.map_info(fd).id
            assert map_id in set(objects.ids(objects.map_get_next_id))
        with pytest.raises(errors.ObjectGone):
            objects.map_get_fd_by_id(0xFFFFFFF0)

    def test_a_full_map_and_a_taken_key_have_names(self):
        with live_map(MapSpec(type=BpfMapType.HASH, key_size=4, value_size=8, max_entries=1), [(u32(1), u64(1))]) as fd:
            with pytest.raises(errors.MapFull):
                syscall.map_update(fd, u32(2), u64(2))
            with pytest.raises(errors.AlreadyThere):
                syscall.map_update(fd, u32(1), u64(2), 1)

    def test_the_verifier_is_quoted(self):
        spec = loading.ProgSpec(type=1, insns=bytes.fromhex("9500000000000000"), log_bytes=4096)
        with pytest.raises(loading.ProgRefused, match="R0"):
            loading.prog_load(spec)

    def test_a_program_names_its_maps_and_a_link_what_it_is_on(self):
        with live_map(MapSpec(type=BpfMapType.ARRAY, key_size=4, value_size=8, max_entries=1)) as fd:
            # ld_imm64 r1 = map; r0 = 0; exit
            insns = (
                bytes.fromhex("1811")
                + b"\0\0"
                + u32(fd)
                + bytes(8)
                + bytes.fromhex("b700000000000000 9500000000000000")
            )
            prog = loading.prog_load(loading.ProgSpec(type=17, insns=insns, name=b"uapi_prog", log_bytes=4096))
            link = loading.raw_tracepoint_open(b"sched_switch", prog)
            try:
                info = objects.prog_info(prog)
                assert info.map_ids == (objects.map_info(fd).id,)
                assert info.name == b"uapi_prog"
                found = objects.link_info(link)
                assert found.details["tp_name"] == b"sched_switch"
                assert objects.task_fd_query(os.getpid(), link).prog_id == info.id
                assert objects.task_fd_query(os.getpid(), link).name == b"sched_switch"
                with pytest.raises(errors.NotSupported):
                    objects.task_fd_query(os.getpid(), fd)
                assert found.prog_id == info.id
            finally:
                os.close(link)
                os.close(prog)


@pytest.mark.kernel
def test_programs_of_a_cgroup_are_found_without_a_link():
    root = next(line.split()[1] for line in Path("/proc/mounts").read_text().splitlines() if " cgroup2 " in line)
    folder = Path(root) / "atlas-uapi-test"
    folder.mkdir()
    cgroup = os.open(folder, os.O_RDONLY)
    prog = -1
    try:
        insns = bytes.fromhex("b700000001000000 9500000000000000")  # r0 = 1; exit
        prog = loading.prog_load(loading.ProgSpec(type=BpfProgType.CGROUP_SKB, insns=insns, log_bytes=4096))
        assert objects.prog_query(cgroup, BpfAttachType.CGROUP_INET_INGRESS) == ()
        loading.prog_attach(cgroup, prog, BpfAttachType.CGROUP_INET_INGRESS)
        assert objects.prog_query(cgroup, BpfAttachType.CGROUP_INET_INGRESS) == (objects.prog_info(prog).id,)
        loading.prog_detach(cgroup, prog, BpfAttachType.CGROUP_INET_INGRESS)
        assert objects.prog_query(cgroup, BpfAttachType.CGROUP_INET_INGRESS) == ()
    finally:
        os.close(cgroup)
        if prog >= 0:
            os.close(prog)
        folder.rmdir()


@pytest.mark.kernel
def test_a_short_buffer_is_refused_before_the_kernel_writes_past_it():
    with live_map(HASH, [(u32(1), u64(1))]) as fd:
        reader = reader_of(fd, HASH)
        with pytest.raises(BufferTooShort):
            reader.lookup(u32(1), bytearray(7))
        with pytest.raises(BufferTooShort):
            reader.next_key(None, bytearray(3))
        with pytest.raises(BufferTooShort):
            reader.lookup_batch(None, bytearray(4), memoryview(bytearray(40)), memoryview(bytearray(72)), 10)


@pytest.mark.kernel
def test_a_type_nobody_knows_gets_room_for_every_cpu():
    assert stride(999, 5) == stride(BpfMapType.PERCPU_HASH, 5)
    assert stride(BpfMapType.HASH, 5) == 5
