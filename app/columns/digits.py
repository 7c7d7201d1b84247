"""Whole columns of integers to decimal text without a Python object a number: four digits a table look-up.

Text stands in uint32[n, groups], four characters an element in memory order, zero bytes before them; whoever joins rows
takes the zero bytes out. Elements of four bytes, because stores of single bytes cost ten times as much.
See bench/ before reshaping.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Digits = NDArray[np.uint32]
GROUP = 10_000


def _table() -> NDArray[np.uint32]:
    """Four characters of each of 0 … 9999, three times: with leading zeros; with zero bytes in their place; the same, with
    nothing at all for 0.
    """
    full = np.empty((GROUP, 4), np.uint8)
    numbers = np.arange(GROUP)
    for place in range(4):
        full[:, 3 - place] = numbers // 10**place % 10 + ord("0")
    short = full.copy()
    for place in range(3):
        short[numbers < 10 ** (3 - place), place] = 0
    empty = short.copy()
    empty[0] = 0
    return np.concatenate([full, short, empty]).view(np.uint32).ravel()


_TABLE = _table()
_SHORT, _EMPTY = GROUP, 2 * GROUP


def groups_of(values: NDArray[np.unsignedinteger | np.signedinteger]) -> int:
    """Elements a row that `decimal` needs."""
    if not len(values):
        return 1
    least = int(values.min())
    most = max(int(values.max()), -least)
    return (len(str(most)) + 3) // 4 + (least < 0)


def decimal(values: NDArray[np.unsignedinteger | np.signedinteger], out: Digits) -> None:
    """Write [n] integers into out, uint32[n, groups_of(values)]; every byte of it is written."""
    negative = values < 0 if values.dtype.kind == "i" else None
    if negative is not None and negative.any():
        # -(-2**63) is itself, which read without a sign is right again.
        unsigned = values.astype(np.int64).view(np.uint64)
        decimal(np.where(negative, np.uint64(0) - unsigned, unsigned), out[:, 1:])
        out[:, 0] = negative * np.frombuffer(b"\0\0\0-", np.uint32)
        return
    groups = out.shape[1]
    rest: NDArray[Any] = values.astype(np.uint32 if groups <= 2 else np.uint64, copy=False)
    by = rest.dtype.type(GROUP)
    for group in range(groups - 1, 0, -1):
        higher = rest // by
        index = (rest - higher * by).astype(np.intp)
        # Leading zeros go; the last group keeps one digit, those before it keep none.
        index += (higher == 0) * np.intp(_SHORT if group == groups - 1 else _EMPTY)
        out[:, group] = _TABLE[index]
        rest = higher
    out[:, 0] = _TABLE[rest.astype(np.intp) + (_SHORT if groups == 1 else _EMPTY)]
