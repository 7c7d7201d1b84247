"""A history to read: series, snapshots, moments, entries, differences. Safe to share between threads."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise

from sqlalchemy import ColumnElement, Connection, RowMapping, Select, and_, func, not_, select, text

from app.history import chunks, content, diff, layouts, roots, series, snapshots
from app.history.chunks import Decoder
from app.history.content import Entries
from app.history.database import Database
from app.history.diff import Difference
from app.history.errors import Damaged, NoSuchSnapshot, NothingThen
from app.history.keys import IMPORTED, in_order
from app.history.layouts import StoredLayout
from app.history.roots import Pieces
from app.history.schema import TORN
from app.history.seal import seal
from app.history.series import Extent, SeriesFacts
from app.history.snapshots import Kept
from app.history.tables import Meta, Series, Snapshot

NEIGHBOURS = 8
_NUMBERS = text("SELECT id FROM snapshot INDEXED BY ix_snapshot_root_id ORDER BY id DESC")
DAY_NS = 86_400 * 1_000_000_000
_REF = re.compile(r"s([1-9][0-9]{0,17})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What snapshots must fit."""

    series: Collection[int] | None = None
    """Ids; None: any."""
    trigger: str = ""
    """Empty: any."""
    labelled: bool = False
    """Only those with a label."""


@dataclass(slots=True)
class History:
    """One database, and what was decoded of it lately."""

    database: Database
    decoder: Decoder = field(default_factory=Decoder)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """One moment of it, for several questions. raises DatabaseUnusable"""
        with self.database.reading() as connection:
            yield connection

    def close(self) -> None:
        """Let it go."""
        self.database.close()

    # ---- series ------------------------------------------------------------------------------------------------------

    def series(self, *, damaged: list[Damaged] | None = None) -> list[SeriesFacts]:
        """Every series that is sound; what is wrong with others is put into `damaged`."""
        with self.reading() as connection:
            return series.every(connection, [] if damaged is None else damaged)

    def extents(self) -> dict[int, Extent]:
        """How much history each has."""
        with self.reading() as connection:
            return series.extents(connection)

    def one_series(self, series_id: int) -> SeriesFacts:
        """One of them. raises NoSuchSnapshot"""
        with self.reading() as connection:
            found = series.load(connection, series_id)
        if found is None:
            raise NoSuchSnapshot(f"of series {series_id}")
        return found

    def series_of_map(self, map_id: int, boot_id: str, name: str, kind: int) -> SeriesFacts | None:
        """The one that a map of a boot was last seen in, of those that are sound; None where it has none yet.

        Asked of the database, not of a list of all: there may be tens of thousands of maps that once were.
        """
        query = (
            select(Series.id)
            .where(Series.map_id == map_id, Series.boot_id == boot_id, Series.name == name, Series.type == kind)
            .order_by(Series.last_seen_ns.desc(), Series.id.desc())
        )
        with self.reading() as connection:
            for number in connection.execute(query).scalars().all():
                with suppress(Damaged):
                    return series.load(connection, number)
        return None

    # ---- snapshots ---------------------------------------------------------------------------------------------------

    def snapshots(
        self, *, series_id: int = 0, before: int = 0, limit: int = 100, since_ns: int = 0, until_ns: int = 0,
        among: Selection | None = None,
        damaged: list[Damaged] | None = None,
    ) -> list[Kept]:  # fmt: skip
        """Newest first, up to `limit` of them; those whose rows are damaged are passed over.

        before   only those of smaller numbers; 0: all
        among    what else they must fit; None: nothing
        damaged  what is wrong with those that were passed over is put in
        """
        query = select(Snapshot).order_by(Snapshot.id.desc())
        if series_id:
            query = query.where(Snapshot.series_id == series_id)
        if among is not None:
            query = query.where(*_fitting(among))
        if before:
            query = query.where(Snapshot.id < before)
        if since_ns:
            query = query.where(Snapshot.taken_ns >= since_ns)
        if until_ns:
            query = query.where(Snapshot.taken_ns <= until_ns)
        found: list[Kept] = []
        with self.reading() as connection:
            while (wanted := limit - len(found)) > 0:
                try:
                    rows = connection.execute(query.limit(wanted)).mappings().all()
                except TORN as problem:
                    if not self.database.is_sqlite:
                        raise
                    return found + _sound(_around(connection, query, wanted, problem, damaged), damaged)
                found += _sound(rows, damaged)
                if len(rows) < wanted:
                    break
                query = query.where(Snapshot.id < rows[-1]["id"])  # more, in the place of those that are damaged
        return found

    def snapshot(self, reference: str) -> Kept:
        """The one of a reference, `s12`. raises NoSuchSnapshot, Damaged"""
        match = _REF.fullmatch(reference.strip())
        if match is None:
            raise NoSuchSnapshot(reference)
        with self.reading() as connection:
            row = snapshots.load(connection, int(match[1]))
        if row is None:
            raise NoSuchSnapshot(reference)
        return checked(row)

    def check_there(self, kept: Kept) -> None:
        """What was thinned since whoever asks read of it is not damaged, but gone. raises NoSuchSnapshot"""
        with self.reading() as connection:
            if snapshots.load(connection, kept.id) is None:
                raise NoSuchSnapshot(kept.ref)

    def at(self, series_id: int, when_ns: int) -> Kept:
        """The newest of a series at or before a moment. raises NothingThen, Damaged

        Of those that were taken here the one of the highest number: where the clock was set back, what was taken before
        that is older though its time is later. One that was taken in from elsewhere goes by its time.
        """
        until = and_(Snapshot.series_id == series_id, Snapshot.taken_ns <= when_ns)
        latest = select(Snapshot).where(until).order_by(Snapshot.taken_ns.desc(), Snapshot.id.desc()).limit(1)
        with self.reading() as connection:
            row = connection.execute(latest).mappings().one_or_none()
            last = connection.execute(select(func.max(Snapshot.id)).where(until)).scalar_one()
            if row is not None and (row["id"] != last or row["trigger"] == IMPORTED):
                row = _among(connection, series_id, until)
            if row is not None:
                return checked(dict(row))
            first = connection.execute(
                select(Snapshot.taken_ns).where(Snapshot.series_id == series_id).order_by(Snapshot.taken_ns).limit(1)
            ).scalar_one_or_none()
            found = series.load(connection, series_id)
        name = found.of.pin or found.of.name or f"series {series_id}" if found else f"series {series_id}"
        raise NothingThen(name, moment(when_ns), "none" if first is None else moment(first))

    def newest(self, series_id: int) -> Kept | None:
        """The newest of a series that was taken here; where all were taken in from elsewhere, the latest of them."""
        of = Snapshot.series_id == series_id
        own = Snapshot.trigger != IMPORTED
        with self.reading() as connection:
            last = connection.execute(select(func.max(Snapshot.id)).where(of)).scalar_one()
            for kept in _sound_of(connection, [last] if last else []):  # mostly: an index alone tells which it is
                if kept.trigger != IMPORTED:
                    return kept
            for query in (
                select(Snapshot).where(of, own).order_by(Snapshot.id.desc()),
                select(Snapshot).where(of, not_(own)).order_by(Snapshot.taken_ns.desc()),
            ):
                found = _sound(connection.execute(query.limit(NEIGHBOURS)).mappings(), None)
                if found:
                    return found[0]
        return None

    def beside(self, kept: Kept) -> tuple[Kept | None, Kept | None]:
        """(the one before, the one after) in its series; those whose rows are damaged are passed over, up to NEIGHBOURS."""
        with self.reading() as connection:
            order = _order(connection, kept.series_id)
            place = order.index(kept.id) if kept.id in order else 0
            before, after = (
                next(_sound_of(connection, some), None)
                for some in (order[max(place - NEIGHBOURS, 0) : place][::-1], order[place + 1 : place + 1 + NEIGHBOURS])
            )
        return before, after

    # ---- what is in them ---------------------------------------------------------------------------------------------

    def layout(self, layout_id: int) -> StoredLayout:
        """What its bytes mean."""
        with self.reading() as connection:
            return layouts.load(connection, layout_id)

    def btf(self, chunk_id: int) -> bytes:
        """BTF that a layout refers to."""
        with self.reading() as connection:
            return layouts.btf(connection, self.decoder, chunk_id)

    def chunk_bytes(self, chunk_id: int) -> int:
        """How many bytes a chunk says that it holds. raises Damaged"""
        with self.reading() as connection:
            return chunks.fetch(connection, [chunk_id])[chunk_id].raw_bytes

    def pieces(self, root_id: int) -> Pieces:
        """The list of a root's chunks."""
        with self.reading() as connection:
            return roots.load(connection, root_id)

    def counts(self, root_ids: list[int]) -> dict[int, int]:
        """Entries of some roots."""
        with self.reading() as connection:
            return roots.counts(connection, root_ids)

    def pieces_of(self, kept: Kept) -> Pieces:
        """The list of a snapshot's chunks. raises NoSuchSnapshot where it is gone by now, Damaged"""
        with self._named(kept):
            return self.pieces(kept.root_id)

    def count(self, kept: Kept) -> int:
        """Entries of a snapshot. raises NoSuchSnapshot where it is gone by now"""
        found = self.counts([kept.root_id]).get(kept.root_id)
        if found is None:
            raise NoSuchSnapshot(kept.ref)
        return found

    def entries(self, kept: Kept, *, limit: int | None = None, check: content.Check = content.unchecked) -> Entries:
        """Its entries, in the order of the keys; only the first ones with a `limit`.

        raises  NoSuchSnapshot where it is gone by now, Damaged
        """
        with self._named(kept), self.reading() as connection:
            return content.read(connection, self.decoder, kept.root_id, limit=limit, check=check)

    def value(self, kept: Kept, key: bytes) -> bytes | None:
        """The value under a key; None where there was none. raises NoSuchSnapshot where it is gone by now, Damaged"""
        with self._named(kept), self.reading() as connection:
            pieces = roots.load(connection, kept.root_id)
            place = content.find(connection, self.decoder, pieces, key)
            return None if place is None else content.value_at(connection, self.decoder, pieces, *place)

    def compare(self, old: Kept, new: Kept) -> Difference:
        """What changed in between. raises Unlike, NoSuchSnapshot where one is gone by now, Damaged"""
        with self._named(old, new), self.reading() as connection:
            return diff.compare(connection, self.decoder, old.root_id, new.root_id)

    def fact(self, name: str) -> bytes | None:
        """What the writer noted about the database. raises Damaged"""
        with self.reading() as connection:
            return fact(connection, name)

    @contextmanager
    def _named(self, *kept: Kept) -> Iterator[None]:
        try:
            yield
        except Damaged as damage:
            for each in kept:
                self.check_there(each)
            refs = " or ".join(each.ref for each in kept)
            raise Damaged(f"{damage.what}, which {refs} needs,", damage.why) from damage


def _fitting(among: Selection) -> Iterator[ColumnElement[bool]]:
    if among.series is not None:
        yield Snapshot.series_id.in_(list(among.series))
    if among.trigger:
        yield Snapshot.trigger == among.trigger
    if among.labelled:
        yield Snapshot.label != ""


def _around(
    connection: Connection,
    query: Select[Snapshot],
    wanted: int,
    problem: Exception,
    damaged: list[Damaged] | None,
) -> Iterator[RowMapping]:
    """Rows of a table of which a page is damaged: each is looked for by itself, by numbers that an index has."""
    connection.rollback()
    if damaged is not None:
        damaged.append(Damaged("a page of the table of snapshots", str(getattr(problem, "orig", problem))))
    for number in connection.execute(_NUMBERS).scalars().all():
        with suppress(*TORN):
            row = connection.execute(query.where(Snapshot.id == number)).mappings().one_or_none()
            if row is not None:
                yield row
                wanted -= 1
        if wanted <= 0:
            return


def _among(connection: Connection, series_id: int, until: ColumnElement[bool]) -> RowMapping:
    """The newest of the snapshots of a series up to a moment, where their numbers and times disagree."""
    own = Snapshot.trigger != IMPORTED
    began = connection.execute(
        select(Snapshot.taken_ns).where(Snapshot.series_id == series_id, own).order_by(Snapshot.id).limit(1)
    ).scalar_one_or_none()
    # What is said to be from before the history began is so because the clock was not set yet: it is the newest of no
    # moment after that, whatever its number is.
    numbered = and_(own, Snapshot.taken_ns >= (began or 0) - DAY_NS)
    queries = (
        select(Snapshot).where(until, numbered).order_by(Snapshot.id.desc()),
        select(Snapshot).where(until, not_(numbered)).order_by(Snapshot.taken_ns.desc(), Snapshot.id.desc()),
    )
    found = [row for query in queries for row in connection.execute(query.limit(1)).mappings()]
    return max(found, key=lambda row: row["taken_ns"])


def _order(connection: Connection, series_id: int) -> list[int]:
    """Numbers of the snapshots of a series, oldest first; see keys.in_order."""
    of = Snapshot.series_id == series_id
    # An index holds just these two: the rest is asked for only where it is needed.
    by_time = list(connection.execute(select(Snapshot.id).where(of).order_by(Snapshot.taken_ns, Snapshot.id)).scalars())
    if all(one < other for one, other in pairwise(by_time)):
        return by_time
    rows = connection.execute(select(Snapshot.id, Snapshot.taken_ns, Snapshot.trigger).where(of))
    return in_order((row.id, row.taken_ns, row.trigger) for row in rows)


def _sound_of(connection: Connection, numbers: Iterable[int]) -> Iterator[Kept]:
    """Those of some snapshots that are sound, one read at a time."""
    for number in numbers:
        row = snapshots.load(connection, number)
        if row is not None:
            with suppress(Damaged):
                yield checked(row)


def _sound(rows: Iterable[RowMapping], damaged: list[Damaged] | None) -> list[Kept]:
    found: list[Kept] = []
    for row in rows:
        try:
            found.append(checked(dict(row)))
        except Damaged as damage:
            if damaged is not None:
                damaged.append(damage)
    return found


def checked(row: dict[str, object]) -> Kept:
    """A snapshot's row. raises Damaged"""
    if snapshots.seal_of(row) != row["seal"]:
        raise Damaged(f"snapshot s{row['id']}", "what is said of it is not what was stored")
    return snapshots.as_kept(row)


def fact(connection: Connection, name: str) -> bytes | None:
    """A fact about the database; None where there is none. raises Damaged"""
    row = connection.execute(select(Meta.value, Meta.seal).where(Meta.name == name)).one_or_none()
    if row is None:
        return None
    if seal((name, row.value)) != row.seal:
        raise Damaged(f"the note {name}", "it is not what was stored")
    return bytes(row.value)


def moment(at_ns: int) -> str:
    """`2026-11-24T18:03:11.042Z`, of CLOCK_REALTIME."""
    whole = datetime.fromtimestamp(at_ns // 1_000_000_000, UTC)
    return f"{whole:%Y-%m-%dT%H:%M:%S}.{at_ns // 1_000_000 % 1000:03d}Z"
