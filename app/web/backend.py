"""What the views of one web process share."""

from __future__ import annotations

from dataclasses import dataclass

from app.maps.layouts import Btfs
from app.maps.views import Views
from app.settings import MIB, Settings
from app.web.past import Past, WebLooker
from app.wire.ask import Client


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """The broker, and what is remembered between two requests: types and readings, never a descriptor."""

    settings: Settings
    client: Client
    btfs: Btfs
    views: Views
    past: Past

    @property
    def looker(self) -> WebLooker:
        """How whoever is signed in reaches live maps and the past."""
        return WebLooker(self.client, self.btfs, alone=self.past.is_alone)


def connect(settings: Settings, client: Client) -> Backend:
    """A backend with nothing remembered yet."""
    views = Views(limit_bytes=settings.view_memory_mib * MIB, keep_s=float(settings.view_seconds))
    return Backend(settings=settings, client=client, btfs=Btfs(client), views=views, past=Past(settings))
