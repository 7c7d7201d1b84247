"""What each map type lets anybody write, probed on Linux 6.18, and why not more."""

from __future__ import annotations

from app.uapi.enums import BpfMapFlag
from app.uapi.enums import BpfMapType as T
from app.wire.bodies import MapFacts

HASHES = frozenset({T.HASH, T.PERCPU_HASH, T.LRU_HASH, T.LRU_PERCPU_HASH, T.LPM_TRIE})
ARRAYS = frozenset({T.ARRAY, T.PERCPU_ARRAY})
ATTACHED = frozenset({T.CGROUP_STORAGE, T.PERCPU_CGROUP_STORAGE})
OWNED = frozenset({T.SK_STORAGE, T.INODE_STORAGE, T.TASK_STORAGE, T.CGRP_STORAGE})
"""Local storages: their keys are descriptors of their owners."""
QUEUES = frozenset({T.QUEUE, T.STACK})
MAPS = frozenset({T.ARRAY_OF_MAPS, T.HASH_OF_MAPS})
DEVICES = frozenset({T.DEVMAP, T.DEVMAP_HASH})
SOCKETS = frozenset({T.SOCKMAP, T.SOCKHASH, T.REUSEPORT_SOCKARRAY, T.XSKMAP})
THINGS = frozenset({T.PROG_ARRAY, T.CGROUP_ARRAY, T.CPUMAP}) | MAPS | DEVICES | SOCKETS
"""Values are descriptors, or hold them: what is read cannot be written back."""
STREAMS = frozenset({T.RINGBUF, T.USER_RINGBUF, T.ARENA})

_MAP_WIDE = ("freeze", "pin", "unpin")
_NO_DELETE = "entries of an array cannot be deleted: write zeros instead"
_BY_PROGRAMS = "only programs write here"
_THING = "its values are descriptors: say what to put there (--thing), not bytes"


def possible(facts: MapFacts) -> dict[str, str]:
    """Action → why the map's type or state rules it out, empty where it does not."""
    out = _by_type(T(facts.type) if facts.type in _KNOWN else T.UNSPEC)
    out |= dict.fromkeys(_MAP_WIDE, "")
    if facts.frozen:
        out |= {
            action: "the map is frozen: its owner allows no write from user space any more"
            for action in out
            if action not in {"pin", "unpin"}
        }
        out["freeze"] = "the map is frozen already"
    if facts.type == T.STRUCT_OPS:
        out["freeze"] = "a struct_ops map cannot be frozen"
    out["make"] = ""
    return out


_KNOWN = frozenset(int(each) for each in T)


def _by_type(kind: T) -> dict[str, str]:
    no = "this map type has no such operation"
    every = dict.fromkeys(("set", "replace", "create", "delete", "put", "push", "pop", "clear"), no)
    if kind in HASHES:
        return every | dict.fromkeys(("set", "replace", "create", "delete", "clear"), "")
    if kind in ARRAYS:
        return every | {"set": "", "replace": "", "create": "an array always has all of its entries", "delete": _NO_DELETE,
                        "clear": _NO_DELETE}  # fmt: skip
    if kind in ATTACHED:
        return every | {"set": "", "replace": "", "create": "entries are made by attaching a program to a cgroup",
                        "delete": "entries go with their cgroup"}  # fmt: skip
    if kind in OWNED:
        return every | dict.fromkeys(("set", "replace", "create", "delete"), "")
    if kind in QUEUES:
        return every | {"push": "", "pop": ""}
    if kind is T.BLOOM_FILTER:
        return every | {"push": "", "pop": "what was put into a bloom filter cannot be taken out again"}
    if kind in THINGS:
        named = dict.fromkeys(("put", "delete"), "")
        if kind in {T.HASH_OF_MAPS, T.SOCKHASH, T.DEVMAP_HASH}:
            named |= {"clear": ""}
        return every | {"set": _THING, "replace": _THING, "create": _THING} | named
    if kind is T.PERF_EVENT_ARRAY:
        return every | {"delete": "", "put": "its slots take perf events of whoever opens them, and lose them when the map's"
                        " descriptor that set them is closed"}  # fmt: skip
    if kind is T.STACK_TRACE:
        return every | {"delete": "", "clear": "", "set": _BY_PROGRAMS, "replace": _BY_PROGRAMS, "create": _BY_PROGRAMS}
    if kind is T.STRUCT_OPS:
        why = "it is a live component of the kernel: writing registers it, deleting unregisters it for good; its loader does that"
        return dict.fromkeys(every, why)
    if kind in STREAMS:
        why = "it is shared memory between a program and a reader: a write from here would break their stream"
        return dict.fromkeys(every, why)
    return dict.fromkeys(every, "a map type that this release does not know is never written")


def per_cpu(facts: MapFacts) -> bool:
    """A value for each possible CPU."""
    return facts.type in {T.PERCPU_HASH, T.PERCPU_ARRAY, T.LRU_PERCPU_HASH, T.PERCPU_CGROUP_STORAGE}


def evicts(facts: MapFacts) -> bool:
    """A full one makes room by forgetting an entry."""
    return facts.type in {T.LRU_HASH, T.LRU_PERCPU_HASH}


def programs_only_read(facts: MapFacts) -> bool:
    """BPF_F_RDONLY_PROG: user space is its only writer."""
    return bool(facts.map_flags & BpfMapFlag.RDONLY_PROG) and facts.type not in DEVICES
