"""A history of its own for each test, and real maps to keep in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from app.broker.local import client as local_client
from app.history.database import open_writing, sqlite_url
from app.history.snapshots import Kept
from app.history.writer import Writer
from app.maps.catalog import listing
from app.maps.host_names import boot_id
from app.maps.layouts import Btfs
from app.maps.opening import OpenMap, open_map
from app.settings import Settings
from app.timeline import naming, taking
from app.timeline.taking import Request
from app.timeline.timeline import Timeline
from app.wire.ask import Client


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Writer]:
    writer = Writer(open_writing(sqlite_url(tmp_path / "history.db"), host="here"))
    yield writer
    writer.close()


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    with local_client(Settings(data=tmp_path)) as client:
        yield client


class Past:
    """Live maps and their history, as a command without a service has them."""

    def __init__(self, writer: Writer, client: Client) -> None:
        self.writer, self.client = writer, client
        self.btfs = Btfs(client)
        self.timeline = Timeline(writer)
        self.hiding: tuple[str, ...] = ()

    def take(self, map_id: int, **request: str) -> Kept:
        """A snapshot of a live map."""
        rows = listing(self.client).rows
        live = [naming.live_map(row) for row in rows]
        series = naming.assign(self.writer, "here", boot_id(), live, rows and listing(self.client).taken_at_ns)
        with open_map(self.client, self.btfs, map_id) as opened:
            kept = taking.take(self.writer, opened, series[map_id], boot_id(), Request(**request))
        assert kept is not None
        return kept

    # As app.timeline.sides.Looker:

    def resolve(self, reference: str) -> int:
        from app.maps.catalog import resolve

        return resolve(self.client, reference)

    def open_map(self, map_id: int) -> AbstractContextManager[OpenMap]:
        return open_map(self.client, self.btfs, map_id, hidden=self.hiding)

    def hidden(self, of: object) -> tuple[str, ...]:
        return self.hiding


@pytest.fixture
def past(writer: Writer, client: Client) -> Past:
    return Past(writer, client)
