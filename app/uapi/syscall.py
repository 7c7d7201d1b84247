"""bpf(2), the commands on maps: one function per command; ints, bytes and buffers in and out, never a pointer.

Buffers that the kernel writes to (`out`, `value`, `keys`, `values`) are anything with a writable buffer: bytearray,
memoryview, a numpy array. Their size is the caller's duty: a shorter one than the map's sizes lets the kernel write past
it. `app.uapi.kernel` has readers that check; everything above uapi goes through those.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from errno import E2BIG, ENOENT, ENOSPC
from typing import Any

from app.uapi.call import address, address_out, attempt, attr, bpf, error_for
from app.uapi.enums import BpfCmd, BpfMapType


@dataclass(frozen=True, slots=True, kw_only=True)
class MapSpec:
    """Arguments of BPF_MAP_CREATE; the fields are named as in ``union bpf_attr``."""

    type: int
    key_size: int
    value_size: int
    max_entries: int
    flags: int = 0
    name: bytes = b""
    inner_map_fd: int = 0
    btf_fd: int = 0
    btf_key_type_id: int = 0
    btf_value_type_id: int = 0
    btf_vmlinux_value_type_id: int = 0
    map_extra: int = 0
    ifindex: int = 0
    numa_node: int = 0
    value_type_btf_obj_fd: int = 0


class BatchOutcome(Enum):
    """How one BPF_MAP_LOOKUP_BATCH ended."""

    MORE = "go on from the token"
    END = "that was the last of it"
    GROW = "one bucket holds more entries than were asked for: ask again for more"


@dataclass(frozen=True, slots=True)
class BatchResult:
    """What one batch brought: `count` entries are valid whatever the outcome, but for GROW, where it is 0."""

    count: int
    outcome: BatchOutcome


def map_create(spec: MapSpec) -> int:
    """BPF_MAP_CREATE: a descriptor, open for reading and writing."""
    argument = attr("map_create")
    argument.map_type = spec.type
    argument.key_size = spec.key_size
    argument.value_size = spec.value_size
    argument.max_entries = spec.max_entries
    argument.map_flags = spec.flags
    argument.inner_map_fd = spec.inner_map_fd
    argument.numa_node = spec.numa_node
    argument.map_name = spec.name[:15]
    argument.map_ifindex = spec.ifindex
    argument.btf_fd = spec.btf_fd
    argument.btf_key_type_id = spec.btf_key_type_id
    argument.btf_value_type_id = spec.btf_value_type_id
    argument.btf_vmlinux_value_type_id = spec.btf_vmlinux_value_type_id
    argument.map_extra = spec.map_extra
    argument.value_type_btf_obj_fd = spec.value_type_btf_obj_fd
    return bpf(BpfCmd.MAP_CREATE, argument)


def map_lookup(map_fd: int, key: object, value: object, flags: int = 0) -> bool:
    """BPF_MAP_LOOKUP_ELEM: fill `value`; False when there is no such key.

    key    readable buffer of key_size bytes, None for maps without keys
    value  writable buffer; for per-CPU maps round_up(value_size, 8) for each possible CPU; bloom filters read it
    """
    argument, alive = _elem(map_fd, key, flags)
    argument.value, keep = address_out(value)
    found = _found(BpfCmd.MAP_LOOKUP_ELEM, argument)
    del alive, keep
    return found


def map_next_key(map_fd: int, key: object, out: object) -> bool:
    """BPF_MAP_GET_NEXT_KEY: write the key after `key` (None: the first) to `out`; False after the last.

    A hash map answers an unknown or deleted key with its first one, so a walk must be bounded (map-type notes, part 7).
    """
    argument, alive = _elem(map_fd, key, 0)
    argument.value, keep = address_out(out)
    found = _found(BpfCmd.MAP_GET_NEXT_KEY, argument)
    del alive, keep
    return found


def map_lookup_batch(
    map_fd: int, token: object, token_out: object, keys: object, values: object, count: int, *, flags: int = 0
) -> BatchResult:
    """BPF_MAP_LOOKUP_BATCH: up to `count` entries into `keys` and `values`.

    token      where to start: None, or what an earlier call wrote to its token_out
    token_out  writable, at least max(4, key_size) bytes: hash maps write a u32 bucket index, others the last key
    raises     NotSupported where the type has no batch look-ups
    """
    argument = attr("map_batch")
    argument.in_batch, alive_token = address(token)
    argument.out_batch, alive_out = address_out(token_out)
    argument.keys, alive_keys = address_out(keys)
    argument.values, alive_values = address_out(values)
    argument.count = count
    argument.map_fd = map_fd
    argument.elem_flags = flags
    _, errno = attempt(BpfCmd.MAP_LOOKUP_BATCH, argument)
    del alive_token, alive_out, alive_keys, alive_values
    if errno == 0:
        return BatchResult(argument.count, BatchOutcome.MORE)
    if errno == ENOENT:
        return BatchResult(argument.count, BatchOutcome.END)
    if errno == ENOSPC:
        return BatchResult(0, BatchOutcome.GROW)
    raise error_for(BpfCmd.MAP_LOOKUP_BATCH, errno)


def map_update(map_fd: int, key: object, value: object, flags: int = 0) -> None:
    """BPF_MAP_UPDATE_ELEM: write a whole value; push, for maps without keys (key None)."""
    argument, alive = _elem(map_fd, key, flags)
    argument.value, keep = address(value)
    bpf(BpfCmd.MAP_UPDATE_ELEM, argument)
    del alive, keep


def map_update_batch(map_fd: int, keys: object, values: object, count: int) -> int:
    """BPF_MAP_UPDATE_BATCH: write `count` whole values; returns how many were written."""
    argument = attr("map_batch")
    argument.keys, alive_keys = address(keys)
    argument.values, alive_values = address(values)
    argument.count = count
    argument.map_fd = map_fd
    _, errno = attempt(BpfCmd.MAP_UPDATE_BATCH, argument)
    del alive_keys, alive_values
    if errno and errno != E2BIG:
        raise error_for(BpfCmd.MAP_UPDATE_BATCH, errno)
    return int(argument.count)


def map_delete(map_fd: int, key: object) -> bool:
    """BPF_MAP_DELETE_ELEM: False when there was no such key."""
    argument, alive = _elem(map_fd, key, 0)
    found = _found(BpfCmd.MAP_DELETE_ELEM, argument)
    del alive
    return found


def map_lookup_and_delete(map_fd: int, key: object, value: object) -> bool:
    """BPF_MAP_LOOKUP_AND_DELETE_ELEM: pop, for queues and stacks; False when there is nothing. Never for browsing."""
    argument, alive = _elem(map_fd, key, 0)
    argument.value, keep = address_out(value)
    found = _found(BpfCmd.MAP_LOOKUP_AND_DELETE_ELEM, argument)
    del alive, keep
    return found


def map_freeze(map_fd: int) -> None:
    """BPF_MAP_FREEZE: no write from user space ever after."""
    argument = attr("freeze")
    argument.map_fd = map_fd
    bpf(BpfCmd.MAP_FREEZE, argument)


def _found(cmd: BpfCmd, argument: Any) -> bool:
    """Call, and take ENOENT for the answer that it is on these commands: there is no such key."""
    _, errno = attempt(cmd, argument)
    if errno not in (0, ENOENT):
        raise error_for(cmd, errno)
    return errno == 0


def _elem(map_fd: int, key: object, flags: int) -> tuple[Any, object]:
    argument = attr("map_elem")
    argument.map_fd = map_fd
    argument.key, alive = address(key)
    argument.flags = flags
    return argument, alive


PER_CPU_TYPES = frozenset(
    {
        BpfMapType.PERCPU_HASH,
        BpfMapType.PERCPU_ARRAY,
        BpfMapType.LRU_PERCPU_HASH,
        BpfMapType.PERCPU_CGROUP_STORAGE,
    }
)
"""Types whose values come once for each possible CPU."""
