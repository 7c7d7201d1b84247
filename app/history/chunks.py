"""Chunks out of the database and into it: fetched with what they are deltas of, checked by their seals, decoded once."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, bindparam, insert, select

from app.history import codec as coding
from app.history import numbers
from app.history.codec import Bytes2d, Codec, Delta, Encoded, Rows
from app.history.errors import Damaged
from app.history.seal import address, seal
from app.history.tables import Chunk

MOST_DEPTH = 32
"""Deltas upon deltas; the next one is stored whole."""
QUERY_IDS = 500
CACHE_BYTES = 32 << 20
Item = TypeVar("Item")


_COLUMNS = (
    Chunk.id, Chunk.address, Chunk.codec, Chunk.width, Chunk.raw_bytes, Chunk.base_id, Chunk.depth, Chunk.data, Chunk.seal,
)  # fmt: skip
# Made once: SQLAlchemy takes longer to make a statement than SQLite to answer it.
_FETCH = select(*_COLUMNS).where(Chunk.id.in_(bindparam("ids", expanding=True)))
_IDS = select(Chunk.address, Chunk.id).where(Chunk.address.in_(bindparam("addresses", expanding=True)))
_ADDRESSES = select(Chunk.id, Chunk.address).where(Chunk.id.in_(bindparam("ids", expanding=True)))


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


def fetch(connection: Connection, ids: Iterable[int], kept: dict[int, Stored] | None = None) -> dict[int, Stored]:
    """Chunks by id with every chunk that they are deltas of, each with its seal checked.

    kept    what was fetched before: it is not fetched again, and what is new is put in
    raises  Damaged, naming the chunk
    """
    found: dict[int, Stored] = {} if kept is None else kept
    wanted = [each for each in dict.fromkeys(ids) if each not in found]
    seals: list[tuple[Stored, bytes]] = []
    while wanted:
        missing = set(wanted)
        for some in _some(wanted):
            for row in connection.execute(_FETCH, {"ids": some}):
                stored = Stored(*row[:8])
                found[stored.id] = stored
                seals.append((stored, row[8]))
                missing.discard(stored.id)
        if missing:
            raise Damaged(f"chunk {min(missing)}", "it is not there")
        bases = [one.base_id for one, _ in seals if one.base_id is not None and one.base_id not in found]
        if not all(isinstance(each, int) for each in bases):
            raise Damaged("a chunk", "what it is a delta of has no number")
        wanted = list(dict.fromkeys(bases))
    for stored, said in seals:
        base = None if stored.base_id is None else found[stored.base_id].address
        told = seal_of(
            stored.id, stored.address, stored.codec, stored.width, stored.raw_bytes, base, stored.depth, stored.data
        )
        if told != said:
            raise Damaged(f"chunk {stored.id}", "its bytes are not those that were stored")
    return found


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
        connection.execute(insert(Chunk), [chunk.as_row() for chunk in some])
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
    _kept: OrderedDict[bytes, Bytes2d] = field(default_factory=OrderedDict)
    _bytes: int = 0
    _lock: Lock = field(default_factory=Lock)

    def rows(self, stored: Stored, found: dict[int, Stored]) -> Bytes2d:
        """uint8[n, width], not to be written to. raises Damaged"""
        with self._lock:
            known = self._kept.get(stored.address)
            if known is not None:
                self._kept.move_to_end(stored.address)
                return known
        rows = self._decode(stored, found)
        rows.flags.writeable = False
        with self._lock:
            if stored.address not in self._kept and rows.nbytes < self.cache_bytes // 4:
                self._kept[stored.address] = rows
                self._bytes += rows.nbytes
                while self._bytes > self.cache_bytes:
                    self._bytes -= self._kept.popitem(last=False)[1].nbytes
        return rows

    def some(self, stored: Stored, found: dict[int, Stored], wanted: Rows) -> Bytes2d:
        """Some rows of it, in the order asked for. raises Damaged"""
        with self._lock:
            known = self._kept.get(stored.address)
        if known is not None:
            picked: Bytes2d = known[wanted]
            return picked
        if stored.codec == Codec.DELTA:
            return self.rows(stored, found)[wanted]
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
        chain = [stored]
        while chain[-1].codec == Codec.DELTA:
            chain.append(found[chain[-1].base_id or 0])
        try:
            rows = coding.decode(chain[-1].codec, chain[-1].data, chain[-1].width, chain[-1].raw_bytes)
            for link in reversed(chain[:-1]):
                rows = coding.apply(rows, coding.unpack(link.data, link.width, link.raw_bytes))
        except (ValueError, IndexError) as problem:
            raise Damaged(f"chunk {stored.id}", str(problem)) from problem
        return rows


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
