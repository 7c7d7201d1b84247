"""What crosses the broker's socket: one frozen struct per question and per answer, msgpack encoded, strictly typed.

Nothing here knows how it is sent (frame.py), who may ask (broker/requests.py) or what it means (broker/answers.py).
Text that comes from the kernel or from other programs (names, comms, paths) is untrusted: it may hold any character.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

ObjectId = Annotated[int, msgspec.Meta(ge=0, lt=1 << 32)]
"""What the kernel takes as an id; anything else in a question is malformed."""
Size = Annotated[int, msgspec.Meta(ge=0, lt=1 << 32)]
"""A number of bytes or entries."""


class Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """Root of every body: positional on the wire, refused when a field is missing, unknown or of another type."""


# ---- questions -------------------------------------------------------------------------------------------------------


class AskNothing(Body, frozen=True):
    """A question without arguments."""


class AskId(Body, frozen=True):
    """A question about one kernel object."""

    id: ObjectId


class AskPin(Body, frozen=True):
    """A question about one pinned object; the path must lie in bpffs."""

    path: str


class AskRing(Body, frozen=True):
    """A look at what a ring buffer holds; at most `limit_bytes` of its newest data come back."""

    map_id: ObjectId
    limit_bytes: Size


class AskLookup(Body, frozen=True):
    """A proxied BPF_MAP_LOOKUP_ELEM; `key` is empty for maps without keys."""

    map_id: ObjectId
    key: bytes
    value: bytes = b""
    """Input for a bloom filter; the broker knows itself how many bytes an answer takes."""


class AskNextKey(Body, frozen=True):
    """A proxied BPF_MAP_GET_NEXT_KEY; `key` None asks for the first."""

    map_id: ObjectId
    key: bytes | None


class AskBatch(Body, frozen=True):
    """A proxied BPF_MAP_LOOKUP_BATCH of at most `count` entries; `token` None starts."""

    map_id: ObjectId
    token: bytes | None
    count: Size


class AskStorage(Body, frozen=True):
    """Owners and values of a local storage map that only a privileged process can enumerate (sk, inode)."""

    map_id: ObjectId
    paths: tuple[str, ...] = ()
    """For inode storage: further files to try, beside those that processes hold open."""


# ---- answers ---------------------------------------------------------------------------------------------------------


class MapFacts(Body, frozen=True):
    """``struct bpf_map_info`` and what fdinfo adds to it."""

    id: int
    type: int
    name: str
    """As the kernel keeps it: at most 15 bytes, undecodable ones as \\xNN."""
    key_size: int
    value_size: int
    max_entries: int
    map_flags: int
    map_extra: int
    btf_id: int
    btf_key_type_id: int
    btf_value_type_id: int
    btf_vmlinux_id: int
    btf_vmlinux_value_type_id: int
    ifindex: int
    memlock_bytes: int
    """From fdinfo: what the kernel charges for the map now."""
    frozen: bool
    owner_prog_type: int | None
    """PROG_ARRAY only, once it has a first program."""
    entries: int | None
    """By bpf_map_sum_elem_count, where the map's type keeps that counter and the kernel has the kfunc."""


class ProgFacts(Body, frozen=True):
    """``struct bpf_prog_info``, the part that relations need."""

    id: int
    type: int
    name: str
    tag: str
    map_ids: tuple[int, ...]
    btf_id: int
    loaded_at_ns: int
    """Nanoseconds since boot (CLOCK_BOOTTIME)."""
    created_by_uid: int
    run_time_ns: int
    run_count: int
    memlock_bytes: int


class LinkFacts(Body, frozen=True):
    """``struct bpf_link_info``: what a program is attached to."""

    id: int
    type: int
    prog_id: int
    attach_type: int | None
    target: str
    """What it is attached to, in words: a tracepoint's name, an interface index, a cgroup id; empty when unknown."""
    map_id: int | None
    """STRUCT_OPS and map iterators: the map that the link is about."""


class PinFacts(Body, frozen=True):
    """One file in bpffs."""

    path: str
    kind: str
    """``map``, ``prog`` or ``link``."""
    id: int


class HolderFacts(Body, frozen=True):
    """One descriptor of one process that refers to a bpf object."""

    pid: int
    comm: str
    fd: int
    kind: str
    """``map``, ``prog``, ``link`` or ``btf``."""
    id: int


class Capability(Body, frozen=True):
    """One thing that was tried on this host, and how it went: what `doctor` prints."""

    name: str
    works: bool
    found: str
    """What was seen, in one sentence."""
    remedy: str
    """What to do about it, empty when it works."""


class Hello(Body, frozen=True):
    """Facts about the broker and its host."""

    version: str
    kernel_release: str
    hostname: str
    boot_id: str
    pid: int
    possible_cpus: int
    effective_capabilities: str
    """As ``CapEff`` in hexadecimal."""
    passes_descriptors: bool
    """False where an unprivileged process may not use a passed map descriptor: readers must then ask for bytes."""
    capabilities: tuple[Capability, ...]


class MapList(Body, frozen=True):
    """All maps, ascending by id."""

    maps: tuple[MapFacts, ...]
    taken_at_ns: int
    """CLOCK_REALTIME."""
    unreadable: tuple[int, ...]
    """Ids that were listed and could not be opened (gone in between, or refused)."""


class ProgList(Body, frozen=True):
    progs: tuple[ProgFacts, ...]


class LinkList(Body, frozen=True):
    links: tuple[LinkFacts, ...]


class PinList(Body, frozen=True):
    pins: tuple[PinFacts, ...]
    problem: str
    """Why the list may be short (bpffs is not mounted, a directory is closed), empty when it is whole."""


class HolderList(Body, frozen=True):
    holders: tuple[HolderFacts, ...]
    problem: str


class Opened(Body, frozen=True):
    """Goes with one descriptor: read-only, or none where `Hello.passes_descriptors` is false."""

    facts: MapFacts


class Bytes(Body, frozen=True):
    """Plain bytes: a BTF blob, a value."""

    data: bytes


class Found(Body, frozen=True):
    """A proxied look-up: `value` None means that there is no such key."""

    value: bytes | None


class NextKey(Body, frozen=True):
    """A proxied next key: None after the last."""

    key: bytes | None


class Batch(Body, frozen=True):
    """A proxied batch: `count` keys and values, and where to go on (None at the end)."""

    count: int
    keys: bytes
    values: bytes
    token: bytes | None
    grow: bool
    """True when nothing was read because one bucket holds more than was asked for."""


class Ring(Body, frozen=True):
    """A look at a ring buffer, taken through a read-only mapping."""

    consumer_bytes: int
    producer_bytes: int
    start_bytes: int
    """Position of `data`'s first byte; above `consumer_bytes` when the backlog is longer than the limit."""
    data: bytes


class StorageEntry(Body, frozen=True):
    """One owner of a local storage element."""

    owner_id: int
    """Socket cookie, or inode number."""
    label: str
    """A path, or the addresses of a socket; empty when unknown."""
    value: bytes


class Storage(Body, frozen=True):
    entries: tuple[StorageEntry, ...]
    problem: str
    """What this list can miss, in one sentence; empty when it is whole."""


class Refused(Body, frozen=True):
    """The answer when there is none: which error class of the asking side, and its sentence."""

    error: str
    """Name of a class in wire/refusals.py."""
    message: str
    cmd: int = -1
    """The bpf(2) command that the kernel refused, where it was the kernel."""
    errno: int = 0
    field: str = ""
    """Which part of the question cannot be used, where it was one."""
    retry_s: int = 0
    """When to come back, where it was too soon."""
