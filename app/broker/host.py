"""What the answers share: settings of this broker, its iterators, and what was found out about the host."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import RLock
from typing import TypeVar

from app.broker.iterators import Iterators
from app.wire import bodies


@dataclass(slots=True)
class Host:
    """One per broker, shared by its threads; `iterators` guards itself."""

    bpffs: Path
    iterators: Iterators = field(default_factory=Iterators)
    passes_descriptors: bool = True
    """Whether an unprivileged process can read through a descriptor that it was passed."""
    tried: tuple[bodies.Capability, ...] = ()
    """What was tried at start and cannot be tried again once the process is confined."""
    lock: RLock = field(default_factory=RLock)
    """Guards the two below."""
    found: tuple[bodies.Capability, ...] = ()
    found_until_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, and the descriptor that goes with it: whoever sends it closes it."""

    body: bodies.Body
    descriptor: int | None = None


_Result = TypeVar("_Result")


def with_fd(descriptor: int, use: Callable[[int], _Result]) -> _Result:
    """Call `use` with a descriptor and close it whatever happens."""
    try:
        return use(descriptor)
    finally:
        os.close(descriptor)


def text(name: bytes) -> str:
    r"""Decode a name that the kernel keeps, undecodable bytes as \xNN."""
    return name.decode(errors="backslashreplace")


def printable(path: str) -> str:
    """Give a path as text that can be sent: bytes of a file's name that are no UTF-8 as in `text`."""
    return text(os.fsencode(path))
