"""What goes when room is short: the oldest snapshots, and series of which nothing is left."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection, and_, delete, exists, select

from app.history import chunks, series
from app.history.database import Database
from app.history.errors import Damaged
from app.history.retention import DAY_NS, newest_of, ours, sound_ones
from app.history.tables import Series, Snapshot

LATELY_NS = 30 * DAY_NS
"""The newest snapshot of a map that was there since stays, however short the room is."""
FORGET_SERIES_NS = DAY_NS
"""A series without snapshots whose map is gone for so long is of no use to anybody."""


def oldest(
    database: Database, limit: int, wanted_bytes: int | None = None, *, lately_ns: int = 0, live: Collection[int] = ()
) -> list[int]:
    """Ids of the oldest snapshots that may go when the disk is short: without a label, and not the newest of a map.

    wanted_bytes  only as many, one at least, as added so many bytes when they were taken; None: all up to `limit`
    lately_ns     the newest of a map that was last there before that may go, too; 0: none may
    live          series of which the newest stays in any case
    """
    query = (
        select(Snapshot.id, Snapshot.series_id, Snapshot.bytes_added)
        .join(Series, Series.id == Snapshot.series_id)
        .where(Snapshot.label == "", ours(database))
    )
    found: list[int] = []
    added_bytes = 0
    with database.reading() as connection:
        last = newest_of(connection)
        in_order = query.order_by(Snapshot.taken_ns, Snapshot.id).execution_options(yield_per=chunks.QUERY_IDS)
        with connection.execute(in_order) as rows:
            for some in rows.partitions():
                sound = set(sound_ones(database, [row.id for row in some]))
                for row in some:
                    stays = row.id == last[row.series_id] and (
                        row.series_id in live or _was_there(connection, row.series_id, lately_ns)
                    )
                    if stays or row.id not in sound:
                        continue
                    found.append(row.id)
                    added_bytes += row.bytes_added
                    if len(found) == limit or (wanted_bytes is not None and added_bytes >= wanted_bytes):
                        return found
    return found


def forget_series(database: Database, lately_ns: int, live: Collection[int] = ()) -> int:
    """Delete series without a snapshot whose maps are gone, and for which nobody chose anything; how many.

    lately_ns  only those whose maps were last there before that
    live       series that stay in any case
    """
    empty = and_(
        ~exists().where(Snapshot.series_id == Series.id),
        Series.settings == b"",
        Series.last_seen_ns < lately_ns,
        ours(database),
    )
    with database.reading() as connection:
        found = [
            number
            for number in connection.execute(select(Series.id).where(empty)).scalars().all()
            if number not in live and not _was_there(connection, number, lately_ns)
        ]
    done = 0
    for start in range(0, len(found), chunks.QUERY_IDS):
        some = found[start : start + chunks.QUERY_IDS]
        with database.writing() as connection:
            done += connection.execute(delete(Series).where(Series.id.in_(some), empty)).rowcount
    return done


def _was_there(connection: Connection, series_id: int, lately_ns: int) -> bool:
    """Whether the map of a series was there since a moment; where its row is damaged, nobody knows, and it counts as there."""
    if not lately_ns:
        return True
    try:
        found = series.load(connection, series_id)
    except Damaged:
        return True
    return found is None or found.last_seen_ns >= lately_ns
