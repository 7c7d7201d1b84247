"""One snapshot into the database: what is new of it is encoded, against what it replaces where that is shorter."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import cast

import numpy as np
from sqlalchemy import Connection, bindparam, select

from app.history import chunks, codec, numbers, roots
from app.history.chunks import Decoder, NewChunk, Stored
from app.history.codec import Bytes2d, Rows
from app.history.database import Database
from app.history.roots import Pieces
from app.history.seal import Part, address, seal
from app.history.splitter import cuts, order_of
from app.history.tables import Snapshot, table_of

THREADS = 2
THREADED_PIECES = 8
BATCH_PIECES = 32
CLEARLY = 8
"""A delta that takes less than this part of the bytes is not compared with storing them whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What is said of a snapshot beside its entries."""

    series_id: int
    layout_id: int
    taken_ns: int
    took_ns: int
    map_id: int
    boot_id: str
    completeness: str
    trigger: str
    author: str = ""
    label: str = ""
    notes: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept(About):
    """A snapshot in the database."""

    id: int
    root_id: int
    bytes_added: int

    @property
    def ref(self) -> str:
        """As people name it."""
        return f"s{self.id}"


@dataclass(slots=True, kw_only=True)
class Draft:
    """Entries, ready to be put in: nothing of it is in the database yet."""

    entries: int
    key_width: int
    value_width: int
    rows: list[int]
    first: list[bytes]
    keys: list[bytes]
    """Address of each piece's keys."""
    values: list[bytes]
    new: dict[bytes, NewChunk] = field(default_factory=dict)
    known: dict[bytes, int] = field(default_factory=dict)

    @property
    def address(self) -> bytes:
        """Of its root, there or not."""
        return roots.name_of(
            self.entries, self.key_width, self.value_width, self.rows, b"".join(self.first), self.keys + self.values
        )


def draft(
    database: Database,
    keys: Bytes2d,
    values: Bytes2d,
    *,
    previous: int = 0,
    moment: Callable[[], None] = lambda: None,
    decoder: Decoder | None = None,
) -> Draft:
    """Cut, hash and encode entries; whatever the previous root has already is only named.

    keys      uint8[n, key_width], in any order; width 0 where entries have none
    values    uint8[n, value_width]
    previous  id of the root that they probably resemble, 0 for none
    moment    called now and then, by the calling thread: for whoever keeps to a budget
    decoder   remembers what small maps hold, which are most and change most often
    raises    Damaged where the previous one cannot be read
    """
    order, arranged, ends = _cut(keys, values)
    with database.reading() as connection:
        work = _Work(connection, arranged, values, order, previous, decoder)
        found = list(work.run(ends, moment))
        made = Draft(
            entries=len(keys),
            key_width=keys.shape[1],
            value_width=values.shape[1],
            rows=[end - start for start, end in zip([0, *ends], ends, strict=False)],
            first=[arranged[start, : roots.PREFIX_BYTES].tobytes() for start in [0, *ends][: len(ends)]],
            keys=[one[0] for one in found],
            values=[one[1] for one in found],
        )
        made.known = dict(work.ids)
        for _key, _value, new in found:
            made.new.update((chunk.address, chunk) for chunk in new if chunk.address not in made.known)
        # What came back from before the previous one is there already, too.
        made.known.update(chunks.ids_of(connection, list(made.new)))
    for name in made.known:
        made.new.pop(name, None)
    return made


def pieces(keys: Bytes2d, values: Bytes2d) -> Iterator[Bytes2d]:
    """Keys and values of each piece that `draft` cuts entries into."""
    order, arranged, ends = _cut(keys, values)
    for start, end in zip([0, *ends], ends, strict=False):
        yield np.ascontiguousarray(arranged[start:end])
        yield np.ascontiguousarray(values[start:end] if order is None else values.take(order[start:end], axis=0))


def commit(connection: Connection, made: Draft, about: About, number: int = 0) -> Kept:
    """Put a draft and the snapshot of it in, within the caller's transaction. number: its own; 0: the next one"""
    name = made.address
    root_id, added = roots.find(connection, name), 0
    if not root_id:
        added = chunks.add(connection, list(made.new.values()))
        ids = {**made.known, **{each: chunk.id for each, chunk in made.new.items()}, roots.NONE: 0}
        width = min(made.key_width, roots.PREFIX_BYTES)
        pieces = Pieces(
            entries=made.entries,
            key_width=made.key_width,
            value_width=made.value_width,
            key_ids=np.array([ids[each] for each in made.keys], np.int64),
            value_ids=np.array([ids[each] for each in made.values], np.int64),
            rows=np.array(made.rows, np.int64),
            first=np.frombuffer(b"".join(made.first), np.uint8).reshape(len(made.rows), width),
        )
        root_id, body_bytes = roots.add(connection, name, pieces)
        added += body_bytes
    return add(connection, about, root_id=root_id, bytes_added=added, number=number)


def add(connection: Connection, about: About, *, root_id: int, bytes_added: int, number: int = 0) -> Kept:
    """One more snapshot of a root. number: its own; 0: the next one"""
    row: dict[str, object] = {name: getattr(about, name) for name in About.__slots__}
    row.update(id=number or numbers.take(connection, Snapshot)[0], root_id=root_id, bytes_added=bytes_added)
    row["seal"] = seal_of(row)
    connection.execute(_ADD, row)
    return as_kept(row)


_TABLE = table_of(Snapshot)
_LOAD = select(_TABLE).where(_TABLE.c.id == bindparam("number"))
_ADD = _TABLE.insert()
SEALED = tuple(column.name for column in _TABLE.columns if column.name != "seal")


def seal_of(row: dict[str, object]) -> bytes:
    """Seal of a snapshot's row, its own number and those of what it points to included."""
    return seal(cast("Part", row[name]) for name in SEALED)


def as_kept(row: dict[str, object]) -> Kept:
    """A row as what it is."""
    return Kept(**{name: row[name] for name in Kept.__dataclass_fields__})  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class _Piece:
    """Some entries in order, and which of their bytes the previous root does not have."""

    key_name: bytes
    value_name: bytes
    keys: Bytes2d
    values: Bytes2d
    new_keys: bool
    new_values: bool
    at: int | None
    """The piece of the previous root that it probably replaces."""


class _Work:
    """One draft: pieces are gathered, hashed and encoded by a few threads; the caller's alone asks the database."""

    def __init__(
        self,
        connection: Connection,
        keys: Bytes2d,
        values: Bytes2d,
        order: Rows | None,
        previous: int,
        decoder: Decoder | None,
    ) -> None:
        self._connection = connection
        self._keys, self._values, self._order = keys, values, order
        self._alone = Decoder(cache_bytes=0)
        self._decoder = decoder or self._alone
        self._previous = roots.load(connection, previous) if previous else None
        if self._previous is not None and (self._previous.key_width, self._previous.value_width) != (
            keys.shape[1], values.shape[1],
        ):  # fmt: skip
            self._previous = None
        self.ids: dict[bytes, int] = {}
        self._names: dict[int, bytes] = {}
        self._first: list[bytes] = []
        self._places: dict[bytes, int] = {}
        if self._previous is not None:
            self._names = chunks.addresses_of(connection, self._previous.chunk_ids)
            self.ids = {name: number for number, name in self._names.items()}
            self._first = [row.tobytes() for row in self._previous.first]
            key_ids = self._previous.key_ids.tolist()
            self._places = {self._names[each]: place for place, each in enumerate(key_ids) if each}

    def run(self, ends: list[int], moment: Callable[[], None]) -> Iterator[tuple[bytes, bytes, list[NewChunk]]]:
        """(address of keys, address of values, chunks that are new) of each piece, in order."""
        spans = list(zip([0, *ends], ends, strict=False))
        if len(spans) < THREADED_PIECES:
            for span in spans:
                piece = self._gather(span)
                yield self._encode(piece, self._bases([piece]))
                self._remember(piece)
                moment()
            return
        self._decoder = self._alone  # a large one would drive out all others
        with ThreadPoolExecutor(THREADS) as pool:
            some = [spans[at : at + BATCH_PIECES] for at in range(0, len(spans), BATCH_PIECES)]
            coming = [pool.submit(self._gather, span) for span in some[0]]
            for number in range(len(some)):
                pieces = [each.result() for each in coming]
                # What comes next is hashed while this batch's bases are fetched.
                coming = (
                    [pool.submit(self._gather, span) for span in some[number + 1]] if number + 1 < len(some) else []
                )
                found = self._bases(pieces)
                yield from pool.map(lambda piece, found=found: self._encode(piece, found), pieces)
                moment()

    def _gather(self, span: tuple[int, int]) -> _Piece:
        start, end = span
        keys = np.ascontiguousarray(self._keys[start:end])
        values = self._values[start:end] if self._order is None else self._values.take(self._order[start:end], axis=0)
        values = np.ascontiguousarray(values)
        key_name = address(keys) if keys.size else roots.NONE
        value_name = address(values) if values.size else roots.NONE
        new = [size > 0 and name not in self.ids for size, name in ((keys.size, key_name), (values.size, value_name))]
        at = self._counterpart(keys, key_name) if any(new) else None
        # What is not new need not stay in memory; keys are wanted to find out where values went.
        empty = np.zeros((0, 0), np.uint8)
        return _Piece(
            key_name, value_name, keys if any(new) else empty, values if new[1] else empty, new[0], new[1], at
        )

    def _bases(self, pieces: list[_Piece]) -> dict[int, Stored]:
        """What the new chunks of some pieces may be deltas of."""
        if self._previous is None:
            return {}
        wanted = {
            int(ids[piece.at])
            for piece in pieces
            if piece.at is not None
            for ids in (self._previous.key_ids, self._previous.value_ids)[
                not piece.new_keys and piece.keys.shape[1] > 0 :
            ]
        }
        decoded = {each for each in wanted if each and self._decoder.knows(self._names[each])}
        return chunks.fetch(self._connection, [each for each in wanted if each], decoded=decoded)

    def _remember(self, piece: _Piece) -> None:
        """What is new now is the base of what comes next."""
        for new, name, rows in (
            (piece.new_keys, piece.key_name, piece.keys),
            (piece.new_values, piece.value_name, piece.values),
        ):
            if new:
                # A copy: what was read may be a part of a larger whole, and may be written to again.
                kept = rows.copy()
                kept.flags.writeable = False
                self._decoder.remember(name, kept)

    def _encode(self, piece: _Piece, found: dict[int, Stored]) -> tuple[bytes, bytes, list[NewChunk]]:
        key_base = value_base = None
        if piece.at is not None and self._previous is not None:
            key_base = found.get(int(self._previous.key_ids[piece.at]))
            value_base = found.get(int(self._previous.value_ids[piece.at]))
        source: Rows | None = None
        if piece.at is not None and (piece.new_keys or not piece.keys.size):
            none = np.zeros((0 if value_base is None else value_base.rows, 0), np.uint8)
            old = none if key_base is None else self._decoder.rows(key_base, found, piece.keys.shape[1])
            source = chunks.sources(piece.keys, old)
            if len(source) == len(old) and bool((source == np.arange(len(source))).all()):
                source = None
            elif not bool((source >= 0).any()):
                key_base = value_base = None  # another part of the map altogether
        new: list[NewChunk] = []
        if piece.new_keys:
            new.append(self._chunk(piece.key_name, piece.keys, key_base, found, source))
        if piece.new_values:
            new.append(self._chunk(piece.value_name, piece.values, value_base, found, source))
        return piece.key_name, piece.value_name, new

    def _counterpart(self, keys: Bytes2d, key_name: bytes) -> int | None:
        """The previous piece that a piece replaces: the one with the same keys, or else probably the one in its place."""
        if self._previous is None or not len(self._previous):
            return None
        if key_name in self._places:
            return self._places[key_name]
        return max(bisect.bisect_right(self._first, keys[0, : roots.PREFIX_BYTES].tobytes()) - 1, 0)

    def _chunk(
        self, name: bytes, rows: Bytes2d, base: Stored | None, found: dict[int, Stored], source: Rows | None
    ) -> NewChunk:
        size = rows.nbytes
        if base is not None and base.depth < chunks.MOST_DEPTH and base.width == rows.shape[1]:
            packed = codec.pack(codec.delta(rows, self._decoder.rows(base, found), source))
            if len(packed.data) * CLEARLY < size:
                return NewChunk(address=name, width=rows.shape[1], raw_bytes=size, encoded=packed, base=base)
            whole = codec.encode(rows)
            if len(packed.data) < len(whole.data):
                return NewChunk(address=name, width=rows.shape[1], raw_bytes=size, encoded=packed, base=base)
        else:
            whole = codec.encode(rows)
        return NewChunk(address=name, width=rows.shape[1], raw_bytes=size, encoded=whole)


def _cut(keys: Bytes2d, values: Bytes2d) -> tuple[Rows | None, Bytes2d, list[int]]:
    """(what puts entries into order, keys in that order, where pieces end)."""
    order = order_of(keys)
    arranged = keys if order is None else keys.take(order, axis=0)  # quicker than keys[order], see bench/
    return order, arranged, cuts(arranged, keys.shape[1] + values.shape[1])


def load(connection: Connection, snapshot_id: int) -> dict[str, object] | None:
    """The row of a snapshot, its seal not yet looked at; None where there is none."""
    row = connection.execute(_LOAD, {"number": snapshot_id}).mappings().one_or_none()
    return None if row is None else dict(row)
