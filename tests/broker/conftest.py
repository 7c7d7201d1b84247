"""A real broker process, a bpffs of its own, and children that gave up everything."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from app.settings import Settings
from app.uapi import confine, objects
from app.uapi.enums import BpfMapType
from app.uapi.syscall import MapSpec, map_create, map_update
from app.wire.ask import Client
from app.wire.connection import connect

WEB_UID, RECORDER_UID, STRANGER_UID = 61_001, 61_002, 61_003


@dataclass(frozen=True)
class Running:
    """A broker process of a test's own."""

    process: subprocess.Popen[bytes]
    settings: Settings
    log: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    def status(self) -> dict[str, str]:
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}

    def events(self) -> list[dict[str, object]]:
        """Lines of the log, without the copies of audit records among them."""
        lines = [msgspec.json.decode(line) for line in self.log.read_bytes().splitlines()]
        return [line for line in lines if line.get("stream") != "audit"]


@pytest.fixture(scope="session")
def bpffs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("bpffs")
    subprocess.run(["mount", "-t", "bpf", "bpf", str(path)], check=True)
    yield path
    subprocess.run(["umount", str(path)], check=True)


def start(data: Path, bpffs: Path) -> Running:
    data.chmod(0o755)
    settings = Settings(data=data, bpffs=bpffs, web_user=str(WEB_UID), recorder_user=str(RECORDER_UID))
    environment = {
        **os.environ,
        "BPF_ATLAS_BPFFS": str(bpffs),
        "BPF_ATLAS_WEB_USER": settings.web_user,
        "BPF_ATLAS_RECORDER_USER": settings.recorder_user,
    }
    log = data / "log"
    with log.open("ab") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "app.broker", "--data", str(data)], stderr=file, env=environment
        )
    running = Running(process, settings, log)
    while b'"ready"' not in log.read_bytes():
        assert process.poll() is None, log.read_text()
    return running


@contextlib.contextmanager
def open_folder() -> Iterator[Path]:
    """One that every account can reach: pytest closes its own again whenever a session of tests begins on the host."""
    with tempfile.TemporaryDirectory(prefix="atlas-broker-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture(scope="session")
def broker(bpffs: Path) -> Iterator[Running]:
    with open_folder() as data:
        running = start(data, bpffs)
        yield running
        assert running.process.poll() is None, "the broker did not live through its tests"
        running.process.terminate()
        assert running.process.wait(30) == 0
        assert not running.settings.socket.exists()
        assert [event for event in running.events() if event["event"] == "failed"] == []


@pytest.fixture
def client(broker: Running) -> Iterator[Client]:
    with connect(broker.settings.socket) as asking:
        yield asking


@pytest.fixture
def make_map() -> Iterator[Callable[..., int]]:
    """Creates maps that are gone after the test; returns the descriptor, read and write."""
    made: list[int] = []

    def make(
        type_: BpfMapType = BpfMapType.HASH,
        key_size: int = 4,
        value_size: int = 8,
        max_entries: int = 64,
        **more: object,
    ) -> int:
        spec = MapSpec(
            type=type_,
            key_size=key_size,
            value_size=value_size,
            max_entries=max_entries,
            **{"name": b"atlas_test", **more},  # type: ignore[arg-type]
        )
        made.append(map_create(spec))
        return made[-1]

    yield make
    for fd in made:
        os.close(fd)


def fill(fd: int, count: int) -> None:
    for number in range(count):
        map_update(fd, number.to_bytes(4, "little"), (number * 3).to_bytes(8, "little"))


def id_of(fd: int) -> int:
    return objects.map_info(fd).id


def as_account(uid: int, work: Callable[[], object]) -> object:
    """What `work` returns in a child that became that account the way the web does; an error as its class's name."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            confine.powerless(uid, uid)
            result = work()
        except Exception as error:
            traceback.print_exc()
            result = type(error).__name__
        os.write(writing, msgspec.msgpack.encode(result))
        os._exit(0)
    os.close(writing)
    with open(reading, "rb") as file:
        answer = file.read()
    os.waitpid(child, 0)
    return msgspec.msgpack.decode(answer)
