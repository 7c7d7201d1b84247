"""A map's BTF → the layout of its keys and values; for maps without BTF, what their type alone tells."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from app.btf.errors import BtfError
from app.btf.parse import Btf, parse
from app.btf.types import Datasec
from app.columns.plan import Plan, plan_made, plan_raw, plan_type
from app.columns.table import Layout
from app.maps.kinds import Enumerate, Kind, Meaning
from app.uapi.cpus import possible_cpus
from app.uapi.enums import BpfMapFlag, BpfMapType
from app.uapi.errors import KernelError
from app.wire.ask import Client
from app.wire.bodies import MapFacts

VMLINUX = Path("/sys/kernel/btf/vmlinux")
KEPT_BTFS = 64


class Types(Protocol):
    """Where types come from: the host's BTF objects, or those that were stored with a snapshot."""

    def get(self, btf_id: int) -> Btf:
        """The BTF object of an id. raises BtfError, ObjectGone"""

    def vmlinux(self) -> Btf:
        """The kernel's own types. raises BtfError"""


class Btfs:
    """Parsed BTF objects by id, the most recently used ones. An id names the same bytes until the host restarts."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._lock = threading.Lock()
        self._kept: OrderedDict[int, Btf | BtfError] = OrderedDict()
        self._vmlinux: Btf | None = None

    def get(self, btf_id: int) -> Btf:
        """The BTF object of an id.

        raises  BtfError when its bytes make no sense, ObjectGone when it is not there any more
        """
        with self._lock:
            found = self._kept.get(btf_id)
            if found is not None:
                self._kept.move_to_end(btf_id)
        if found is None:
            found = self._parse(btf_id)
            with self._lock:
                self._kept[btf_id] = found
                while len(self._kept) > KEPT_BTFS:
                    self._kept.popitem(last=False)
        if isinstance(found, BtfError):
            raise found
        return found

    def vmlinux(self) -> Btf:
        """The kernel's own types.

        raises  BtfError when this kernel has none (CONFIG_DEBUG_INFO_BTF is off)
        """
        if self._vmlinux is None:
            try:
                self._vmlinux = parse(VMLINUX.read_bytes())
            except OSError as problem:
                raise BtfError(f"the kernel's own BTF cannot be read from {VMLINUX}: {problem.strerror}") from problem
        return self._vmlinux

    def _parse(self, btf_id: int) -> Btf | BtfError:
        data = self._client.btf(btf_id)
        try:
            return parse(data)
        except BtfError as alone:
            # The BTF of a kernel module is split: its ids go on where vmlinux ends.
            try:
                return parse(data, self.vmlinux())
            except BtfError:
                return alone


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """What a map's bytes mean, and where that is known from."""

    layout: Layout
    """For people: fields that the map type itself defines (a program's id …) have names."""
    json_layout: Layout
    """For `dump` and the API: as bpftool, bytes where there is no BTF."""
    btf: Btf | None
    key_type_id: int
    value_type_id: int
    source: str
    """In one phrase: "the map's BTF", "vmlinux", "none"."""
    notes: tuple[str, ...]
    """Why something is shown as bytes."""


def schema_of(facts: MapFacts, kind: Kind, btfs: Types, *, n_cpus: int | None = None) -> Schema:
    """Layout of one map. Whatever is wrong with its BTF ends as a note and bytes, never as an error.

    n_cpus  possible CPUs of the host that the map is of; None: of this one
    """
    notes: list[str] = []
    btf: Btf | None = None
    key_id, value_id, source = facts.btf_key_type_id, facts.btf_value_type_id, "none"
    try:
        if facts.btf_vmlinux_value_type_id:
            btf = btfs.vmlinux() if facts.btf_vmlinux_id in (0, 1) else btfs.get(facts.btf_vmlinux_id)
            key_id, value_id, source = 0, facts.btf_vmlinux_value_type_id, "vmlinux"
        elif facts.btf_id and (key_id or value_id):
            btf = btfs.get(facts.btf_id)
            source = "the map's BTF"
    except (BtfError, KernelError) as problem:
        notes.append(f"shown as bytes, since its BTF cannot be used: {problem}")
    n_cpus = (possible_cpus() if n_cpus is None else n_cpus) if kind.per_cpu else 0
    datasec = btf is not None and value_id != 0 and isinstance(_type(btf, value_id), Datasec)
    key = _plan(btf, key_id, facts.key_size)
    value = _plan(btf, value_id, facts.value_size)
    keyless = datasec or kind.enumerate is Enumerate.SINGLE or not facts.key_size
    key = None if keyless else key
    raw_key = None if keyless else key or plan_raw(facts.key_size)
    raw_value = value or (plan_raw(facts.value_size) if facts.value_size else None)
    if hides_values(facts, kind):
        value = raw_value = None
        notes.append("the kernel keeps no cookie in 4-byte values: only which keys hold a socket is known")
    owner = OWNER_KEYS.get(kind.enumerate)
    if owner is not None:
        raw_key = owner
    json_layout = Layout(raw_key, raw_value, n_cpus, datasec)
    layout = Layout(
        owner or key or (None if keyless else _natural_key(facts, raw_key)),
        value or _natural_value(facts, kind) or raw_value,
        n_cpus,
        datasec,
    )
    return Schema(
        layout=layout,
        json_layout=json_layout,
        btf=btf,
        key_type_id=key_id,
        value_type_id=value_id,
        source=source,
        notes=(*notes, *layout.notes),
    )


def hides_values(facts: MapFacts, kind: Kind) -> bool:
    """A socket hash whose values have no room for a cookie: its keys can be walked, and look-ups say ENOSPC.

    Arrays of sockets answer so for empty slots, too: of those nothing is known.
    """
    return kind.type == BpfMapType.SOCKHASH and facts.value_size < 8


OWNER_KEYS: dict[Enumerate, Plan] = {
    Enumerate.SOCKETS: plan_made((("cookie", "u64", 8), ("socket", "text", 96))),
    Enumerate.INODES: plan_made((("inode", "u64", 8), ("path", "text", 256))),
    Enumerate.TASKS: plan_made((("tid", "u32", 4), ("pid", "u32", 4), ("comm", "text", 16))),
    Enumerate.CGROUPS: plan_made((("cgroup_id", "u64", 8), ("path", "text", 256))),
    Enumerate.RING: plan_made((("position", "u64", 8), ("size", "u32", 4), ("state", "text", 12))),
}
"""Keys of maps whose keys are descriptors, or have none: what their owners are known by."""


def _type(btf: Btf, type_id: int) -> object:
    try:
        return btf.type(type_id)
    except BtfError:
        return None


def _plan(btf: Btf | None, type_id: int, size_bytes: int) -> Plan | None:
    if btf is None or not type_id or not size_bytes:
        return None
    return plan_type(btf, type_id, size_bytes)


def _natural_key(facts: MapFacts, raw_key: Plan | None) -> Plan | None:
    """Names for keys that the map type itself defines."""
    if facts.type in {BpfMapType.CGROUP_STORAGE, BpfMapType.PERCPU_CGROUP_STORAGE}:
        if facts.key_size == 16:  # struct bpf_cgroup_storage_key
            return plan_made((("cgroup_inode_id", "u64", 8), ("attach_type", "u32", 4), ("pad", "bytes", 4)))
        return plan_made((("cgroup_inode_id", "u64", 8),))
    if facts.type in INDEXED and facts.key_size == 4:
        return plan_made((("", "u32", 4),))
    return raw_key


INDEXED = frozenset({
    BpfMapType.ARRAY, BpfMapType.PROG_ARRAY, BpfMapType.PERCPU_ARRAY, BpfMapType.ARRAY_OF_MAPS, BpfMapType.DEVMAP,
    BpfMapType.SOCKMAP, BpfMapType.CPUMAP, BpfMapType.REUSEPORT_SOCKARRAY, BpfMapType.STACK_TRACE,
    BpfMapType.XSKMAP, BpfMapType.PERF_EVENT_ARRAY, BpfMapType.CGROUP_ARRAY,
})  # fmt: skip
"""Types whose key is a u32 index."""


def _natural_value(facts: MapFacts, kind: Kind) -> Plan | None:
    """Names for values that the map type itself defines; None where they do not fit the size."""
    size = facts.value_size
    match kind.meaning:
        case Meaning.PROG_ID if size == 4:
            return plan_made((("prog_id", "u32", 4),))
        case Meaning.MAP_ID if size == 4:
            return plan_made((("map_id", "u32", 4),))
        case Meaning.SOCKET_COOKIE if size == 8:
            return plan_made((("cookie", "u64", 8),))
        case Meaning.DEVICE if size in (4, 8):  # struct bpf_devmap_val
            return plan_made((("ifindex", "u32", 4), ("prog_id", "u32", 4))[: size // 4])
        case Meaning.CPU if size in (4, 8):  # struct bpf_cpumap_val
            return plan_made((("qsize", "u32", 4), ("prog_id", "u32", 4))[: size // 4])
        case Meaning.STACK if facts.map_flags & BpfMapFlag.STACK_BUILD_ID:
            return None
        case Meaning.STACK if size % 8 == 0:
            return plan_made(tuple((f"ip{index}", "u64", 8) for index in range(size // 8)))
        case _:
            return None
