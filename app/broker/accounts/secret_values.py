"""Values that open something: 256 random bits each, told once, and kept as a hash that leads nowhere back."""

from __future__ import annotations

import hashlib
import hmac
import secrets

RANDOM_BYTES = 32
TOKEN_PREFIX = "bpa_"  # noqa: S105  (what every token begins with)
"""Of API tokens: so that one is recognised where it should not be."""


def new_value(prefix: str = "") -> str:
    """A value that nobody guesses."""
    return prefix + secrets.token_urlsafe(RANDOM_BYTES)


def new_id() -> str:
    """A short name for what a value opens; no secret."""
    return secrets.token_hex(6)


def digest(value: str) -> bytes:
    """What is kept of a value. The value is random, so a plain hash is as good as a slow one."""
    return hashlib.sha256(value.encode("utf-8", "surrogatepass")).digest()


def same(value: str, kept: bytes | None) -> bool:
    """Whether the hash is this value's, in constant time."""
    return kept is not None and hmac.compare_digest(digest(value), kept)
