"""Reads everything, and names whatever is not what was stored: each chunk is decoded and compared with its address."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy import Connection, Select, or_, select, text
from sqlalchemy.orm import InstrumentedAttribute

from app.history import chunks, content, layouts, rescue, roots, series, snapshots
from app.history.chunks import Decoder, check_content
from app.history.errors import Damaged
from app.history.history import checked, fact
from app.history.schema import TORN
from app.history.tables import Chunk, Layout, Meta, Root, Series, Snapshot, Use

STEP = 64
Item = TypeVar("Item")
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong."""

    what: str
    why: str
    snapshots: tuple[str, ...] = ()
    """That cannot be read whole for it."""


def verify(connection: Connection, progress: Progress = lambda *_: None) -> Iterator[Problem]:
    """Every problem there is; none where the history is sound. `progress` is told (what, done, of)."""
    torn = False
    for problem in _structure(connection):
        torn = True
        yield problem
    bad: set[int] = set()
    sections = (
        ("chunks", _chunks(connection, bad, progress)),
        ("lists of chunks", _roots(connection, bad, progress)),
        ("layouts", _rows(connection, "layout ", Layout.id, layouts.check, Snapshot.layout_id)),
        ("series", _rows(connection, "series ", Series.id, series.load)),
        ("snapshots", _rows(connection, "snapshot s", Snapshot.id, _snapshot, Snapshot.id)),
        ("notes", _notes(connection)),
    )
    for name, problems in sections:
        try:
            yield from problems
        except TORN as problem:
            torn = True
            yield Problem(f"the table of {name}", _reason(connection, problem))
    if torn:
        # Rows may be missing from what says which snapshot needs what: each is read whole.
        yield from _one_by_one(connection, progress)


def _structure(connection: Connection) -> Iterator[Problem]:
    """What SQLite itself finds; PostgreSQL has its own programs for this."""
    if connection.dialect.name != "sqlite":
        return
    if rescued := connection.get_execution_options().get("rescued"):
        yield Problem("the database file", f"{rescued}; a copy with new definitions of its tables was read")
        return
    try:
        made = rescue.definitions()
        there = {
            name: tuple(map(str, rest))
            for name, *rest in connection.execute(text("SELECT name, type, tbl_name, sql FROM sqlite_schema"))
        }
        for name in sorted(made.keys() - {name for name, one in there.items() if made.get(name) == one}):
            yield Problem(f"the definition of {name}", "it is not what was written; what was stored can be read")
        for (line,) in connection.execute(text("PRAGMA integrity_check(20)")):
            if line != "ok":
                yield Problem("the database file", str(line))
        for row in connection.execute(text("PRAGMA foreign_key_check")):
            yield Problem(f"row {row[1]} of {row[0]}", f"what it refers to in {row[2]} is not there")
    except TORN as problem:
        yield Problem("the database file", _reason(connection, problem))


def _chunks(connection: Connection, bad: set[int], progress: Progress) -> Iterator[Problem]:
    ids = _asked(connection, select(Chunk.id).order_by(Chunk.id))
    decoder = Decoder(cache_bytes=64 << 20)
    for start in range(0, len(ids), STEP):
        some = ids[start : start + STEP]
        progress("chunks", start, len(ids))
        try:
            found = chunks.fetch(connection, some)
            for number in some:
                check_content(found[number], decoder.rows(found[number], found))
        except (Damaged, *TORN):
            connection.rollback()
            for number in some:
                problem = one_chunk(connection, number)
                if problem is not None:
                    bad.add(number)
                    yield problem


def one_chunk(connection: Connection, number: int) -> Problem | None:
    """What is wrong with a chunk, if anything. Undoes a transaction that is under way."""
    try:
        found = chunks.fetch(connection, [number])
        check_content(found[number], Decoder(cache_bytes=0).rows(found[number], found))
    except Damaged as damage:
        return Problem(damage.what, damage.why, _needing(connection, number))
    except TORN as problem:
        return Problem(f"chunk {number}", _reason(connection, problem), _needing(connection, number))
    return None


def _needing(connection: Connection, number: int) -> tuple[str, ...]:
    """Snapshots that need a chunk itself; those that need a delta of it are named with that one."""
    entries = select(Snapshot.id).join(Use, Use.root_id == Snapshot.root_id).where(Use.chunk_id == number)
    types = (
        select(Snapshot.id)
        .join(Layout, Layout.id == Snapshot.layout_id)
        .where(or_(Layout.btf_id == number, Layout.base_btf_id == number))
    )
    return tuple(f"s{each}" for each in sorted({*_asked(connection, entries), *_asked(connection, types)}))


def _roots(connection: Connection, bad: set[int], progress: Progress) -> Iterator[Problem]:
    ids = _asked(connection, select(Root.id).order_by(Root.id))
    for done, number in enumerate(ids):
        if done % STEP == 0:
            progress("lists of chunks", done, len(ids))
        try:
            _root(connection, number, bad)
        except Damaged as damage:
            yield Problem(damage.what, damage.why, _of(connection, Snapshot.root_id, number))
        except TORN as problem:
            yield Problem(
                f"the list of chunks {number}", _reason(connection, problem), _of(connection, Snapshot.root_id, number)
            )


def _root(connection: Connection, number: int, bad: set[int]) -> None:
    pieces = roots.load(connection, number)
    if bad.intersection(pieces.chunk_ids):
        return  # named already, with the chunk
    addresses = chunks.addresses_of(connection, pieces.chunk_ids)
    named = connection.execute(select(Root.address).where(Root.id == number)).scalar_one()
    uses = set(_asked(connection, select(Use.chunk_id).where(Use.root_id == number)))
    if set(addresses) != set(pieces.chunk_ids) or roots.address_of(pieces, addresses) != named:
        raise Damaged(f"the list of chunks {number}", "its chunks are not those that its address says")
    if uses != set(pieces.chunk_ids):
        raise Damaged(f"the list of chunks {number}", "what keeps its chunks from being deleted is not complete")
    query = select(Chunk.id, Chunk.raw_bytes).join(Use, Use.chunk_id == Chunk.id).where(Use.root_id == number)
    sizes = {row.id: row.raw_bytes for row in connection.execute(query)}
    for ids, width in ((pieces.key_ids, pieces.key_width), (pieces.value_ids, pieces.value_width)):
        for chunk_id, rows in zip(ids.tolist(), pieces.rows.tolist(), strict=True):
            if chunk_id and sizes[chunk_id] != rows * width:
                raise Damaged(f"the list of chunks {number}", f"chunk {chunk_id} is not {rows} rows of {width} bytes")


def _of(connection: Connection, column: InstrumentedAttribute[int], number: int) -> tuple[str, ...]:
    """Snapshots of a list of chunks, or of a layout."""
    query = select(Snapshot.id).where(column == number).order_by(Snapshot.id)
    return tuple(f"s{each}" for each in _asked(connection, query))


def _snapshot(connection: Connection, number: int) -> None:
    row = snapshots.load(connection, number)
    if row is None:
        raise Damaged(f"snapshot s{number}", "it is not there")
    checked(row)


def _rows(
    connection: Connection,
    what: str,
    column: InstrumentedAttribute[int],
    load: Callable[[Connection, int], object],
    needed_as: InstrumentedAttribute[int] | None = None,
) -> Iterator[Problem]:
    """Of each row of a table that `load` refuses; `needed_as` is what a snapshot refers to it by."""
    for number in _asked(connection, select(column).order_by(column)):
        try:
            load(connection, number)
        except (Damaged, *TORN) as problem:
            name, why = (
                (problem.what, problem.why)
                if isinstance(problem, Damaged)
                else (f"{what}{number}", _reason(connection, problem))
            )
            yield Problem(name, why, () if needed_as is None else _of(connection, needed_as, number))


def _notes(connection: Connection) -> Iterator[Problem]:
    for name in _asked(connection, select(Meta.name)):
        try:
            fact(connection, name)
        except Damaged as damage:
            yield Problem(damage.what, damage.why)


def _one_by_one(connection: Connection, progress: Progress) -> Iterator[Problem]:
    try:
        ids = _asked(connection, select(Snapshot.id).order_by(Snapshot.id))
    except TORN:
        # Every number that was ever given: one of a page that cannot be read cannot be listed either.
        connection.rollback()
        ids = list(range(1, _last(connection) + 1))
    decoder = Decoder()
    for done, number in enumerate(ids):
        if done % STEP == 0:
            progress("snapshots", done, len(ids))
        try:
            _forget_pages(connection)
            row = snapshots.load(connection, number)
            if row is not None:
                kept = checked(row)
                content.read(connection, decoder, kept.root_id, check=check_content)
                layouts.check(connection, kept.layout_id)
                stored = layouts.load(connection, kept.layout_id)
                for each in {stored.btf_id, stored.base_btf_id} - {None}:
                    layouts.btf(connection, decoder, each or 0)
        except Damaged as damage:
            yield Problem(damage.what, damage.why, (f"s{number}",))
        except TORN as problem:
            yield Problem(f"snapshot s{number}", _reason(connection, problem), (f"s{number}",))


def _forget_pages(connection: Connection) -> None:
    """SQLite refuses a malformed page once; from its memory the same page is then read without a word."""
    if connection.dialect.name == "sqlite":
        connection.rollback()
        connection.execute(text("PRAGMA shrink_memory"))
        connection.rollback()


def _last(connection: Connection) -> int:
    if connection.dialect.name != "sqlite":
        return 0
    try:
        return int(connection.execute(text("SELECT seq FROM sqlite_sequence WHERE name = 'snapshot'")).scalar_one())
    except TORN:
        return 0


def _asked(connection: Connection, query: Select[Item]) -> list[Item]:
    """A column."""
    return list(connection.execute(query).scalars())


def _reason(connection: Connection, problem: Exception) -> str:
    """What the database said; PostgreSQL answers nothing more in a transaction that had an error."""
    connection.rollback()
    return str(getattr(problem, "orig", problem))
