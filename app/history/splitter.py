"""Entries in the order of their keys, and where to cut them: both follow from the keys alone.

So the same entries give the same chunks in whatever order they were read, and an entry that comes or goes moves no
boundary but its own.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Bytes2d = NDArray[np.uint8]
Indices = NDArray[np.int64]

CHUNK_ROWS_BITS = 12
"""A chunk has about 4,096 rows …"""
CHUNK_BYTES = 1 << 20
"""… or fewer, so that one of middling size stays about here."""
LEAST, MOST = 8, 4
"""No chunk is shorter than an eighth of the usual, but the last one; none longer than four times that."""
_ODD = np.uint64(0x9E3779B97F4A7C15)
_OTHER = np.uint64(0xD6E8FEB86659FD93)


def order_of(keys: Bytes2d) -> Indices | None:
    """int64[n] that puts keys into the order of memcmp; None where they are in it already, or have no bytes."""
    n_rows, size_bytes = keys.shape
    if size_bytes == 0 or n_rows <= 1:
        return None
    words = _words(keys, ">u8")
    first = words[:, 0].astype(np.uint64)
    if len(first) > 1 and bool((first[1:] > first[:-1]).all()):
        return None
    order = np.argsort(first)  # keys that tie are told apart below, so that it need not be stable: four times as quick
    ordered = first[order]
    if words.shape[1] == 1 or not bool((ordered[1:] == ordered[:-1]).any()):
        return order
    return np.lexsort(tuple(words[:, index] for index in range(words.shape[1] - 1, -1, -1)))


def cuts(keys: Bytes2d, row_bytes: int) -> list[int]:
    """Where chunks end, the last one at n: rows that are in order.

    row_bytes  of key and value together: it decides how many rows a chunk is to have
    """
    n_rows = len(keys)
    if not n_rows:
        return []
    bits = CHUNK_ROWS_BITS
    while bits and row_bytes << bits > CHUNK_BYTES:
        bits -= 1
    usual = 1 << bits
    least, most = max(usual // LEAST, 1), usual * MOST
    if n_rows <= least:
        return [n_rows]
    ends = (
        [*(np.flatnonzero(_mixed(keys) >> np.uint64(64 - bits) == 0) + 1).tolist()] if bits else list(range(1, n_rows))
    )
    found: list[int] = []
    start = 0
    for end in [*ends, n_rows]:
        while end - start > most:
            start += most
            found.append(start)
        if end - start >= least and end < n_rows:
            found.append(end)
            start = end
    return [*found, n_rows] if not found or found[-1] != n_rows else found


def _words(keys: Bytes2d, kind: str) -> NDArray[np.uint64]:
    """[n, words], filled up with zeros."""
    n_rows, size_bytes = keys.shape
    n_words = -(-size_bytes // 8)
    if size_bytes % 8 == 0 and keys.flags.c_contiguous:
        return keys.view(kind)
    padded = np.zeros((n_rows, n_words * 8), np.uint8)
    padded[:, :size_bytes] = keys
    return padded.view(kind)


def _mixed(keys: Bytes2d) -> NDArray[np.uint64]:
    """A number for each key that differs in its upper bits wherever keys differ at all."""
    if keys.shape[1] == 0:
        return np.ones(len(keys), np.uint64)
    words = _words(keys, "<u8")
    mixed = np.full(len(keys), _OTHER)
    for index in range(words.shape[1]):
        mixed ^= words[:, index].astype(np.uint64)
        mixed *= _ODD
        mixed ^= mixed >> np.uint64(29)
    return mixed * _OTHER
