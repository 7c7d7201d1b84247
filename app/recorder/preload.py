"""Everything that the recorder imports or reads late, before it becomes somebody who may not read the program's files."""

from __future__ import annotations

import importlib
import pkgutil

from app import columns, history, maps, timeline
from app.history import migrate

_LATE = (
    "sqlalchemy.dialects.sqlite.pysqlite",
    "alembic.ddl.sqlite",
    "alembic.operations.batch",
    "encodings.idna",
    "numpy.ma",  # numpy.unique looks for it
    "xxhash",
    "zstandard",
    "tomllib",
)
_POSTGRESQL = (
    "sqlalchemy.dialects.postgresql.psycopg",
    "alembic.ddl.postgresql",
    "psycopg",
    "psycopg.types",
    "ctypes.util",
)


def preload(database_url: str) -> None:
    """Import them; what is not installed is left out."""
    for package in (history, timeline, maps, columns):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    for name in (*_LATE, *(_POSTGRESQL if database_url.startswith("postgres") else ())):
        try:
            importlib.import_module(name)
        except ImportError:
            continue
    migrate.scripts()
