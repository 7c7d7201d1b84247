"""A host that is suspended: the recorder's clock goes on meanwhile, so that nothing looks like a clock that was set."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

import pytest

from app.uapi.objects import map_info
from tests.livemaps import live_map, u32, u64
from tests.recorder.conftest import REAL_S, Bench
from tests.recorder.test_record import SPEC

pytestmark = pytest.mark.kernel


@dataclass
class Host:
    """Its clocks."""

    awake_s: float = 1000.0
    asleep_s: float = 0.0

    def clock(self, which: int) -> float:
        return self.awake_s + (self.asleep_s if which == time.CLOCK_BOOTTIME else 0.0)


def work(bench: Bench, host: Host) -> None:
    """Let a minute go by, and the recorder do what is due."""
    host.awake_s += 60.0
    bench.recorder.cpu.left_s = 20.0
    stop = threading.Event()
    idle = iter(range(1000))

    def jobs() -> bool:
        if next(idle) == 50:
            stop.set()
        return True

    bench.recorder.run(stop, jobs, threading.Event())


def test_nights_asleep_are_neither_a_clock_that_was_set_nor_looks_that_were_late(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = Host()
    monkeypatch.setattr(time, "monotonic", lambda: host.awake_s)
    monkeypatch.setattr(time, "clock_gettime", host.clock)
    monkeypatch.setattr(time, "time", lambda: REAL_S + host.awake_s + host.asleep_s)
    bench.recorder.clock.offset_s = REAL_S
    with live_map(SPEC, [(u32(1), u64(1))]) as fd:
        map_id = map_info(fd).id
        for _night in range(3):
            for _ in range(3):
                work(bench, host)
            host.asleep_s += 8 * 3600.0
        work(bench, host)
        one = bench.recorder.maps[map_id]
        assert one.looked_s == host.clock(time.CLOCK_BOOTTIME)  # it was due as soon as the host woke up
        assert one.actual_s == pytest.approx(60.0)
    assert bench.recorder.clock.rests(host.clock(time.CLOCK_BOOTTIME)) == ""
    assert bench.recorder.upkeep.thinned != "not yet"
