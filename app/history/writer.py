"""The writing half: one process at a time has one, and whatever it does is one transaction."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np
from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from app.history import chunks, layouts, roots, series, snapshots
from app.history.chunks import Decoder
from app.history.codec import Bytes2d
from app.history.database import Database
from app.history.errors import Damaged, DatabaseUnusable, NoSuchSeries, NoSuchSnapshot
from app.history.history import History
from app.history.scrub import Scrub
from app.history.seal import address, seal
from app.history.series import Identity, SeriesFacts
from app.history.snapshots import About, Draft, Kept
from app.history.tables import Meta, Root, Snapshot

log = logging.getLogger(__name__)

MOST_LABEL_CHARS = 200
ROW_BYTES = 64 << 10
"""What the rows of a snapshot take beside its chunks, at the most: some pages of each table and index."""


class Writer(History):
    """A history that may be written. See database.open_writing for who may have one."""

    __slots__ = ("scrub",)

    def __init__(self, database: Database) -> None:
        super().__init__(database, Decoder())
        self.scrub = Scrub(database)

    def series_of(self, of: Identity, *, at_ns: int, map_id: int, boot_id: str) -> SeriesFacts:
        """The series of an identity, made where there is none."""
        with self.database.writing() as connection:
            found = series.find(connection, of)
            return found or series.add(connection, of, at_ns=at_ns, map_id=map_id, boot_id=boot_id)

    def is_named(self, of: Identity) -> bool:
        """A series has an identity, also one whose row is damaged."""
        with self.reading() as connection:
            try:
                return series.find(connection, of) is not None
            except Damaged:
                return True

    def touch(self, *changed: SeriesFacts) -> None:
        """Write what is new of some series."""
        with self.database.writing() as connection:
            series.store(connection, *changed)

    def layout_of(self, body: bytes, btf: bytes | None, base_btf: bytes | None) -> int:
        """The layout with this body, made where there is none: its id. Its BTF is mended where that is damaged."""
        if self.scrub.damaged:
            parts = [np.frombuffer(data, np.uint8).reshape(1, -1) for data in (btf, base_btf) if data]
            self._mend([address(each) for each in parts], lambda: parts)
        try:
            with self.database.writing() as connection:
                return layouts.put(connection, body, btf, base_btf)[0]
        except DatabaseUnusable as problem:
            if not isinstance(problem.__cause__, IntegrityError):
                raise
        with self.database.writing() as connection:  # another host has just put the same in
            return layouts.put(connection, body, btf, base_btf)[0]

    def draft(
        self, keys: Bytes2d, values: Bytes2d, *, previous: int = 0, moment: Callable[[], None] = lambda: None
    ) -> Draft:
        """See snapshots.draft; what stands on a damaged one is drafted on its own, and what is damaged but here is mended."""
        try:
            made = snapshots.draft(self.database, keys, values, previous=previous, moment=moment, decoder=self.decoder)
        except Damaged:
            made = snapshots.draft(self.database, keys, values, moment=moment)
            with self.reading() as connection:
                self.scrub.note(connection, made.known.values())
        self._mend([*made.keys, *made.values], lambda: snapshots.pieces(keys, values))
        return made

    def _mend(self, names: Iterable[bytes], rows_of: Callable[[], Iterable[Bytes2d]]) -> None:
        mended = self.scrub.mend(names, rows_of)
        if mended:
            log.warning("damaged chunks are whole again, since what they held is still there: %s", mended)

    def keep(self, made: Draft, about: About, number: int = 0) -> Kept:
        """Put a snapshot in.

        number  that it is to have, in a file where it is free; 0: the next one
        raises  DatabaseUnusable, also where a collection came between the draft and this
        """
        try:
            return self._keep(made, about, number)
        except DatabaseUnusable as problem:
            if not isinstance(problem.__cause__, IntegrityError):
                raise
            with self.reading() as connection:  # what was new when it was drafted may be there by now
                made.known.update(chunks.ids_of(connection, list(made.new)))
            for name in made.known:
                made.new.pop(name, None)
            return self._keep(made, about, number)

    def _keep(self, made: Draft, about: About, number: int) -> Kept:
        self.database.check_room(sum(len(each.encoded.data) for each in made.new.values()) + ROW_BYTES)
        with self.database.writing() as connection:
            kept = snapshots.commit(connection, made, about, number)
            found = series.load(connection, about.series_id)
            if found is None:
                raise NoSuchSeries(f"series {about.series_id}")
            series.store(connection, _seen(found, about))
        return kept

    def unchanged(self, root_id: int, made: Draft) -> bool:
        """A draft holds just what a root does."""
        with self.reading() as connection:
            return roots.find(connection, made.address) == root_id

    def label(self, reference: str, label: str) -> Kept:
        """Give one a label, or take it away. raises NoSuchSnapshot"""
        kept = self.snapshot(reference)
        changed = replace(kept, label=label[:MOST_LABEL_CHARS])
        row: dict[str, object] = {name: getattr(changed, name) for name in Kept.__dataclass_fields__}
        with self.database.writing() as connection:
            connection.execute(
                update(Snapshot).where(Snapshot.id == kept.id).values(label=changed.label, seal=snapshots.seal_of(row))
            )
        return changed

    def forget(self, references: list[str]) -> int:
        """Delete snapshots; their chunks go with the next collection. raises NoSuchSnapshot"""
        ids = []
        for reference in references:
            if not (reference.startswith("s") and reference[1:].isdecimal()):
                raise NoSuchSnapshot(reference)
            ids.append(int(reference[1:]))
        with self.database.writing() as connection:
            return connection.execute(delete(Snapshot).where(Snapshot.id.in_(ids))).rowcount

    def note(self, name: str, value: bytes) -> None:
        """Note a fact about the database, in place of the one before."""
        with self.database.writing() as connection:
            note(connection, name, value)

    def same_there(self, about: About, root_address: bytes) -> bool:
        """A series has this very snapshot already."""
        with self.reading() as connection:
            found = connection.execute(
                select(Snapshot.id)
                .join(Root, Root.id == Snapshot.root_id)
                .where(
                    Snapshot.series_id == about.series_id,
                    Snapshot.taken_ns == about.taken_ns,
                    Root.address == root_address,
                )
            ).first()
        return found is not None


def note(connection: Connection, name: str, value: bytes) -> None:
    """Note a fact within a transaction."""
    connection.execute(delete(Meta).where(Meta.name == name))
    connection.execute(insert(Meta), {"name": name, "value": value, "seal": seal((name, value))})


def _seen(found: SeriesFacts, about: About) -> SeriesFacts:
    return replace(
        found,
        first_seen_ns=min(found.first_seen_ns, about.taken_ns),
        last_seen_ns=max(found.last_seen_ns, about.taken_ns),
        checked_ns=max(found.checked_ns, about.taken_ns),
        map_id=about.map_id if about.taken_ns >= found.last_seen_ns else found.map_id,
        boot_id=about.boot_id if about.taken_ns >= found.last_seen_ns else found.boot_id,
    )
