"""Local storages, read by going through the things that may own an element: tasks, cgroups, sockets, inodes.

The kernel has no walk for these maps: a look-up wants a descriptor of the owner. What such a list can miss is said.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.maps.kinds import Enumerate
from app.maps.layouts import OWNER_KEYS
from app.maps.walk import Completeness, Progress, Reading, Room
from app.uapi.errors import InvalidForKernel, ObjectGone
from app.uapi.kernel import MapReader
from app.wire.ask import Client

PROC = Path("/proc")
PIDFD_THREAD = os.O_EXCL  # v6.9; before that only whole processes have descriptors
LIMIT_OWNERS = 1 << 18
"""Tasks or cgroups after which a list stops and says so."""
KEY_BYTES = {kind: plan.size_bytes for kind, plan in OWNER_KEYS.items()}


def read_tasks(reader: MapReader, *, limit: int, progress: Progress) -> Reading:
    """Elements of a TASK_STORAGE map: key {u32 tid, u32 pid, char comm[16]}."""
    room = Room(KEY_BYTES[Enumerate.TASKS], reader.value_stride, 64)
    started_at_ns = time.time_ns()
    tried = 0
    threads = True
    for tid, pid in _tasks():
        tried += 1
        if room.used >= limit or tried > LIMIT_OWNERS:
            return room.reading(Completeness.CAPPED, started_at_ns)
        descriptor = _open_task(tid, pid)
        if descriptor is None:
            threads = threads and tid == pid
            continue
        with _closing(descriptor):
            value = _lookup(reader, descriptor)
        if value is not None:
            comm = _comm(tid, pid)
            room.append(tid.to_bytes(4, "little") + pid.to_bytes(4, "little") + comm, value)
        if tried % 256 == 0:
            progress(room.used)
    note = "" if threads else "this kernel has no descriptors of single threads: only whole processes were tried"
    return room.reading(Completeness.WALKED, started_at_ns, (note,) if note else ())


def read_cgroups(reader: MapReader, *, limit: int, progress: Progress) -> Reading:
    """Elements of a CGRP_STORAGE map: key {u64 cgroup id, char path[256]}."""
    room = Room(KEY_BYTES[Enumerate.CGROUPS], reader.value_stride, 64)
    started_at_ns = time.time_ns()
    root = cgroup2_mount()
    if root is None:
        note = "no cgroup2 hierarchy is mounted here, so no cgroup could be tried"
        return room.reading(Completeness.PARTIAL, started_at_ns, (note,))
    for tried, (folder, _folders, _files) in enumerate(os.walk(root)):
        if room.used >= limit or tried > LIMIT_OWNERS:
            return room.reading(Completeness.CAPPED, started_at_ns)
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            inode = os.stat(folder).st_ino
        except OSError:  # removed meanwhile, or closed to us
            continue
        with _closing(descriptor):
            value = _lookup(reader, descriptor)
        if value is not None:
            path = os.fsencode(below(root, folder))
            room.append(inode.to_bytes(8, "little") + path[:255].ljust(256, b"\0"), value)
        if tried % 256 == 0:
            progress(room.used)
    return room.reading(Completeness.WALKED, started_at_ns)


def read_sockets(client: Client, map_id: int, value_size: int) -> Reading:
    """Elements of a SK_STORAGE map, as the broker's iterator finds them: key {u64 cookie, char socket[96]}."""
    return _from_broker(client, map_id, value_size, Enumerate.SOCKETS)


def read_inodes(client: Client, map_id: int, value_size: int) -> Reading:
    """Elements of an INODE_STORAGE map among the files that processes hold open: key {u64 inode, char path[256]}."""
    return _from_broker(client, map_id, value_size, Enumerate.INODES)


def _from_broker(client: Client, map_id: int, value_size: int, kind: Enumerate) -> Reading:
    started_at_ns = time.time_ns()
    answer = client.sk_storage(map_id) if kind is Enumerate.SOCKETS else client.inode_storage(map_id)
    label_bytes = KEY_BYTES[kind] - 8
    room = Room(KEY_BYTES[kind], value_size, max(len(answer.entries), 1))
    for entry in answer.entries:
        label = os.fsencode(entry.label)[: label_bytes - 1].ljust(label_bytes, b"\0")
        room.append(entry.owner_id.to_bytes(8, "little") + label, entry.value)
    completeness = Completeness.PARTIAL if answer.problem else Completeness.WALKED
    return room.reading(completeness, started_at_ns, (answer.problem,) if answer.problem else ())


def below(root: str, folder: str) -> str:
    """Path of a cgroup as the kernel writes it: "/" for the root, "/system.slice/…" for others."""
    relative = os.path.relpath(folder, root)
    return "/" if relative == "." else f"/{relative}"


def cgroup2_mount() -> str | None:
    """Where the cgroup2 hierarchy is mounted."""
    try:
        lines = (PROC / "self/mounts").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        parts = line.split(" ")
        if len(parts) > 2 and parts[2] == "cgroup2":
            return parts[1]
    return None


def _tasks() -> Iterator[tuple[int, int]]:
    """(tid, pid) of every task that /proc shows."""
    for process in _numbers(PROC):
        for thread in _numbers(PROC / str(process) / "task"):
            yield thread, process


def _numbers(folder: Path) -> list[int]:
    try:
        return [int(name) for name in os.listdir(folder) if name.isdecimal()]
    except OSError:
        return []


def _open_task(tid: int, pid: int) -> int | None:
    try:
        return os.pidfd_open(tid, 0 if tid == pid else PIDFD_THREAD)
    except OSError:
        return None


def _comm(tid: int, pid: int) -> bytes:
    try:
        text = (PROC / str(pid) / "task" / str(tid) / "comm").read_bytes().rstrip(b"\n")
    except OSError:
        text = b""
    return text[:15].ljust(16, b"\0")


@contextmanager
def _closing(descriptor: int) -> Iterator[None]:
    try:
        yield
    finally:
        os.close(descriptor)


def _lookup(reader: MapReader, descriptor: int) -> bytearray | None:
    value = bytearray(reader.value_stride)
    try:
        found = reader.lookup(descriptor.to_bytes(4, "little"), value)
    except (ObjectGone, InvalidForKernel):  # the owner went away, or cannot own one
        return None
    return value if found else None
