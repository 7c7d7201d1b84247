"""What a user can be called, and which roles there are."""

from __future__ import annotations

import unicodedata

from app.broker.accounts.actor import ROLES
from app.wire.errors import BadField

MOST = 64
ROOT = "root"
"""The host's own administrator: always there, and an admin for good; the one-time link leads to it."""


def checked_name(name: str) -> str:
    """`name`, if somebody may be called so. raises BadField"""
    # Control characters, spaces and marks that turn the writing direction are not printable; nor are halves of surrogates.
    if not 0 < len(name) <= MOST or not name.isprintable() or " " in name or unicodedata.normalize("NFC", name) != name:
        raise BadField(f"a user's name has 1 to {MOST} printable characters and no spaces", "name")
    return name


def checked_role(role: str) -> str:
    """`role`, if there is such a one. raises BadField"""
    if role not in ROLES:
        raise BadField(f"there is no role {role[:40]!r}: it is one of {', '.join(ROLES)}", "role")
    return role
