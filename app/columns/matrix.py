"""Many rows of text at once: literals and columns side by side in one byte matrix, zero bytes taken out at the end.

A row of JSON is the same few dozen literal pieces around its numbers. Writing those through a matrix costs a copy; putting
13 Python objects a row together costs four times as much. See bench/ before reshaping.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from app.columns.digits import decimal, groups_of

WORD = 4
BLOCK_ROWS = 1 << 13
"""Rows whose matrix fits a core's cache."""

Words = NDArray[np.uint32]


def literal(text: bytes) -> Words:
    """uint32[words] of a piece of text, filled up with zero bytes in front."""
    return np.frombuffer(text.rjust((len(text) + WORD - 1) // WORD * WORD, b"\0"), np.uint32)


def texts(column: Sequence[bytes]) -> Words:
    """N texts to uint32[n, words]; a text must not hold a zero byte, which JSON never does."""
    flat = np.array(column, np.bytes_)
    width = max((flat.dtype.itemsize + WORD - 1) // WORD, 1)
    return flat.astype(f"S{width * WORD}").view(np.uint32).reshape(len(column), width)


def chosen(table: Sequence[bytes], index: NDArray[np.intp]) -> Words:
    """Row by row one of few texts: uint32[n, words]."""
    return texts(table)[index]


class Scratch(threading.local):
    """Memory for one block after another, each thread's its own: fresh pages for each would cost more than filling them."""

    def __init__(self) -> None:
        self._words = np.empty(0, np.uint32)
        self._kept = np.empty(0, np.bool_)

    def room(self, n_words: int) -> tuple[Words, NDArray[np.bool_]]:
        """uint32[n_words] and bool[n_words * WORD], holding anything."""
        if len(self._words) < n_words:
            self._words, self._kept = np.empty(n_words, np.uint32), np.empty(n_words * WORD, np.bool_)
        return self._words[:n_words], self._kept[: n_words * WORD]


def join(
    literals: Sequence[bytes],
    columns: Sequence[Words | NDArray[np.unsignedinteger | np.signedinteger]],
    scratch: Scratch,
) -> NDArray[np.uint8]:
    """The bytes of literals[0] column[0] literals[1] … literals[-1], row after row.

    columns  integers [n], or uint32[n, words] by `texts` and `chosen`
    """
    n_rows = len(columns[0])
    pieces = [literal(text) for text in literals]
    widths = [column.shape[1] if column.ndim > 1 else groups_of(column) for column in columns]
    row_words = sum(map(len, pieces)) + sum(widths)
    words, kept = scratch.room(n_rows * row_words)
    matrix = words.reshape(n_rows, row_words)
    # One row of literals is copied whole into all rows: one long run a row, not one short one a piece.
    template = np.zeros(row_words, np.uint32)
    places = []
    at = 0
    for piece, width in zip(pieces, [*widths, 0], strict=True):
        template[at : at + len(piece)] = piece
        at += len(piece)
        places.append(at)
        at += width
    matrix[:] = template
    for column, place, width in zip(columns, places, widths, strict=False):
        out = matrix[:, place : place + width]
        if column.ndim > 1:
            out[:] = column
        else:
            decimal(column, out)
    flat = words.view(np.uint8)
    found: NDArray[np.uint8] = flat[
        np.not_equal(flat, 0, out=kept)
    ]  # unlike bytes.translate, it lets other threads run
    return found
