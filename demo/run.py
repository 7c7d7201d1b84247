"""``bpf-atlas demo``: load, attach, keep traffic going until told to stop, then leave the host as it was."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack

from demo import network, sweep, traffic
from demo.errors import NotRoot, Refused
from demo.libbpf import map_type_name
from demo.names import BPFFS, CLIENT_DEVICE, CLIENT_NETNS, PINS, SERVER_DEVICE, SERVER_NETNS
from demo.parts import balancer, cgroups, congestion, flows, sockets, tracing, values
from demo.scene import Scene

PARTS: tuple[tuple[str, Callable[[Scene], None]], ...] = (
    ("flow table", flows.start),
    ("load balancer", balancer.start),
    ("latency", tracing.start),
    ("cgroup storage", tracing.start_cgroup_storage),
    ("inode storage", tracing.start_inode_storage),
    ("cgroup programs", cgroups.start),
    ("sockets", sockets.start),
    ("locks and timers", values.start_locks_and_timers),
    ("owned objects", values.start_owned_objects),
    ("type zoo", values.start_zoo),
    ("user ring buffer", values.start_commands),
    ("enum64", values.start_enum64),
    ("arena", values.start_arena),
    ("congestion control", congestion.start),
)
TICK_S = 0.025


def main(stop: threading.Event | None = None) -> int:
    """Run until `stop` is set (by another thread), or, without one, until SIGINT or SIGTERM. Returns the exit code 0.

    raises  DemoError (an AppError) when it cannot run here at all; what only some part lacks is printed instead
    """
    if os.geteuid() != 0:
        raise NotRoot
    signals: list[int] = []  # not an Event: its lock may be held where the handler interrupts
    if stop is None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda got, _frame: signals.append(got))
    with sweep.claim(), ExitStack() as undo:
        undo.callback(sweep.clean)
        scene = build(undo)
        report(scene)
        while not signals and not (stop and stop.is_set()):
            scene.tick()
            time.sleep(TICK_S)
    return 0


def build(undo: ExitStack) -> Scene:
    """Make namespaces, cgroup and pins' folder, then each part; closing `undo` removes them."""
    if BPFFS not in network.mounts("bpf"):
        network.mount("bpf", BPFFS)
    PINS.mkdir(exist_ok=True)
    network.make()
    cgroup, home = sweep.enter_cgroup()
    undo.callback(sweep.join_cgroup, home)
    cgroup_fd = os.open(cgroup, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    undo.callback(os.close, cgroup_fd)
    scene = Scene(
        cgroup=cgroup,
        cgroup_fd=cgroup_fd,
        server_ifindex=_ifindex(SERVER_NETNS, SERVER_DEVICE),
        client_ifindex=_ifindex(CLIENT_NETNS, CLIENT_DEVICE),
    )
    undo.callback(scene.close)
    for name, start in PARTS:
        try:
            start(scene)
        except (Refused, OSError) as refused:  # an OSError: no AF_XDP, say
            scene.refused.append(f"{name}: {refused}")
    traffic.start(scene)
    return scene


def _ifindex(netns: str, device: str) -> int:
    with network.inside(netns):
        return socket.if_nametoindex(device)


def report(scene: Scene) -> None:
    """Print what was loaded: a line for each type of map, and what was refused."""
    by_type: dict[str, list[str]] = {}
    for found in scene.maps:
        by_type.setdefault(map_type_name(found.kind), []).append(found.name)
    out = sys.stdout
    out.write(f"demo: {len(scene.maps)} maps of {len(by_type)} types, {len(scene.programs)} programs\n")
    for kind, names in sorted(by_type.items()):
        out.write(f"  {kind:<22} {', '.join(names)}\n")
    for refused in scene.refused:
        out.write(f"  not here: {refused}\n")
    out.write("Traffic is running; stop with Ctrl-C.\n")
    out.flush()
