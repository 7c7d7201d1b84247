"""Who asks the broker: what an account may be, and which process it was."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Flag, auto


class Peer(Flag):
    """Who asks, told by the uid that the kernel vouches for; one uid may be several."""

    ROOT = auto()
    WEB = auto()
    RECORDER = auto()


@dataclass(frozen=True, slots=True)
class Asker:
    """One process at the other end of a connection, by SO_PEERCRED."""

    peer: Peer
    uid: int
    pid: int
    """0 when it lives in another pid namespace."""
    in_process: bool = False
    """The asking process is this one: a command of root's without a service, which waits for what it starts."""
