"""What can be wrong in the recorder."""

from __future__ import annotations

from pathlib import Path

from app.errors import AppError


class RecorderError(AppError):
    """Root of this room's errors."""


class BadRules(RecorderError):
    """Rules that cannot be used."""

    def __init__(self, path: Path | str, reason: str) -> None:
        self.reason = reason
        super().__init__(f"{path}: {reason}; until it is mended, maps are recorded as if there were no rules")


class CannotListen(RecorderError):
    """The recorder's socket cannot be made."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"the recorder cannot listen at {path}: {reason}")
