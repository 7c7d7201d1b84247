"""What goes in time: snapshots are thinned by age, and chunks that none of the others needs are collected.

A chunk is only ever deleted where no list of chunks, no layout and no other chunk refers to it; the database's own foreign
keys refuse anything else. Before that, what is a delta of a chunk that is to go is encoded anew, and compared with its
address before it is written. One that cannot be read is left as it is, and so is what it stands on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    and_,
    case,
    delete,
    exists,
    func,
    literal_column,
    or_,
    select,
    text,
    true,
    update,
)

from app.history import chunks, codec, snapshots
from app.history.chunks import Decoder, NewChunk, Stored
from app.history.codec import Codec, Rows
from app.history.database import Database
from app.history.errors import Damaged
from app.history.keys import IMPORTED
from app.history.tables import Chunk, Layout, Root, Series, Snapshot, Use

HOUR_NS = 3600 * 1_000_000_000
DAY_NS = 24 * HOUR_NS
ALL_NS = DAY_NS
HOURLY_NS = 30 * DAY_NS
BEFORE_EDIT_NS = 30 * DAY_NS
"""Snapshots that were taken before a plan was applied stay at least so long."""
SLICE = 200
"""Chunks encoded anew in one transaction."""
ROW_BYTES = 200
"""What a chunk takes beside its bytes, about."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What retention goes by."""

    id: int
    series_id: int
    taken_ns: int
    kept: bool
    """It has a label."""
    before_edit: bool = False


@dataclass(frozen=True, slots=True)
class Collected:
    """What a collection did."""

    roots: int
    chunks: int
    bytes: int
    rebased: int
    unread: tuple[int, ...] = ()
    """Chunks in use that cannot be read: they stay as they are, with all that they are deltas of."""


def surplus(taken: Sequence[Taken], now_ns: int, newest: int) -> list[int]:
    """Ids of snapshots of one series, given oldest first, that are to go; `newest` is the id of the newest of all.

    All of the last day stay; of each hour of the last 30 days, and of each day before, the last one; besides those with a
    label, the newest, and for 30 days those before an edit.
    """
    last: dict[tuple[str, int], int] = {}
    for each in taken:
        last[_bucket(each, now_ns)] = each.id
    return [
        each.id
        for each in taken
        if not each.kept
        and each.id != newest
        and now_ns - each.taken_ns >= ALL_NS
        and not (each.before_edit and now_ns - each.taken_ns < BEFORE_EDIT_NS)
        and last[_bucket(each, now_ns)] != each.id
    ]


def _bucket(each: Taken, now_ns: int) -> tuple[str, int]:
    age_ns = now_ns - each.taken_ns
    if age_ns < ALL_NS:
        return "each", each.id
    return ("hour", each.taken_ns // HOUR_NS) if age_ns < HOURLY_NS else ("day", each.taken_ns // DAY_NS)


def thin(database: Database, now_ns: int) -> int:
    """Delete what is surplus of every series; how many."""
    gone: list[int] = []
    with database.reading() as connection:
        newest = newest_of(connection)
        for series_id, span in _crowded(connection, now_ns, ours(database)):
            gone += surplus(_taken(connection, series_id, span), now_ns, newest[series_id])
    return forget(database, sound_ones(database, gone))


def newest_of(connection: Connection) -> dict[int, int]:
    """Id of the newest snapshot by id of its series; one that was taken in from elsewhere only where there are no others."""
    own = func.max(case((Snapshot.trigger != IMPORTED, Snapshot.id)))
    query = select(Snapshot.series_id, func.coalesce(own, func.max(Snapshot.id))).group_by(Snapshot.series_id)
    return dict(connection.execute(query).all())


def ours(database: Database) -> ColumnElement[bool]:
    """Of series: those that are this host's to look after. Where several hosts share a history, each has its own clock and budget.

    In a file there is nobody else to do it, so that those count that were taken in from other hosts.
    """
    return true() if database.is_sqlite or not database.host else Series.host == database.host


def _crowded(connection: Connection, now_ns: int, among: ColumnElement[bool]) -> Iterator[tuple[int, tuple[int, int]]]:
    """(series, (first, last moment)) of hours and days that have more than one snapshot; an index alone answers this."""
    for unit_ns, least_ns, most_ns in (
        (HOUR_NS, now_ns - HOURLY_NS + 1, now_ns - ALL_NS),
        (DAY_NS, 0, now_ns - HOURLY_NS),
    ):
        bucket = Snapshot.taken_ns // literal_column(str(unit_ns), BigInteger)
        query = (
            select(Snapshot.series_id, bucket)
            .where(Snapshot.taken_ns.between(least_ns, most_ns), Snapshot.series_id.in_(select(Series.id).where(among)))
            .group_by(Snapshot.series_id, bucket)
            .having(func.count() > 1)
        )
        for series_id, number in connection.execute(query).all():
            first_ns = int(number) * unit_ns
            yield series_id, (max(first_ns, least_ns), min(first_ns + unit_ns - 1, most_ns))


def sound_ones(database: Database, ids: Sequence[int]) -> list[int]:
    """Those whose rows are what was stored, in the same order: a damaged one may have had a label."""
    found: set[int] = set()
    with database.reading() as connection:
        for start in range(0, len(ids), chunks.QUERY_IDS):
            query = select(Snapshot).where(Snapshot.id.in_(ids[start : start + chunks.QUERY_IDS]))
            rows = connection.execute(query).mappings()
            found.update(row["id"] for row in rows if snapshots.seal_of(dict(row)) == row["seal"])
    return [each for each in ids if each in found]


def forget(database: Database, ids: Sequence[int]) -> int:
    """Delete snapshots by id."""
    done = 0
    for start in range(0, len(ids), chunks.QUERY_IDS):
        with database.writing() as connection:
            some = ids[start : start + chunks.QUERY_IDS]
            done += connection.execute(delete(Snapshot).where(Snapshot.id.in_(some))).rowcount
    return done


def collect(database: Database, moment: Callable[[], None] = lambda: None) -> Collected:
    """Delete what nothing refers to any more, a transaction after the other; each leaves a whole history.

    moment  called now and then, for whoever keeps to a budget
    """
    with database.writing() as connection:
        _must_enforce(connection)
        dropped = connection.execute(delete(Root).where(~exists().where(Snapshot.root_id == Root.id))).rowcount
        connection.execute(delete(Layout).where(~exists().where(Snapshot.layout_id == Layout.id)))
        dead = list(connection.execute(select(Chunk.id).where(_dead(Chunk)).order_by(Chunk.id.desc())).scalars())
    rebased = 0
    unread: list[int] = []
    for start in range(0, len(dead), chunks.QUERY_IDS):
        after = 0
        while True:
            with database.writing() as connection:
                looked_at, hurt = _rebase(connection, dead[start : start + chunks.QUERY_IDS], after)
            rebased += len(looked_at) - len(hurt)
            unread += hurt
            moment()
            if len(looked_at) < SLICE:
                break
            after = looked_at[-1]
    if unread:
        staying = _below(database, unread)
        dead = [each for each in dead if each not in staying]
    gone = size = 0
    # A delta is younger than what it is a delta of: the youngest go first, and the foreign keys look after each statement.
    for start in range(0, len(dead), chunks.QUERY_IDS):
        some = and_(Chunk.id.in_(dead[start : start + chunks.QUERY_IDS]), _dead(Chunk))
        with database.writing() as connection:
            _must_enforce(connection)
            size += int(
                connection.execute(select(func.coalesce(func.sum(func.length(Chunk.data)), 0)).where(some)).scalar_one()
            )
            gone += connection.execute(delete(Chunk).where(some)).rowcount
        moment()
    return Collected(dropped, gone, size, rebased, tuple(unread))


def used_bytes(database: Database) -> int:
    """What the history itself takes: on SQLite the file without its free pages, else about what this host's snapshots need.

    What snapshots of several hosts need counts for each of them.
    """
    with database.reading() as connection:
        if database.is_sqlite:
            pages, free, size = (
                int(connection.execute(text(f"PRAGMA {name}")).scalar_one())
                for name in ("page_count", "freelist_count", "page_size")
            )
            return (pages - free) * size
        roots = select(Snapshot.root_id).join(Series, Series.id == Snapshot.series_id).where(ours(database))
        needed = select(Use.chunk_id).where(Use.root_id.in_(roots))
        total = select(func.coalesce(func.sum(func.length(Chunk.data) + ROW_BYTES), 0)).where(Chunk.id.in_(needed))
        return int(connection.execute(total).scalar_one())


def _dead(chunk: type[Chunk]) -> ColumnElement[bool]:
    return ~or_(
        exists().where(Use.chunk_id == chunk.id),
        exists().where(Layout.btf_id == chunk.id),
        exists().where(Layout.base_btf_id == chunk.id),
    )


def _must_enforce(connection: Connection) -> None:
    if connection.dialect.name == "sqlite" and not connection.execute(text("PRAGMA foreign_keys")).scalar_one():
        raise RuntimeError("SQLite was opened without its foreign keys")


def _rebase(connection: Connection, dead: list[int], after: int) -> tuple[list[int], list[int]]:
    """Encode some chunks anew that stand on one that is to go: (looked at, by their ids from `after` on; not to be read)."""
    query = (
        select(Chunk.id)
        .where(Chunk.base_id.in_(dead), Chunk.id > after, exists().where(Use.chunk_id == Chunk.id))
        .order_by(Chunk.id)
        .limit(SLICE)
    )
    ids = list(connection.execute(query).scalars())
    if not ids:
        return [], []
    decoder = Decoder()
    found = _readable(connection, ids)
    alive = set(connection.execute(select(Use.chunk_id).where(Use.chunk_id.in_(list(found)))).scalars())
    unread = [number for number in ids if number not in found]
    for number in [each for each in ids if each in found]:
        stored = found[number]
        try:
            new = _encoded_anew(stored, _living(stored, found, alive), found, decoder)
        except Damaged:
            unread.append(number)
            continue
        new.id = number
        row = new.as_row()
        for name in ("id", "address"):
            row.pop(name)
        connection.execute(update(Chunk).where(Chunk.id == number).values(**row))
        found[number] = chunks.as_stored(new)
    return ids, unread


def _readable(connection: Connection, ids: list[int]) -> dict[int, Stored]:
    """Chunks by id with all that they are deltas of, without those of which something is damaged."""
    try:
        return chunks.fetch(connection, ids)
    except Damaged:
        found: dict[int, Stored] = {}
        for number in ids:
            with suppress(Damaged):
                found.update(chunks.fetch(connection, [number]))
        return found


def _below(database: Database, ids: Sequence[int]) -> set[int]:
    """All that some chunks are deltas of, as far down as their rows say."""
    found: set[int] = set()
    at = list(ids)
    with database.reading() as connection:
        while at:
            some, at = at[: chunks.QUERY_IDS], at[chunks.QUERY_IDS :]
            query = select(Chunk.base_id).where(Chunk.id.in_(some), Chunk.base_id.is_not(None)).distinct()
            fresh = [each for each in connection.execute(query).scalars() if each is not None and each not in found]
            found.update(fresh)
            at += fresh
    return found


def _living(stored: Stored, found: dict[int, Stored], alive: set[int]) -> Stored | None:
    """The nearest chunk below it that stays."""
    at = stored
    while at.codec == Codec.DELTA:
        at = found[at.base_id or 0]
        if at.id in alive:
            return at
    return None


def _encoded_anew(stored: Stored, base: Stored | None, found: dict[int, Stored], decoder: Decoder) -> NewChunk:
    rows = decoder.rows(stored, found)
    chunks.check_content(stored, rows)
    whole = codec.encode(rows)
    if base is not None:
        packed = codec.pack(
            codec.delta(rows, decoder.rows(base, found, stored.width), _source(stored, base, found, decoder))
        )
        if len(packed.data) < len(whole.data):
            return NewChunk(
                address=stored.address, width=stored.width, raw_bytes=stored.raw_bytes, encoded=packed, base=base
            )
    return NewChunk(address=stored.address, width=stored.width, raw_bytes=stored.raw_bytes, encoded=whole)


def _source(stored: Stored, base: Stored, found: dict[int, Stored], decoder: Decoder) -> Rows | None:
    """Where each row of a chunk is in one further down, by the deltas in between."""
    source: Rows | None = None
    at = stored
    while at.id != base.id:
        step = decoder.change(at).source
        if step is not None:
            source = step if source is None else np.where(source >= 0, step[np.maximum(source, 0)], -1)
        at = found[at.base_id or 0]
    return source


def _taken(connection: Connection, series_id: int, span: tuple[int, int]) -> list[Taken]:
    query = (
        select(Snapshot.id, Snapshot.series_id, Snapshot.taken_ns, Snapshot.label, Snapshot.trigger)
        .where(Snapshot.series_id == series_id, Snapshot.taken_ns.between(*span))
        .order_by(Snapshot.taken_ns, Snapshot.id)
    )
    return [
        Taken(row.id, row.series_id, row.taken_ns, kept=row.label != "", before_edit=row.trigger == "pre-edit")
        for row in connection.execute(query)
    ]
