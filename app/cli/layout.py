"""Plain text for a terminal: aligned tables, sizes, and text of strangers made harmless."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import click

UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
STEP = 1024


def print_json(document: object) -> None:
    """One JSON document on stdout, for --json."""
    import msgspec

    click.echo(msgspec.json.format(msgspec.json.encode(document)))


def stream(chunks: Iterable[bytes | memoryview]) -> None:
    """Bytes to stdout, whole.

    Without Python's buffer (PYTHONUNBUFFERED, as in many containers) a write may be a short one: a full disk or a reader
    that left shows only at the next.
    """
    out = sys.stdout.buffer
    for chunk in chunks:
        rest = memoryview(chunk)
        while rest:
            rest = rest[out.write(rest) :]
    out.flush()


def harmless(text: str) -> str:
    """`text` on one line, with everything that could steer a terminal or turn the writing direction as an escape."""
    if text.isascii() and text.isprintable():
        return text
    # What turns the direction is of category Cf, which is not printable; so are spaces other than the first one, though.
    return "".join(
        char if char.isprintable() or char in _SPACES else char.encode("unicode_escape").decode() for char in text
    )


_SPACES = frozenset("\N{THIN SPACE}\N{NARROW NO-BREAK SPACE}")
"""Between the thousands of numbers."""


def size(number_bytes: int) -> str:
    """`4.0 KiB`."""
    value = float(number_bytes)
    for unit in UNITS:
        if value < STEP or unit == UNITS[-1]:
            return f"{number_bytes} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= STEP
    return str(number_bytes)


def when(at_s: int) -> str:
    """`2026-11-24 18:03 UTC`, of CLOCK_REALTIME in seconds; `never` for 0."""
    return f"{datetime.fromtimestamp(at_s, UTC):%Y-%m-%d %H:%M} UTC" if at_s else "never"


def columns(heads: Sequence[str], rows: Sequence[Sequence[str]], *, right: frozenset[str] = frozenset()) -> str:
    """Rows under their heads, the columns in `right` aligned to the right; the last column is not padded."""
    cells = [[harmless(cell) for cell in row] for row in rows]
    widths = [max([len(head), *(len(row[index]) for row in cells)]) for index, head in enumerate(heads)]
    lines = []
    for row in [list(heads), *cells]:
        parts = [
            cell.rjust(width) if head in right else cell.ljust(width)
            for head, cell, width in zip(heads, row, widths, strict=True)
        ]
        lines.append("  ".join(parts).rstrip())
    return "\n".join(lines)
