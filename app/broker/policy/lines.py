"""Where in a TOML text its tables and keys begin: the standard library's parser does not say.

Only texts that tomllib has taken are looked at, so that a scan for statements is enough.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_STRING = re.compile(r'"""(?:\\.|[^\\])*?"{3,5}|\'\'\'.*?\'{3,5}|"(?:\\.|[^"\\\n])*"|\'[^\'\n]*\'', re.DOTALL)
_HEADER = re.compile(r"\[\[?\s*([^\]]+?)\s*\]\]?")
_KEY = re.compile(r"""\s*((?:"[^"]*"|'[^']*'|[\w-]+)(?:\s*\.\s*(?:"[^"]*"|'[^']*'|[\w-]+))*)\s*=""")


@dataclass(slots=True)
class Table:
    """One header, or the top of the file, and its keys."""

    name: str
    line: int
    keys: dict[str, int] = field(default_factory=dict)
    """First part of a key → its line."""


def tables(text: str) -> list[Table]:
    """All of them in order; the first is the top of the file."""
    found = [Table("", 1)]
    for line, statement in _statements(text):
        header = _HEADER.match(statement)
        if header is not None:
            found.append(Table(_bare(header[1]), line))
            continue
        key = _KEY.match(statement)
        if key is not None:
            found[-1].keys.setdefault(_bare(key[1].split(".")[0]), line)
    return found


def _bare(name: str) -> str:
    return name.strip().strip("\"'")


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Lines that begin a statement, with their numbers; lines within arrays and long strings begin none."""
    at, line, depth, begins, started = 0, 1, 0, 0, 1
    while at <= len(text):
        string = _STRING.match(text, at)
        if string is not None:
            line += string[0].count("\n")
            at = string.end()
            continue
        character = text[at] if at < len(text) else "\n"
        if character == "#":
            end = text.find("\n", at)
            at = len(text) if end < 0 else end
            continue
        if character in "[{":
            depth += 1
        elif character in "]}":
            depth -= 1
        elif character == "\n":
            if depth == 0:
                statement = text[begins:at].strip()
                if statement and not statement.startswith("#"):
                    yield started, statement
                begins, started = at + 1, line + 1
            line += 1
        at += 1
