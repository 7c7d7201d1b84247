"""What can be wrong with a moment, a side of a comparison, or a restore."""

from __future__ import annotations

from app.errors import AppError, UsageError


class TimelineError(AppError):
    """Root of this room's errors."""


class BadSide(TimelineError, UsageError):
    """Neither a snapshot nor a map nor a map at a time."""

    def __init__(self, text: str, why: str) -> None:
        super().__init__(f"{text[:200]!r} is no side of a comparison: {why}")


class BadWhen(TimelineError, UsageError):
    """No moment."""

    def __init__(self, text: str) -> None:
        super().__init__(
            f"{text[:80]!r} is no time: write 2026-11-24T18:03 (UTC), or 30s, 10m, 2h, 3d for so long ago, behind the @"
        )


class NotKept(TimelineError):
    """A map whose entries pass through, or that cannot be listed."""

    def __init__(self, label: str, why: str) -> None:
        super().__init__(f"no snapshot can be taken of this {label}: {why}")


class ManySeries(TimelineError):
    """Several maps of the past answer to a reference."""

    def __init__(self, reference: str, which: tuple[str, ...]) -> None:
        super().__init__(
            f"{len(which)} histories answer to {reference[:80]}: name a snapshot of one, {'; '.join(which[:5])}"
        )


class CannotRestore(TimelineError, UsageError):
    """A snapshot that no plan leads back to."""


class NothingToRestore(TimelineError):
    """The map holds all that already."""

    def __init__(self) -> None:
        super().__init__("nothing is to be done: the map holds what the snapshot does")
