"""What can go wrong between the asking side and the broker."""

from __future__ import annotations

from app.errors import AppError


class WireError(AppError):
    """The broker could not be asked, or its answer is none."""


class BrokerAbsent(WireError):
    """Nobody listens at the socket."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"no broker answers at {path} ({reason}); start one with `bpf-atlas serve`")


class RecorderAbsent(WireError):
    """Nobody listens at the recorder's socket."""

    def __init__(self) -> None:
        super().__init__("the recorder does not answer, so nothing can be written to the history now; its log says why")


class RecorderSlow(WireError):
    """No answer in time."""

    def __init__(self, timeout_s: float) -> None:
        super().__init__(
            f"the recorder did not answer within {timeout_s:g} s: it is writing, or its database is slow; try again"
        )


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


class SignInFailed(Declined):
    """Name or password is wrong, or there is no such user: the three look the same from outside."""


class SessionOver(Declined):
    """No session, or one that has ended."""


class NeedsWriteSession(Declined):
    """The session may only read until its password is given again."""


class NotAllowed(Declined):
    """The role, or the policy, does not allow it."""


class EditsOff(Declined):
    """The service does not edit: it was started without --allow-edits, or its policy has an error."""


class TooFast(Declined):
    """More at once than the policy, or the throttle of passwords, lets through; `retry_s` says when to come back."""

    def __init__(self, message: str, retry_s: int = 1) -> None:
        super().__init__(message)
        self.retry_s = retry_s


class BadField(Declined):
    """One part of a question cannot be used; `field` says which: a path, `key`, `reason`, `name` …"""

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class MapChanged(Declined):
    """The id, or the name, belongs to another map than the one that was shown."""


class NotThere(Declined):
    """No such user, session, token, record or plan."""


class Taken(Declined):
    """That name is in use, or that state does not allow it."""


class CannotRecord(Declined):
    """The audit log cannot be written: so nothing is done that would have to stand in it."""
