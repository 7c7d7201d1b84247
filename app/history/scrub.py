"""Reading through the chunks of a history bit by bit, so that damage is known before somebody needs what is damaged.

A chunk is named by the hash of what it holds. So whoever has those very bytes, from a live map that still holds them,
can put a damaged chunk right again; nobody else can.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from sqlalchemy import Connection, func, select, update

from app.history import chunks, codec
from app.history.chunks import Decoder, NewChunk, check_content
from app.history.codec import Bytes2d
from app.history.database import Database
from app.history.errors import Damaged, DatabaseUnusable
from app.history.schema import TORN
from app.history.seal import address
from app.history.tables import Chunk
from app.history.verify import Problem, one_chunk

log = logging.getLogger(__name__)

STEP = 16
"""Chunks looked at in one go."""


@dataclass(frozen=True, slots=True)
class Hurt:
    """A chunk that cannot be read, because of its own bytes or of what it is a delta of."""

    id: int
    problem: Problem


@dataclass(slots=True)
class Scrub:
    """One round after the other through all chunks. Its database may be written to meanwhile."""

    database: Database
    damaged: dict[bytes, Hurt] = field(default_factory=dict)
    """Chunks that cannot be read, by the address that their row has."""
    looked_at: int = 0
    """Chunks, in this round."""
    _beyond: set[int] = field(default_factory=set)
    """Chunks whose place in the file cannot be written either."""
    steps: int = 1
    """In this round, about."""
    _at: int = 0
    _decoder: Decoder = field(default_factory=Decoder)

    def step(self) -> bool:
        """Look at the next few; True where that was the end of a round. raises DatabaseUnusable"""
        query = select(Chunk.id).where(Chunk.id > self._at).order_by(Chunk.id).limit(STEP)
        with self.database.reading() as connection:
            if not self._at:
                self.looked_at = 0
                count = connection.execute(select(func.count()).select_from(Chunk)).scalar_one()
                self.steps = int(count) // STEP + 1
            ids = list(connection.execute(query).scalars())
            self.note(connection, ids)
            ended = len(ids) < STEP
            if ended:
                for hurt in [*self.damaged.values()]:
                    self._note(connection, hurt.id)  # it may be gone by now
        self.looked_at += len(ids)
        self._at = 0 if ended else ids[-1]
        if ended:
            self._decoder = Decoder()  # what one round remembers is of no use to the next, a day later
        return ended

    def note(self, connection: Connection, ids: Iterable[int]) -> None:
        """Look at some chunks, and note those that cannot be read."""
        wanted = list(ids)
        try:
            found = chunks.fetch(connection, wanted)
            for number in wanted:
                check_content(found[number], self._decoder.rows(found[number], found))
        except (Damaged, *TORN):
            connection.rollback()
            for number in wanted:
                self._note(connection, number)

    def _note(self, connection: Connection, number: int) -> None:
        problem = one_chunk(connection, number)
        name = connection.execute(select(Chunk.address).where(Chunk.id == number)).scalar_one_or_none()
        for known in [each for each, hurt in self.damaged.items() if hurt.id == number]:
            del self.damaged[known]
        if problem is not None and isinstance(name, bytes):  # else it is gone, or has no name to be known by
            self.damaged[name] = Hurt(number, problem)

    def mend(self, names: Iterable[bytes], rows_of: Callable[[], Iterable[Bytes2d]]) -> list[int]:
        """Write damaged chunks anew whose bytes are at hand: ids of those that can be read again after that.

        names    addresses of what is at hand
        rows_of  the bytes themselves, uint8[n, width] each; asked for only where one of them is wanted
        """
        if not self.damaged:
            return []
        wanted = {name: self.damaged[name].id for name in self.damaged.keys() & set(names)}
        wanted = {name: number for name, number in wanted.items() if number not in self._beyond}
        if not wanted:
            return []
        before = {hurt.id for hurt in self.damaged.values()}
        try:
            for rows in rows_of():
                name = address(rows) if rows.size else b""
                if number := wanted.pop(name, 0):
                    with self.database.writing() as connection:
                        _write(connection, number, name, rows)
            with self.database.reading() as connection:  # what was a delta of these can be read again, too
                for number in before:
                    self._note(connection, number)
        except DatabaseUnusable as problem:
            log.warning("damaged chunks cannot be put right (%s), a backup has them: %s", problem, sorted(before))
            self._beyond |= before
        return sorted(before - {hurt.id for hurt in self.damaged.values()})


def _write(connection: Connection, number: int, name: bytes, rows: Bytes2d) -> None:
    """Whole, and not as a delta: what it was a delta of may be a delta of it by now, or damaged as well."""
    new = NewChunk(address=name, width=rows.shape[1], raw_bytes=rows.nbytes, encoded=codec.encode(rows), id=number)
    row = new.as_row()
    for column in ("id", "address"):
        row.pop(column)
    connection.execute(update(Chunk).where(Chunk.id == number, Chunk.address == name).values(**row))
