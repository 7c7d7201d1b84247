"""What lenses need to know of the host: when it started, what interfaces and processes are called. Asked for while rendering."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from app.columns.lenses.show import Names

MAX_COMM_BYTES = 64


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


def names() -> Names:
    """For one page."""
    interfaces: dict[int, str] = {}
    with contextlib.suppress(OSError):
        interfaces = dict(socket.if_nameindex())
    return Names(
        comms=Comms(),
        interfaces=interfaces,
        boot_time_ns=time.clock_gettime_ns(time.CLOCK_REALTIME) - time.clock_gettime_ns(time.CLOCK_MONOTONIC),
    )
