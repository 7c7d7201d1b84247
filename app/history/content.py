"""Entries out of the database: all of a root, some pieces of it, one key."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from sqlalchemy import Connection

from app.history import chunks, roots
from app.history.chunks import Decoder, Stored
from app.history.codec import Bytes2d
from app.history.errors import Damaged
from app.history.roots import Pieces

Check = Callable[[Stored, Bytes2d], None]
FETCH_PIECES = 64
"""Compressed chunks that are in memory at once."""


@dataclass(frozen=True, slots=True)
class Entries:
    """Keys and values in the order of the keys."""

    keys: Bytes2d
    """uint8[n, key_width]."""
    values: Bytes2d
    """uint8[n, value_width]."""

    def __len__(self) -> int:
        return len(self.keys)


def unchecked(_stored: Stored, _rows: Bytes2d) -> None:
    """Content goes by its seal alone."""


def read(
    connection: Connection, decoder: Decoder, root_id: int, *, limit: int | None = None, check: Check = unchecked
) -> Entries:
    """All entries of a root, or its first pieces up to `limit` entries or a few more.

    check   called with each chunk: chunks.check_content compares it with its address
    raises  Damaged
    """
    pieces = roots.load(connection, root_id)
    wanted = range(len(pieces))
    if limit is not None:
        ends = np.cumsum(pieces.rows)
        wanted = range(min(int(np.searchsorted(ends, limit)) + 1, len(pieces)))
    return read_pieces(connection, decoder, pieces, wanted, check=check)


def read_pieces(
    connection: Connection, decoder: Decoder, pieces: Pieces, wanted: Iterable[int], *, check: Check = unchecked
) -> Entries:
    """The entries of some pieces, in their order. raises Damaged"""
    chosen = list(wanted)
    total = int(pieces.rows[chosen].sum()) if chosen else 0
    keys = np.zeros((total, pieces.key_width), np.uint8)
    values = np.zeros((total, pieces.value_width), np.uint8)
    at = 0
    for start in range(0, len(chosen), FETCH_PIECES):
        some = chosen[start : start + FETCH_PIECES]
        ids = [int(ids[each]) for each in some for ids in (pieces.key_ids, pieces.value_ids)]
        found = chunks.fetch(connection, [each for each in ids if each])
        for each in some:
            rows = int(pieces.rows[each])
            for target, number in ((keys, int(pieces.key_ids[each])), (values, int(pieces.value_ids[each]))):
                if number:
                    decoded = rows_of(decoder, found, number, rows, target.shape[1])
                    check(found[number], decoded)
                    target[at : at + rows] = decoded
            at += rows
    return Entries(keys, values)


def rows_of(decoder: Decoder, found: dict[int, Stored], number: int, rows: int, width: int) -> Bytes2d:
    """A chunk's rows, as many and as wide as the list says. raises Damaged"""
    stored = found[number]
    if stored.raw_bytes != rows * width:  # before its bytes are made: how many they are to be is known
        raise Damaged(f"chunk {number}", f"it has {stored.raw_bytes} bytes where {rows} rows of {width} were listed")
    return decoder.rows(stored, found, width)


def find(connection: Connection, decoder: Decoder, pieces: Pieces, key: bytes) -> tuple[int, int] | None:
    """(piece, row in it) of a key; None where it is not there. raises Damaged"""
    for piece in pieces.holding(key):
        number = int(pieces.key_ids[piece])
        if not number:
            return (piece, 0) if int(pieces.rows[piece]) else None
        found = chunks.fetch(connection, [number])
        keys = rows_of(decoder, found, number, int(pieces.rows[piece]), pieces.key_width)
        row = row_of(keys, key)
        if row is not None:
            return piece, row
    return None


def row_of(keys: Bytes2d, key: bytes) -> int | None:
    """Which row is a key; keys are in order."""
    if len(key) != keys.shape[1] or not len(keys):
        return None
    wanted = np.frombuffer(key, np.uint8).reshape(1, -1)
    at = int(np.searchsorted(chunks.sortable(keys), chunks.sortable(wanted))[0])
    return at if at < len(keys) and bool((keys[at] == wanted[0]).all()) else None


def value_at(connection: Connection, decoder: Decoder, pieces: Pieces, piece: int, row: int) -> bytes:
    """One value. raises Damaged"""
    number = int(pieces.value_ids[piece])
    if not number:
        return b""
    found = chunks.fetch(connection, [number])
    return bytes(decoder.some(found[number], found, np.array([row]), pieces.value_width)[0].data)
