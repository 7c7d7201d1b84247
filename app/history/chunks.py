"""Chunks out of the database and into it: fetched with what they are deltas of, checked by their seals, decoded once."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, bindparam, select

from app.history import codec as coding
from app.history import numbers
from app.history.codec import Bytes2d, Codec, Delta, Encoded, Rows
from app.history.errors import Damaged
from app.history.seal import address, seal
from app.history.tables import Chunk, table_of

MOST_DEPTH = 32
"""Deltas upon deltas; the next one is stored whole."""
QUERY_IDS = 500
CACHE_BYTES = 32 << 20
Item = TypeVar("Item")


_T = table_of(Chunk).c
_WANTED = select(_T.id, _T.base_id).where(_T.id.in_(bindparam("ids", expanding=True))).cte("chain", recursive=True)
_CHAIN = _WANTED.union(select(_T.id, _T.base_id).join(_WANTED, _T.id == _WANTED.c.base_id))
_BASE = table_of(Chunk).alias("base")
_ROWS = select(
    _T.id, _T.address, _T.codec, _T.width, _T.raw_bytes, _T.base_id, _T.depth, _T.data, _T.seal, _BASE.c.address
).outerjoin_from(table_of(Chunk), _BASE, _BASE.c.id == _T.base_id)  # fmt: skip
# Made once: SQLAlchemy takes longer to make a statement than SQLite to answer it.
_FETCH = _ROWS.where(_T.id.in_(select(_CHAIN.c.id)))
_FETCH_ALONE = _ROWS.where(_T.id.in_(bindparam("ids", expanding=True)))
_IDS = select(_T.address, _T.id).where(_T.address.in_(bindparam("addresses", expanding=True)))
_ADDRESSES = select(_T.id, _T.address).where(_T.id.in_(bindparam("ids", expanding=True)))
_ADD = table_of(Chunk).insert()


@dataclass(frozen=True, slots=True)
class Stored:
    """A chunk as it is in the database, its seal checked."""

    id: int
    address: bytes
    codec: int
    width: int
    raw_bytes: int
    base_id: int | None
    depth: int
    data: bytes

    @property
    def rows(self) -> int:
        """Rows in it."""
        return self.raw_bytes // self.width if self.width else 0


@dataclass(slots=True, kw_only=True)
class NewChunk:
    """A chunk that is not in the database yet."""

    address: bytes
    width: int
    raw_bytes: int
    encoded: Encoded
    base: Stored | None = None
    id: int = 0
    """Once it is there."""

    @property
    def depth(self) -> int:
        """Deltas to undo."""
        return 0 if self.base is None else self.base.depth + 1

    def as_row(self) -> dict[str, object]:
        """Columns, once it has its number."""
        base = self.base
        row: dict[str, object] = {
            "id": self.id,
            "address": self.address,
            "codec": int(self.encoded.codec),
            "width": self.width,
            "raw_bytes": self.raw_bytes,
            "base_id": None if base is None else base.id,
            "depth": self.depth,
            "data": self.encoded.data,
        }
        row["seal"] = seal_of(
            self.id, self.address, int(self.encoded.codec), self.width, self.raw_bytes, None if base is None else base.address,
            self.depth, self.encoded.data,
        )  # fmt: skip
        return row


def seal_of(
    number: int, name: bytes, codec: int, width: int, raw_bytes: int, base: bytes | None, depth: int, data: bytes
) -> bytes:
    """Seal of a chunk's row, its number included: lists name chunks by it. The base counts by its address."""
    return seal((number, name, codec, width, raw_bytes, base, depth, data))


def fetch(connection: Connection, ids: Iterable[int], *, decoded: Collection[int] = ()) -> dict[int, Stored]:
    """Chunks by id with every chunk that they are deltas of, each with its seal checked.

    decoded  of these it is known what they hold: they are fetched alone
    raises   Damaged, naming the chunk
    """
    found: dict[int, Stored] = {}
    wanted = list(dict.fromkeys(ids))
    for query, numbered in (
        (_FETCH, [each for each in wanted if each not in decoded]),
        (_FETCH_ALONE, [each for each in wanted if each in decoded]),
    ):
        for some in _some(numbered):
            for row in connection.execute(query, {"ids": some}):
                stored = found[row[0]] = Stored(*row[:8])
                _check_seal(stored, row[8], row[9])
    for number in wanted:
        if number not in found:
            raise Damaged(f"chunk {number}", "it is not there")
    return found


def _check_seal(stored: Stored, said: bytes, base: bytes | None) -> None:
    told = seal_of(
        stored.id, stored.address, stored.codec, stored.width, stored.raw_bytes, base, stored.depth, stored.data
    )
    if told != said:
        raise Damaged(f"chunk {stored.id}", "its bytes are not those that were stored")


def ids_of(connection: Connection, addresses: Sequence[bytes]) -> dict[bytes, int]:
    """Those that are there, by address."""
    found: dict[bytes, int] = {}
    for some in _some(addresses):
        found.update((row.address, row.id) for row in connection.execute(_IDS, {"addresses": some}))
    return found


def addresses_of(connection: Connection, ids: Iterable[int]) -> dict[int, bytes]:
    """Addresses by id."""
    found: dict[int, bytes] = {}
    for some in _some(list(dict.fromkeys(ids))):
        found.update((row.id, row.address) for row in connection.execute(_ADDRESSES, {"ids": some}))
    return found


def add(connection: Connection, chunks: Sequence[NewChunk]) -> int:
    """Put chunks in and give each its id; bytes of data that they take."""
    if not chunks:
        return 0
    for chunk, number in zip(chunks, numbers.take(connection, Chunk, len(chunks)), strict=True):
        chunk.id = number
    for some in _some(chunks, 64):
        connection.execute(_ADD, [chunk.as_row() for chunk in some])
    return sum(len(chunk.encoded.data) for chunk in chunks)


def as_stored(chunk: NewChunk) -> Stored:
    """The same as if it had been fetched."""
    base_id = None if chunk.base is None else chunk.base.id
    return Stored(
        chunk.id,
        chunk.address,
        chunk.encoded.codec,
        chunk.width,
        chunk.raw_bytes,
        base_id,
        chunk.depth,
        chunk.encoded.data,
    )


@dataclass(slots=True)
class Decoder:
    """Decodes fetched chunks; the most recently used ones are remembered. Safe to share between threads."""

    cache_bytes: int = CACHE_BYTES
    most_bytes: int = 0
    """Of one chunk, where a stranger's file may say anything; 0: any number."""
    _kept: OrderedDict[bytes, Bytes2d] = field(default_factory=OrderedDict)
    _bytes: int = 0
    _lock: Lock = field(default_factory=Lock)

    def rows(self, stored: Stored, found: dict[int, Stored], width: int = 0) -> Bytes2d:
        """uint8[n, width], not to be written to. raises Damaged

        width  of the rows that are wanted; 0: those it was stored with. A chunk is named by its bytes: 32 rows of 8 zeros
               and 8 rows of 32 are the same one, and each map knows its own width.
        """
        with self._lock:
            rows = self._kept.get(stored.address)
            if rows is not None:
                self._kept.move_to_end(stored.address)
        if rows is None:
            rows = self._decode(stored, found)
            rows.flags.writeable = False
            self.remember(stored.address, rows)
        return _of_width(stored, rows, width or stored.width)

    def remember(self, name: bytes, rows: Bytes2d) -> None:
        """Keep what a chunk holds for as long as there is room; nobody writes to it any more."""
        with self._lock:
            if name not in self._kept and rows.nbytes < self.cache_bytes // 4:
                self._kept[name] = rows
                self._bytes += rows.nbytes
                while self._bytes > self.cache_bytes:
                    self._bytes -= self._kept.popitem(last=False)[1].nbytes

    def knows(self, name: bytes) -> bool:
        """It is remembered, and will be for a while."""
        with self._lock:
            if name in self._kept:
                self._kept.move_to_end(name)
            return name in self._kept

    def some(self, stored: Stored, found: dict[int, Stored], wanted: Rows, width: int) -> Bytes2d:
        """Some rows of it, each of `width` bytes, in the order asked for. raises Damaged"""
        with self._lock:
            known = self._kept.get(stored.address)
        if known is not None:
            picked: Bytes2d = _of_width(stored, known, width)[wanted]
            return picked
        if stored.codec == Codec.DELTA or stored.width != width:
            return self.rows(stored, found, width)[wanted]
        try:
            return coding.planes(stored.codec, stored.data, stored.width, stored.raw_bytes, wanted)
        except ValueError as problem:
            raise Damaged(f"chunk {stored.id}", str(problem)) from problem

    def change(self, stored: Stored) -> Delta:
        """What a delta says. raises Damaged"""
        try:
            return coding.unpack(stored.data, stored.width, stored.raw_bytes)
        except (ValueError, IndexError) as problem:
            raise Damaged(f"chunk {stored.id}", str(problem)) from problem

    def _decode(self, stored: Stored, found: dict[int, Stored]) -> Bytes2d:
        chain = chain_of(stored, found)
        if self.most_bytes and max(each.raw_bytes for each in chain) > self.most_bytes:
            raise Damaged(
                f"chunk {stored.id}", f"it takes more than {self.most_bytes >> 20:,} MiB, the most for a file"
            )
        try:
            rows = coding.decode(chain[-1].codec, chain[-1].data, chain[-1].width, chain[-1].raw_bytes)
            for link in reversed(chain[:-1]):
                # What it was a delta of may have been written anew since, from a map of another width.
                rows = coding.apply(
                    _of_width(stored, rows, link.width), coding.unpack(link.data, link.width, link.raw_bytes)
                )
        except (ValueError, IndexError) as problem:
            raise Damaged(f"chunk {stored.id}", str(problem)) from problem
        return rows


def chain_of(stored: Stored, found: dict[int, Stored]) -> list[Stored]:
    """A chunk and what it is a delta of, down to the whole one. raises Damaged"""
    chain = [stored]
    while chain[-1].codec == Codec.DELTA:
        below = found.get(chain[-1].base_id or 0)
        if below is None:
            raise Damaged(f"chunk {stored.id}", "what it is a delta of is not at hand")
        if len(chain) > MOST_DEPTH:
            raise Damaged(f"chunk {stored.id}", f"it is a delta of more than {MOST_DEPTH} others, or of itself")
        chain.append(below)
    return chain


def _of_width(stored: Stored, rows: Bytes2d, width: int) -> Bytes2d:
    if rows.shape[1] == width:
        return rows
    if rows.size % width:
        raise Damaged(f"chunk {stored.id}", f"its {rows.size} bytes are no rows of {width}")
    return rows.reshape(-1, width)


def check_content(stored: Stored, rows: Bytes2d) -> None:
    """Compare content with the address, which a seal does not need to. raises Damaged"""
    if address(rows) != stored.address:
        raise Damaged(f"chunk {stored.id}", "its content is not what its address says")


def sortable(keys: Bytes2d) -> NDArray[np.generic]:
    """[n] numbers or strings that sort and compare as the keys do, all of which have one length."""
    n_rows, width = keys.shape
    if width > 8:  # noqa: PLR2004  (more than a word)
        # Strings end at trailing NULs: of the same length they still compare as memcmp does.
        return np.ascontiguousarray(keys).view(f"S{width}").reshape(n_rows)
    words = np.zeros((n_rows, 8), np.uint8)
    words[:, :width] = keys
    return words.view(">u8").reshape(n_rows).astype(np.uint64)


def sources(keys: Bytes2d, base: Bytes2d) -> Rows:
    """int64[n]: the row of the base that has the same key, -1 where none has; both in order."""
    if keys.shape[1] == 0:
        rows = np.arange(len(keys))
        return np.where(rows < len(base), rows, -1)
    if not len(base):
        return np.full(len(keys), -1)
    ours, theirs = sortable(keys), sortable(base)
    at = np.searchsorted(theirs, ours)
    there = theirs[np.minimum(at, len(base) - 1)] == ours
    return np.where((at < len(base)) & there, at, -1)


def _some(items: Sequence[Item], size: int = QUERY_IDS) -> Iterable[list[Item]]:
    walk = iter(items)
    while some := list(itertools.islice(walk, size)):
        yield some
