"""Starts processes of the service quickly: everything is imported once, and each is a fork that does all that the process does.

``python -m tests.forking broker|recorder DATA`` forks one for each line on standard input and prints its number.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.waiting import eventually

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Forking:
    """What starts them, and where they say what goes wrong."""

    parent: subprocess.Popen[str]
    log: Path

    def begin(self) -> int:
        """One more: its pid."""
        assert self.parent.stdin is not None
        assert self.parent.stdout is not None
        self.parent.stdin.write("\n")
        self.parent.stdin.flush()
        return int(self.parent.stdout.readline())


@contextlib.contextmanager
def forking(room: str, data: Path, environment: Mapping[str, str]) -> Iterator[Forking]:
    log = data / "log"
    with (
        log.open("a") as file,
        subprocess.Popen(
            [sys.executable, "-m", "tests.forking", room, str(data)], cwd=ROOT, env=environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=file,
        ) as parent,
    ):  # fmt: skip
        assert parent.stdout is not None
        assert parent.stdout.readline() == "ready\n"
        yield Forking(parent, log)
        parent.kill()


def end(child: int) -> None:
    """Kill one, and wait until it is gone."""
    os.kill(child, signal.SIGKILL)
    assert eventually(lambda: not Path(f"/proc/{child}").exists(), 30)


def serve(main: Callable[[], int]) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    print("ready", flush=True)
    for _line in sys.stdin:
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os._exit(main())
        print(child, flush=True)


if __name__ == "__main__":
    room, data = sys.argv[1:]
    if room == "broker":
        from app.broker.__main__ import main as broker

        serve(lambda: broker(["--data", data]))
    else:
        from app.recorder.__main__ import main as recorder
        from app.timeline.preload import preload

        preload("")
        sys.argv = ["recorder", "--data", data]
        serve(recorder)
