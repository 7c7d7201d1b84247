"""One map of each type that takes no program to make, with an entry where it can have one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from app.uapi import objects
from app.uapi.cpus import possible_cpus
from app.uapi.enums import BpfMapFlag, BpfMapType
from app.uapi.syscall import MapSpec
from tests.cli.made import flow, flow_key, flows, section
from tests.livemaps import live_map, u32, u64

TRIE_KEY = u32(8) + b"\x0a\0\0\0"
HOSTILE = b"\x1b[31m<b>\xff\0\xe2\x80\xae"


@contextlib.contextmanager
def zoo() -> Iterator[dict[str, int]]:
    """Ids by a word for each."""
    ids: dict[str, int] = {}
    cpus = possible_cpus()
    with contextlib.ExitStack() as stack:

        def make(name: str, entries: Any = (), **spec: Any) -> int:
            made = {"type": BpfMapType.HASH, "key_size": 4, "value_size": 8, "max_entries": 8, **spec}
            fd = stack.enter_context(live_map(MapSpec(**made), entries))
            ids[name] = objects.map_info(fd).id
            return fd

        ids["flows"] = stack.enter_context(
            flows([(flow_key("10.0.0.1", number), flow(number, HOSTILE)) for number in range(50)], name="zoo_flows")
        )
        ids["section"] = stack.enter_context(section())
        make("hash", [(u32(1), u64(5))])
        make("empty")
        make("large", [(u32(number), u64(number)) for number in range(200)], max_entries=100_000)
        make("per-CPU hash", [(u32(1), u64(5) * cpus)], type=BpfMapType.PERCPU_HASH)
        make("LRU", [(u32(1), u64(5))], type=BpfMapType.LRU_HASH)
        make("trie", [(TRIE_KEY, u64(1))], type=BpfMapType.LPM_TRIE, key_size=8, flags=BpfMapFlag.NO_PREALLOC)
        make("queue", [(None, u64(1))], type=BpfMapType.QUEUE, key_size=0)
        make("stack", [(None, u64(1))], type=BpfMapType.STACK, key_size=0)
        make("bloom", [(None, u64(1))], type=BpfMapType.BLOOM_FILTER, key_size=0)
        make("ring", type=BpfMapType.RINGBUF, key_size=0, value_size=0, max_entries=4096)
        make("perf", type=BpfMapType.PERF_EVENT_ARRAY, value_size=4)
        make("programs", type=BpfMapType.PROG_ARRAY, value_size=4)
        make("sockets", type=BpfMapType.SOCKMAP)
        make("socket hash", type=BpfMapType.SOCKHASH)
        make("devices", type=BpfMapType.DEVMAP_HASH)
        make("cpus", type=BpfMapType.CPUMAP, max_entries=cpus)
        make("xsk", type=BpfMapType.XSKMAP, value_size=4)
        make("cgroups", type=BpfMapType.CGROUP_ARRAY, value_size=4)
        make("stacks", type=BpfMapType.STACK_TRACE, value_size=64)
        inner = make("array", [(u32(0), u64(9))], type=BpfMapType.ARRAY)
        make("nest", [(u32(0), u32(inner))], type=BpfMapType.HASH_OF_MAPS, value_size=4, inner_map_fd=inner)
        yield ids
