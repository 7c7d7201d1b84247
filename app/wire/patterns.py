"""Patterns of names, and of paths to fields: written in the policy, and obeyed by whoever shows or changes values.

A path has steps: `value.slots[3].port` is value, slots, [3], port. A pattern is compared step by step; in each, `*` is
any text and `?` any character.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import Enum
from fnmatch import fnmatchcase
from functools import lru_cache


class Relation(Enum):
    """How a pattern of paths stands to one path."""

    APART = "neither it nor a part of it is meant"
    OVERLAPS = "something within it is meant"
    COVERS = "it is meant, or what it is a part of"


_STEP = re.compile(r"\[[^\]]*\]?|[^.\[]+")


def matches_any(patterns: Sequence[str], name: str) -> bool:
    """A name matches one of the patterns, which are as a shell's."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def relation(pattern: str, path: str) -> Relation:
    """Compare a pattern such as `value.peer`, `value.*.port` or `value.slots[*].port` with a path."""
    wanted = _expressions(pattern)
    steps = _STEP.findall(path)
    if any(not expression.fullmatch(step) for expression, step in zip(wanted, steps, strict=False)):
        return Relation.APART
    return Relation.COVERS if len(wanted) <= len(steps) else Relation.OVERLAPS


def closest(patterns: Sequence[str], path: str) -> Relation:
    """Give the closest relation that any of the patterns has."""
    found = {relation(pattern, path) for pattern in patterns}
    return next((each for each in (Relation.COVERS, Relation.OVERLAPS) if each in found), Relation.APART)


@lru_cache(maxsize=4096)
def _expressions(pattern: str) -> tuple[re.Pattern[str], ...]:
    return tuple(_expression(step) for step in _STEP.findall(pattern))


def _expression(step: str) -> re.Pattern[str]:
    parts = (".*" if char == "*" else "." if char == "?" else re.escape(char) for char in step)
    return re.compile("".join(parts), re.DOTALL)
