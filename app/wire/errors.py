"""What can go wrong between the asking side and the broker."""

from __future__ import annotations

from app.errors import AppError


class WireError(AppError):
    """The broker could not be asked, or its answer is none."""


class BrokerAbsent(WireError):
    """Nobody listens at the socket."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"no broker answers at {path} ({reason}); start one with `bpf-atlas serve`")


class BrokerClosed(WireError):
    """The broker closed the connection instead of answering: it does so with whom it does not know, and what it cannot read."""

    def __init__(self, verb: str) -> None:
        super().__init__(f"the broker closed the connection at {verb}: this account may not ask it; its log says why")


class BrokerSlow(WireError):
    """No answer in time."""

    def __init__(self, verb: str, timeout_s: float) -> None:
        super().__init__(f"the broker did not answer {verb} within {timeout_s:g} s; try again")


class BadFrame(WireError):
    """A datagram that does not follow frame.py."""

    def __init__(self, wanted: str, found: str) -> None:
        super().__init__(f"a frame was refused: wanted {wanted}, found {found}")


class BrokerFailed(WireError):
    """The broker met a bug of its own; its log has the traceback."""


class Declined(WireError):
    """The broker understood and will not, for a reason in the question itself."""


class PinOutside(Declined):
    """The path of a pin leaves the bpffs, passes a symbolic link, or is not there."""


class WrongMapType(Declined):
    """The map's type has no such thing to look at."""


class LimitExceeded(Declined):
    """More was asked for than the broker hands out at once."""


class UnusableHere(Declined):
    """The kernel here, or this broker's privileges, cannot do what was asked."""
