"""What one run of the demo holds: everything opened, in the order in which it is to be closed again."""

from __future__ import annotations

import struct
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

from demo.errors import Refused
from demo.libbpf import Map, Object, Program
from demo.names import PINS

U32 = struct.Struct("=I")


class Closes(Protocol):
    """Something that ends with `close`."""

    def close(self) -> None: ...


Kept = TypeVar("Kept", bound=Closes)


@dataclass(slots=True)
class Tick:
    """Something to do every `interval_s` seconds."""

    interval_s: float
    act: Callable[[], object]
    due_s: float = 0.0


@dataclass(slots=True)
class Scene:
    """The demo while it runs; `close` undoes all of it."""

    cgroup: Path
    """The demo's cgroup v2 folder; this process is in it."""
    cgroup_fd: int
    server_ifindex: int
    client_ifindex: int
    resources: ExitStack = field(default_factory=ExitStack)
    objects: dict[str, Object] = field(default_factory=dict)
    maps: list[Map] = field(default_factory=list)
    programs: list[Program] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    """One sentence for each thing that the kernel would not have."""
    ticks: list[Tick] = field(default_factory=list)
    complaints: set[str] = field(default_factory=set)
    """What ticks were refused while running, each sentence once."""

    def load(self, name: str, *, prepare: Callable[[Object], None] | None = None) -> Object:
        """Open, prepare and load the object `name`, and list its maps and programs.

        raises  Refused when the kernel has not what it needs
        """
        opened = Object(name)
        self.resources.callback(opened.close)
        if prepare is not None:
            prepare(opened)
        opened.load()
        self.objects[name] = opened
        self.maps += [found for found in opened.maps() if found.fd >= 0]
        self.programs += list(opened.programs())
        return opened

    def keep(self, resource: Kept) -> Kept:
        """Close `resource` at the end; returns it."""
        self.resources.callback(resource.close)
        return resource

    def pin(self, *maps: Map) -> None:
        """Pin each map under its own name; unpinned at the end."""
        for pinned in maps:
            path = PINS / pinned.name
            pinned.pin(path)
            self.resources.callback(path.unlink, missing_ok=True)

    def every(self, interval_s: float, act: Callable[[], object]) -> None:
        self.ticks.append(Tick(interval_s, act, time.monotonic()))

    def tick(self) -> None:
        """Do what is due. What the kernel refuses by now (people edit and freeze these maps) is said once, on stderr."""
        now_s = time.monotonic()
        for tick in self.ticks:
            if now_s >= tick.due_s:
                tick.due_s = max(tick.due_s + tick.interval_s, now_s)
                self._act(tick)

    def _act(self, tick: Tick) -> None:
        try:
            tick.act()
        except Refused as refused:
            sentence = str(refused)
            if sentence not in self.complaints:
                self.complaints.add(sentence)
                sys.stderr.write(f"demo: {sentence}\n")

    def close(self) -> None:
        self.resources.close()


def be32(address: str) -> bytes:
    """``__be32`` of a dotted address."""
    return bytes(int(part) for part in address.split("."))


def be16(port: int) -> bytes:
    """``__be16`` of a port."""
    return port.to_bytes(2, "big")
