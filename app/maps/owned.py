"""One element of a local storage, by its owner: a task, a cgroup, a file, a socket."""

from __future__ import annotations

import os
import socket
from contextlib import closing
from typing import TYPE_CHECKING, Any

from app.maps.errors import CannotEdit, CannotLookUp
from app.maps.kinds import Enumerate
from app.maps.owners import cgroup2_mount
from app.uapi.errors import InvalidForKernel, ObjectGone
from app.uapi.pidfd import pidfd_getfd, pidfd_of_task

if TYPE_CHECKING:
    from app.maps.opening import OpenMap

OWNED = frozenset({Enumerate.SOCKETS, Enumerate.INODES, Enumerate.TASKS, Enumerate.CGROUPS})
"""Types whose elements belong to an owner and have no key of their own."""
FORMS = {
    Enumerate.TASKS: "task:PID",
    Enumerate.CGROUPS: "cgroup:/sys/fs/cgroup/…",
    Enumerate.INODES: "inode:/path",
    Enumerate.SOCKETS: "socket:PID:FD",
}
"""How an owner is written."""
SO_COOKIE = 57


def owner_in(kind: Enumerate, document: Any) -> str:
    """The owner that a key as `dump` prints it names; of sockets it does not.

    raises  CannotEdit saying how an owner is written
    """
    given = document if isinstance(document, dict) else {}
    path = given.get("path")
    match kind:
        case Enumerate.TASKS if isinstance(given.get("tid"), int):
            return f"task:{given['tid']}"
        case Enumerate.CGROUPS if isinstance(path, str) and path.startswith("/"):
            return f"cgroup:{(cgroup2_mount() or '').rstrip('/')}{path}"
        case Enumerate.INODES if isinstance(path, str) and path.startswith("/"):
            return f"inode:{path}"
        case _:
            raise CannotEdit(f"an element here has no key of its own: name its owner, as {FORMS[kind]}")


def element_of(opened: OpenMap, owner: str) -> bytes | None:
    """The value that an owner has now, None if it has none.

    raises  CannotEdit for an owner that is none, CannotLookUp where this process may not look
    """
    if opened.mask.any():
        raise CannotLookUp(opened.kind.label, "the policy hides its values from your role")
    kind, _, name = owner.partition(":")
    form = FORMS[opened.kind.enumerate]
    if kind != form.partition(":")[0] or not name:
        raise CannotEdit(f"elements of this {opened.kind.label} belong to owners: name one as {form}")
    try:
        match opened.kind.enumerate:
            case Enumerate.TASKS:
                return _by_descriptor(opened, pidfd_of_task(_number(name, form)))
            case Enumerate.CGROUPS:
                return _by_descriptor(opened, os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
            case Enumerate.INODES:
                return _of_inode(opened, name)
            case _:
                return _of_socket(opened, name, form)
    except OSError as problem:
        raise CannotEdit(f"{owner[:80]} cannot be opened: {problem.strerror}") from problem


def _by_descriptor(opened: OpenMap, descriptor: int) -> bytes | None:
    try:
        if opened.brokered:
            why = "its owners are known by descriptors, and this host lets only the broker look them up"
            raise CannotLookUp(opened.kind.label, why)
        value = bytearray(opened.reader.value_stride)
        try:
            found = opened.reader.lookup(descriptor.to_bytes(4, "little"), value)
        except (ObjectGone, InvalidForKernel):
            return None
        return bytes(value) if found else None
    finally:
        os.close(descriptor)


def _of_inode(opened: OpenMap, path: str) -> bytes | None:
    found = opened.client.inode_storage(opened.facts.id, (path,)).entries
    return next((entry.value for entry in found if entry.label == path), None)


def _of_socket(opened: OpenMap, name: str, form: str) -> bytes | None:
    pid, _, number = name.partition(":")
    process = os.pidfd_open(_number(pid, form), 0)
    try:
        descriptor = pidfd_getfd(process, _number(number, form))
    except PermissionError:
        raise CannotLookUp(opened.kind.label, f"this process may not look into process {pid}") from None
    finally:
        os.close(process)
    with closing(socket.socket(fileno=descriptor)) as copied:
        cookie = int.from_bytes(copied.getsockopt(socket.SOL_SOCKET, SO_COOKIE, 8), "little")
    found = opened.client.sk_storage(opened.facts.id).entries
    return next((entry.value for entry in found if entry.owner_id == cookie), None)


def _number(text: str, form: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise CannotEdit(f"an owner is written as {form}, not {text[:40]}")
    return int(text)
