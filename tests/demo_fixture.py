"""The demo as a test sees it: one process for the whole session, with every type of map on the host."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.waiting import eventually

ROOT = Path(__file__).resolve().parent.parent
END_S = 30.0
TURN_S = 120.0
"""How long to wait for a demo that somebody else runs on this host."""
LOCK = Path("/run/lock/bpf-atlas-demo.tests")
READY = "Traffic is running"


def bpftool(*arguments: str) -> Any:
    """What ``bpftool -j`` says."""
    done = subprocess.run(["bpftool", "-j", *arguments], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@dataclass
class Demo:
    """A demo process that tests may look at, stop, kill and start again."""

    process: subprocess.Popen[str] | None = None
    printed: str = ""
    """What it printed up to the line that says that traffic is running."""

    def start(self) -> None:
        """Start it and wait until everything is loaded; another demo of this host may end first."""
        if not eventually(self._try, TURN_S):
            pytest.fail(f"the demo did not start: {self.printed}")

    def _try(self) -> bool:
        process = subprocess.Popen(
            [sys.executable, "-m", "demo"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.process, self.printed = process, ""
        for line in process.stdout or ():
            self.printed += line
            if line.startswith(READY):
                return True
        self._end(signal.SIGKILL)
        if "running already" not in self.printed:
            pytest.fail(f"the demo did not start: {self.printed}")
        return False

    def map_id(self, name: str) -> int:
        """Id of the demo's one map of that name, whatever else the host has under it."""
        ours = self.held("map")
        ids = [found["id"] for found in bpftool("map", "show") if found["id"] in ours and found["name"] == name]
        if len(ids) != 1:
            pytest.fail(f"expected one map named {name}, found ids {ids}")
        return int(ids[0])

    def held(self, kind: str) -> set[int]:
        """Ids of the maps, programs or links ("map", "prog", "link") that its process has a descriptor of."""
        if self.process is None:
            return set()
        field = f"{kind}_id:"
        texts = []
        for path in Path(f"/proc/{self.process.pid}/fdinfo").iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed since it was listed
                texts.append(path.read_text())
        return {int(line.split()[1]) for text in texts for line in text.splitlines() if line.startswith(field)}

    def entries(self, name: str) -> list[Any]:
        """``formatted`` of each entry, as bpftool prints it."""
        return [entry["formatted"] for entry in bpftool("map", "dump", "id", str(self.map_id(name)))]

    def stop(self) -> int:
        """Send SIGTERM; returns the exit code."""
        return self._end(signal.SIGTERM)

    def kill(self) -> int:
        """Send SIGKILL; returns the exit code."""
        return self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> int:
        process = self.process
        if process is None:
            return 0
        self.process = None
        process.send_signal(number)
        code = process.wait(END_S)
        if process.stdout is not None:
            process.stdout.close()
        return code


RUNNING: list[Demo] = []
"""The demo of this session, once a test asked for it: tests that need the host without it stop it meanwhile."""


@pytest.fixture(scope="session")
def demo() -> Iterator[Demo]:
    """Run the demo (built when it is not); every loadable type of map, with traffic, for the rest of the session."""
    if os.geteuid() != 0:
        pytest.fail("tests of the kernel run as root")
    subprocess.run(["make", "-s", "demo-objects"], cwd=ROOT, check=True, capture_output=True)
    with LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one demo a host: another test run waits for its turn
        running = Demo()
        running.start()
        RUNNING.append(running)
        yield running
        RUNNING.remove(running)
        running.stop()
