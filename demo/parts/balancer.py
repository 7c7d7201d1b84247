"""A load balancer on the client's end of the veth pair: Cilium's lb4 maps, filled like an agent fills them."""

from __future__ import annotations

import random
import struct

from demo.libbpf import TC_EGRESS, TC_INGRESS, Map, Object, create_map
from demo.names import BACKEND_ADDRESSES, BACKEND_PORT, CLIENT_NETNS, SERVICE_ADDRESSES, SERVICE_PORTS
from demo.network import inside
from demo.scene import Scene, be16, be32

ARRAY, HASH = 2, 1
LUT_SIZE = 251
UDP = 17
EXTERNAL_IP, NODEPORT, AFFINITY, MAGLEV = 1, 2, 16, 64

KEY = struct.Struct("=4s2sHBB2x")
SERVICE = struct.Struct("=IHHBBH")
BACKEND = struct.Struct("=4s2sBBHBx")
INDEX = struct.Struct("=H")


def start(scene: Scene) -> None:
    """Load, fill, attach."""
    legacy = scene.keep(create_map(HASH, "legacy_stats", key_size=4, value_size=24, max_entries=64))
    balancer = scene.load("balancer", prepare=lambda opened: opened.reuse("legacy_stats", legacy))
    agent = _Agent(balancer)
    scene.every(4, agent.scale)
    with inside(CLIENT_NETNS):
        balancer.program("lb_to_backend").attach_tc(scene.client_ifindex, TC_EGRESS)
        balancer.program("lb_from_backend").attach_tc(scene.client_ifindex, TC_INGRESS)
    names = ("lb4_services_v2", "lb4_backends_v3", "lb4_reverse_nat", "lb4_affinity", "lb4_maglev", "ct4")
    scene.pin(*(balancer.map(name) for name in names))


class _Agent:
    """Keeps services and backends in the maps, and now and then scales a service up or down."""

    def __init__(self, balancer: Object) -> None:
        self._services = balancer.map("lb4_services_v2")
        self._chance = random.Random(3)
        self._wanted = [(address, port) for address in SERVICE_ADDRESSES for port in SERVICE_PORTS]
        self._counts = [3] * len(self._wanted)
        backends = balancer.map("lb4_backends_v3")
        for backend_id, address in enumerate(BACKEND_ADDRESSES, 1):
            value = BACKEND.pack(be32(address), be16(BACKEND_PORT), UDP, 0, 0, backend_id % 3)
            backends.update(backend_id.to_bytes(4, "little"), value)
        for number, (address, port) in enumerate(self._wanted, 1):
            balancer.map("lb4_reverse_nat").update(INDEX.pack(number), be32(address) + be16(port))
            self._write(number - 1)
            if _flags(number) & MAGLEV:
                self._look_up_table(balancer.map("lb4_maglev"), number)

    def _write(self, index: int) -> None:
        """Write the service's master at slot 0, a slot for each backend after it."""
        address, port = self._wanted[index]
        number, count = index + 1, self._counts[index]
        timeout_s = 600 if _flags(number) & AFFINITY else 0
        for slot in range(1, count + 1):
            backend_id = (number + slot) % len(BACKEND_ADDRESSES) + 1
            entry = SERVICE.pack(backend_id, 0, number, _flags(number), 0, 0)
            self._services.update(KEY.pack(be32(address), be16(port), slot, UDP, 0), entry)
        master = SERVICE.pack(timeout_s, count, number, _flags(number), 0, 0)
        self._services.update(KEY.pack(be32(address), be16(port), 0, UDP, 0), master)

    def _look_up_table(self, outer: Map, number: int) -> None:
        ids = [self._chance.randrange(len(BACKEND_ADDRESSES)) + 1 for _ in range(LUT_SIZE)]
        inner = create_map(ARRAY, "maglev_lut", key_size=4, value_size=4 * LUT_SIZE, max_entries=1)
        inner.update(bytes(4), struct.pack(f"={LUT_SIZE}I", *ids))
        outer.update(INDEX.pack(number), struct.pack("=I", inner.fd))
        inner.close()  # the outer map keeps it

    def scale(self) -> None:
        index = self._chance.randrange(len(self._wanted))
        before = self._counts[index]
        self._counts[index] = self._chance.randrange(1, len(BACKEND_ADDRESSES) + 1)
        self._write(index)
        address, port = self._wanted[index]
        for slot in range(self._counts[index] + 1, before + 1):
            self._services.delete(KEY.pack(be32(address), be16(port), slot, UDP, 0))


def _flags(number: int) -> int:
    return (EXTERNAL_IP, NODEPORT | AFFINITY, MAGLEV)[number % 3]
