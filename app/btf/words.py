"""Identifiers for Rust, Go and Python from C's."""

from __future__ import annotations

import keyword
import re

RUST_KEYWORDS = frozenset(
    re.findall(
        r"\w+",
        """
        as async await break const continue crate dyn else enum extern false fn for gen if impl in let loop match mod move
        mut pub ref return self Self static struct super trait true type unsafe use where while abstract become box do final
        macro override priv try typeof unsized virtual yield
        """,
    )
)
PYTHON_KEYWORDS = frozenset(keyword.kwlist)


def plain(name: str, keywords: frozenset[str] = frozenset()) -> str:
    """Return the name with what is no letter, digit or underscore replaced, and ``_`` after a keyword."""
    name = re.sub(r"[^A-Za-z0-9_]", "_", name)
    if not name or name[0].isdigit():
        name = f"_{name}"
    return f"{name}_" if name in keywords else name


def camel(name: str) -> str:
    """Return the name as Go exports it: "flow_key" -> "FlowKey"."""
    parts = [part for part in re.split(r"[^A-Za-z0-9]+", name) if part]
    text = "".join(part[0].upper() + part[1:] for part in parts) or "Unnamed"
    return text if text[0].isalpha() else f"X{text}"


class Unique:
    """Gives each name once."""

    def __init__(self, mark: str = "_") -> None:
        """Start with none given; ``mark`` stands before the number that a repeated name gets."""
        self._mark = mark
        self._given: set[str] = set()
        self._last: dict[str, int] = {}
        """The highest number that each name has got: thousands of equal names must not cost their square."""

    def __call__(self, name: str) -> str:
        """Return the name, or for one that is taken the name with a number after it."""
        found, n = name, self._last.get(name, 1)
        while found in self._given:
            n += 1
            found = f"{name}{self._mark}{n}"
        self._last[name] = n
        self._given.add(found)
        return found
