"""A recorder inside this process: the real one, on its real socket, which takes snapshots on demand alone."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from flask import Flask

from app.broker import log
from app.broker.desk import Desk
from app.broker.host import Host
from app.broker.local import LocalTransport
from app.maps.host_names import boot_id
from app.recorder import listen
from app.recorder.jobs import Jobs
from app.recorder.record import Recorder
from app.settings import Settings
from app.timeline import place
from app.web.factory import create_app
from app.wire.accounts import Credential
from app.wire.ask import Client
from app.wire.recorder import connect
from tests.web.conftest import PASSWORD, LocalClient, browser

HOSTNAME = "edge-7"


_hashes: list[str] = []
"""Of PASSWORD: made once, as that is meant to take its time."""


@contextlib.contextmanager
def with_people(settings: Settings) -> Iterator[Flask]:
    """The application with the broker's own code behind it, and a user of each role, named like it."""
    host = Host(bpffs=settings.bpffs, open_desk=lambda: Desk.open(settings))
    with Client(LocalTransport(host)) as client:
        log.silence()
        accounts = host.desk.accounts
        if not _hashes:
            _hashes.append(accounts.passwords.hash(PASSWORD))
        for role in ("viewer", "editor", "admin", "auditor"):
            accounts.users.add(role, role, _hashes[0], lambda: None)
        app = create_app(settings, client)
        yield app
        app.extensions["backend"].past.recorder.close()


@dataclass
class Recording:
    """What a test asks it for."""

    recorder: Recorder
    settings: Settings

    def take(self, *map_ids: int, trigger: str = "manual", label: str = "") -> list[str]:
        """Snapshots of some maps: their references."""
        with connect(self.settings.recorder_socket) as client:
            job = client.take(Credential(), map_ids, trigger=trigger, label=label)
            until_s = time.monotonic() + 20
            while job.state != "done" and time.monotonic() < until_s:
                time.sleep(0.005)
                job = client.job(job.id)
        assert not job.problems, job.problems
        return list(job.refs)


@contextlib.contextmanager
def recording(settings: Settings, client: Client) -> Iterator[Recording]:
    """One for a data directory, until the `with` ends."""
    settings = dataclasses.replace(settings, record=False)
    settings.history_folder.mkdir(parents=True, exist_ok=True)
    (settings.data / "recorder").mkdir(exist_ok=True)
    writer = place.writer(settings, HOSTNAME)
    recorder = Recorder.begin(writer, client, settings, HOSTNAME, boot_id())
    stop, arrived = threading.Event(), threading.Event()
    jobs = Jobs(recorder, settings.data / "recorder", arrived=arrived)
    sock = listen.bind(settings.recorder_socket, os.geteuid(), os.getegid())
    listen.serve(sock, jobs, {os.geteuid()})
    works = threading.Thread(target=recorder.run, args=(stop, jobs.work, arrived), daemon=True)
    works.start()
    try:
        yield Recording(recorder, settings)
    finally:
        stop.set()
        arrived.set()
        works.join(10)
        with contextlib.suppress(OSError):
            sock.shutdown(2)
        sock.close()
        settings.recorder_socket.unlink(missing_ok=True)
        writer.close()


# ---- fixtures, for modules that import them by name --------------------------------------------------------------------------


@pytest.fixture
def app(settings: Settings) -> Iterator[Flask]:
    """The application over the maps of this host."""
    with with_people(settings) as found:
        yield found


@pytest.fixture
def recorder(app: Flask, settings: Settings) -> Iterator[Recording]:
    """Its recorder."""
    with recording(settings, app.extensions["client"]) as found:
        yield found


def person(app: Flask, role: str) -> LocalClient:
    """Somebody of a role, signed in."""
    return browser(app, app.extensions["settings"], role)


@pytest.fixture
def editor(app: Flask) -> LocalClient:
    """An editor."""
    return person(app, "editor")
