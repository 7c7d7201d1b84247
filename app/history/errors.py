"""What can be wrong with a history, or with what is asked of it."""

from __future__ import annotations

from app.errors import AppError, UsageError


class HistoryError(AppError):
    """Root of this room's errors."""


class NoHistory(HistoryError):
    """There is no database yet."""

    def __init__(self, where: str) -> None:
        super().__init__(
            f"there is no history at {where} yet: `bpf-atlas serve` records one, and so does `bpf-atlas snapshot`"
        )


class DatabaseUnusable(HistoryError):
    """The database cannot be opened, read or written."""

    def __init__(self, where: str, reason: str, advice: str = "") -> None:
        reason = " ".join(reason.split())  # PostgreSQL's have several lines
        super().__init__(f"the history at {where} cannot be used ({reason}): {advice or _advice(where, reason)}")


def _advice(where: str, reason: str) -> str:
    if "://" in where:
        return "see that the server runs, and that BPF_ATLAS_DATABASE_URL is right"
    if "locked" in reason:
        return "another process writes it; try again"
    return "make room, or look at its owner and mode"


class DatabaseDamaged(DatabaseUnusable):
    """The file is one, and what SQLite needs to read it is not what was written."""

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(
            where,
            reason,
            "it is damaged, or was cut off; take another copy, or a backup by `bpf-atlas history restore`",
        )


DAMAGE = (
    "malformed",
    "corrupt",
    "no such table",
    "no such column",
    "not a database",
    "codec can't decode",
    "unsupported file format",
)
"""In what SQLite says of a file that is damaged where its own facts stand."""


def unusable(where: str, reason: str) -> DatabaseUnusable:
    """The error that a database's words are a case of."""
    kind = DatabaseDamaged if "://" not in where and any(words in reason for words in DAMAGE) else DatabaseUnusable
    return kind(where, reason)


class NotAHistory(HistoryError):
    """A file that is something else."""

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(f"{where} is no history of bpf-atlas ({reason})")


class TooNew(HistoryError):
    """A later release wrote it."""

    def __init__(self, where: str, found: str) -> None:
        super().__init__(
            f"the history at {where} has schema {found[:40]}, which this release does not know: use the release that wrote it,"
            " or a newer one"
        )


class TooOld(HistoryError):
    """An earlier release wrote it, and only its writer brings it up to date."""

    def __init__(self, where: str, found: str) -> None:
        super().__init__(
            f"the history at {where} has the older schema {found[:40] or 'none'}: start `bpf-atlas serve`, which brings it up to date"
            " after a backup"
        )


class OtherRecorder(HistoryError):
    """Somebody else writes."""

    def __init__(self, where: str) -> None:
        super().__init__(f"another recorder writes the history at {where}: there is one at a time; stop it, or ask it")


class Damaged(HistoryError):
    """Bytes that are not what was stored."""

    def __init__(self, what: str, why: str) -> None:
        super().__init__(
            f"{what} is damaged in the database: {why}; the rest can be read, `bpf-atlas history verify` names all of it"
        )
        self.what, self.why = what, why


class NotTakenIn(HistoryError):
    """A snapshot of a file that does not go into the history."""

    def __init__(self, what: str, why: str) -> None:
        super().__init__(f"{what} of the file is left out: {why}")


class NoSuchSnapshot(HistoryError):
    """A reference that names none."""

    def __init__(self, reference: str) -> None:
        super().__init__(f"there is no snapshot {reference[:80]}; `bpf-atlas snapshots` lists what there is")


class NoSuchSeries(HistoryError):
    """A map without any history."""

    def __init__(self, reference: str) -> None:
        super().__init__(f"no history of {reference[:200]}: no snapshot of such a map was ever taken")


class NothingThen(HistoryError):
    """The history of a map begins later."""

    def __init__(self, name: str, when: str, first: str) -> None:
        super().__init__(f"no snapshot of {name} at or before {when}: the first is of {first}")


class Unlike(HistoryError, UsageError):
    """Two sides that have nothing to compare."""

    def __init__(self, why: str) -> None:
        super().__init__(f"these two cannot be compared: {why}")
