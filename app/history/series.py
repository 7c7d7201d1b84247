"""Maps as people know them: host and pin, or host, name, type and owner; numbers of maps and boots come and go."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

from sqlalchemy import Connection, bindparam, func, insert, select

from app.history import numbers
from app.history.errors import Damaged
from app.history.seal import Part, seal
from app.history.tables import Series, Snapshot, table_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What a series is known by."""

    host: str
    pin: str = ""
    name: str
    type: int
    owner: str = ""
    """Empty where a pin identifies it."""
    ordinal: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesFacts:
    """One series."""

    id: int
    of: Identity
    first_seen_ns: int
    last_seen_ns: int
    checked_ns: int
    """Until then its newest snapshot is known to hold."""
    map_id: int
    boot_id: str
    settings: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """How much history a series has."""

    snapshots: int
    first_ns: int
    last_ns: int
    last_id: int
    bytes_added: int


_TABLE = table_of(Series)
_COLUMNS = tuple(column for column in _TABLE.columns if column.name != "seal")
_LOAD = select(_TABLE).where(_TABLE.c.id == bindparam("number"))
_STORE = _TABLE.update().where(_TABLE.c.id == bindparam("number"))


def every(connection: Connection, damaged: list[Damaged]) -> list[SeriesFacts]:
    """All that are sound, by host and name; what is wrong with the others is put into `damaged`."""
    rows = connection.execute(select(Series).order_by(Series.host, Series.name, Series.pin, Series.id)).mappings()
    found: list[SeriesFacts] = []
    for row in rows:
        try:
            found.append(_facts(dict(row)))
        except Damaged as damage:
            damaged.append(damage)
    return found


def load(connection: Connection, series_id: int) -> SeriesFacts | None:
    """One of them. raises Damaged"""
    row = connection.execute(_LOAD, {"number": series_id}).mappings().one_or_none()
    return None if row is None else _facts(dict(row))


def find(connection: Connection, of: Identity) -> SeriesFacts | None:
    """The one that is known by this. raises Damaged"""
    row = connection.execute(
        select(Series).where(
            Series.host == of.host,
            Series.pin == of.pin,
            Series.name == of.name,
            Series.type == of.type,
            Series.owner == of.owner,
            Series.ordinal == of.ordinal,
        )
    ).mappings()
    found = row.one_or_none()
    return None if found is None else _facts(dict(found))


def add(connection: Connection, of: Identity, *, at_ns: int, map_id: int, boot_id: str) -> SeriesFacts:
    """A new one."""
    facts = SeriesFacts(
        id=0, of=of, first_seen_ns=at_ns, last_seen_ns=at_ns, checked_ns=0, map_id=map_id, boot_id=boot_id
    )
    facts = replace(facts, id=numbers.take(connection, Series)[0])
    connection.execute(insert(Series), _row(facts))
    return facts


def store(connection: Connection, *changed: SeriesFacts) -> None:
    """Write what is new of some."""
    for facts in changed:
        connection.execute(_STORE, {"number": facts.id, **_row(facts)})


def extents(connection: Connection) -> dict[int, Extent]:
    """History of each series that has any."""
    counted = connection.execute(
        select(
            Snapshot.series_id,
            func.count(),
            func.min(Snapshot.taken_ns),
            func.max(Snapshot.taken_ns),
            func.max(Snapshot.id),
            func.sum(Snapshot.bytes_added),
        ).group_by(Snapshot.series_id)
    )
    return {
        row[0]: Extent(snapshots=row[1], first_ns=row[2], last_ns=row[3], last_id=row[4], bytes_added=int(row[5]))
        for row in counted
    }


def _row(facts: SeriesFacts) -> dict[str, object]:
    row: dict[str, object] = {
        "id": facts.id,
        "host": facts.of.host,
        "pin": facts.of.pin,
        "name": facts.of.name,
        "type": facts.of.type,
        "owner": facts.of.owner,
        "ordinal": facts.of.ordinal,
        "first_seen_ns": facts.first_seen_ns,
        "last_seen_ns": facts.last_seen_ns,
        "checked_ns": facts.checked_ns,
        "map_id": facts.map_id,
        "boot_id": facts.boot_id,
        "settings": facts.settings,
    }
    row["seal"] = _seal(row)
    return row


def _seal(row: dict[str, object]) -> bytes:
    return seal(cast("Part", row[column.name]) for column in _COLUMNS)


def _facts(row: dict[str, object]) -> SeriesFacts:
    if _seal(row) != row["seal"]:
        raise Damaged(f"series {row['id']}", "its name or times are not those that were stored")
    of = Identity(**{name: row[name] for name in Identity.__slots__})  # type: ignore[arg-type]
    rest = {name: row[name] for name in SeriesFacts.__slots__ if name != "of"}
    return SeriesFacts(of=of, **rest)  # type: ignore[arg-type]
