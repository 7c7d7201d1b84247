"""What lenses need to know of the host: when it started, what interfaces and processes are called. Asked for while rendering."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import islice
from pathlib import Path

from app.columns.lenses.show import NO_NAMES, Names
from app.maps.owners import LIMIT_OWNERS, below, cgroup2_mount

MAX_COMM_BYTES = 64
LENSES = frozenset({"ktime", "pid", "pid_tgid", "ifindex", "cgroup"})
"""That say more with them."""
TIME_OFFSETS = Path("/proc/self/timens_offsets")


class Comms(Mapping[int, str]):
    """pid -> command, read from /proc when asked."""

    def __getitem__(self, pid: int) -> str:
        """Raises KeyError for a pid that is not there."""
        with contextlib.suppress(OSError), Path(f"/proc/{pid}/comm").open("rb") as file:
            return file.read(MAX_COMM_BYTES).decode("utf-8", "replace").rstrip("\n")
        raise KeyError(pid)

    def __iter__(self) -> Iterator[int]:
        return (int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal())

    def __len__(self) -> int:
        return sum(1 for _ in self)


class Cgroups(Mapping[int, str]):
    """cgroup id -> path below the cgroup2 mount; the tree is walked once, when the first id is asked for."""

    def __init__(self) -> None:
        self._paths: dict[int, str] | None = None

    def __getitem__(self, cgroup_id: int) -> str:
        """Raises KeyError for an id that is not there, or beyond LIMIT_OWNERS."""
        return self._known()[cgroup_id]

    def __iter__(self) -> Iterator[int]:
        return iter(self._known())

    def __len__(self) -> int:
        return len(self._known())

    def _known(self) -> dict[int, str]:
        if self._paths is None:
            root = cgroup2_mount()
            walk = islice(os.walk(root), LIMIT_OWNERS) if root else ()
            self._paths = {}
            for folder, _folders, _files in walk:
                with contextlib.suppress(OSError):  # removed meanwhile
                    # A cgroup's id is the number of its folder's inode (kernfs).
                    self._paths[os.stat(folder).st_ino] = below(root or "", folder)
        return self._paths


def names_for(lens: str) -> Names:
    """For one reading among many, as the rows of a plan: what the host says is asked for once in a while, and when it is needed."""
    return _lately(int(time.monotonic())) if lens in LENSES else NO_NAMES


@lru_cache(maxsize=1)
def _lately(_second: int) -> Names:
    return names()


def names() -> Names:
    """For one page or one command."""
    interfaces: dict[int, str] = {}
    with contextlib.suppress(OSError):
        interfaces = dict(socket.if_nameindex())
    return Names(
        comms=Comms(),
        interfaces=interfaces,
        cgroups=Cgroups(),
        boot_time_ns=time.clock_gettime_ns(time.CLOCK_REALTIME) - monotonic_ns(),
    )


def monotonic_ns() -> int:
    """CLOCK_MONOTONIC as BPF programs read it: a time namespace sets it off for its processes alone."""
    now_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    # Since Linux commit 04a8682a71be ("fs/proc: Introduce /proc/pid/timens_offsets") (in v5.6): clock, seconds, nanoseconds.
    with contextlib.suppress(OSError, ValueError):
        for clock, seconds, nanoseconds in map(str.split, TIME_OFFSETS.read_text().splitlines()):
            if clock == "monotonic":
                now_ns -= int(seconds) * 10**9 + int(nanoseconds)
    return now_ns


def boot_id() -> str:
    """Of this start of the kernel."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def names_of(boot: str) -> Names:
    """Names for entries that were read in a boot of some host; none unless it is the present one.

    Without them a time since boot reads as one ("+25 s"), a pid and an interface as numbers.
    """
    return names() if boot and boot == boot_id() else NO_NAMES
