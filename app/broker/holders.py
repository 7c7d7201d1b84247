"""The answer to who holds what: descriptors of bpf objects in all processes."""

from __future__ import annotations

import os
from collections.abc import Iterator

from app.broker.host import Host, Reply, text
from app.wire import bodies
from app.wire.errors import UnusableHere

_LINKS = {b"anon_inode:bpf-map": "map", b"anon_inode:bpf-prog": "prog", b"anon_inode:bpf_link": "link",
          b"anon_inode:bpf-link": "link", b"anon_inode:btf": "btf"}  # fmt: skip


def answer_holders(host: Host, _: bodies.AskNothing) -> Reply:
    """By an iterator over all tasks' files, which needs no right to look into processes; otherwise by /proc."""
    try:
        rows = host.iterators.holders()
    except UnusableHere as error:
        return Reply(_by_proc(str(error)))
    unique = {
        (pid, fd): bodies.HolderFacts(pid, text(comm), fd, kind, object_id) for pid, fd, kind, object_id, comm in rows
    }
    return Reply(bodies.HolderList(tuple(unique[at] for at in sorted(unique)), ""))


def _by_proc(why: str) -> bodies.HolderList:
    """Through /proc/PID/fd and fdinfo: other processes' descriptors take CAP_SYS_PTRACE, or the same user and rights."""
    found: list[bodies.HolderFacts] = []
    closed = 0
    for pid in sorted(int(name) for name in os.listdir("/proc") if name.isdecimal()):
        try:
            found.extend(_of_process(pid))
        except PermissionError:
            closed += 1
        except OSError:
            continue  # it ended meanwhile
    problem = f"{why}; {closed} processes could not be looked into" if closed else ""
    return bodies.HolderList(tuple(found), problem)


def _of_process(pid: int) -> Iterator[bodies.HolderFacts]:
    comm = ""
    for name in sorted(int(name) for name in os.listdir(f"/proc/{pid}/fd")):
        try:
            kind = _LINKS.get(os.readlink(f"/proc/{pid}/fd/{name}".encode()))  # noqa: PTH115  (bytes)
        except FileNotFoundError:
            continue
        if kind is None:
            continue
        comm = comm or _first(f"/proc/{pid}/comm").rstrip("\n")
        for line in _first(f"/proc/{pid}/fdinfo/{name}").split("\n"):
            label, _, number = line.partition(":\t")
            if label == f"{kind}_id":
                yield bodies.HolderFacts(pid, comm, name, kind, int(number))


def _first(path: str) -> str:
    with open(path, encoding="utf-8", errors="backslashreplace") as file:
        return file.read(4096)
