"""Owners and values of local storage maps that only a privileged process can enumerate: sockets and inodes."""

from __future__ import annotations

import os
import struct
from functools import partial

from app.broker import programs
from app.broker.host import Host, Reply, printable, with_fd
from app.uapi import objects
from app.uapi.enums import BpfMapFlag, BpfMapType
from app.uapi.errors import KernelError
from app.uapi.syscall import map_lookup
from app.wire import bodies
from app.wire.errors import UnusableHere, WrongMapType

LIMIT_CANDIDATES = 200_000
"""Files that one question tries."""
LIMIT_BYTES = 256 << 20
"""Values that one answer brings."""

_AF_UNIX, _AF_INET, _AF_INET6 = 1, 2, 10
_PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmpv6", 132: "sctp", 255: "raw", 262: "mptcp"}
_KEY = struct.Struct("=i")


def answer_sk_storage(host: Host, question: bodies.AskStorage) -> Reply:
    """Every socket with an element, by the kernel's iterator over the map."""
    return Reply(with_fd(_open(question.map_id, BpfMapType.SK_STORAGE), partial(_sockets, host)))


def _sockets(host: Host, map_fd: int) -> bodies.Storage:
    value_bytes = objects.map_info(map_fd).value_size
    data = host.iterators.socket_values(map_fd)
    entries = []
    size_bytes = programs.SOCKET.size + value_bytes
    for at in range(0, len(data) - size_bytes + 1, size_bytes):
        cookie, family, port, other, protocol, _, own4, other4, own6, other6 = programs.SOCKET.unpack_from(data, at)
        if family == _AF_INET:
            ends = (_ipv4(own4), _ipv4(other4))
        elif family == _AF_INET6:
            ends = (_ipv6(own6), _ipv6(other6))
        else:
            ends = ("", "")
        label = _label(family, protocol, ends, port, (other & 0xFF) << 8 | other >> 8)
        entries.append(bodies.StorageEntry(cookie, label, data[at + programs.SOCKET.size : at + size_bytes]))
    return bodies.Storage(tuple(entries), "")


def _label(family: int, protocol: int, ends: tuple[str, str], port: int, other_port: int) -> str:
    if family == _AF_UNIX:
        return "unix"
    if not ends[0]:
        return f"address family {family}"
    name = _PROTOCOLS.get(protocol, f"protocol {protocol}")
    other = f" → {ends[1]}:{other_port}" if other_port else ""
    return f"{name} {ends[0]}:{port}{other}"


def _ipv4(raw: bytes) -> str:
    return ".".join(str(part) for part in raw)


def _ipv6(raw: bytes) -> str:
    # Most commands never come here, and their start is measured.
    from socket import AF_INET6, inet_ntop

    return f"[{inet_ntop(AF_INET6, raw)}]"


def answer_inode_storage(host: Host, question: bodies.AskStorage) -> Reply:
    """Files with an element, among the candidates: the kernel has no list of them."""
    return Reply(with_fd(_open(question.map_id, BpfMapType.INODE_STORAGE), partial(_inodes, host, question.paths)))


def _inodes(host: Host, paths: tuple[str, ...], map_fd: int) -> bodies.Storage:
    value = bytearray(objects.map_info(map_fd).value_size)
    missed, entries, taken_bytes = 0, [], 0
    seen: set[tuple[int, int]] = set()
    for candidate, magic_link in _candidates(host, paths):
        try:
            file = _open_candidate(candidate, magic_link)
        except (OSError, ValueError):
            missed += 1
            continue
        try:
            facts = os.fstat(file)
            if (facts.st_dev, facts.st_ino) in seen:
                continue
            seen.add((facts.st_dev, facts.st_ino))
            if map_lookup(map_fd, _KEY.pack(file), value):
                entries.append(bodies.StorageEntry(facts.st_ino, printable(candidate), bytes(value)))
                taken_bytes += len(value)
        except KernelError:
            missed += 1
        finally:
            os.close(file)
        if taken_bytes > LIMIT_BYTES or len(seen) >= LIMIT_CANDIDATES:
            break
    problem = (
        f"only files that a process holds open, and {len(paths)} given paths, were tried: others may have elements too"
    )
    return bodies.Storage(tuple(entries), problem + (f"; {missed} could not be opened" if missed else ""))


def _candidates(host: Host, paths: tuple[str, ...]) -> list[tuple[str, str]]:
    """Path and, for a file held open, the magic link to it; each path once."""
    found = dict.fromkeys(paths, "")
    try:
        opened = host.iterators.open_files()
    except UnusableHere:
        opened = _open_files_by_proc()
    for pid, fd, path in opened:
        found.setdefault(os.fsdecode(path), f"/proc/{pid}/fd/{fd}")
    return list(found.items())


def _open_candidate(path: str, magic_link: str) -> int:
    """Open a descriptor that only names the file: nothing of it can be read or changed through it."""
    flags = os.O_PATH | os.O_CLOEXEC
    if magic_link:
        try:
            return os.open(magic_link, flags)
        except (
            OSError
        ):  # Another process's descriptors are closed to a broker without CAP_SYS_PTRACE: by its name, then.
            if not path.startswith("/"):
                raise
    return os.open(path, flags)


def _open_files_by_proc() -> list[tuple[int, int, bytes]]:
    found = []
    for pid in os.listdir(b"/proc"):
        if not pid.isdigit():
            continue
        try:
            names = os.listdir(b"/proc/" + pid + b"/fd")
        except OSError:
            continue
        for name in names:
            try:
                path = os.readlink(b"/proc/" + pid + b"/fd/" + name)  # noqa: PTH115  (bytes)
            except OSError:
                continue
            if path.startswith(b"/"):
                found.append((int(pid), int(name), path))
    return found


def _open(map_id: int, wanted: BpfMapType) -> int:
    map_fd = objects.map_get_fd_by_id(map_id, BpfMapFlag.RDONLY)
    found = objects.map_info(map_fd).type
    if found != wanted:
        os.close(map_fd)
        raise WrongMapType(f"map {map_id} is of type {found}, not {wanted.name}: read its entries instead")
    return map_fd
