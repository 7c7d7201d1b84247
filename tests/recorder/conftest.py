"""A recorder over the maps of this host, in this process, with a clock that tests move."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from app.broker.local import client as local_client
from app.history.snapshots import Kept
from app.maps.host_names import boot_id
from app.recorder.jobs import Jobs
from app.recorder.record import Recorder
from app.recorder.vouching import By
from app.settings import Settings
from app.timeline import place
from app.wire.accounts import Credential
from app.wire.ask import Client
from app.wire.records import AskRecords
from tests.livemaps import open_in

CLI = Credential(source="cli")
ROOT = By(0, 4711)
"""A command of root's, as the recorder's socket tells of it."""
REAL_S = 1_800_000_000.0


@dataclass
class Bench:
    """A recorder, and time."""

    recorder: Recorder
    jobs: Jobs
    now_s: float

    def minute(self, seconds: float = 60.0) -> None:
        """Let time go by and everything be done that is due then."""
        self.now_s += seconds
        self.recorder.cpu.left_s = 20.0
        for _ in range(10_000):
            self.jobs.work()
            if not self.recorder.step(self.now_s, REAL_S + self.now_s):
                return
        raise AssertionError("it never comes to an end")

    def snapshots(self, map_id: int) -> list[Kept]:
        """Of one live map, oldest first."""
        known = self.recorder.maps.get(map_id)
        if known is None:
            return []
        return self.recorder.writer.snapshots(series_id=known.series.id)[::-1]

    def recorded(self) -> list[tuple[str, str, str]]:
        """(code, user, detail) of the audit log's records of the history, oldest first."""
        found = self.recorder.client.records(AskRecords(CLI, code="history.")).records
        return [(each.record.code, each.record.actor.user, each.record.detail) for each in found][::-1]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path)


@pytest.fixture
def client(settings: Settings) -> Iterator[Client]:
    with local_client(settings) as client:
        yield client


@pytest.fixture
def bench(settings: Settings, client: Client, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """One that looks only at maps of this process whose name begins with `rec_`: others of this host are other tests'."""
    from app.recorder import record

    whole = record.listing

    def ours(asked: Client) -> object:
        found = whole(asked)
        held = open_in(Path("/proc/self"))
        rows = (row for row in found.rows if row.facts.name.startswith("rec_") and row.facts.id in held)
        return replace(found, rows=tuple(rows))

    monkeypatch.setattr(record, "listing", ours)
    place.prepare(settings)
    writer = place.writer(settings, "here")
    recorder = Recorder.begin(writer, client, settings, "here", boot_id())
    recorder.clock.started_s = recorder.cpu.now_s = 0.0
    recorder.clock.offset_s = REAL_S
    recorder.upkeep.scrub_due_s = 0.0
    folder = settings.data / "recorder"
    folder.mkdir()
    yield Bench(recorder, Jobs(recorder, folder), 1000.0)
    writer.close()
