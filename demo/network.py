"""Two network namespaces of the demo's own, joined by a veth pair: nothing is made in, or sent from, the host's."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from cffi import FFI

from demo._prototypes import LIBC_CDEF
from demo.errors import Refused, ToolFailed
from demo.names import (
    BACKEND_ADDRESSES,
    CLIENT_ADDRESS,
    CLIENT_ALIASES,
    CLIENT_DEVICE,
    CLIENT_NETNS,
    NETNS_FOLDER,
    SERVER_ADDRESS,
    SERVER_DEVICE,
    SERVER_NETNS,
    SERVICE_ADDRESSES,
)

CLONE_NEWNET = 0x40000000

_ffi = FFI()
_ffi.cdef(LIBC_CDEF)
libc: Any = _ffi.dlopen(None)


def ip(*arguments: str, batch: str | None = None) -> None:
    """Run iproute2's ``ip``.

    raises  ToolFailed with what it said
    """
    command = ["ip", *arguments]
    done = subprocess.run(command, input=batch, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ToolFailed(" ".join(command), done.stderr)


def make() -> None:
    """Make both namespaces, the veth pair and all addresses."""
    for netns in (CLIENT_NETNS, SERVER_NETNS):
        ip("netns", "add", netns)
    ip(
        *("link", "add", CLIENT_DEVICE, "netns", CLIENT_NETNS, "type", "veth"),
        *("peer", "name", SERVER_DEVICE, "netns", SERVER_NETNS),
    )
    client = [f"addr add {address}/16 dev {CLIENT_DEVICE}" for address in (CLIENT_ADDRESS, *CLIENT_ALIASES)]
    server = [f"addr add {address}/16 dev {SERVER_DEVICE}" for address in (SERVER_ADDRESS, *BACKEND_ADDRESSES)]
    up = "link set lo up\nlink set {device} up\n"
    routes = [f"route add {address}/32 via {SERVER_ADDRESS}" for address in SERVICE_ADDRESSES]
    ip("-n", CLIENT_NETNS, "-batch", "-", batch="\n".join([*client, up.format(device=CLIENT_DEVICE), *routes]))
    ip("-n", SERVER_NETNS, "-batch", "-", batch="\n".join([*server, up.format(device=SERVER_DEVICE)]))


def remove() -> None:
    """Remove what `make` made, as far as it is there."""
    for netns, device in ((CLIENT_NETNS, CLIENT_DEVICE), (SERVER_NETNS, SERVER_DEVICE)):
        if (NETNS_FOLDER / netns).exists():
            with suppress(ToolFailed):  # killed before the pair was made, or gone with the other end
                ip("-n", netns, "link", "del", device)
            ip("netns", "del", netns)


def enter(path: Path) -> None:
    """Move the calling thread into the network namespace at `path`."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc.setns(fd, CLONE_NEWNET) < 0:
            raise Refused(f"enter the network namespace {path}", _ffi.errno)
    finally:
        os.close(fd)


@contextmanager
def inside(netns: str) -> Iterator[None]:
    """Run the block in `netns`; the calling thread comes back after it."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        enter(NETNS_FOLDER / netns)
        try:
            yield
        finally:
            if libc.setns(home, CLONE_NEWNET) < 0:
                raise Refused("return to the first network namespace", _ffi.errno)
    finally:
        os.close(home)


def mount(kind: str, target: Path) -> None:
    """Mount the file system `kind` at `target`."""
    target.mkdir(parents=True, exist_ok=True)
    if libc.mount(kind.encode(), str(target).encode(), kind.encode(), 0, _ffi.NULL) < 0:
        raise Refused(f"mount {kind} at {target}", _ffi.errno)


def unmount(target: Path) -> None:
    """Unmount `target`, if something is mounted there."""
    libc.umount2(str(target).encode(), 0)


def mounts(kind: str) -> list[Path]:
    """Where file systems of `kind` are mounted."""
    rows = [line.split() for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()]
    return [Path(row[1]) for row in rows if row[2] == kind]
