"""Commands as users run them: real processes, real maps of the kernel, a data directory of their own."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "app.cli.main"]
START_S = 30.0


@dataclass(frozen=True)
class Done:
    """A command that ended."""

    status: int
    raw: bytes
    complaint: str
    """All of stderr."""

    @property
    def text(self) -> str:
        return self.raw.decode()

    @cached_property
    def document(self) -> Any:
        """stdout as the one JSON document that it must be."""
        return json.loads(self.raw)


Run = Callable[..., Done]


def environment(data: Path, more: Mapping[str, str] = {}) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BPF_ATLAS_")}
    return {**kept, "BPF_ATLAS_DATA": str(data), "PYTHONUNBUFFERED": "1", **more}


def run_in(data: Path, *words: object, user: int | None = None, env: Mapping[str, str] = {}) -> Done:
    """`bpf-atlas WORDS` with that data directory."""
    done = subprocess.run(
        [*COMMAND, *map(str, words)], cwd=ROOT, capture_output=True, env=environment(data, env), user=user,
        extra_groups=[] if user is not None else None, timeout=120, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr.decode(), done.stderr.decode()
    return Done(done.returncode, done.stdout, done.stderr.decode())


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """A directory that the accounts of web and recorder can pass through, unlike pytest's own."""
    with tempfile.TemporaryDirectory(prefix="atlas-cli-") as name:
        path = Path(name)
        path.chmod(0o755)
        yield path


@pytest.fixture(scope="session")
def no_service() -> Iterator[Path]:
    """A data directory that no service has."""
    with folder() as path:
        yield path / "data"


@pytest.fixture
def run(no_service: Path) -> Run:
    """Run a command that finds no service."""

    def run(*words: object, **options: Any) -> Done:
        return run_in(no_service, *words, **options)

    return run


@pytest.fixture
def refuses(run: Run) -> Callable[..., str]:
    """Run a command that must fail with that status and one line; returns the line."""

    def refuses(status: int, *words: object, **options: Any) -> str:
        done = run(*words, **options)
        assert (done.status, done.raw) == (status, b""), done
        assert done.complaint.endswith("\n")
        assert done.complaint.count("\n") == 1, done.complaint
        return done.complaint.rstrip("\n")

    return refuses


@dataclass
class Service:
    """A running `bpf-atlas serve`."""

    process: subprocess.Popen[str]
    data: Path
    link: str
    log: Path

    @property
    def origin(self) -> str:
        return self.link.partition("/login")[0]

    def run(self, *words: object, **options: Any) -> Done:
        """A command that finds this service."""
        return run_in(self.data, *words, **options)

    def processes(self) -> dict[str, list[int]]:
        """Pids by room: broker, recorder, web (the first is gunicorn's master)."""
        found: dict[str, list[int]] = {}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdecimal():
                continue
            with contextlib.suppress(OSError):
                words = (entry / "cmdline").read_bytes().split(b"\0")
                if (
                    os.fsencode(self.data) in words
                    and b"-m" in words
                    and (entry / "stat").read_text().split()[2] != "Z"
                ):
                    room = words[words.index(b"-m") + 1].decode().removeprefix("app.")
                    if room in {"broker", "recorder", "web"}:
                        found.setdefault(room, []).append(int(entry.name))
        return {room: sorted(pids) for room, pids in found.items()}

    def stop(self) -> int:
        """SIGTERM; returns the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(30)
        if self.process.stdout is not None:
            self.process.stdout.close()
        return status


def start(data: Path, *options: str, cwd: Path = ROOT) -> Service:
    """Start a service, from `cwd`, and wait for its link."""
    log = data.parent / f"{data.name}.log"
    with log.open("a") as sink:
        process = subprocess.Popen(
            [*COMMAND, "serve", "--listen", "127.0.0.1:0", "--data", str(data), *options],
            cwd=cwd, stdout=subprocess.PIPE, stderr=sink, text=True, env=environment(data),
        )  # fmt: skip
    for line in process.stdout or ():
        if match := re.search(r"http\S+/login\?token=\S+", line):
            return Service(process, data, match[0], log)
    process.wait(30)
    pytest.fail(f"serve printed no link: {log.read_text()}")


@pytest.fixture(scope="session")
def service() -> Iterator[Service]:
    """One service for all tests that leave it as it was."""
    with folder() as path:
        running = start(path / "data")
        yield running
        assert running.stop() == 0, running.log.read_text()


@pytest.fixture
def own_service() -> Iterator[Service]:
    """A service for one test, which may do to it what it likes."""
    with folder() as path:
        running = start(path / "data")
        yield running
        running.stop()


@pytest.fixture(scope="session")
def bpffs() -> Iterator[Path]:
    """A bpffs of these tests' own."""
    path = Path(tempfile.mkdtemp(prefix="atlas-bpffs-"))
    subprocess.run(["mount", "-t", "bpf", "bpf", str(path)], check=True)
    path.chmod(0o755)
    yield path
    subprocess.run(["umount", str(path)], check=True)
    shutil.rmtree(path)
