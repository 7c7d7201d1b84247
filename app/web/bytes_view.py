"""Bytes as a hex dump whose fields can be told apart: sixteen to a line, groups of eight, an offset gutter."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from app.columns.node import REDACTED
from app.columns.plan import Plan

LINE_BYTES = 16
GROUP_BYTES = 8
SHOWN_BYTES = 4096
SHORT_BYTES = 128
"""Values of up to so many bytes are shown whole beside each other."""


@dataclass(frozen=True, slots=True)
class Run:
    """Neighbouring bytes of one field within one group."""

    text: str
    mark: str
    """CSS class: `f`, `f alt` (fields alternate) or `pad`, `old` or `new` for bytes that change; empty where no type says
    anything."""
    title: str
    gap: str
    """What stands before it."""


@dataclass(frozen=True, slots=True)
class Line:
    """Sixteen bytes."""

    offset: str
    runs: tuple[Run, ...]
    fill: str
    text: str


@dataclass(frozen=True, slots=True)
class Dump:
    """A value's bytes; `left_out` counts those that are not shown."""

    lines: tuple[Line, ...]
    left_out: int


def dump(data: bytes, plan: Plan | None) -> Dump:
    """Lay out `data`, with the fields of `plan` marked."""
    shown = data[:SHOWN_BYTES]
    owner = _owners(len(shown), plan)
    lines = tuple(_line(shown, at, owner) for at in range(0, len(shown), LINE_BYTES))
    return Dump(lines, len(data) - len(shown))


def change_dumps(old: bytes, new: bytes, plan: Plan | None) -> tuple[Dump, Dump]:
    """Two states of the same bytes, those that differ marked in both; of long ones only the lines around a change."""
    changed = [at for at, (one, other) in enumerate(zip(old, new, strict=False)) if one != other]
    touched = {at // LINE_BYTES for at in changed}
    near = {line + step for line in touched for step in (-1, 0, 1)}
    both = []
    for data, mark in ((old, "old"), (new, "new")):
        owner = _owners(len(data), plan)
        for at in changed:
            if at < len(data):
                owner[at] = (mark, owner[at][1] or f"byte {at}")
        starts = [at for at in range(0, len(data), LINE_BYTES) if len(data) <= SHORT_BYTES or at // LINE_BYTES in near]
        starts = starts[: SHOWN_BYTES // LINE_BYTES]
        lines = tuple(_line(data, at, owner) for at in starts)
        both.append(Dump(lines, max(len(data) - len(starts) * LINE_BYTES, 0)))
    return both[0], both[1]


def _owners(size_bytes: int, plan: Plan | None) -> list[tuple[str, str]]:
    """(mark, title) of each byte; where members of a union overlap, the first one's."""
    if plan is None or not (plan.typed or plan.root.special == REDACTED):
        return [("", "")] * size_bytes
    owner: list[tuple[str, str]] = [("pad", "padding")] * size_bytes
    taken = bytearray(size_bytes)
    turn = 0
    for node in plan.leaves():
        places = [at for at in range(node.offset_bytes, min(node.end_bytes, size_bytes)) if not taken[at]]
        if not places:
            continue
        turn += 1
        for at in places:
            taken[at] = 1
            owner[at] = (
                ("pad", REDACTED)
                if node.special == REDACTED
                else ("f alt" if turn % 2 == 0 else "f", f"{node.path or node.type_name} · byte {node.offset_bytes}")
            )
    return owner


def _line(data: bytes, start: int, owner: list[tuple[str, str]]) -> Line:
    here = data[start : start + LINE_BYTES]
    runs = tuple(_runs(here, start, owner))
    missing = LINE_BYTES - len(here)
    fill = "   " * missing + (" " if len(here) <= GROUP_BYTES and missing else "")
    text = "".join(chr(byte) if chr(byte).isascii() and chr(byte).isprintable() else "·" for byte in here)
    return Line(f"{start:04x}", runs, fill, text)


def _runs(here: bytes, start: int, owner: list[tuple[str, str]]) -> Iterator[Run]:
    places = range(len(here))
    for _, group in groupby(places, key=lambda at: (owner[start + at], at // GROUP_BYTES)):
        run = list(group)
        mark, title = owner[start + run[0]]
        gap = "" if run[0] == 0 else "  " if run[0] == GROUP_BYTES else " "
        yield Run(" ".join("··" if title == REDACTED else f"{here[at]:02x}" for at in run), mark, title, gap)
