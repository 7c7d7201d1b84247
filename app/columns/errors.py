"""What can be wrong with a path, an expression, a key or a lens: every error of this room is a ColumnsError."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from app.errors import AppError


class ColumnsError(AppError):
    """Something asked of the columns cannot be done; the sentence says what would be."""


class NoSuchField(ColumnsError):
    """A path names nothing in the key or the value."""

    def __init__(self, path: str, known: Iterable[str]) -> None:
        super().__init__(f"no field {_shown(path)}; {_suggestion(path, list(known))}")


class NotOneColumn(ColumnsError):
    """The path is right but does not give what was asked, such as a sum of text."""


class UnknownLens(ColumnsError):
    """No lens of that name suits the field."""

    def __init__(self, path: str, lens: str, choices: Iterable[str]) -> None:
        super().__init__(f"{path} cannot be shown as {_shown(lens)}; choose one of {', '.join(choices)}")


class BadValue(ColumnsError):
    """What was given is none of the field's values; `path` is the field's."""

    def __init__(self, message: str, path: str = "") -> None:
        super().__init__(message)
        self.path = path


class BadKey(BadValue):
    """The text is not a key of this map."""


class WhereError(ColumnsError):
    """A filter expression cannot be understood; ``column`` counts characters from 1."""

    def __init__(self, column: int, message: str) -> None:
        super().__init__(f"column {column}: {message}")
        self.column = column
        self.message = message


class TableShape(ColumnsError):
    """Arrays handed to a Table do not have the shape that its layout says."""

    def __init__(self, what: str, wanted: tuple[int | str, ...], found: tuple[int, ...]) -> None:
        super().__init__(f"{what}: uint8{list(wanted)} was wanted, found shape {list(found)}")


def _suggestion(path: str, known: list[str]) -> str:
    """Two or three paths that the user may have meant, nearest first; else what there is."""
    last = "." + path.rsplit(".", 1)[-1]
    tails = [name for name in known if name.endswith("." + path)] or [name for name in known if name.endswith(last)]
    near = tails[:3] or get_close_matches(path, known, n=1, cutoff=0.6)
    if near:
        return f"did you mean {' or '.join(near)}?"
    shown = ", ".join(known[:6])
    return f"there are {shown}{', …' if len(known) > 6 else ''}" if known else "there are none"


def _shown(text: str) -> str:
    return text if len(text) <= 60 else text[:59] + "…"
