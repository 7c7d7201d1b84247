"""Import now what would be imported later: after the process gave up its rights, its Python may be out of reach.

An interpreter below /root (pyenv, uv) can be read by root alone. Tests run the service from such a one.
"""

from __future__ import annotations

import importlib
import pkgutil

from app.history import migrate

ROOMS = ("app.web", "app.timeline", "app.history", "app.maps", "app.columns", "app.btf", "app.wire")
LATE = (
    # gunicorn, flask and werkzeug load these by name, or in the function that needs them
    "gunicorn.glogging", "gunicorn.workers.gthread", "gunicorn.http.wsgi", "werkzeug.debug.tbtools", "werkzeug.formparser",
    "werkzeug.sansio.multipart", "flask.json.provider", "jinja2.debug", "jinja2.ext", "jinja2.loaders", "itsdangerous.timed",
    # the standard library's own late ones, and those that extension modules look for
    "json", "ipaddress", "zoneinfo", "dataclasses", "uuid", "enum", "datetime", "_strptime", "traceback", "linecache",
    "tokenize", "concurrent.futures.thread", "mimetypes", "html", "random", "secrets", "statistics", "unicodedata",
    "encodings.idna", "encodings.ascii", "encodings.latin_1", "encodings.utf_8", "encodings.unicode_escape", "stringprep",
    "sqlalchemy.dialects.sqlite.pysqlite", "zstandard", "xxhash", "numpy.ma",
    "alembic.ddl.sqlite", "alembic.operations.batch",
    "email.message", "email.utils", "http.cookies", "urllib.request", "multiprocessing.util",
)  # fmt: skip


POSTGRESQL = ("sqlalchemy.dialects.postgresql.psycopg", "psycopg", "psycopg.types", "ctypes.util")


def preload(database_url: str) -> None:
    """Import every room that the web reaches, and what others load late; a name that is gone in a newer release is let be."""
    for room in ROOMS:
        package = importlib.import_module(room)
        for found in pkgutil.walk_packages(package.__path__, f"{room}."):
            if not found.name.endswith("__main__"):
                importlib.import_module(found.name)
    for name in (*LATE, *(POSTGRESQL if database_url.startswith("postgres") else ())):
        try:
            importlib.import_module(name)
        except ModuleNotFoundError:
            continue
    migrate.scripts()
