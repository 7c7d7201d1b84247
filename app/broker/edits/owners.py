"""Owners of local storage by name, as the descriptor that the kernel takes for a key: tasks, cgroups, files, sockets."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager

from app.uapi.enums import BpfMapType
from app.uapi.pidfd import pidfd_getfd, pidfd_of_task
from app.wire.errors import BadField

_KEY = struct.Struct("=i")
_KINDS = {
    BpfMapType.TASK_STORAGE: "task",
    BpfMapType.CGRP_STORAGE: "cgroup",
    BpfMapType.INODE_STORAGE: "inode",
    BpfMapType.SK_STORAGE: "socket",
}


@contextmanager
def owner_key(map_type: int, owner: str) -> Iterator[bytes]:
    """The key that stands for an owner, while its descriptor is open.

    owner   `task:PID`, `cgroup:/path`, `inode:/path`, `socket:PID:FD`
    raises  BadField
    """
    wanted = _KINDS[BpfMapType(map_type)]
    kind, colon, name = owner.partition(":")
    if not colon or kind != wanted:
        raise BadField(f"the owner of an element of this map is given as {wanted}:…, not {owner[:80]!r}", "owner")
    descriptor = _open(kind, name)
    try:
        yield _KEY.pack(descriptor)
    finally:
        os.close(descriptor)


def _open(kind: str, name: str) -> int:
    try:
        match kind:
            case "task":
                return pidfd_of_task(_number(name, "task:PID"))
            case "socket":
                return socket_of(name)
            case _:
                if not name.startswith("/") or "\0" in name:
                    raise BadField(f"an absolute path is wanted, as in {kind}:/…, not {name[:80]!r}", "owner")
                return os.open(name, os.O_PATH | os.O_CLOEXEC)
    except OSError as error:
        raise BadField(f"{kind}:{name[:80]} cannot be opened: {error.strerror}", "owner") from None


def socket_of(name: str) -> int:
    """A copy of a socket's descriptor, by `PID:FD`; the caller's to close.

    raises  BadField
    """
    pid, colon, number = name.partition(":")
    if not colon:
        raise BadField(f"a socket is given as socket:PID:FD, not {name[:80]!r}", "owner")
    process = os.pidfd_open(_number(pid, "socket:PID:FD"), 0)
    try:
        return pidfd_getfd(process, _number(number, "socket:PID:FD"))
    except PermissionError:
        raise BadField(
            f"descriptor {number} of process {pid} may not be copied: start the service with BPF_ATLAS_EDIT_SOCKETS=1, which "
            "lets its broker keep CAP_SYS_PTRACE",
            "owner",
        ) from None
    finally:
        os.close(process)


def _number(text: str, form: str) -> int:
    if not (text.isascii() and text.isdecimal() and 0 < len(text) < 10):  # noqa: PLR2004  (a pid has seven digits at most)
        raise BadField(f"{form} wants a number, not {text[:40]!r}", "owner")
    return int(text)
