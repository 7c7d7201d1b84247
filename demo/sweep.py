"""Leave nothing behind: what a run makes by name is removed at its end, and what a killed run left at the next start.

Maps, programs and links that no file names end with their process; namespaces, devices, the cgroup, pins and the
registered congestion control do not. All have names of their own (demo.names), so they can be found again.
"""

from __future__ import annotations

import os
import socket
import struct
from contextlib import suppress
from errno import EADDRINUSE
from pathlib import Path

from demo import network
from demo.errors import AlreadyRunning, Refused
from demo.libbpf import open_pin
from demo.names import CGROUP, CGROUP_MOUNT, GUARD, PINS, STRUCT_OPS_PIN

CREDENTIALS = struct.Struct("=iII")
"""``struct ucred``: pid, uid, gid."""


def claim() -> socket.socket:
    """Be the one demo of this host for as long as the returned socket is open, and remove what a killed one left.

    The name of an abstract socket is taken by one process at a time and given back by the kernel with its death.
    raises  AlreadyRunning
    """
    guard = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        guard.bind(GUARD)
        guard.listen()
    except OSError as error:
        guard.close()
        if error.errno != EADDRINUSE:
            raise
        raise AlreadyRunning(_holder()) from error
    clean()
    return guard


def _holder() -> int:
    """Pid of the process that holds the guard, 0 if it has just gone."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as visitor, suppress(OSError):
        visitor.settimeout(0)
        visitor.connect(GUARD)
        return int(CREDENTIALS.unpack(visitor.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size))[0])
    return 0


def clean() -> None:
    """Remove every named thing that is there."""
    if STRUCT_OPS_PIN.exists():
        _unregister()
    if PINS.is_dir():
        for pin in PINS.iterdir():
            pin.unlink()
        PINS.rmdir()
    network.remove()
    _remove_cgroup()


def _unregister() -> None:
    """Delete the one element of the struct_ops map: registered, it outlives its process."""
    registered = open_pin(STRUCT_OPS_PIN)
    with suppress(Refused):  # pinned, but not registered yet, or no longer
        registered.delete(bytes(4))
    registered.close()


def _cgroup_mount() -> Path | None:
    found = network.mounts("cgroup2")
    return found[0] if found else None


def enter_cgroup() -> tuple[Path, Path]:
    """Make the demo's cgroup and move this process there; returns that folder and the one that it came from.

    raises  Refused where cgroups may not be made
    """
    mount = _cgroup_mount()
    if mount is None:
        network.mount("cgroup2", CGROUP_MOUNT)
        mount = CGROUP_MOUNT
    home = mount / _own_cgroup().lstrip("/")
    folder = mount / CGROUP
    try:
        folder.mkdir(exist_ok=True)
        join_cgroup(folder)
    except OSError as error:
        raise Refused(f"make the cgroup {folder}", error.errno or 0) from error
    return folder, home


def join_cgroup(folder: Path) -> None:
    """Move this process, with all its threads, to the cgroup."""
    (folder / "cgroup.procs").write_text(str(os.getpid()), encoding="ascii")


def _own_cgroup() -> str:
    lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    return next((line[3:] for line in lines if line.startswith("0::")), "/")


def _remove_cgroup() -> None:
    mount = _cgroup_mount()
    if mount is None:
        return
    folder = mount / CGROUP
    if folder.is_dir():
        folder.rmdir()
    if mount == CGROUP_MOUNT:
        network.unmount(CGROUP_MOUNT)
        CGROUP_MOUNT.rmdir()
