"""Giving up rights for good: capabilities, user, and a seccomp filter on the argument of bpf(2).

Each function binds the calling thread, and what it starts later; call it before there are other threads. Nothing here
can be taken back. The filters are classic BPF, assembled by hand: kernel and architecture have one table each.

source  prctl(2), capabilities(7), seccomp(2), Documentation/userspace-api/seccomp_filter.rst
"""

from __future__ import annotations

import errno
import os
import platform
import pwd
import struct
from collections.abc import Iterable
from enum import Enum, IntEnum
from typing import Any

from cffi import FFI

from app.errors import AppError, BadSetting
from app.uapi.call import NR_BPF
from app.uapi.enums import BpfCmd

_ffi = FFI()
_ffi.cdef("int prctl(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d);")
_ffi.cdef("long syscall(long number, long a, long b, long c, long d, long e, long f);")
_C: Any = _ffi.dlopen(None)  # its functions are known by the cdef alone


class Capability(IntEnum):
    """``include/uapi/linux/capability.h``, those that matter here."""

    SYS_PTRACE = 19
    SYS_ADMIN = 21
    PERFMON = 38  # v5.8
    BPF = 39


BROKER = frozenset({Capability.BPF, Capability.PERFMON, Capability.SYS_ADMIN})
"""What the broker keeps: by id, only SYS_ADMIN opens; iterators need the other two."""

READER_COMMANDS = frozenset(
    {BpfCmd.MAP_LOOKUP_ELEM, BpfCmd.MAP_GET_NEXT_KEY, BpfCmd.OBJ_GET_INFO_BY_FD, BpfCmd.MAP_LOOKUP_BATCH}
)
"""What a process needs of bpf(2) that reads through descriptors it was passed."""

BROKER_COMMANDS = READER_COMMANDS | {
    BpfCmd.OBJ_GET,
    BpfCmd.PROG_GET_NEXT_ID,
    BpfCmd.MAP_GET_NEXT_ID,
    BpfCmd.BTF_GET_NEXT_ID,
    BpfCmd.LINK_GET_NEXT_ID,
    BpfCmd.PROG_GET_FD_BY_ID,
    BpfCmd.MAP_GET_FD_BY_ID,
    BpfCmd.BTF_GET_FD_BY_ID,
    BpfCmd.LINK_GET_FD_BY_ID,
    BpfCmd.LINK_CREATE,  # an iterator over one socket storage has a link of its own
    BpfCmd.ITER_CREATE,
}
"""What the broker needs of bpf(2) once its iterator programs are loaded."""

EDITOR_COMMANDS = BROKER_COMMANDS | {
    BpfCmd.MAP_CREATE,  # also the private map of a swap
    BpfCmd.MAP_UPDATE_ELEM,
    BpfCmd.MAP_DELETE_ELEM,
    BpfCmd.MAP_LOOKUP_AND_DELETE_ELEM,
    BpfCmd.MAP_FREEZE,
    BpfCmd.PROG_LOAD,
    BpfCmd.PROG_TEST_RUN,
    BpfCmd.OBJ_PIN,
}
"""What it needs on top where edits are allowed: neither attaching nor writing by batches."""


class Rights(Enum):
    """How far a broker is confined."""

    READ = (BROKER, BROKER_COMMANDS)
    EDIT = (BROKER, EDITOR_COMMANDS)
    ALONE = (frozenset[Capability](), frozenset[BpfCmd]())  # accounts and no map: for a history that is shown by itself
    EDIT_SOCKETS = (BROKER | {Capability.SYS_PTRACE}, EDITOR_COMMANDS)
    """CAP_SYS_PTRACE to copy sockets out of processes; ptrace(2) itself stays refused."""


_PR_SET_PDEATHSIG, _PR_GET_PDEATHSIG = 1, 2
_PR_SET_DUMPABLE, _PR_CAPBSET_DROP, _PR_SET_SECUREBITS = 4, 24, 28
_PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 38, 47, 4
# NOROOT, NO_SETUID_FIXUP, KEEP_CAPS off and NO_CAP_AMBIENT_RAISE, each with its lock: being uid 0 means nothing any more.
_SECUREBITS = 0x01 | 0x02 | 0x04 | 0x08 | 0x20 | 0x40 | 0x80
_CAPABILITY_VERSION_3 = 0x20080522
_LAST_CAPABILITY = 63

_SECCOMP_SET_MODE_FILTER = 1
_ALLOW, _KILL_PROCESS, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_LOAD, _JUMP_EQ, _JUMP_GE, _JUMP_SET, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_FILTER = struct.Struct("=HBBI")  # struct sock_filter
_NUMBER_AT, _ARCH_AT, _ARGUMENTS_AT = 0, 4, 16  # struct seccomp_data
_X32_BIT = 0x40000000
_WRITE_FLAGS = os.O_ACCMODE | os.O_CREAT | os.O_TRUNC
_CLONE_THREAD = 0x00010000

_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}  # include/uapi/linux/audit.h
_CAPGET_CAPSET = {"x86_64": (125, 126, 317), "aarch64": (90, 91, 277)}  # and seccomp

# What a taken-over broker could do with CAP_SYS_ADMIN or as uid 0, and never does. name: (x86_64, aarch64).
_NEVER_BROKER: dict[str, tuple[int | None, int | None]] = {
    "creat": (85, None),
    "openat2": (437, 437),
    "truncate": (76, 45),
    "rename": (82, None),
    "renameat": (264, 38),
    "renameat2": (316, 276),
    "link": (86, None),
    "linkat": (265, 37),
    "symlink": (88, None),
    "symlinkat": (266, 36),
    "mkdir": (83, None),
    "mkdirat": (258, 34),
    "mknod": (133, None),
    "mknodat": (259, 33),
    "chmod": (90, None),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "chown": (92, None),
    "lchown": (94, None),
    "fchownat": (260, 54),
    "setxattr": (188, 5),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "move_mount": (429, 429),
    "open_tree": (428, 428),
    "fsopen": (430, 430),
    "fsmount": (432, 432),
    "mount_setattr": (442, 442),
    "setns": (308, 268),
    "unshare": (272, 97),
    "fork": (57, None),
    "vfork": (58, None),
    "execve": (59, 221),
    "execveat": (322, 281),
    "kill": (62, 129),
    "pidfd_send_signal": (424, 424),
    "socket": (41, 198),
    "perf_event_open": (298, 241),
    "io_uring_setup": (425, 425),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "add_key": (248, 217),
    "keyctl": (250, 219),
}
_NEVER: dict[str, tuple[int | None, int | None]] = {
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
}
_NEVER_WITHOUT_SOCKETS: dict[str, tuple[int | None, int | None]] = {"pidfd_getfd": (438, 438)}
_OPEN: tuple[tuple[int | None, int | None], int] = ((2, None), 1)
_OPENAT: tuple[tuple[int | None, int | None], int] = ((257, 56), 2)
_CLONE: tuple[int | None, int | None] = (56, 220)
_CLONE3: tuple[int | None, int | None] = (435, 435)


class NotConfined(AppError):
    """A right could not be given up: better not to run at all."""

    def __init__(self, what: str, number: int) -> None:
        super().__init__(f"{what} failed ({os.strerror(number)}): start it as root, or without rights to give up")


def confine_broker(rights: Rights = Rights.READ) -> None:
    """Keep a few capabilities alone; no file is opened for writing, no program started ever after, and no map written by READ.

    raises  NotConfined
    """
    capabilities, commands = rights.value
    wanted = capabilities & BROKER
    _keep(
        wanted | {each for each in capabilities if effective() >> each & 1}
    )  # a container may have given no SYS_PTRACE
    _no_new_privileges()
    undumpable()
    _install(_broker_filter(commands, {} if rights is Rights.EDIT_SOCKETS else _NEVER_WITHOUT_SOCKETS))


def powerless(uid: int, gid: int) -> None:
    """Become an account without any capability whose bpf(2) can only read through descriptors that it holds.

    For the web and the recorder, at their start or between fork and exec; a process that has that account already, and
    no root, is fine. A signal asked for by `signal_on_parent_death` stays asked for.

    raises  NotConfined; also when uid 0 was asked for
    """
    if uid == 0:
        raise NotConfined("running a reader as root", errno.EPERM)
    death_signal = _ffi.new("int *")
    _prctl("PR_GET_PDEATHSIG", _PR_GET_PDEATHSIG, int(_ffi.cast("uintptr_t", death_signal)))
    _drop_bounding_set(frozenset())
    try:
        if os.geteuid() == 0:
            os.setgroups([])
        if os.getresgid() != (gid, gid, gid):
            os.setresgid(gid, gid, gid)
        if os.getresuid() != (uid, uid, uid):
            os.setresuid(uid, uid, uid)
    except OSError as error:
        raise NotConfined(f"becoming user {uid}, group {gid}", error.errno or errno.EPERM) from None
    _ambient_clear()
    _set_capabilities(frozenset())
    if death_signal[0]:  # The kernel forgets it when the user changes.
        signal_on_parent_death(death_signal[0])
    _no_new_privileges()
    _install(_reader_filter())


def account(user: str) -> tuple[int, int]:
    """Uid and gid of an account, by name or number; a number that has no account is its own group.

    raises  BadSetting if there is no account of that name
    """
    try:
        entry = pwd.getpwuid(int(user)) if user.isdecimal() else pwd.getpwnam(user)
    except KeyError:
        if user.isdecimal():
            return int(user), int(user)
        raise BadSetting("user", user, "an account of this host") from None
    return entry.pw_uid, entry.pw_gid


def signal_on_parent_death(number: int) -> None:
    """Ask the kernel for a signal when the thread that started this process ends; a child does not inherit it."""
    _prctl("PR_SET_PDEATHSIG", _PR_SET_PDEATHSIG, number)


def undumpable() -> None:
    """No core dump, and no look into this process by others of the same account; exec undoes it."""
    _prctl("PR_SET_DUMPABLE", _PR_SET_DUMPABLE, 0)


def effective() -> int:
    """Effective capabilities of this thread, as bits."""
    header, data = _capability_buffers()
    _syscall("capget", _numbers()[0], header, data)
    return int(data[0]) | int(data[3]) << 32


def _keep(kept: frozenset[Capability]) -> None:
    if os.geteuid() == 0 and effective() >> 8 & 1:  # CAP_SETPCAP
        _prctl("PR_SET_SECUREBITS", _PR_SET_SECUREBITS, _SECUREBITS)
    _drop_bounding_set(kept)
    _ambient_clear()
    _set_capabilities(kept)


def _drop_bounding_set(kept: Iterable[int]) -> None:
    # Without CAP_SETPCAP the kernel refuses; then no_new_privs, set in any case, is what keeps exec from adding rights.
    for number in range(_LAST_CAPABILITY + 1):
        if number not in kept and _C.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0) and _ffi.errno == errno.EINVAL:
            return


def _ambient_clear() -> None:
    _prctl("PR_CAP_AMBIENT_CLEAR_ALL", _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)


def _set_capabilities(kept: Iterable[int]) -> None:
    """Permitted and effective to `kept`, inheritable to nothing."""
    header, data = _capability_buffers()
    for number in kept:
        word = number // 32 * 3
        data[word] |= 1 << number % 32
        data[word + 1] |= 1 << number % 32
    _syscall("capset", _numbers()[1], header, data)


def _capability_buffers() -> tuple[Any, Any]:
    """``struct __user_cap_header_struct`` and two ``__user_cap_data_struct`` (effective, permitted, inheritable)."""
    return _ffi.new("uint32_t[2]", [_CAPABILITY_VERSION_3, 0]), _ffi.new("uint32_t[6]")


def _no_new_privileges() -> None:
    _prctl("PR_SET_NO_NEW_PRIVS", _PR_SET_NO_NEW_PRIVS, 1)


def _prctl(what: str, option: int, first: int, second: int = 0) -> None:
    if _C.prctl(option, first, second, 0, 0):
        raise NotConfined(what, _ffi.errno)


def _syscall(what: str, number: int, first: Any, second: Any, third: Any = 0) -> None:
    values = [
        value if isinstance(value, int) else int(_ffi.cast("uintptr_t", value)) for value in (first, second, third)
    ]
    if _C.syscall(number, *values, 0, 0, 0):
        raise NotConfined(what, _ffi.errno)


def _numbers() -> tuple[int, int, int]:
    """Numbers of capget, capset and seccomp."""
    try:
        return _CAPGET_CAPSET[platform.machine()]
    except KeyError:
        raise NotConfined(f"confining on {platform.machine()}", errno.ENOSYS) from None


def _install(instructions: bytes) -> None:
    code = _ffi.from_buffer(instructions)
    address = int(_ffi.cast("uintptr_t", code))
    program = struct.pack("@HP", len(instructions) // _FILTER.size, address)  # struct sock_fprog
    _syscall("seccomp", _numbers()[2], _SECCOMP_SET_MODE_FILTER, 0, _ffi.from_buffer(program))


def _reader_filter() -> bytes:
    return _start() + _bpf_rule(READER_COMMANDS) + _refuse(_NEVER) + _give(_ALLOW)


def _broker_filter(commands: Iterable[BpfCmd], further: dict[str, tuple[int | None, int | None]]) -> bytes:
    return (
        _start()
        + _bpf_rule(commands)
        + _refuse(_NEVER | _NEVER_BROKER | further)
        + _if_bits(*_OPEN, _WRITE_FLAGS)
        + _if_bits(*_OPENAT, _WRITE_FLAGS)
        # Threads are clones with CLONE_THREAD; clone3 hides its flags in memory, and libc falls back on ENOSYS.
        + _unless_bits(_CLONE, 0, _CLONE_THREAD)
        + _refuse({"clone3": _CLONE3}, errno.ENOSYS)
        + _give(_ALLOW)
    )


def _start() -> bytes:
    """Another architecture's numbering, x32 among them, ends the process; then the number is loaded."""
    here = _ARCHITECTURES[platform.machine()]
    code = _one(_LOAD, _ARCH_AT) + _one(_JUMP_EQ, here, 1, 0) + _give(_KILL_PROCESS) + _one(_LOAD, _NUMBER_AT)
    if platform.machine() == "x86_64":
        code += _one(_JUMP_GE, _X32_BIT, 0, 1) + _give(_KILL_PROCESS)
    return code


def _bpf_rule(allowed: Iterable[BpfCmd]) -> bytes:
    """EPERM for every bpf(2) whose command is not among `allowed`; the kernel reads that argument as an int."""
    commands = sorted(allowed)
    body = _one(_LOAD, _argument(0))
    for index, command in enumerate(commands):
        body += _one(_JUMP_EQ, command, len(commands) - index, 0)
    body += _give(_ERRNO | errno.EPERM) + _give(_ALLOW)
    return _if_number(NR_BPF, body)


def _refuse(calls: dict[str, tuple[int | None, int | None]], number: int = errno.EPERM) -> bytes:
    return b"".join(
        _if_number(_here(each), _give(_ERRNO | number)) for each in calls.values() if _here(each) is not None
    )


def _if_bits(call: tuple[int | None, int | None], argument: int, bits: int) -> bytes:
    """EPERM if any of `bits` is in the argument."""
    body = _one(_LOAD, _argument(argument)) + _one(_JUMP_SET, bits, 0, 1)
    return _if_number(_here(call), body + _give(_ERRNO | errno.EPERM) + _give(_ALLOW))


def _unless_bits(call: tuple[int | None, int | None], argument: int, bits: int) -> bytes:
    """EPERM if none of `bits` is in the argument."""
    body = _one(_LOAD, _argument(argument)) + _one(_JUMP_SET, bits, 1, 0)
    return _if_number(_here(call), body + _give(_ERRNO | errno.EPERM) + _give(_ALLOW))


def _if_number(number: int | None, body: bytes) -> bytes:
    """`body`, which must end in a return, for one system call; the number stays loaded for what follows."""
    if number is None:
        return b""
    return _one(_JUMP_EQ, number, 0, len(body) // _FILTER.size) + body


def _here(call: tuple[int | None, int | None]) -> int | None:
    return call[0 if platform.machine() == "x86_64" else 1]


def _argument(index: int) -> int:
    """Offset of an argument's low word; both architectures of the table are little-endian."""
    return _ARGUMENTS_AT + 8 * index


def _give(action: int) -> bytes:
    return _one(_RETURN, action)


def _one(code: int, number: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return _FILTER.pack(code, if_true, if_false, number)
