"""Bytes of a chunk ↔ what is stored of it. Every codec is for ever: a database of the first release opens with the last.

RAW         as they are
ZSTD        compressed
PLANES      rows × width transposed to width × rows, compressed: byte n of every row lies together
DELTA       against another chunk: where each row comes from, which units differ, and the XOR of those (transposed); compressed

All numbers are little-endian.
"""

from __future__ import annotations

import struct
import threading
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import zstandard
from numpy.typing import NDArray

from app.history.seal import plain

Bytes2d = NDArray[np.uint8]
Rows = NDArray[np.int64]

LEVEL_LARGE, LEVEL_SMALL = 1, 3
SMALL_BYTES = 64 << 10
PLANES_ROWS = 16
"""Fewer rows gain nothing by being transposed."""
BLOCK_ROWS, HARDLY = 1024, 4
"""Planes so long that do not even shrink to a quarter are compressed one by one."""
UNIT_BYTES = 64
"""A row wider than WIDE_BYTES changes in pieces of this size."""
WIDE_BYTES = 256
_HEAD = struct.Struct("<IIIIB")  # rows, units a row, bytes a unit, changed units, flags
_SAME_ROWS, _MOVED_ROWS = 0, 1
_local = threading.local()


class Codec(IntEnum):
    """How a chunk's bytes are stored."""

    RAW = 0
    ZSTD = 1
    PLANES = 2
    DELTA = 3


@dataclass(frozen=True, slots=True)
class Encoded:
    """What goes into the database."""

    codec: Codec
    data: bytes


@dataclass(frozen=True, slots=True)
class Delta:
    """What differs from a base, unit by unit."""

    rows: int
    units: int
    """Units in a row."""
    unit_bytes: int
    source: Rows | None
    """int64[rows]: the base's row that each is from, -1 for a new one; None: row by row the same places."""
    changed: Rows
    """int64[k]: units that differ, counted through all rows, ascending."""
    xor: Bytes2d
    """uint8[k, unit_bytes]."""


def encode(rows: Bytes2d) -> Encoded:
    """Rows uint8[n, width] on their own."""
    if rows.nbytes < PLANES_ROWS:
        return Encoded(Codec.RAW, bytes(plain(rows)))
    if len(rows) >= PLANES_ROWS and rows.shape[1] > 1:
        packed, codec = _compress_planes(rows), Codec.PLANES
    else:
        packed, codec = _compress(plain(rows)), Codec.ZSTD
    return Encoded(codec, packed) if len(packed) < rows.nbytes else Encoded(Codec.RAW, bytes(plain(rows)))


def decode(codec: int, data: bytes, width: int, raw_bytes: int) -> Bytes2d:
    """Rows of a chunk that is no delta. raises ValueError for bytes that are none of these"""
    n_rows = raw_bytes // width if width else 0
    if codec == Codec.RAW:
        found: NDArray[np.uint8] = np.frombuffer(data, np.uint8)
    else:
        found = np.frombuffer(_decompress(data, raw_bytes), np.uint8)
    if len(found) != raw_bytes or n_rows * width != raw_bytes:
        raise ValueError(f"{len(found)} bytes where {raw_bytes} were stored")
    if codec == Codec.PLANES:
        return np.ascontiguousarray(found.reshape(width, n_rows).T)
    return found.reshape(n_rows, width)


def planes(codec: int, data: bytes, width: int, raw_bytes: int, rows: Rows) -> Bytes2d:
    """Some rows of a chunk that is no delta, without transposing the others."""
    if codec != Codec.PLANES:
        return decode(codec, data, width, raw_bytes)[rows]
    found = np.frombuffer(_decompress(data, raw_bytes), np.uint8).reshape(width, -1)
    return np.ascontiguousarray(found[:, rows].T)


def delta(rows: Bytes2d, base: Bytes2d, source: Rows | None) -> Delta:
    """What differs between rows uint8[n, width] and a base uint8[m, width]."""
    n_rows, width = rows.shape
    units, unit_bytes = _units(width)
    old = base if source is None else _sourced(base, source)
    if width % 8 == 0 and width and units == 1:
        xor = (rows.view(np.uint64) ^ np.ascontiguousarray(old).view(np.uint64)).reshape(n_rows, width // 8)
        differs = xor[:, 0] != 0
        for index in range(1, width // 8):
            differs |= xor[:, index] != 0
        changed = np.flatnonzero(differs)
        return Delta(n_rows, units, unit_bytes, source, changed, xor[changed].view(np.uint8))
    differing: Bytes2d = rows ^ old
    if units > 1:
        padded = np.zeros((n_rows, units * unit_bytes), np.uint8)
        padded[:, :width] = differing
        differing = padded.reshape(n_rows * units, unit_bytes)
    changed = np.flatnonzero(differing.any(axis=1))
    return Delta(n_rows, units, unit_bytes, source, changed, differing[changed])


def apply(base: Bytes2d, change: Delta) -> Bytes2d:
    """Give the rows that `delta` was made of."""
    width = base.shape[1]
    rows = base.copy() if change.source is None else _sourced(base, change.source)
    if change.units == 1:
        rows[change.changed] ^= change.xor
        return rows
    padded = np.zeros((change.rows, change.units * change.unit_bytes), np.uint8)
    padded[:, :width] = rows
    padded.reshape(change.rows * change.units, change.unit_bytes)[change.changed] ^= change.xor
    return np.ascontiguousarray(padded[:, :width])


def pack(change: Delta) -> Encoded:
    """As it is stored: header, source as differences, changed units as a bit each, XOR by planes."""
    moved = change.source is not None
    parts = [
        _HEAD.pack(
            change.rows, change.units, change.unit_bytes, len(change.changed), _MOVED_ROWS if moved else _SAME_ROWS
        )
    ]
    if change.source is not None:
        parts.append(np.diff(change.source.astype("<i4"), prepend=np.int32(-1)).astype("<i4").tobytes())
    bits = np.zeros(change.rows * change.units, np.uint8)
    bits[change.changed] = 1
    parts.append(np.packbits(bits).tobytes())
    parts.append(np.ascontiguousarray(change.xor.T).tobytes())
    return Encoded(Codec.DELTA, _compress(b"".join(parts)))


def unpack(data: bytes, width: int, raw_bytes: int) -> Delta:
    """What `pack` was given. raises ValueError for bytes that are no delta of such a chunk"""
    n_rows = raw_bytes // width if width else 0
    units, unit_bytes = _units(width)
    most = _HEAD.size + 4 * n_rows + n_rows * units // 8 + 1 + n_rows * units * unit_bytes
    found = _decompress(data, most, exact=False)
    if len(found) < _HEAD.size:
        raise ValueError("a delta without its header")
    rows, said_units, said_bytes, n_changed, flags = _HEAD.unpack_from(found)
    at = _HEAD.size
    source: Rows | None = None
    if flags == _MOVED_ROWS:
        source = np.cumsum(np.frombuffer(found, "<i4", n_rows, at)).astype(np.int64) - 1
        at += 4 * n_rows
    n_bits = n_rows * units
    bits = (
        np.unpackbits(np.frombuffer(found, np.uint8, -(-n_bits // 8), at), count=n_bits)
        if n_bits
        else np.zeros(0, np.uint8)
    )
    at += -(-n_bits // 8)
    changed = np.flatnonzero(bits)
    wanted = (rows, said_units, said_bytes, n_changed) == (n_rows, units, unit_bytes, len(changed))
    if not wanted or len(found) != at + n_changed * unit_bytes:
        raise ValueError("a delta of another chunk")
    xor = np.frombuffer(found, np.uint8, n_changed * unit_bytes, at).reshape(unit_bytes, n_changed)
    return Delta(n_rows, units, unit_bytes, source, changed, np.ascontiguousarray(xor.T))


def _sourced(base: Bytes2d, source: Rows) -> Bytes2d:
    rows = np.zeros((len(source), base.shape[1]), np.uint8)
    known = source >= 0
    if known.any() and int(source.max()) >= len(base):
        raise ValueError("a delta of another base")
    rows[known] = base[source[known]]
    return rows


def _units(width: int) -> tuple[int, int]:
    """(units a row, bytes a unit)."""
    return (1, width) if width <= WIDE_BYTES else (-(-width // UNIT_BYTES), UNIT_BYTES)


def _compress(data: bytes | memoryview) -> bytes:
    if len(data) <= SMALL_BYTES:
        packer = getattr(_local, "small", None)
        if packer is None:
            packer = _local.small = zstandard.ZstdCompressor(level=LEVEL_SMALL)
    else:
        packer = getattr(_local, "large", None)
        if packer is None:
            packer = _local.large = zstandard.ZstdCompressor(level=LEVEL_LARGE)
    packed: bytes = packer.compress(data)
    return packed


def _compress_planes(rows: Bytes2d) -> bytes:
    planes = plain(rows.T)
    packed = _compress(planes)
    if len(rows) < BLOCK_ROWS or len(packed) * HARDLY < len(planes):
        return packed
    # Random and regular planes in one block would share one table of lengths: each has a block of its own.
    packer = zstandard.ZstdCompressor(level=LEVEL_LARGE).compressobj(size=len(planes))
    parts = []
    for start in range(0, len(planes), len(rows)):
        parts.append(packer.compress(planes[start : start + len(rows)]))
        parts.append(packer.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK))
    parts.append(packer.flush())
    apart = b"".join(parts)
    return min(packed, apart, key=len)


def _decompress(data: bytes, most_bytes: int, *, exact: bool = True) -> bytes:
    """Raises  ValueError, also for what would take more than it may"""
    unpacker = getattr(_local, "unpacker", None)
    if unpacker is None:
        unpacker = _local.unpacker = zstandard.ZstdDecompressor()
    try:
        said = zstandard.frame_content_size(data)
        if said < 0 or said > most_bytes or (exact and said != most_bytes):
            raise ValueError(f"a frame of {said} bytes where {most_bytes} were stored")
        found: bytes = unpacker.decompress(data)
    except zstandard.ZstdError as problem:
        raise ValueError(str(problem)) from problem
    return found
