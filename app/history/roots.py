"""The entries of one moment as a list of chunks: which keys are where, without opening any.

Body, zstd: u32 pieces, u32 bytes of a first key, then i64[pieces] chunks of keys (0: there are no keys), i64[pieces] chunks
of values (0: no values), u32[pieces] rows, and the first key of each piece, cut to PREFIX_BYTES. Little-endian.
"""

from __future__ import annotations

import bisect
import hashlib
import struct
from dataclasses import dataclass

import numpy as np
import zstandard
from numpy.typing import NDArray
from sqlalchemy import Connection, bindparam, select

from app.history import numbers
from app.history.chunks import QUERY_IDS
from app.history.codec import Bytes2d
from app.history.errors import Damaged
from app.history.seal import ADDRESS_BYTES, seal
from app.history.tables import FORMAT, Root, Use, table_of

PREFIX_BYTES = 32
NONE = bytes(ADDRESS_BYTES)
"""In the place of an address: there is no chunk."""
_HEAD = struct.Struct("<II")
_ABOUT = struct.Struct("<IQIII")
_T = table_of(Root).c
_LOAD = select(_T.id, _T.address, _T.entries, _T.key_width, _T.value_width, _T.body, _T.seal).where(
    _T.id.in_(bindparam("ids", expanding=True))
)
_FIND = select(_T.id).where(_T.address == bindparam("name"))
_ADD, _ADD_USES = table_of(Root).insert(), table_of(Use).insert()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pieces:
    """What a root lists."""

    entries: int
    key_width: int
    value_width: int
    key_ids: NDArray[np.int64]
    value_ids: NDArray[np.int64]
    rows: NDArray[np.int64]
    first: Bytes2d
    """uint8[pieces, min(key_width, PREFIX_BYTES)]."""

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def chunk_ids(self) -> list[int]:
        """Every chunk that it needs."""
        both = np.unique(np.concatenate([self.key_ids, self.value_ids]))
        return [int(each) for each in both if each]

    def holding(self, key: bytes) -> list[int]:
        """Pieces that may hold a key: mostly one."""
        if not len(self):
            return []
        if not self.key_width:
            return list(range(len(self)))
        width = self.first.shape[1]
        wanted = key[:width]
        prefixes = [row.tobytes() for row in self.first]
        last = bisect.bisect_right(prefixes, wanted) - 1
        first = bisect.bisect_left(prefixes, wanted) - 1
        return list(range(max(first, 0), last + 1)) if last >= 0 else []


def address_of(pieces: Pieces, addresses: dict[int, bytes]) -> bytes:
    """What names a root, from its list and the addresses of its chunks by id."""
    return name_of(
        pieces.entries,
        pieces.key_width,
        pieces.value_width,
        pieces.rows.tolist(),
        np.ascontiguousarray(pieces.first).tobytes(),
        [addresses[int(each)] if each else NONE for each in (*pieces.key_ids, *pieces.value_ids)],
    )


def name_of(
    entries: int, key_width: int, value_width: int, rows: list[int], first: bytes, chunk_addresses: list[bytes]
) -> bytes:
    """BLAKE2b-256 over everything that the entries are: first the chunks of keys, then those of values."""
    state = hashlib.blake2b(digest_size=ADDRESS_BYTES)
    state.update(_ABOUT.pack(FORMAT, entries, key_width, value_width, len(rows)))
    state.update(np.array(rows, "<u4").tobytes())
    state.update(first)
    state.update(b"".join(chunk_addresses))
    return state.digest()


def pack(pieces: Pieces) -> bytes:
    """The body."""
    parts = (
        _HEAD.pack(len(pieces), pieces.first.shape[1]),
        pieces.key_ids.astype("<i8").tobytes(),
        pieces.value_ids.astype("<i8").tobytes(),
        pieces.rows.astype("<u4").tobytes(),
        np.ascontiguousarray(pieces.first).tobytes(),
    )
    return zstandard.ZstdCompressor(level=3).compress(b"".join(parts))


def unpack(body: bytes, entries: int, key_width: int, value_width: int) -> Pieces:
    """Read a body. raises ValueError"""
    try:
        said = zstandard.frame_content_size(body)
        if not 0 <= said <= 1 << 28:
            raise ValueError(f"a list of {said} bytes")
        plain = zstandard.ZstdDecompressor().decompress(body)
    except zstandard.ZstdError as problem:
        raise ValueError(str(problem)) from problem
    if len(plain) < _HEAD.size:
        raise ValueError("a list without its header")
    count, width = _HEAD.unpack_from(plain)
    if len(plain) != _HEAD.size + count * (20 + width):
        raise ValueError(f"{len(plain)} bytes for {count} pieces")
    at = _HEAD.size
    return Pieces(
        entries=entries,
        key_width=key_width,
        value_width=value_width,
        key_ids=np.frombuffer(plain, "<i8", count, at),
        value_ids=np.frombuffer(plain, "<i8", count, at + 8 * count),
        rows=np.frombuffer(plain, "<u4", count, at + 16 * count).astype(np.int64),
        first=np.frombuffer(plain, np.uint8, count * width, at + 20 * count).reshape(count, width),
    )


def add(connection: Connection, name: bytes, pieces: Pieces) -> tuple[int, int]:
    """Put a root in, with what it uses: (id, bytes of its body)."""
    body = pack(pieces)
    number = numbers.take(connection, Root)[0]
    connection.execute(
        _ADD,
        {
            "id": number,
            "address": name,
            "entries": pieces.entries,
            "key_width": pieces.key_width,
            "value_width": pieces.value_width,
            "body": body,
            "seal": _seal(number, name, pieces.entries, pieces.key_width, pieces.value_width, body),
        },
    )
    uses = [{"root_id": number, "chunk_id": each} for each in pieces.chunk_ids]
    if uses:
        connection.execute(_ADD_USES, uses)
    return number, len(body)


def find(connection: Connection, name: bytes) -> int:
    """Id of the root of an address; 0 where there is none."""
    return int(connection.execute(_FIND, {"name": name}).scalar_one_or_none() or 0)


def load(connection: Connection, root_id: int) -> Pieces:
    """The list of a root. raises Damaged"""
    return load_many(connection, [root_id])[root_id]


def load_many(connection: Connection, root_ids: list[int]) -> dict[int, Pieces]:
    """The lists of several roots. raises Damaged"""
    found: dict[int, Pieces] = {}
    for start in range(0, len(root_ids), QUERY_IDS):
        some = root_ids[start : start + QUERY_IDS]
        for row in connection.execute(_LOAD, {"ids": some}):
            if _seal(row.id, row.address, row.entries, row.key_width, row.value_width, row.body) != row.seal:
                raise Damaged(f"the list of chunks {row.id}", "its bytes are not those that were stored")
            try:
                found[row.id] = unpack(row.body, row.entries, row.key_width, row.value_width)
            except ValueError as problem:
                raise Damaged(f"the list of chunks {row.id}", str(problem)) from problem
    missing = set(root_ids) - set(found)
    if missing:
        raise Damaged(f"the list of chunks {min(missing)}", "it is not there")
    return found


def counts(connection: Connection, root_ids: list[int]) -> dict[int, int]:
    """Entries of some roots, by id."""
    found: dict[int, int] = {}
    wanted = list(dict.fromkeys(root_ids))
    for start in range(0, len(wanted), QUERY_IDS):
        query = select(Root.id, Root.entries).where(Root.id.in_(wanted[start : start + QUERY_IDS]))
        found.update(connection.execute(query).all())
    return found


def _seal(number: int, name: bytes, entries: int, key_width: int, value_width: int, body: bytes) -> bytes:
    return seal((number, name, entries, key_width, value_width, body))
