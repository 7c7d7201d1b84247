"""Sorting by any field."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from app.columns.decode import Column, column, locate
from app.columns.errors import NotOneColumn
from app.columns.lenses import choose
from app.columns.node import REDACTED
from app.columns.table import Bytes, Table

Indices = NDArray[np.int64]


def order(table: Table, path: str, *, descending: bool = False, lenses: Mapping[str, str] | None = None) -> Indices:
    """int64[n]: the entries from the least to the greatest; equal ones stay in the order that they are in.

    Numbers by value (as their lens shows them where it reads network order), text by its bytes up to the first NUL,
    structs, arrays and bytes from the first byte on, floats with NaN last. Per-CPU values as `decode.column` folds them.
    raises  NoSuchField, NotOneColumn
    """
    field = locate(table.layout, path)
    if field.node.special == REDACTED:
        raise NotOneColumn(f"{path} is hidden from your role by the policy; sort by another field")
    plan = table.layout.key if field.group == "key" else table.layout.value
    values = column(table, path)
    lens = (lenses or {}).get(path) or ("" if plan is None else choose.default(field.node, plan))
    if choose.reads_network_order(field.node, lens) and not field.fold and field.node.byte_order == "little":
        values = values.byteswap()
    if values.ndim > 2 or (values.ndim == 2 and values.dtype != np.uint8):
        if field.fold == "each":
            raise NotOneColumn(f"{path} has one value per CPU; sort by the sum, or by value@cpu0, value@max …")
        values = _big_endian_bytes(values)
    if not descending:
        return _ascending(values)
    return len(values) - 1 - _ascending(values[::-1])[::-1]


def _ascending(values: Column) -> Indices:
    if values.ndim == 2:
        return _by_bytes(values)
    with np.errstate(invalid="ignore"):
        return np.argsort(values, kind="stable")


def _by_bytes(rows: Bytes) -> Indices:
    """uint8[n, size] in the order of memcmp: by the first eight bytes as one number, the rest only where those tie."""
    n_rows, size_bytes = rows.shape
    n_words = max(1, -(-size_bytes // 8))
    padded = np.zeros((n_rows, n_words * 8), np.uint8)
    padded[:, :size_bytes] = rows
    words = padded.view(">u8").astype(np.uint64)
    by_first = np.argsort(words[:, 0], kind="stable")
    first = words[by_first, 0]
    if n_words == 1 or not (first[1:] == first[:-1]).any():
        return by_first
    return np.lexsort(tuple(words[:, index] for index in range(n_words - 1, -1, -1)))


def _big_endian_bytes(values: Column) -> Bytes:
    """Arrays of numbers as rows of bytes that sort as the numbers do, element by element."""
    if values.dtype.kind == "S":
        flat = np.ascontiguousarray(values)
    elif values.dtype.kind == "b":
        flat = values.astype(np.uint8)
    elif values.dtype.kind == "u":
        flat = values.astype(values.dtype.newbyteorder(">"))
    elif values.dtype.kind == "i":
        width = values.dtype.itemsize
        unsigned = np.ascontiguousarray(values).view(f"u{width}") ^ np.array(1 << (width * 8 - 1), f"u{width}")
        flat = unsigned.astype(f">u{width}")
    else:
        raise NotOneColumn("arrays of floats and of 128-bit numbers have no order; sort by one element")
    return np.ascontiguousarray(flat).reshape(len(values), -1).view(np.uint8).reshape(len(values), -1)
