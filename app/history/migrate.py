"""Brings a database up to date by the migrations in migrations/, after a backup of what was there."""

from __future__ import annotations

import logging
import sqlite3
import time
from contextlib import closing
from functools import cache
from pathlib import Path

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from sqlalchemy.exc import SQLAlchemyError

import app as package
from app.history.database import Database
from app.history.errors import DatabaseUnusable
from app.history.tables import Base

log = logging.getLogger("bpf_atlas.history")


def folder() -> Path:
    """migrations/: in the wheel beside the package's rooms, in a checkout beside the package."""
    package_dir = Path(package.__file__).parent
    shipped = package_dir / "_history" / "migrations"
    return shipped if shipped.is_dir() else package_dir.parent / "migrations"


def upgrade(database: Database, found: str) -> None:
    """Run what is new to it.

    found   its schema now, empty for a new database
    raises  DatabaseUnusable
    """
    if found and database.is_sqlite:
        kept = database.path.with_name(
            f"{database.path.stem}-{found}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}.db"
        )
        copy(database.path, kept)
        log.warning("the history has schema %s; a copy of it is kept at %s, and it is brought up to date", found, kept)
    try:
        with database.engine.connect() as connection, _environment() as environment:
            environment.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True)
            with environment.begin_transaction():
                environment.run_migrations()
            connection.commit()
    except SQLAlchemyError as problem:
        raise DatabaseUnusable(database.shown, str(getattr(problem, "orig", problem))) from problem


@cache
def scripts() -> ScriptDirectory:
    """All migrations, read once: a process that is about to give up its rights may not be able to later."""
    found = ScriptDirectory(str(folder()))
    found.get_current_head()
    return found


def _environment() -> EnvironmentContext:
    """What migrations/env.py does for the command line of Alembic, without reading it."""

    def steps(current: tuple[str, ...] | str, _context: object) -> object:
        return scripts()._upgrade_revs("head", current)  # type: ignore[arg-type]  # noqa: SLF001  (as alembic.command)

    return EnvironmentContext(Config(), scripts(), fn=steps, destination_rev="head")


def copy(source: Path, target: Path) -> None:
    """Copy a live SQLite database as of one moment, synced before it has its name. raises DatabaseUnusable"""
    draft = target.with_name(f"{target.name}.part")
    try:
        draft.unlink(missing_ok=True)
        with (
            closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True)) as live,
            closing(sqlite3.connect(draft)) as copied,
        ):
            live.backup(copied)
            copied.execute("PRAGMA journal_mode=DELETE")
        with draft.open("rb+") as file:
            import os

            os.fsync(file.fileno())
        draft.rename(target)
    except (OSError, sqlite3.Error) as problem:
        draft.unlink(missing_ok=True)
        raise DatabaseUnusable(str(target), str(problem)) from problem
