"""Import now what would be imported later: after a process gave up its rights, its Python may be out of reach.

An interpreter below /root (pyenv, uv) can be read by root alone. Tests run the service from such a one.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable

from app.history import migrate

ROOMS = ("app.timeline", "app.history", "app.maps", "app.columns", "app.btf", "app.wire")
LATE = (
    "sqlalchemy.dialects.sqlite.pysqlite", "alembic.ddl.sqlite", "alembic.operations.batch", "zstandard", "xxhash", "tomllib",
    "encodings.idna",
    "numpy.ma",  # numpy.unique looks for it
)  # fmt: skip
POSTGRESQL = (
    "sqlalchemy.dialects.postgresql.psycopg", "alembic.ddl.postgresql", "psycopg", "psycopg.types", "ctypes.util",
)  # fmt: skip


def preload(database_url: str, *, rooms: Iterable[str] = (), late: Iterable[str] = ()) -> None:
    """Import what live and kept maps need, and what a process has besides.

    rooms  packages, with all modules in them
    late   modules that others import when they come to need them; one that is gone in a newer release is let be
    """
    for room in (*ROOMS, *rooms):
        package = importlib.import_module(room)
        for found in pkgutil.walk_packages(package.__path__, f"{room}."):
            if not found.name.endswith("__main__"):
                importlib.import_module(found.name)
    for name in (*LATE, *late, *(POSTGRESQL if database_url.startswith("postgres") else ())):
        try:
            importlib.import_module(name)
        except ImportError:  # psycopg without its library too
            continue
    migrate.scripts()
