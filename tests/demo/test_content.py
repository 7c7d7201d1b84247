"""What the demo shows while it runs: every type of map, and content that changes."""

from __future__ import annotations

import os
import re
import struct
import time
from pathlib import Path

import pytest

from app.uapi import objects
from app.uapi.enums import BpfMapType
from app.uapi.syscall import MapSpec
from demo.libbpf import Map, open_pin
from demo.names import CGROUP, PINS
from tests.demo_fixture import Demo, bpftool
from tests.livemaps import live_map
from tests.waiting import eventually

pytestmark = pytest.mark.kernel

# Name of one map of each type that Linux 6.1 loads; bpftool of Debian 12 prints the newer ones as numbers.
SINCE_6_1 = {
    "hash": "packet_lengths",
    "array": "meters",
    "prog_array": "by_protocol",
    "perf_event_array": "ping_events",
    "percpu_hash": "sources",
    "percpu_array": "protocols",
    "stack_trace": "stacks",
    "cgroup_array": "our_cgroup",
    "lru_hash": "flows",
    "lru_percpu_hash": "busy_ports",
    "lpm_trie": "blocklist",
    "array_of_maps": "port_windows",
    "hash_of_maps": "lb4_maglev",
    "devmap": "out_ports",
    "sockmap": "streams",
    "cpumap": "cpus",
    "xskmap": "xsks",
    "sockhash": "tcp_sockets",
    "cgroup_storage": "cgroup_traffic",
    "reuseport_sockarray": "shared_port",
    "percpu_cgroup_storage": "cgroup_percpu",
    "queue": "flow_queue",
    "stack": "flow_stack",
    "sk_storage": "socket_stats",
    "devmap_hash": "out_by_ifindex",
    "struct_ops": "atlas_reno",
    "ringbuf": "new_flows",
    "inode_storage": "file_notes",
    "task_storage": "task_times",
    "bloom_filter": "seen_flows",
    "user_ringbuf": "commands",
}
NEWER = {"cgroup_switches": (32, (6, 2)), "calendars": (1, (6, 3)), "arena_pages": (33, (6, 9))}


def release() -> tuple[int, int]:
    found = re.match(r"(\d+)\.(\d+)", os.uname().release)
    assert found
    return int(found[1]), int(found[2])


def present(demo: Demo) -> dict[str, str]:
    """Type by name of the demo's maps."""
    ours = demo.held("map")
    return {found["name"]: found["type"] for found in bpftool("map", "show") if found["id"] in ours}


@pytest.mark.parametrize(("kind", "name"), SINCE_6_1.items())
def test_every_type_of_6_1_has_a_map(demo: Demo, kind: str, name: str) -> None:
    assert present(demo).get(name) == kind


@pytest.mark.parametrize(("name", "number", "since"), [(name, *rest) for name, rest in NEWER.items()])
def test_newer_types_have_a_map_or_a_sentence_why_not(
    demo: Demo, name: str, number: int, since: tuple[int, int]
) -> None:
    shown = present(demo)
    if release() >= since:
        assert name in shown
        assert f" {name}" in demo.printed
    else:
        assert "not here:" in demo.printed


def test_all_33_types_are_in_the_printed_table(demo: Demo) -> None:
    assert ("of 33 types" in demo.printed) == (release() >= (6, 9))


def test_flow_table_grows_and_its_counters_rise(demo: Demo) -> None:
    def totals() -> tuple[int, int]:
        values = [entry["value"] for entry in demo.entries("flows")]
        return len(values), sum(value["packets"] for value in values)

    flows, packets = totals()
    assert eventually(lambda: totals()[0] > flows and totals()[1] > packets + 20)


def test_flows_are_of_three_protocols_and_both_directions(demo: Demo) -> None:
    def seen() -> tuple[set[int], set[int], bool]:
        entries = demo.entries("flows")
        return (
            {entry["key"]["proto"] for entry in entries},
            {entry["value"]["from_server"] for entry in entries},
            any(entry["value"]["drops"] for entry in entries),
        )

    assert eventually(lambda: seen() == ({1, 6, 17}, {0, 1}, True)), seen()


def test_blocklist_drops_and_says_how_often(demo: Demo) -> None:
    def hits() -> int:
        return sum(entry["value"]["hits"] for entry in demo.entries("blocklist"))

    before = hits()
    assert eventually(lambda: hits() > before)


def test_services_are_balanced_and_answered(demo: Demo) -> None:
    """An entry of ct4 counts both directions: more than one packet means that the reply was translated back."""
    masters = [entry for entry in demo.entries("lb4_services_v2") if entry["key"]["backend_slot"] == 0]
    assert len(masters) == 9
    assert all(master["value"]["count"] > 0 for master in masters)
    assert eventually(lambda: any(entry["value"]["packets"] > 1 for entry in demo.entries("ct4")))
    backends = {entry["key"] for entry in demo.entries("lb4_backends_v3")}
    assert {entry["value"]["backend_id"] for entry in demo.entries("ct4")} <= backends


def test_tail_calls_are_taken(demo: Demo) -> None:
    """Only the programs behind by_protocol count ports, so the present window fills through them alone."""
    inner = struct.unpack("=I", lookup("port_windows", bytes(4), 4))[0]
    assert eventually(lambda: bool(bpftool("map", "dump", "id", str(inner))))


@pytest.mark.parametrize(
    "name",
    [
        *("runq_latency", "stack_counts", "tcp_events", "congestion", "type_zoo", "token_buckets", "work_queues"),
        *("calendars", "watched_tasks", "cgroup_traffic", "percpu_bits", "enum64_accounts", "registers"),
        *("chosen_sockets", "tcp_rtt", "flow.bss", "sockets.bss", "latency.bss", "packet_lengths"),
    ],
)
def test_content_changes(demo: Demo, name: str) -> None:
    before = demo.entries(name)
    assert before
    assert eventually(lambda: demo.entries(name) != before, 15)


def test_timers_tick_and_locks_are_taken(demo: Demo) -> None:
    assert eventually(lambda: any(entry["value"]["refills"] > 1 for entry in demo.entries("token_buckets")))


def test_kernel_objects_are_owned(demo: Demo) -> None:
    assert eventually(lambda: sum(queue["value"]["popped"] for queue in demo.entries("work_queues")) > 0)
    assert demo.process
    assert demo.process.pid in {watched["value"]["pid"] for watched in demo.entries("watched_tasks")}


def test_zoo_holds_negative_bit_fields_and_unnamed_enumerators(demo: Demo) -> None:
    animals = [entry["value"] for entry in demo.entries("type_zoo")]
    assert len(animals) == 40
    assert len({animal["huge"] for animal in animals}) > 30
    assert {isinstance(animal["colour"], int) for animal in animals} == {True, False}


# Made without; strings and constants that the compiler collected; types from vmlinux; a kind that has none.
BARE = {"legacy_stats", "maglev_lut", ".rodata.str1.1", ".rodata.cst16", "atlas_reno", "arena_pages"}
BARE_KINDS = {
    *("prog_array", "perf_event_array", "stack_trace", "cgroup_array", "array_of_maps", "hash_of_maps", "devmap"),
    *("devmap_hash", "sockmap", "sockhash", "cpumap", "xskmap", "queue", "stack", "ringbuf", "user_ringbuf"),
}


def test_every_map_has_btf_but_those_that_cannot(demo: Demo) -> None:
    """Where the kernel refuses the types, libbpf makes the map without them, and says nothing."""
    ours = demo.held("map")
    bare = {
        found["name"]
        for found in bpftool("map", "show")
        if found["id"] in ours and found["type"] not in BARE_KINDS and not value_type_id(found["id"])
    }
    assert bare <= BARE
    assert "legacy_stats" in bare


def value_type_id(map_id: int) -> int:
    """Asked of the kernel: `bpftool -j map show` repeats the last map's btf_id for one that has none."""
    fd = objects.map_get_fd_by_id(map_id)
    try:
        return objects.map_info(fd).btf_value_type_id
    finally:
        os.close(fd)


def test_a_map_is_found_beside_nameless_ones(demo: Demo) -> None:
    """What else a host has is not the demo's: bpftool prints no name at all for a map without one."""
    with live_map(MapSpec(type=BpfMapType.ARRAY, key_size=4, value_size=4, max_entries=1)) as fd:
        assert "name" not in bpftool("map", "show", "id", str(objects.map_info(fd).id))
        assert demo.map_id("legacy_stats") in demo.held("map")


def test_legacy_map_has_content(demo: Demo) -> None:
    assert bpftool("map", "dump", "id", str(demo.map_id("legacy_stats")))


def test_storage_of_this_task_is_found_by_its_pidfd(demo: Demo) -> None:
    assert demo.process
    pidfd = os.pidfd_open(demo.process.pid)
    try:
        assert eventually(lambda: first_counter(demo, "task_times", pidfd, 40) > 0)
    finally:
        os.close(pidfd)


def test_storage_of_the_demo_s_cgroup_is_found_by_its_folder(demo: Demo) -> None:
    mounts = [Path(line.split()[1]) for line in Path("/proc/mounts").read_text().splitlines() if " cgroup2 " in line]
    folder = os.open(mounts[0] / CGROUP, os.O_RDONLY)
    try:
        assert eventually(lambda: first_counter(demo, "cgroup_switches", folder, 32) > 0)
    finally:
        os.close(folder)


def test_congestion_control_is_used_and_not_the_default(demo: Demo) -> None:
    offered = Path("/proc/sys/net/ipv4/tcp_available_congestion_control").read_text().split()
    chosen = Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text().strip()
    assert "bpf_atlas" in offered
    assert chosen != "bpf_atlas"
    assert eventually(
        lambda: {entry["key"]: entry["value"] for entry in demo.entries("congestion")}["CONGESTION_INIT"] > 0
    )


@pytest.mark.slow
def test_costs_less_than_a_twentieth_of_a_cpu(demo: Demo) -> None:
    assert demo.process
    stat = Path(f"/proc/{demo.process.pid}/stat")

    def ticks() -> int:
        fields = stat.read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    before, began_s = ticks(), time.monotonic()
    time.sleep(6)
    used_s = (ticks() - before) / os.sysconf("SC_CLK_TCK")
    assert used_s / (time.monotonic() - began_s) < 0.05


def lookup(pin: str, key: bytes, size_bytes: int) -> bytes:
    pinned = open_pin(PINS / pin)
    try:
        value = pinned.lookup(key, size_bytes)
    finally:
        pinned.close()
    assert value is not None
    return value


def first_counter(demo: Demo, name: str, owner_fd: int, size_bytes: int) -> int:
    """The u64 at the beginning of what `owner_fd` has in a storage map, 0 if it has nothing there."""
    storage = Map(name, objects.map_get_fd_by_id(demo.map_id(name)), 0)
    try:
        value = storage.lookup(struct.pack("=I", owner_fd), size_bytes)
    finally:
        storage.close()
    return 0 if value is None else int(struct.unpack("=Q", value[:8])[0])
