"""Starts the processes of the service, restarts what dies, and stops all of them together."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import FrameType

from app.cli.errors import DiedAtStart

BACKOFF_S = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Pauses before the 1st, 2nd … restart of a process that keeps dying."""
STEADY_S = 60.0
"""After living so long, a process's deaths are forgotten."""
STOP_S = 15.0
"""Time to end in peace before SIGKILL."""


@dataclass(slots=True)
class Part:
    """One process of the service."""

    name: str
    arguments: Sequence[str]
    pass_fds: tuple[int, ...] = ()
    process: subprocess.Popen[bytes] | None = None
    deaths: int = 0
    started_at_s: float = 0.0
    restart_at_s: float | None = None

    def start(self) -> None:
        """Start it; it gets SIGTERM from the kernel should this process be killed."""
        parent = os.getpid()
        self.process = subprocess.Popen(
            [sys.executable, *self.arguments],
            pass_fds=self.pass_fds,
            start_new_session=True,
            preexec_fn=lambda: _die_with(parent),  # noqa: PLW1509  (this process has one thread)
        )
        self.started_at_s = time.monotonic()
        self.restart_at_s = None


def _die_with(parent: int) -> None:
    from app.uapi.confine import signal_on_parent_death

    signal_on_parent_death(signal.SIGTERM)
    if os.getppid() != parent:  # it died between fork and prctl
        os._exit(1)


@dataclass(slots=True)
class Supervisor:
    """Keeps parts alive until told to stop."""

    say: Callable[[str], None]
    parts: list[Part] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    @property
    def stopping(self) -> bool:
        """SIGTERM or SIGINT came."""
        return self._stop.is_set()

    def heed_signals(self) -> None:
        """From here on SIGTERM and SIGINT end `run`, and `start` while it waits."""

        def stop(_number: int, _frame: FrameType | None) -> None:
            self._stop.set()

        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)

    def start(self, part: Part, *, is_ready: Callable[[], bool], timeout_s: float = 20.0) -> None:
        """Start one part and wait until it is of use.

        raises  DiedAtStart
        """
        if self._stop.is_set():
            return
        self.parts.append(part)
        part.start()
        deadline = time.monotonic() + timeout_s
        while not self._stop.is_set() and not is_ready():
            status = part.process.poll() if part.process else None
            if status is not None or time.monotonic() > deadline:
                raise DiedAtStart(part.name, -1 if status is None else status)
            time.sleep(0.02)

    def run(self) -> None:
        """Watch until SIGTERM or SIGINT."""
        while not self._stop.is_set():
            for part in self.parts:
                self._look_after(part)
            time.sleep(0.1)

    def _look_after(self, part: Part) -> None:
        now = time.monotonic()
        if part.restart_at_s is not None:
            if now >= part.restart_at_s:
                part.start()
            return
        if part.process is None or part.process.poll() is None:
            return
        part.deaths = 1 if now - part.started_at_s > STEADY_S else part.deaths + 1
        pause_s = BACKOFF_S[min(part.deaths, len(BACKOFF_S)) - 1]
        part.restart_at_s = now + pause_s
        self.say(
            f"the {part.name} process ended with status {part.process.returncode}; starting it again in {pause_s:g} s"
        )

    def stop(self) -> None:
        """SIGTERM to each part in turn, SIGKILL to what does not end."""
        for part in reversed(self.parts):
            if part.process is None or part.process.poll() is not None:
                continue
            with contextlib.suppress(ProcessLookupError):
                part.process.terminate()
            try:
                part.process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                part.process.kill()
                part.process.wait()
