"""The flow table: XDP and tc on the server's end of the veth pair, and every map that packets pass through."""

from __future__ import annotations

import socket
import struct

from demo.libbpf import TC_EGRESS, Map, Object, PerfEvents, Ring, create_map
from demo.names import SERVER_NETNS
from demo.network import inside
from demo.scene import U32, Scene, be32

HASH = 1
AF_XDP = 44
WINDOWS = 6

PREFIX = struct.Struct("=I4s")
RULE = struct.Struct("=QQI20s")
BLOCKED = (
    ("10.77.66.0", 24, "scanner"),
    ("10.77.66.3", 32, "scanner, worst host"),
    ("192.0.2.0", 24, "documentation"),
    ("198.51.100.0", 24, "documentation"),
    ("203.0.113.0", 24, "documentation"),
    ("100.64.0.0", 10, "carrier NAT"),
    ("169.254.0.0", 16, "link local"),
    ("240.0.0.0", 4, "reserved"),
    ("10.13.0.0", 17, "retired office"),
)


def start(scene: Scene) -> None:
    """Load, fill, attach."""
    flow = scene.load("flow")
    blocklist = flow.map("blocklist")
    for number, (address, length_bits, reason) in enumerate(BLOCKED, 1):
        rule = RULE.pack(0, 0, 4000 + number, reason.encode())
        blocklist.update(PREFIX.pack(length_bits, be32(address)), rule)
    with inside(SERVER_NETNS):
        device = struct.pack("=Ii", scene.server_ifindex, 0)
        flow.map("out_ports").update(U32.pack(0), device)
        flow.map("out_by_ifindex").update(U32.pack(scene.server_ifindex), device)
        xsk = socket.socket(AF_XDP, socket.SOCK_RAW, 0)
        scene.keep(xsk)
        flow.map("xsks").update(U32.pack(0), U32.pack(xsk.fileno()))
    flow.map("cpus").update(U32.pack(0), struct.pack("=Ii", 192, 0))
    windows = _Windows(flow)
    scene.every(10, windows.turn)
    _read_rings(scene, flow.map("new_flows"), flow.map("ping_events"))
    queue, stack = flow.map("flow_queue"), flow.map("flow_stack")
    scene.every(0.7, lambda: _pop(queue))
    scene.every(1.3, lambda: _pop(stack))
    with inside(SERVER_NETNS):
        scene.keep(flow.program("xdp_flows").attach_xdp(scene.server_ifindex))
        flow.program("tc_flows").attach_tc(scene.server_ifindex, TC_EGRESS)
    scene.pin(flow.map("flows"), blocklist, flow.map("by_protocol"), flow.map("new_flows"), flow.map("port_windows"))


class _Windows:
    """Puts a fresh inner map into slot 0 and moves the others up by one."""

    def __init__(self, flow: Object) -> None:
        self._outer = flow.map("port_windows")
        self._types = {
            "btf_fd": flow.btf_fd,
            "btf_key_type_id": flow.typedef_id("__u16"),
            "btf_value_type_id": flow.typedef_id("__u64"),
        }
        self._inner: list[Map] = []

    def turn(self) -> None:
        fresh = create_map(HASH, "port_window", key_size=2, value_size=8, max_entries=1024, **self._types)
        self._inner.insert(0, fresh)
        for slot, inner in enumerate(self._inner[:WINDOWS]):
            self._outer.update(U32.pack(slot), U32.pack(inner.fd))
        for old in self._inner[WINDOWS:]:
            old.close()
        del self._inner[WINDOWS:]


def _read_rings(scene: Scene, ring: Map, events: Map) -> None:
    """Read the ring every five seconds only, so that between two readings it holds a backlog."""
    reader = scene.keep(Ring(ring, lambda _record: None))
    scene.every(5, lambda: _consume(reader))
    perf = scene.keep(PerfEvents(events, lambda _record: None))
    scene.every(1, lambda: _consume(perf))


def _consume(reader: Ring | PerfEvents) -> None:
    reader.consume()


def _pop(queue: Map) -> None:
    queue.pop()
