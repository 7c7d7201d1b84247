"""Leave nothing behind: what a run makes by name is removed at its end, and what a killed run left at the next start.

Maps, programs and links that no file names end with their process; namespaces, devices, the cgroup, pins and the
registered congestion control do not. All have names of their own (demo.names), so they can be found again.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from demo import network
from demo.errors import AlreadyRunning, Refused
from demo.libbpf import open_pin
from demo.names import CGROUP, CGROUP_MOUNT, PINS, STATE, STRUCT_OPS_PIN


def claim() -> None:
    """Write this process into the state file, after removing what an earlier one left.

    raises  AlreadyRunning if that one lives
    """
    try:
        state = json.loads(STATE.read_text(encoding="utf-8"))
        pid, started = int(state["pid"]), str(state["started"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        pid, started = 0, ""
    if pid and pid != os.getpid() and _started(pid) == started:
        raise AlreadyRunning(pid)
    clean()
    STATE.write_text(json.dumps({"pid": os.getpid(), "started": _started(os.getpid())}), encoding="utf-8")


def _started(pid: int) -> str:
    """Start time of a process in clock ticks after boot, empty if there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return stat.rpartition(")")[2].split()[19]  # field 22; the name before ")" may hold spaces


def clean() -> None:
    """Remove every named thing that is there."""
    if STRUCT_OPS_PIN.exists():
        _unregister()
    if PINS.is_dir():
        for pin in PINS.iterdir():
            pin.unlink()
        PINS.rmdir()
    network.remove()
    _leave_cgroup()
    STATE.unlink(missing_ok=True)


def _unregister() -> None:
    """A registered struct_ops map outlives its process: deleting its one element unregisters it."""
    registered = open_pin(STRUCT_OPS_PIN)
    try:
        registered.delete(bytes(4))
    except Refused:
        pass  # pinned, but not registered yet, or no longer
    finally:
        registered.close()


def _cgroup_mount() -> Path | None:
    found = network.mounts("cgroup2")
    return found[0] if found else None


def enter_cgroup() -> Path:
    """Make the demo's cgroup and move this process there; returns its folder."""
    mount = _cgroup_mount()
    if mount is None:
        network.mount("cgroup2", CGROUP_MOUNT)
        mount = CGROUP_MOUNT
    folder = mount / CGROUP
    folder.mkdir(exist_ok=True)
    global _home  # noqa: PLW0603 (a process is in one cgroup)
    _home = mount / _own_cgroup().lstrip("/")
    (folder / "cgroup.procs").write_text(str(os.getpid()), encoding="ascii")
    return folder


_home: Path | None = None
"""The cgroup that this process came from."""


def _own_cgroup() -> str:
    lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    return next((line[3:] for line in lines if line.startswith("0::")), "/")


def _leave_cgroup() -> None:
    mount = _cgroup_mount()
    if mount is None:
        return
    folder = mount / CGROUP
    if folder.is_dir():
        if _home is not None:
            (_home / "cgroup.procs").write_text(str(os.getpid()), encoding="ascii")
        folder.rmdir()
    if mount == CGROUP_MOUNT:
        network.unmount(CGROUP_MOUNT)
        CGROUP_MOUNT.rmdir()
