"""Checksums of rows, so that a flipped byte is found where it is read; and the hash that names content.

Neither keeps a forger out: whoever may write the database may write the seals. They tell damage.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable

import numpy as np
import xxhash
from numpy.typing import NDArray

ADDRESS_BYTES = 32
Part = bytes | str | int | float | memoryview | None
"""A float is never sealed, but SQLite gives one where a damaged row says so."""


def address(data: bytes | memoryview | NDArray[np.uint8]) -> bytes:
    """BLAKE2b-256 of bytes (an array's in order of C): `b2sum -l 256` prints the same."""
    if isinstance(data, np.ndarray):
        data = plain(data)
    return hashlib.blake2b(data, digest_size=ADDRESS_BYTES).digest()


def plain(rows: NDArray[np.uint8]) -> memoryview:
    """The bytes of an array, in order of C, copied only where they lie apart."""
    return np.ascontiguousarray(rows).reshape(-1).data if rows.size else memoryview(b"")


def seal(parts: Iterable[Part]) -> bytes:
    """XXH3-64 of values in order, each with its kind and length before it; 8 bytes, big-endian."""
    state = xxhash.xxh3_64()
    for part in parts:
        if part is None:
            state.update(b"n")
        elif isinstance(part, int):
            state.update(struct.pack("<cq", b"i", part))
        elif isinstance(part, float):
            state.update(b"f")
        else:
            # Bytes and text of one length are one bit apart in SQLite's rows.
            kind, data = (b"t", part.encode("utf-8", "surrogatepass")) if isinstance(part, str) else (b"s", part)
            state.update(struct.pack("<cQ", kind, len(data)))
            state.update(data)
    return state.digest()
