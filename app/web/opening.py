"""Opening a map for whoever is signed in: what the policy hides from their role is hidden from here on.

The only way in which pages and API open one; tests/test_structure.py looks that no other is used.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from flask import current_app, g

from app.maps import opening
from app.maps.errors import NoSuchMap
from app.maps.layouts import Btfs
from app.maps.opening import OpenMap
from app.settings import Settings
from app.uapi.errors import ObjectGone
from app.web import gate
from app.wire.ask import Client
from app.wire.edits import May


def may(client: Client, map_id: int) -> May:
    """What whoever asks may do with a map, asked for once a request. raises ObjectGone"""
    kept: dict[int, May] = g.setdefault("may", {})
    if map_id not in kept:
        kept[map_id] = client.may(gate.credential(), map_id)
    return kept[map_id]


@contextmanager
def open_map(client: Client, btfs: Btfs, map_id: int) -> Iterator[OpenMap]:
    """Open a map until the `with` ends. raises NoSuchMap when it is gone, or a history is shown by itself"""
    settings: Settings = current_app.extensions["settings"]
    if settings.is_alone:
        raise NoSuchMap(f"#{map_id}")
    try:
        hidden = may(client, map_id).redacted
    except ObjectGone as gone:
        raise NoSuchMap(f"#{map_id}") from gone
    with opening.open_map(client, btfs, map_id, hidden=hidden) as opened:
        yield opened
