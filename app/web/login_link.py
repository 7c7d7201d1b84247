"""One-time login links: whoever can write DATA/web, which is root, hands out the way in.

Only the SHA-256 of an unused token is kept; using it removes the file. No flask here: `serve` and `login` import this.
"""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import secrets
import time

from app.settings import Settings
from app.web.private import Folder

FILE = "login-token"
ADDRESS = "address"
VALID_S = 30 * 60
TOKEN_BYTES = 32


def new_login_link(settings: Settings) -> str:
    """Replace the unused token, if any, by a new one and return the link that uses it."""
    folder = Folder.prepare(settings)
    try:
        token = secrets.token_urlsafe(TOKEN_BYTES)
        folder.write(FILE, _digest(token))
    finally:
        folder.close()
    return f"{base_url(settings)}/login?token={token}"


def link_to_running(settings: Settings) -> str:
    """As new_login_link, at the address that the running web last listened on; `settings.listen` where none ever did."""
    folder = Folder.prepare(settings)
    try:
        kept = folder.read(ADDRESS) or b""
    finally:
        folder.close()
    return new_login_link(dataclasses.replace(settings, listen=kept.decode("ascii") or settings.listen))


def base_url(settings: Settings) -> str:
    """Where a browser on this host finds the dashboard: a wildcard address becomes loopback."""
    host, _, port = settings.listen.rpartition(":")
    host = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]", "": "127.0.0.1", "*": "127.0.0.1"}.get(host, host)  # noqa: S104
    return f"http://{host}:{port}" if port != "80" else f"http://{host}"


def consume(folder: Folder, token: str, now_s: float | None = None) -> bool:
    """True once for the right token, at most `VALID_S` after it was made.

    Two requests may both see the right digest; the unlink decides which of them was first.
    """
    kept = folder.read(FILE)
    if kept is None or not hmac.compare_digest(kept, _digest(token)):
        return False
    try:
        age_s = folder.age_s(FILE, time.time() if now_s is None else now_s)
    except FileNotFoundError:
        return False
    return folder.take(FILE) and age_s <= VALID_S


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest().encode()
