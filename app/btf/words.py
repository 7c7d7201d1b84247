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

    def __init__(self) -> None:
        """Start with none given."""
        self._given: set[str] = set()

    def __call__(self, name: str) -> str:
        """Return the name, with ``_`` after it as often as needed."""
        while name in self._given:
            name += "_"
        self._given.add(name)
        return name
