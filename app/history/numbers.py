"""Numbers of rows that are to be put in: known beforehand, because a row's seal covers its own number."""

from __future__ import annotations

from sqlalchemy import ColumnClause, Connection, Select, column, func, select, table, text

from app.history.tables import Chunk, Layout, Root, Series, Snapshot, table_of

Numbered = type[Chunk] | type[Layout] | type[Root] | type[Series] | type[Snapshot]
_SEQUENCE = text("SELECT nextval(:sequence) FROM generate_series(1, :count)")


def take(connection: Connection, of: Numbered, count: int = 1) -> list[int]:
    """Numbers that no row of a table has or had, ascending. The transaction is one that writes."""
    if connection.dialect.name == "sqlite":
        last = int(connection.execute(_LAST[of]).scalar_one())
        return list(range(last + 1, last + 1 + count))
    wanted = {"sequence": f"{of.__tablename__}_id_seq", "count": count}
    return sorted(connection.execute(_SEQUENCE, wanted).scalars())


def _last(of: Numbered) -> Select[int]:
    """What SQLite itself goes by: the largest number that was ever given, or is there."""
    seq: ColumnClause[int] = column("seq")
    given = select(seq).select_from(table("sqlite_sequence")).where(column("name") == of.__tablename__)
    there = select(func.max(table_of(of).c.id))
    return select(func.max(func.coalesce(given.scalar_subquery(), 0), func.coalesce(there.scalar_subquery(), 0)))


_LAST: dict[Numbered, Select[int]] = {each: _last(each) for each in (Chunk, Layout, Root, Series, Snapshot)}
