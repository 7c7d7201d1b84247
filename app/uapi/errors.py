"""(command, errno) → error class and a sentence that says what to do: the only place above which no errno exists."""

from __future__ import annotations

from errno import (
    E2BIG,
    EACCES,
    EBADF,
    EBUSY,
    EEXIST,
    EFAULT,
    EINVAL,
    ENOENT,
    ENOMEM,
    ENOSPC,
    ENOSYS,
    ENOTSUP,
    EPERM,
    errorcode,
)

from app.errors import AppError
from app.uapi.enums import ENOTSUPP, BpfCmd


class KernelError(AppError):
    """bpf(2) refused a command. Not raised itself where MEANING knows better."""

    def __init__(self, cmd: BpfCmd, errno: int, hint: str = "") -> None:
        name = "ENOTSUPP" if errno == ENOTSUPP else errorcode.get(errno, str(errno))
        super().__init__(f"the kernel answered {name} to BPF_{cmd.name}: {hint or 'see bpf(2)'}")
        self.cmd = cmd
        self.errno = errno


class NotPermitted(KernelError):
    """A capability is missing, the descriptor is read-only, or the map is frozen."""


class NotSupported(KernelError):
    """The map type, or the kernel, has no such operation."""


class ObjectGone(KernelError):
    """No map, program, link or BTF of that id any more, or no such pin."""


class NoSuchKey(KernelError):
    """There is no entry under that key."""


class AlreadyThere(KernelError):
    """The key, or the pin's path, is taken."""


class MapFull(KernelError):
    """The map holds max_entries already."""


class Busy(KernelError):
    """Somebody else holds what this needs."""


class InvalidForKernel(KernelError):
    """The kernel found an argument senseless for this map type or this release."""


class OutOfMemory(KernelError):
    """The kernel could not get the memory."""


_ADMIN = "this needs CAP_SYS_ADMIN in the initial user namespace; run as root, or let the broker do it"
_GONE = "it is gone; list the maps again"
_TYPE = "this map type has no such operation"

MEANING: dict[tuple[BpfCmd, int], tuple[type[KernelError], str]] = {
    (BpfCmd.MAP_GET_NEXT_ID, EPERM): (NotPermitted, _ADMIN),
    (BpfCmd.PROG_GET_NEXT_ID, EPERM): (NotPermitted, _ADMIN),
    (BpfCmd.LINK_GET_NEXT_ID, EPERM): (NotPermitted, _ADMIN),
    (BpfCmd.BTF_GET_NEXT_ID, EPERM): (NotPermitted, _ADMIN),
    (BpfCmd.MAP_GET_FD_BY_ID, EPERM): (NotPermitted, _ADMIN),
    (BpfCmd.PROG_GET_FD_BY_ID, EPERM): (NotPermitted, _ADMIN),
    (BpfCmd.LINK_GET_FD_BY_ID, EPERM): (NotPermitted, _ADMIN),
    (BpfCmd.BTF_GET_FD_BY_ID, EPERM): (NotPermitted, _ADMIN),
    (BpfCmd.MAP_GET_FD_BY_ID, ENOENT): (ObjectGone, f"no map of that id: {_GONE}"),
    (BpfCmd.PROG_GET_FD_BY_ID, ENOENT): (ObjectGone, f"no program of that id: {_GONE}"),
    (BpfCmd.LINK_GET_FD_BY_ID, ENOENT): (ObjectGone, f"no link of that id: {_GONE}"),
    (BpfCmd.BTF_GET_FD_BY_ID, ENOENT): (ObjectGone, "no BTF object of that id: the program that brought it is gone"),
    (BpfCmd.OBJ_GET, ENOENT): (ObjectGone, "no such pin; look at /sys/fs/bpf, and whether bpffs is mounted there"),
    (BpfCmd.OBJ_GET, EINVAL): (InvalidForKernel, "the path is not on a bpffs, or the pin is not of this kind"),
    (BpfCmd.OBJ_GET, EPERM): (NotPermitted, "the pin's file mode refuses; ask for reading only, or as its owner"),
    (BpfCmd.OBJ_GET, EACCES): (NotPermitted, "the pin's file mode, or a directory above it, refuses"),
    (BpfCmd.OBJ_PIN, EEXIST): (AlreadyThere, "something is pinned at that path already"),
    (BpfCmd.OBJ_PIN, EPERM): (
        NotPermitted,
        "the path is not on a bpffs: mount one with `mount -t bpf bpf /sys/fs/bpf`",
    ),
    (BpfCmd.MAP_LOOKUP_ELEM, ENOENT): (NoSuchKey, "there is no entry under that key"),
    (BpfCmd.MAP_LOOKUP_ELEM, EPERM): (
        NotPermitted,
        "the descriptor is write-only, or unprivileged bpf(2) is switched off",
    ),
    (BpfCmd.MAP_LOOKUP_ELEM, ENOSPC): (NotSupported, "a socket map with 4-byte values keeps no cookie to show"),
    (BpfCmd.MAP_LOOKUP_ELEM, EBADF): (InvalidForKernel, "the key must be a descriptor of the right kind"),
    (BpfCmd.MAP_UPDATE_ELEM, E2BIG): (MapFull, "the map is full, or the index lies beyond max_entries"),
    (BpfCmd.MAP_UPDATE_ELEM, ENOSPC): (MapFull, "the trie is full"),
    (BpfCmd.MAP_UPDATE_ELEM, EEXIST): (AlreadyThere, "the key exists, and only a new one was wanted"),
    (BpfCmd.MAP_UPDATE_ELEM, ENOENT): (NoSuchKey, "the key does not exist, and only an existing one was wanted"),
    (BpfCmd.MAP_UPDATE_ELEM, EPERM): (NotPermitted, "the descriptor is read-only, or the map is frozen"),
    (BpfCmd.MAP_DELETE_ELEM, ENOENT): (NoSuchKey, "there is no entry under that key"),
    (BpfCmd.MAP_DELETE_ELEM, EINVAL): (NotSupported, "entries of this map type cannot be deleted"),
    (BpfCmd.MAP_DELETE_ELEM, EPERM): (NotPermitted, "the descriptor is read-only, or the map is frozen"),
    (BpfCmd.MAP_FREEZE, EPERM): (NotPermitted, "the descriptor is read-only, or the map is frozen already"),
    (BpfCmd.MAP_FREEZE, EBUSY): (Busy, "a writable mapping of the map exists"),
    (BpfCmd.MAP_CREATE, EPERM): (NotPermitted, "creating a map needs CAP_BPF"),
    (BpfCmd.PROG_LOAD, EPERM): (
        NotPermitted,
        "loading this program type needs CAP_BPF and CAP_PERFMON or CAP_NET_ADMIN",
    ),
    (BpfCmd.PROG_LOAD, EACCES): (InvalidForKernel, "the verifier refused the program"),
}
"""What (command, errno) pairs mean; FALLBACK for the rest."""

FALLBACK: dict[int, tuple[type[KernelError], str]] = {
    EPERM: (NotPermitted, "a capability is missing, or the descriptor does not allow it"),
    EACCES: (NotPermitted, "access is refused"),
    ENOENT: (ObjectGone, _GONE),
    ENOTSUPP: (NotSupported, _TYPE),
    ENOTSUP: (NotSupported, _TYPE),
    ENOSYS: (NotSupported, "this kernel was built without bpf(2)"),
    EINVAL: (InvalidForKernel, "an argument is wrong for this map type, or the kernel is too old for the command"),
    E2BIG: (InvalidForKernel, "a size is larger than the kernel takes"),
    EBUSY: (Busy, "it is in use"),
    EEXIST: (AlreadyThere, "it exists already"),
    ENOMEM: (OutOfMemory, "the kernel has no memory for it"),
    EFAULT: (InvalidForKernel, "a buffer was not readable"),
}


def error_for(cmd: BpfCmd, errno: int) -> KernelError:
    """The error to raise for one answer of the kernel."""
    kind, hint = MEANING.get((cmd, errno)) or FALLBACK.get(errno, (KernelError, ""))
    return kind(cmd, errno, hint)
