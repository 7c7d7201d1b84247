"""Where a browser finds the dashboard; no flask here: `serve` and `login` import this."""

from __future__ import annotations

import dataclasses

from app.settings import Settings
from app.web.private import Folder

ADDRESS = "address"
"""File in DATA/web with HOST:PORT of the running web."""


def base_url(settings: Settings) -> str:
    """Where a browser on this host finds the dashboard: a wildcard address becomes loopback."""
    host, _, port = settings.listen.rpartition(":")
    host = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]", "": "127.0.0.1", "*": "127.0.0.1"}.get(host, host)  # noqa: S104
    return f"http://{host}:{port}" if port != "80" else f"http://{host}"


def as_running(settings: Settings) -> Settings:
    """With the address that the running web last listened on; as they are where none ever did. raises DataUnusable"""
    folder = Folder.prepare(settings)
    try:
        kept = folder.read(ADDRESS) or b""
    finally:
        folder.close()
    return dataclasses.replace(settings, listen=kept.decode("ascii") or settings.listen)


def login_link(settings: Settings, token: str) -> str:
    """The address that a one-time link's token is used at."""
    return f"{base_url(settings)}/login?token={token}"
