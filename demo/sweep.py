"""Leave nothing behind: what a run makes by name is removed at its end, and what a killed run left at the next start.

Maps, programs and links that no file names end with their process; namespaces, devices, the cgroup, pins and the
registered congestion control do not. All have names of their own (demo.names), so they can be found again.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
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
    _remove_cgroup()
    STATE.unlink(missing_ok=True)


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
