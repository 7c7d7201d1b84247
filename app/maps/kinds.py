"""Map type → how its entries are found, read and counted, and what to say where they cannot be.

Every row was probed on Linux 6.18; docs/map-types.md has the table with each errno. An unknown type gets UNKNOWN.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from app.uapi.enums import BpfMapType as T
from app.uapi.syscall import PER_CPU_TYPES


class Enumerate(Enum):
    """How the entries of a type are found."""

    BATCH = "by batches, or key after key where the kernel is too old for them"
    WALK = "key after key"
    SLOTS = "index after index, leaving out the empty ones"
    SINGLE = "there is one"
    PEEK = "the next element only, left where it is"
    RING = "the unread records, looked at through a read-only mapping"
    SOCKETS = "by an iterator over the sockets that have one"
    INODES = "by trying the files that processes hold open"
    TASKS = "by trying every task"
    CGROUPS = "by trying every cgroup"
    NOTHING = "not at all"


class Counter(Enum):
    """Where the number of entries comes from."""

    KERNEL = "the kernel's own counter (bpf_map_sum_elem_count)"
    FIXED = "max_entries: an array always has all of them"
    WALK = "a bounded walk"
    UNKNOWN = "not known without reading"


class Meaning(Enum):
    """What the numbers in a value stand for, where the kernel and not the map's BTF decides."""

    BYTES = "whatever the program put there"
    PROG_ID = "a program"
    MAP_ID = "a map"
    SOCKET_COOKIE = "a socket"
    DEVICE = "a network device, and a program"
    CPU = "a CPU's queue, and a program"
    STACK = "instruction pointers"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """All that differs from one map type to the next."""

    type: int
    name: str
    """As the kernel spells it, in lower case: `lru_hash`."""
    label: str
    """As people say it: `LRU hash`."""
    family: str
    """Colour and glyph: hash array percpu lru trie nest prog sock queue ring store arena."""
    enumerate: Enumerate
    counter: Counter
    meaning: Meaning = Meaning.BYTES
    why: str = ""
    """Why the entries cannot be listed, or what the list cannot tell."""
    instead: str = ""
    """What can be done instead."""
    lookup: bool = True
    """A look-up by exact key is possible."""

    @property
    def per_cpu(self) -> bool:
        """Values come once for each possible CPU."""
        return self.type in PER_CPU_TYPES

    @property
    def may_overflow(self) -> bool:
        """A full one refuses or drops what comes next. One with a slot for each index is as full as its owner means it to be."""
        return self.enumerate is not Enumerate.SLOTS

    @property
    def holds_ids(self) -> bool:
        """What it holds is read as numbers that the kernel gives out anew from each start of the host on.

        Until then one comes again only after 2³¹ others, so that it names the same thing or nothing.
        """
        return self.meaning in {Meaning.PROG_ID, Meaning.MAP_ID, Meaning.DEVICE, Meaning.CPU}

    @property
    def listable(self) -> bool:
        """Entries can be enumerated at all."""
        return self.enumerate is not Enumerate.NOTHING


_BY_KEY = "Look up one key instead"
_TWO_ENDS = "a queue shows only the element that would be popped next; its length is not told"

_ROWS: tuple[tuple[T, str, str, Enumerate, Counter, Meaning], ...] = (
    (T.HASH, "hash", "hash", Enumerate.BATCH, Counter.KERNEL, Meaning.BYTES),
    (T.ARRAY, "array", "array", Enumerate.BATCH, Counter.FIXED, Meaning.BYTES),
    (T.PROG_ARRAY, "program array", "prog", Enumerate.SLOTS, Counter.WALK, Meaning.PROG_ID),
    (T.PERF_EVENT_ARRAY, "perf event array", "ring", Enumerate.NOTHING, Counter.UNKNOWN, Meaning.BYTES),
    (T.PERCPU_HASH, "per-CPU hash", "percpu", Enumerate.BATCH, Counter.KERNEL, Meaning.BYTES),
    (T.PERCPU_ARRAY, "per-CPU array", "percpu", Enumerate.BATCH, Counter.FIXED, Meaning.BYTES),
    (T.STACK_TRACE, "stack traces", "store", Enumerate.WALK, Counter.WALK, Meaning.STACK),
    (T.CGROUP_ARRAY, "cgroup array", "store", Enumerate.NOTHING, Counter.UNKNOWN, Meaning.BYTES),
    (T.LRU_HASH, "LRU hash", "lru", Enumerate.BATCH, Counter.KERNEL, Meaning.BYTES),
    (T.LRU_PERCPU_HASH, "LRU per-CPU hash", "lru", Enumerate.BATCH, Counter.KERNEL, Meaning.BYTES),
    (T.LPM_TRIE, "LPM trie", "trie", Enumerate.BATCH, Counter.WALK, Meaning.BYTES),
    (T.ARRAY_OF_MAPS, "array of maps", "nest", Enumerate.SLOTS, Counter.WALK, Meaning.MAP_ID),
    (T.HASH_OF_MAPS, "hash of maps", "nest", Enumerate.BATCH, Counter.KERNEL, Meaning.MAP_ID),
    (T.DEVMAP, "device map", "sock", Enumerate.SLOTS, Counter.WALK, Meaning.DEVICE),
    (T.SOCKMAP, "socket map", "sock", Enumerate.SLOTS, Counter.WALK, Meaning.SOCKET_COOKIE),
    (T.CPUMAP, "CPU map", "percpu", Enumerate.SLOTS, Counter.WALK, Meaning.CPU),
    (T.XSKMAP, "AF_XDP socket map", "sock", Enumerate.NOTHING, Counter.UNKNOWN, Meaning.BYTES),
    (T.SOCKHASH, "socket hash", "sock", Enumerate.WALK, Counter.WALK, Meaning.SOCKET_COOKIE),
    (T.CGROUP_STORAGE, "cgroup storage (attached)", "store", Enumerate.WALK, Counter.WALK, Meaning.BYTES),
    (T.REUSEPORT_SOCKARRAY, "reuseport sockets", "sock", Enumerate.SLOTS, Counter.WALK, Meaning.SOCKET_COOKIE),
    (
        T.PERCPU_CGROUP_STORAGE,
        "per-CPU cgroup storage (attached)",
        "store",
        Enumerate.WALK,
        Counter.WALK,
        Meaning.BYTES,
    ),
    (T.QUEUE, "queue", "queue", Enumerate.PEEK, Counter.UNKNOWN, Meaning.BYTES),
    (T.STACK, "stack", "queue", Enumerate.PEEK, Counter.UNKNOWN, Meaning.BYTES),
    (T.SK_STORAGE, "socket storage", "store", Enumerate.SOCKETS, Counter.UNKNOWN, Meaning.BYTES),
    (T.DEVMAP_HASH, "device hash", "sock", Enumerate.WALK, Counter.WALK, Meaning.DEVICE),
    (T.STRUCT_OPS, "struct_ops", "prog", Enumerate.SINGLE, Counter.FIXED, Meaning.BYTES),
    (T.RINGBUF, "ring buffer", "ring", Enumerate.RING, Counter.UNKNOWN, Meaning.BYTES),
    (T.INODE_STORAGE, "inode storage", "store", Enumerate.INODES, Counter.UNKNOWN, Meaning.BYTES),
    (T.TASK_STORAGE, "task storage", "store", Enumerate.TASKS, Counter.UNKNOWN, Meaning.BYTES),
    (T.BLOOM_FILTER, "bloom filter", "store", Enumerate.NOTHING, Counter.UNKNOWN, Meaning.BYTES),
    (T.USER_RINGBUF, "user ring buffer", "ring", Enumerate.RING, Counter.UNKNOWN, Meaning.BYTES),
    (T.CGRP_STORAGE, "cgroup storage", "store", Enumerate.CGROUPS, Counter.UNKNOWN, Meaning.BYTES),
    (T.ARENA, "arena", "arena", Enumerate.NOTHING, Counter.UNKNOWN, Meaning.BYTES),
)

_WORDS: dict[T, tuple[str, str, bool]] = {
    # type: why, instead, look-up by key
    T.PERF_EVENT_ARRAY: (
        "its slots hold perf events, which the kernel does not show to anybody",
        "The events themselves go to whoever opened them; the programs that write them are under Relations",
        False,
    ),
    T.CGROUP_ARRAY: (
        "its slots hold cgroups, which the kernel takes in and never gives back",
        "The programs that test against it are under Relations",
        False,
    ),
    T.XSKMAP: (
        "the kernel does not show which AF_XDP socket sits in a slot",
        "What the map costs grows by 32 bytes a socket on 6.18, so its memory tells how many there are",
        False,
    ),
    T.BLOOM_FILTER: (
        "a bloom filter keeps bits, not the values that were put in",
        "Ask whether one value is in it: the answer is surely not, or maybe",
        True,
    ),
    T.ARENA: (
        "an arena is shared memory, and its first mapping fixes address and length for its owner for ever",
        "So it is never mapped from here; its facts are above",
        False,
    ),
    T.QUEUE: (_TWO_ENDS, "", False),
    T.STACK: ("a stack shows only the element on top; its depth is not told", "", False),
    T.RINGBUF: ("only what its consumer has not read yet is still there", "", False),
    T.USER_RINGBUF: ("only what the kernel has not drained yet is still there", "", False),
    T.SK_STORAGE: ("", _BY_KEY, False),
    T.TASK_STORAGE: ("", "", False),
    T.INODE_STORAGE: (
        "the kernel cannot enumerate inodes: files that no process holds open are not tried",
        "Name a path to look it up",
        False,
    ),
    T.CGRP_STORAGE: ("", "", False),
    T.LPM_TRIE: ("a look-up finds the longest prefix that matches, not the very key", "", True),
    T.STACK_TRACE: ("", "", True),
}


def _kind(row: tuple[T, str, str, Enumerate, Counter, Meaning]) -> Kind:
    map_type, label, family, enumerate_, counter, meaning = row
    why, instead, lookup = _WORDS.get(map_type, ("", "", True))
    return Kind(
        type=map_type,
        name=map_type.name.lower(),
        label=label,
        family=family,
        enumerate=enumerate_,
        counter=counter,
        meaning=meaning,
        why=why,
        instead=instead,
        lookup=lookup,
    )


KINDS: dict[int, Kind] = {row[0]: _kind(row) for row in _ROWS}


def kind_of(map_type: int) -> Kind:
    """The row of a type; for one that is newer than this program, a row that offers what cannot go wrong."""
    known = KINDS.get(map_type)
    if known is not None:
        return known
    return Kind(
        type=map_type,
        name=f"type_{map_type}",
        label=f"type {map_type}",
        family="arena",
        enumerate=Enumerate.WALK,
        counter=Counter.UNKNOWN,
        why="this map type is newer than this program: its entries are shown as bytes where the kernel lists them",
        instead="A newer bpf-atlas may know it",
    )
