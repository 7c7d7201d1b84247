"""What the processes of the service cannot do, tried from inside of them: the kernel says no, not our code."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from app.broker import vmlinux
from app.uapi import confine, loading, objects, syscall
from app.uapi.enums import BpfMapFlag, BpfMapType
from app.uapi.errors import KernelError
from app.uapi.pidfd import pidfd_getfd
from app.uapi.syscall import MapSpec
from app.wire.connection import connect
from tests.broker.conftest import WEB_UID, Running, as_account, fill, id_of

pytestmark = pytest.mark.kernel

KEY, VALUE = bytes(4), bytes(8)


def test_the_broker_keeps_three_capabilities_and_nothing_else(broker: Running) -> None:
    status = broker.status()
    # $ capsh --decode=000000c000200000: cap_sys_admin, cap_perfmon, cap_bpf
    assert {name: status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {
        "CapInh": "0000000000000000",
        "CapPrm": "000000c000200000",
        "CapEff": "000000c000200000",
        "CapBnd": "000000c000200000",
        "CapAmb": "0000000000000000",
    }
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")


def test_every_thread_of_the_broker_is_confined(broker: Running) -> None:
    with connect(broker.settings.socket) as client:
        client.hello()
        threads = os.listdir(f"/proc/{broker.pid}/task")
        assert len(threads) > 1
        for thread in threads:
            with open(f"/proc/{broker.pid}/task/{thread}/status") as file:
                text = file.read()
            assert "CapEff:\t000000c000200000" in text
            assert "Seccomp:\t2" in text


def errno_of(work: Callable[[], object]) -> int:
    """0 when the kernel let it happen."""
    try:
        work()
    except KernelError as error:
        return error.errno
    except OSError as error:
        return error.errno or -1
    return 0


def in_confined_broker(work: Callable[[], object], rights: confine.Rights = confine.Rights.READ) -> int:
    """The errno that `work` met in a child confined as the broker."""
    child = os.fork()
    if not child:
        code = 255
        try:
            confine.confine_broker(rights)
            code = errno_of(work)
        finally:
            os._exit(code)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status >= 0, f"killed by signal {-status}"
    return status


EPERM, ENOSYS = 1, 38


@pytest.mark.parametrize(
    "name",
    [
        "update", "delete", "pop", "freeze", "update batch", "create", "pin", "attach", "load BTF", "load program",
        "write a file", "create a file", "fork", "exec", "kill", "mount", "socket", "unshare", "rename", "chmod", "ptrace", "load a module",
    ],
)  # fmt: skip
def test_a_taken_over_broker_cannot(name: str, make_map: Callable[..., int], tmp_path: object) -> None:
    fd = make_map()
    fill(fd, 1)
    existing = os.path.join(str(tmp_path), "existing")
    with open(existing, "w"):
        pass
    tries: dict[str, Callable[[], object]] = {
        "update": lambda: syscall.map_update(fd, KEY, VALUE),
        "delete": lambda: syscall.map_delete(fd, KEY),
        "pop": lambda: syscall.map_lookup_and_delete(fd, KEY, bytearray(8)),
        "freeze": lambda: syscall.map_freeze(fd),
        "update batch": lambda: syscall.map_update_batch(fd, KEY, VALUE, 1),
        "create": lambda: syscall.map_create(MapSpec(type=1, key_size=4, value_size=4, max_entries=1)),
        "pin": lambda: objects.obj_pin("/sys/fs/bpf/x", fd),
        "attach": lambda: loading.prog_attach(fd, fd, 0),
        "load BTF": lambda: loading.btf_load(bytes(24)),
        "load program": lambda: loading.prog_load(loading.ProgSpec(type=1, insns=bytes(16))),
        "write a file": lambda: os.open(existing, os.O_WRONLY),
        "create a file": lambda: os.open(existing + "2", os.O_RDONLY | os.O_CREAT),
        "fork": os.fork,
        "exec": lambda: os.execv("/bin/true", ["true"]),
        "kill": lambda: os.kill(os.getppid(), 0),
        "mount": lambda: call(165, "none", "/mnt", "tmpfs"),
        "socket": lambda: socket.socket(socket.AF_INET),
        "unshare": lambda: call(272, 0x00020000),
        "ptrace": lambda: call(101, 16, os.getppid()),
        "load a module": lambda: call(175, 0, 0, ""),
        "rename": lambda: Path(existing).rename(existing + "3"),
        "chmod": lambda: Path(existing).chmod(0o777),
    }
    assert in_confined_broker(tries[name]) in {EPERM, ENOSYS}
    assert Path(existing).exists()
    assert syscall.map_lookup(fd, KEY, bytearray(8))


EDITS = {
    "update": 0, "delete": 0, "pop": 0, "freeze": 0, "create": 0, "load and run": 0,
    "update batch": EPERM, "attach": EPERM, "open a raw tracepoint": EPERM, "load BTF": EPERM, "detach": EPERM, "bind a map": EPERM,
    "write a file": EPERM, "fork": EPERM, "exec": EPERM, "socket": EPERM, "ptrace": EPERM, "take a descriptor": EPERM,
}  # fmt: skip


@pytest.mark.parametrize("name", EDITS)
def test_a_broker_with_edits_writes_maps_and_little_else(
    name: str, make_map: Callable[..., int], tmp_path: Path
) -> None:
    fd = make_map()
    fill(fd, 1)
    existing = tmp_path / "existing"
    existing.touch()
    xdp = loading.prog_load(loading.ProgSpec(type=6, insns=RETURN_2))
    tries: dict[str, Callable[[], object]] = {
        "update": lambda: syscall.map_update(fd, KEY, VALUE),
        "delete": lambda: syscall.map_delete(fd, KEY),
        "pop": lambda: syscall.map_lookup_and_delete(fd, KEY, bytearray(8)),
        "freeze": lambda: syscall.map_freeze(fd),
        "update batch": lambda: syscall.map_update_batch(fd, KEY, VALUE, 1),
        "create": lambda: syscall.map_create(MapSpec(type=1, key_size=4, value_size=4, max_entries=1)),
        "load and run": lambda: loading.prog_test_run(
            loading.prog_load(loading.ProgSpec(type=1, insns=RETURN_2)), bytes(14)
        ),
        "attach": lambda: loading.prog_attach(fd, xdp, 0),
        "detach": lambda: loading.prog_detach(fd, xdp, 0),
        "open a raw tracepoint": lambda: loading.raw_tracepoint_open(b"sched_switch", xdp),
        "load BTF": lambda: loading.btf_load(bytes(24)),
        "bind a map": lambda: call(321, 35, "x" * 16, 16),
        "write a file": lambda: os.open(existing, os.O_WRONLY),
        "fork": os.fork,
        "exec": lambda: os.execv("/bin/true", ["true"]),
        "socket": lambda: socket.socket(socket.AF_INET),
        "ptrace": lambda: call(101, 16, os.getppid()),
        "take a descriptor": lambda: call(438, os.pidfd_open(os.getpid()), 0, 0),
    }
    assert in_confined_broker(tries[name], confine.Rights.EDIT) == EDITS[name]
    os.close(xdp)


RETURN_2 = bytes.fromhex("b700000002000000 9500000000000000")


def test_only_a_broker_that_may_edit_sockets_takes_them_from_processes() -> None:
    def take() -> None:
        os.close(pidfd_getfd(os.pidfd_open(os.getppid()), 0))

    assert in_confined_broker(take, confine.Rights.EDIT_SOCKETS) == 0
    assert in_confined_broker(take, confine.Rights.EDIT) == EPERM
    assert in_confined_broker(lambda: call(101, 16, os.getppid()), confine.Rights.EDIT_SOCKETS) == EPERM


def call(number: int, *arguments: int | str) -> None:
    result, errno = raw(number, *arguments)
    if result < 0:
        raise OSError(errno, f"system call {number}")


def raw(number: int, *arguments: int | str) -> tuple[int, int]:
    """A system call by its x86-64 number."""
    ffi = confine._ffi
    kept = [ffi.new("char[]", each.encode()) if isinstance(each, str) else each for each in arguments]
    values = [each if isinstance(each, int) else int(ffi.cast("uintptr_t", each)) for each in kept]
    result = confine._C.syscall(number, *values, *[0] * (6 - len(values)))
    return result, ffi.errno


def test_a_taken_over_broker_can_still_list_and_open(make_map: Callable[..., int]) -> None:
    map_id = id_of(make_map())

    def work() -> None:
        assert map_id in objects.ids(objects.map_get_next_id)
        os.close(objects.map_get_fd_by_id(map_id, BpfMapFlag.RDONLY))
        thread = threading.Thread(target=vmlinux.load)
        thread.start()
        thread.join()

    assert in_confined_broker(work) == 0


@pytest.mark.parametrize("number", [321 | 0x40000000, 0x40000000], ids=["bpf as x32", "read as x32"])
def test_another_numbering_of_system_calls_ends_the_process(number: int) -> None:
    child = os.fork()
    if not child:
        confine.powerless(WEB_UID, WEB_UID)
        raw(number, 0, 0, 0)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGSYS


def test_the_web_cannot_write_through_what_it_was_passed(broker: Running, make_map: Callable[..., int]) -> None:
    writable = make_map()
    fill(writable, 10)
    map_id = id_of(writable)
    os.set_inheritable(writable, False)

    def work() -> dict[str, object]:
        with connect(broker.settings.socket) as client:
            _, fd = client.map_open(map_id)
        assert fd is not None
        value = bytearray(8)
        found = syscall.map_lookup(fd, (7).to_bytes(4, "little"), value)
        keys, values = bytearray(40), bytearray(80)
        batch = syscall.map_lookup_batch(fd, None, bytearray(4), keys, values, 10)
        return {
            "look up": (found, int.from_bytes(value, "little")),
            "next key": syscall.map_next_key(fd, None, bytearray(4)),
            "batch": batch.count,
            "info": objects.map_info(fd).id == map_id,
            "update": errno_of(lambda: syscall.map_update(fd, KEY, VALUE)),
            "delete": errno_of(lambda: syscall.map_delete(fd, KEY)),
            "freeze": errno_of(lambda: syscall.map_freeze(fd)),
            "pop": errno_of(lambda: syscall.map_lookup_and_delete(fd, KEY, bytearray(8))),
            "open by id": errno_of(lambda: objects.map_get_fd_by_id(map_id)),
            "next id": errno_of(lambda: objects.map_get_next_id(0)),
            "create": errno_of(
                lambda: syscall.map_create(MapSpec(type=BpfMapType.ARRAY, key_size=4, value_size=4, max_entries=1))
            ),
        }

    assert as_account(WEB_UID, work) == {
        "look up": [True, 21],
        "next key": True,
        "batch": 10,
        "info": True,
        "update": EPERM,
        "delete": EPERM,
        "freeze": EPERM,
        "pop": EPERM,
        "open by id": EPERM,
        "next id": EPERM,
        "create": EPERM,
    }


def test_without_the_filter_the_kernel_alone_refuses_writes_too(make_map: Callable[..., int]) -> None:
    writable = make_map()
    fill(writable, 1)
    fd = objects.map_get_fd_by_id(id_of(writable), BpfMapFlag.RDONLY)
    child = os.fork()
    if not child:
        os.setgroups([])
        os.setresgid(WEB_UID, WEB_UID, WEB_UID)
        os.setresuid(WEB_UID, WEB_UID, WEB_UID)
        tries: list[Callable[[], object]] = [
            lambda: syscall.map_update(fd, KEY, VALUE),
            lambda: syscall.map_delete(fd, KEY),
            lambda: syscall.map_freeze(fd),
        ]
        good = all(errno_of(each) == EPERM for each in tries) and syscall.map_lookup(fd, KEY, bytearray(8))
        os._exit(0 if good else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    os.close(fd)


def test_powerless_leaves_nothing_and_remembers_the_signal() -> None:
    def work() -> list[str]:
        with open("/proc/self/status") as file:
            lines = file.read().splitlines()
        return [line for line in lines if line.startswith(("Cap", "NoNewPrivs", "Seccomp:", "Groups", "Uid", "Gid"))]

    zero = "0000000000000000"
    uid = f"{WEB_UID}\t{WEB_UID}\t{WEB_UID}\t{WEB_UID}"
    expected = [
        f"Uid:\t{uid}",
        f"Gid:\t{uid}",
        "Groups:\t ",
        f"CapInh:\t{zero}",
        f"CapPrm:\t{zero}",
        f"CapEff:\t{zero}",
    ]
    assert as_account(WEB_UID, work) == [
        *expected,
        f"CapBnd:\t{zero}",
        f"CapAmb:\t{zero}",
        "NoNewPrivs:\t1",
        "Seccomp:\t2",
    ]


def test_a_reader_is_never_root() -> None:
    with pytest.raises(confine.NotConfined, match="as root"):
        confine.powerless(0, 0)


def test_death_of_the_parent_still_ends_a_powerless_child() -> None:
    """Changing the user makes the kernel forget the signal that was asked for."""
    reading, writing = os.pipe()
    parent = os.fork()
    if not parent:
        child = os.fork()
        if not child:
            confine.signal_on_parent_death(signal.SIGKILL)
            confine.powerless(WEB_UID, WEB_UID)
            os.write(writing, b"ready")
            signal.pause()
            os._exit(0)
        os.read(reading, 5)
        os._exit(0)
    os.waitpid(parent, 0)
    os.close(writing)
    # The child holds the other end: it is closed when, and only when, the child is gone.
    with open(reading, "rb") as file:
        assert file.read() == b""


def test_the_broker_cannot_be_dumped(broker: Running) -> None:
    # Files in /proc of an undumpable process belong to root, whoever the process is; here: they are closed to others.
    def work() -> int:
        return errno_of(lambda: os.open(f"/proc/{broker.pid}/mem", os.O_RDONLY))

    assert as_account(WEB_UID, work) == 13  # EACCES
