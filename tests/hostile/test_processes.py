"""Processes that die, disks that are full, and a second service, while somebody looks."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.cli.conftest import Service, folder, own_service, run_in, start
from tests.cli.made import bare_map
from tests.livemaps import u32, u64
from tests.waiting import eventually

__all__ = ["own_service"]

pytestmark = [pytest.mark.kernel, pytest.mark.slow]


def visit(service: Service, link: str = "") -> requests.Session:
    session = requests.Session()
    session.get(link or service.link, timeout=30)
    return session


def status(session: requests.Session, service: Service, path: str = "/api/v1/maps") -> int:
    """HTTP status; 0 where nobody answers."""
    try:
        return session.get(service.origin + path, timeout=30, allow_redirects=False).status_code
    except requests.RequestException:  # nobody there, or killed within its answer
        return 0


@contextlib.contextmanager
def small_disk(size: str = "64k", *options: str) -> Iterator[Path]:
    """A file system of that size."""
    with tempfile.TemporaryDirectory(prefix="atlas-disk-") as name:
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", ",".join([f"size={size},mode=755", *options]), "tmpfs", name], check=True
        )
        try:
            yield Path(name)
        finally:
            subprocess.run(["umount", name], check=True)


def fill(disk: Path) -> None:
    with contextlib.suppress(OSError), (disk / "filler").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def test_signed_out_stays_signed_out_when_the_worker_dies(own_service: Service) -> None:
    session = visit(own_service)
    cookies = session.cookies.copy()
    session.post(own_service.origin + "/logout", headers={"Origin": own_service.origin}, timeout=30)
    thief = requests.Session()
    thief.cookies.update(cookies)
    assert status(thief, own_service) == 401
    _master, worker = own_service.processes()["web"]
    os.kill(worker, signal.SIGKILL)
    assert eventually(lambda: worker not in own_service.processes()["web"] and status(thief, own_service) != 0)
    assert status(thief, own_service) == 401


def test_pages_say_that_the_broker_is_away_and_recover(own_service: Service) -> None:
    session = visit(own_service)
    (broker,) = own_service.processes()["broker"]
    with bare_map([(u32(1), u64(1))]) as map_id:
        paths = ["/", f"/maps/{map_id}", f"/maps/{map_id}/schema", f"/maps/{map_id}/relations", f"/maps/{map_id}/entries/01000000",
                 f"/maps/{map_id}?format=json", "/api/v1/maps", f"/api/v1/maps/{map_id}", f"/api/v1/maps/{map_id}/entries"]  # fmt: skip
        own_service.process.send_signal(signal.SIGSTOP)  # so that nobody starts it again
        try:
            os.kill(broker, signal.SIGKILL)
            assert eventually(lambda: status(session, own_service) == 503)
            for path in paths:
                assert status(session, own_service, path) == 503, path
            assert status(session, own_service, "/healthz") == 200
            assert status(session, own_service, "/readyz") == 503
        finally:
            own_service.process.send_signal(signal.SIGCONT)
        assert eventually(lambda: status(session, own_service) == 200)
        for path in paths:
            assert status(session, own_service, path) == 200, path
    assert "Traceback" not in own_service.log.read_text()


def test_whatever_dies_during_requests_is_back_and_nothing_fails_for_good(own_service: Service) -> None:
    session = visit(own_service)
    stop = threading.Event()
    seen: set[int] = set()

    def ask() -> None:
        own = requests.Session()
        own.cookies.update(session.cookies)
        while not stop.is_set():
            seen.add(status(own, own_service))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for room in ("broker", "recorder", "web"):
        pid = own_service.processes()[room][-1]
        os.kill(pid, signal.SIGKILL)
        assert eventually(lambda room=room, old=pid: old not in own_service.processes().get(room, [old]))  # type: ignore[misc]
        assert eventually(lambda: status(session, own_service) == 200)
    stop.set()
    for thread in threads:
        thread.join(30)
    assert seen <= {0, 200, 503}
    assert "Traceback" not in own_service.log.read_text()


def test_a_second_service_is_refused_also_while_the_broker_is_away(own_service: Service) -> None:
    (broker,) = own_service.processes()["broker"]
    own_service.process.send_signal(signal.SIGSTOP)
    try:
        os.kill(broker, signal.SIGKILL)
        assert eventually(lambda: "broker" not in own_service.processes())
        done = run_in(own_service.data, "serve", "--listen", "127.0.0.1:0")
        assert (done.status, done.raw) == (1, b"")
        assert "runs already" in done.complaint
    finally:
        own_service.process.send_signal(signal.SIGCONT)
    assert eventually(lambda: "broker" in own_service.processes())


def test_a_full_disk_is_named_at_the_start() -> None:
    with small_disk() as disk:
        fill(disk)
        done = run_in(disk / "data", "serve", "--listen", "127.0.0.1:0")
        assert (done.status, done.raw) == (1, b"")
        assert "cannot be used" in done.complaint
        assert "make room" in done.complaint
        assert not (disk / "data/web").exists()


def test_a_disk_that_fills_up_meanwhile_stops_nobody() -> None:
    with small_disk("2m") as disk:
        service = start(disk / "data")
        try:
            session = visit(service)
            fill(disk)
            _master, worker = service.processes()["web"]
            os.kill(worker, signal.SIGKILL)
            assert eventually(lambda: status(session, service) == 200)
            for pid in service.processes()["web"]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            assert eventually(lambda: status(session, service) == 200)
            # What cannot be recorded is not done: no new link. An end always stands.
            refused = service.run("login")
            assert (refused.status, refused.raw) == (3, b"")
            assert "disk is full" in refused.complaint
            out = session.post(service.origin + "/logout", headers={"Origin": service.origin}, timeout=30)
            assert out.status_code == 200
            assert status(session, service) == 401
        finally:
            assert service.stop() == 0
        assert "Traceback" not in service.log.read_text()


def test_a_disk_that_is_read_only_is_named() -> None:
    with small_disk("64k", "ro") as disk:
        done = run_in(disk / "data", "serve", "--listen", "127.0.0.1:0")
        assert (done.status, done.raw) == (1, b"")
        assert "cannot be made (Read-only file system): choose another with --data" in done.complaint
        done = run_in(disk, "serve", "--listen", "127.0.0.1:0")
        assert done.status == 1
        assert "Read-only file system" in done.complaint


def test_a_data_directory_below_a_file() -> None:
    with folder() as path:
        (path / "file").touch()
        assert (
            "cannot be made (Not a directory)"
            in run_in(path / "file/data", "serve", "--listen", "127.0.0.1:0").complaint
        )
