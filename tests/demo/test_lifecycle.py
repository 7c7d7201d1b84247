"""The demo leaves a host as it found it: after SIGTERM at once, after SIGKILL with the next start."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo import network, run
from demo.names import (
    CGROUP,
    CLIENT_DEVICE,
    CLIENT_NETNS,
    CONGESTION,
    NETNS_FOLDER,
    PINS,
    SERVER_DEVICE,
    SERVER_NETNS,
)
from tests.demo_fixture import ROOT, Demo, bpftool
from tests.waiting import eventually

pytestmark = [pytest.mark.kernel, pytest.mark.slow]


def ids(kind: str) -> set[int]:
    """Every map, program or link of the host ("map", "prog", "link")."""
    return {found["id"] for found in bpftool(kind, "show")}


def named() -> set[str]:
    """Everything of the demo that has a name of its own."""
    paths = [PINS, NETNS_FOLDER / CLIENT_NETNS, NETNS_FOLDER / SERVER_NETNS]
    paths += [mount / CGROUP for mount in network.mounts("cgroup2")]
    links = subprocess.run(["ip", "-br", "link"], capture_output=True, text=True, check=True).stdout
    offered = Path("/proc/sys/net/ipv4/tcp_available_congestion_control").read_text().split()
    return (
        {str(path) for path in paths if path.exists()}
        | {device for device in (CLIENT_DEVICE, SERVER_DEVICE) if device in links}
        | ({CONGESTION} & set(offered))
    )


@pytest.fixture
def between(demo: Demo) -> Iterator[Demo]:
    """The session's demo, which the test may end; it runs again afterwards."""
    yield demo
    if demo.process is None:
        demo.start()


def test_sigterm_leaves_nothing(between: Demo) -> None:
    assert between.process
    ours = {kind: between.held(kind) for kind in ("map", "prog", "link")}
    assert len(ours["map"]) > 70
    assert len(ours["prog"]) > 20
    assert len(ours["link"]) > 5
    assert named()
    assert between.stop() == 0
    assert named() == set()
    # struct_ops programs are freed after two grace periods of the kernel, so not at once.
    assert eventually(lambda: not any(ids(kind) & ours[kind] for kind in ours))


def test_start_after_sigkill_sweeps_and_runs(between: Demo) -> None:
    pinned = between.map_id("flows")
    registered = between.map_id("atlas_reno")
    assert between.kill() == -9
    assert str(PINS) in named()
    assert CONGESTION in named()
    between.start()
    assert eventually(lambda: not {pinned, registered} & ids("map"))
    assert between.map_id("flows") != pinned


def test_second_demo_is_refused_and_harms_nothing(between: Demo) -> None:
    assert between.process
    before = between.map_id("flows")
    second = subprocess.run([sys.executable, "-m", "demo"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert second.returncode == 3
    assert f"running already, as process {between.process.pid}" in second.stderr
    assert between.map_id("flows") == before
    assert between.entries("flows")


def test_main_stops_by_its_event(between: Demo) -> None:
    between.stop()
    stop = threading.Event()
    stop.set()
    assert run.main(stop) == 0
    assert named() == set()


def test_an_edit_does_not_end_the_demo(between: Demo) -> None:
    """Somebody deletes what the demo's agent is about to delete, and freezes what it is about to update."""
    assert between.process
    services = str(between.map_id("lb4_services_v2"))
    for entry in bpftool("map", "dump", "id", services):
        # Without check: the agent may have been first.
        subprocess.run(
            ["bpftool", "map", "delete", "id", services, "key", *entry["key"]], capture_output=True, check=False
        )
    subprocess.run(["bpftool", "map", "freeze", "id", str(between.map_id("enum64_accounts"))], check=True)
    packets = sum(entry["value"]["packets"] for entry in between.entries("flows"))
    assert eventually(lambda: sum(entry["value"]["packets"] for entry in between.entries("flows")) > packets + 400, 20)
    assert between.process.poll() is None
    between.stop()
