"""What the answers share: settings of this broker, its iterators, and what was found out about the host."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, TypeVar

from app.broker.iterators import Iterators
from app.wire import bodies
from app.wire.errors import UnusableHere

if TYPE_CHECKING:
    from app.broker.desk import Desk


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
    open_desk: Callable[[], Desk] | None = None
    """Opens accounts, policy and audit log when the first question needs them: most commands never do."""
    stopping: set[int] = field(default_factory=set)
    """Plans that somebody asked to stop."""
    _desk: Desk | None = None

    @property
    def desk(self) -> Desk:
        """Accounts, policy and audit log.

        raises  UnusableHere where this broker has none, and what Desk.open raises
        """
        with self.lock:
            if self._desk is None:
                if self.open_desk is None:
                    raise UnusableHere(
                        "this broker keeps neither accounts nor an audit log: start it with a data directory"
                    )
                self._desk = self.open_desk()
            return self._desk

    def close(self) -> None:
        """Let go of iterator programs and databases."""
        self.iterators.close()
        with self.lock:
            if self._desk is not None:
                self._desk.close()
                self._desk = None


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
