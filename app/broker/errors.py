"""What stops the broker itself; what it answers with is in app.wire.errors."""

from __future__ import annotations

from app.errors import AppError


class BrokerError(AppError):
    """The broker cannot run."""


class CannotListen(BrokerError):
    """The socket cannot be made."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"cannot listen at {path} ({reason}); is another broker running, and the directory writable?")
