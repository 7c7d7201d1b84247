"""What the web imports late, before it gives up its rights; see app/timeline/preload.py."""

from __future__ import annotations

from app.timeline import preload as shared

LATE = (
    # gunicorn, flask and werkzeug load these by name, or in the function that needs them
    "gunicorn.glogging", "gunicorn.workers.gthread", "gunicorn.http.wsgi", "werkzeug.debug.tbtools", "werkzeug.formparser",
    "werkzeug.sansio.multipart", "flask.json.provider", "jinja2.debug", "jinja2.ext", "jinja2.loaders", "itsdangerous.timed",
    # the standard library's own late ones, and those that extension modules look for
    "json", "ipaddress", "zoneinfo", "dataclasses", "uuid", "enum", "datetime", "_strptime", "traceback", "linecache",
    "tokenize", "concurrent.futures.thread", "mimetypes", "html", "random", "secrets", "statistics", "unicodedata",
    "encodings.ascii", "encodings.latin_1", "encodings.utf_8", "encodings.unicode_escape", "stringprep",
    "email.message", "email.utils", "http.cookies", "urllib.request", "multiprocessing.util",
)  # fmt: skip


def preload(database_url: str) -> None:
    """Import every room that the web reaches, and what others load late."""
    shared.preload(database_url, rooms=("app.web",), late=LATE)
