"""What a database says that it is: which schema, and whether its tables are just tables."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from sqlalchemy import Connection, bindparam, inspect, text
from sqlalchemy.exc import DatabaseError, SQLAlchemyError

from app.history.errors import DatabaseDamaged, NotAHistory, unusable
from app.history.rescue import FIRST_PAGES
from app.history.tables import HEAD, Base

if TYPE_CHECKING:
    from app.history.database import Database

TORN = (SQLAlchemyError, sqlite3.Error, UnicodeDecodeError)
"""What a database that cannot be read raises; the last where SQLite's own message quotes a damaged name."""

_ODD = text(
    "SELECT name FROM sqlite_schema WHERE type = 'trigger' OR (type = 'view' AND name IN :names)"
    " OR (type = 'table' AND (rootpage IS NULL OR rootpage = 0) AND name IN :names)"
    " UNION ALL SELECT m.name FROM sqlite_schema m, pragma_table_xinfo(m.name) x WHERE m.name IN :names AND x.hidden <> 0"
).bindparams(bindparam("names", expanding=True))
_COLUMNS = text("SELECT name FROM pragma_table_info(:name) ORDER BY cid")


def schema_of(database: Database) -> str:
    """Number of the newest migration that was run; empty for a new database. raises NotAHistory, DatabaseUnusable"""
    try:
        with database.engine.connect() as connection:
            tables = inspect(connection).get_table_names()
            if database.is_sqlite:
                _check_plain(connection, database.shown)
            if "alembic_version" not in tables:
                if tables:
                    raise NotAHistory(database.shown, "its tables are somebody else's")
                return ""
            found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
            if database.is_sqlite and found == HEAD:
                _check_columns(connection, database.shown)
            return str(found or "")
    except TORN as problem:
        reason = str(getattr(problem, "orig", problem))
        if isinstance(problem, DatabaseError) and "not a database" in reason:
            raise NotAHistory(database.shown, reason) from problem
        raise unusable(database.shown, reason) from problem


def begins(database: Database) -> dict[str, int]:
    """The page at which each of our tables and indices begins in a SQLite file."""
    with database.engine.connect() as connection:
        rows = connection.execute(text("SELECT name, rootpage FROM sqlite_schema"))
        return {row.name: row.rootpage for row in rows if row.name in FIRST_PAGES[0]}


def _check_columns(connection: Connection, shown: str) -> None:
    """That the tables have the columns that they were made with. raises DatabaseDamaged"""
    for name, table in Base.metadata.tables.items():
        columns = connection.execute(_COLUMNS, {"name": name}).scalars().all()
        if columns != [column.name for column in table.columns]:
            raise DatabaseDamaged(shown, f"malformed definition of its table {name}")


def _check_plain(connection: Connection, shown: str) -> None:
    """That its tables are tables: views, triggers and computed columns of a stranger's file run what they like. raises NotAHistory"""
    odd = connection.execute(_ODD, {"names": list(Base.metadata.tables)}).scalars().first()
    if odd is not None:
        raise NotAHistory(shown, f"{str(odd)[:80]} in it is no table, or one that computes something")
