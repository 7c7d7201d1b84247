"""The history as pages reach it: opened when there is one, read under what the policy hides from whoever is signed in."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from threading import Lock

from flask import g

from app.history.errors import HistoryError
from app.history.series import SeriesFacts
from app.maps.catalog import resolve
from app.maps.errors import NoSuchMap
from app.maps.layouts import Btfs
from app.maps.opening import OpenMap
from app.settings import Settings
from app.timeline import place
from app.timeline.timeline import Timeline
from app.web import gate, opening
from app.web.extents import Extents
from app.wire.ask import Client
from app.wire.recorder import RecorderClient, connect


class Past:
    """The history of one web process, and the recorder that writes it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.recorder: RecorderClient = connect(settings.recorder_socket)
        self.extents = Extents()
        self._lock = Lock()
        self._found: Timeline | None = None

    def timeline(self) -> Timeline:
        """The history. raises NoHistory, DatabaseUnusable, TooNew, TooOld"""
        with self._lock:
            if self._found is None:
                self._found = Timeline(place.reader(self.settings))
            return self._found

    def timeline_or_none(self) -> Timeline | None:
        """The history; None where there is none to be read, for pages that say something without it, too."""
        try:
            return self.timeline()
        except HistoryError:
            return None

    @property
    def is_alone(self) -> bool:
        """A history that was opened by itself: there are no live maps, and nobody records."""
        return self.settings.is_alone


@dataclass(frozen=True, slots=True)
class WebLooker:
    """See app.timeline.sides.Looker: live maps and what is hidden, for whoever is signed in."""

    client: Client
    btfs: Btfs
    alone: bool = False

    def resolve(self, reference: str) -> int:
        """Id of a live map. raises NoSuchMap, AmbiguousName, BadReference"""
        if self.alone:
            raise NoSuchMap(reference)
        return resolve(self.client, reference)

    def open_map(self, map_id: int) -> AbstractContextManager[OpenMap]:
        """Open one. raises NoSuchMap"""
        return opening.open_map(self.client, self.btfs, map_id)

    def hidden(self, of: SeriesFacts) -> tuple[str, ...]:
        """What they may not see of the past of a map, asked for once a request."""
        if self.alone:
            return ()
        kept: dict[int, tuple[str, ...]] = g.setdefault("hidden", {})
        if of.id not in kept:
            pins = (of.of.pin,) if of.of.pin else ()
            kept[of.id] = self.client.hidden(gate.credential(), of.of.name, pins, of.of.type)
        return kept[of.id]
