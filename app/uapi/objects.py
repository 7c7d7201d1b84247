"""bpf(2), the commands on objects that exist: ids, descriptors, pins, info. `loading` has those that make new ones.

Every descriptor returned is close-on-exec and the caller's to close.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from errno import ENOENT
from os import fsencode

from app.uapi.call import address_out, attempt, attr, bpf, error_for, ffi
from app.uapi.enums import BpfCmd, BpfLinkType
from app.uapi.errors import KernelError

LIMIT_IDS = 1 << 20
"""More ids than any host has: an end for loops that the kernel steers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MapInfo:
    """``struct bpf_map_info``."""

    type: int
    id: int
    key_size: int
    value_size: int
    max_entries: int
    map_flags: int
    name: bytes
    ifindex: int
    btf_id: int
    btf_key_type_id: int
    btf_value_type_id: int
    btf_vmlinux_id: int
    btf_vmlinux_value_type_id: int
    map_extra: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgInfo:
    """``struct bpf_prog_info``, what relations need of it."""

    type: int
    id: int
    name: bytes
    tag: bytes
    map_ids: tuple[int, ...]
    btf_id: int
    load_time_ns: int
    """CLOCK_BOOTTIME."""
    created_by_uid: int
    run_time_ns: int
    run_cnt: int
    attach_btf_obj_id: int
    attach_btf_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkInfo:
    """``struct bpf_link_info``; `details` has the fields of its type, texts as bytes."""

    type: int
    id: int
    prog_id: int
    details: dict[str, int | bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class BtfInfo:
    """``struct bpf_btf_info`` without its data."""

    id: int
    size_bytes: int
    name: bytes
    kernel: bool


def _next_id(cmd: BpfCmd, start: int) -> int | None:
    argument = attr("get_id")
    argument.id = start
    _, errno = attempt(cmd, argument)
    if errno == ENOENT:
        return None
    if errno:
        raise error_for(cmd, errno)
    return int(argument.next_id)


def map_get_next_id(start: int) -> int | None:
    """BPF_MAP_GET_NEXT_ID: the least map id above `start`, None after the last."""
    return _next_id(BpfCmd.MAP_GET_NEXT_ID, start)


def prog_get_next_id(start: int) -> int | None:
    """BPF_PROG_GET_NEXT_ID."""
    return _next_id(BpfCmd.PROG_GET_NEXT_ID, start)


def link_get_next_id(start: int) -> int | None:
    """BPF_LINK_GET_NEXT_ID."""
    return _next_id(BpfCmd.LINK_GET_NEXT_ID, start)


def btf_get_next_id(start: int) -> int | None:
    """BPF_BTF_GET_NEXT_ID."""
    return _next_id(BpfCmd.BTF_GET_NEXT_ID, start)


def ids(next_id: Callable[[int], int | None]) -> Iterator[int]:
    """All ids by one of the four functions above, ascending."""
    found = next_id(0)
    for _ in range(LIMIT_IDS):
        if found is None:
            return
        yield found
        found = next_id(found)


def _fd_by_id(cmd: BpfCmd, object_id: int, flags: int) -> int:
    argument = attr("get_id")
    argument.id = object_id
    argument.open_flags = flags
    return bpf(cmd, argument)


def map_get_fd_by_id(map_id: int, flags: int = 0) -> int:
    """BPF_MAP_GET_FD_BY_ID; flags BpfMapFlag.RDONLY or WRONLY bind the descriptor."""
    return _fd_by_id(BpfCmd.MAP_GET_FD_BY_ID, map_id, flags)


def prog_get_fd_by_id(prog_id: int) -> int:
    """BPF_PROG_GET_FD_BY_ID."""
    return _fd_by_id(BpfCmd.PROG_GET_FD_BY_ID, prog_id, 0)


def link_get_fd_by_id(link_id: int) -> int:
    """BPF_LINK_GET_FD_BY_ID."""
    return _fd_by_id(BpfCmd.LINK_GET_FD_BY_ID, link_id, 0)


def btf_get_fd_by_id(btf_id: int) -> int:
    """BPF_BTF_GET_FD_BY_ID."""
    return _fd_by_id(BpfCmd.BTF_GET_FD_BY_ID, btf_id, 0)


def obj_get(path: str | bytes, flags: int = 0) -> int:
    """BPF_OBJ_GET: open a pin; flags as map_get_fd_by_id (0 for programs and links)."""
    argument = attr("obj")
    name = ffi.new("char[]", fsencode(path))
    argument.pathname = int(ffi.cast("uintptr_t", name))
    argument.file_flags = flags
    return bpf(BpfCmd.OBJ_GET, argument)


def obj_pin(path: str | bytes, fd: int) -> None:
    """BPF_OBJ_PIN."""
    argument = attr("obj")
    name = ffi.new("char[]", fsencode(path))
    argument.pathname = int(ffi.cast("uintptr_t", name))
    argument.bpf_fd = fd
    bpf(BpfCmd.OBJ_PIN, argument)


def _info(fd: int, info: object) -> None:
    # The buffer is input too: the kernel refuses one whose tail beyond what it knows is not zero, and reads sizes
    # and addresses from it where it is to fill in lists.
    argument = attr("info_by_fd")
    argument.bpf_fd = fd
    argument.info_len = ffi.sizeof(info[0])  # type: ignore[index]
    argument.info = int(ffi.cast("uintptr_t", info))
    bpf(BpfCmd.OBJ_GET_INFO_BY_FD, argument)


def map_info(fd: int) -> MapInfo:
    """BPF_OBJ_GET_INFO_BY_FD of a map."""
    info = attr("map_info")
    _info(fd, info)
    return MapInfo(
        type=info.type,
        id=info.id,
        key_size=info.key_size,
        value_size=info.value_size,
        max_entries=info.max_entries,
        map_flags=info.map_flags,
        name=ffi.string(info.name),
        ifindex=info.ifindex,
        btf_id=info.btf_id,
        btf_key_type_id=info.btf_key_type_id,
        btf_value_type_id=info.btf_value_type_id,
        btf_vmlinux_id=info.btf_vmlinux_id,
        btf_vmlinux_value_type_id=info.btf_vmlinux_value_type_id,
        map_extra=info.map_extra,
    )


def prog_info(fd: int) -> ProgInfo:
    """BPF_OBJ_GET_INFO_BY_FD of a program, with the ids of its maps."""
    info = attr("prog_info")
    _info(fd, info)
    map_ids = ffi.new("uint32_t[]", max(info.nr_map_ids, 1))
    if info.nr_map_ids:
        again = attr("prog_info")
        again.nr_map_ids = info.nr_map_ids
        again.map_ids = int(ffi.cast("uintptr_t", map_ids))
        _info(fd, again)
        info = again
    return ProgInfo(
        type=info.type,
        id=info.id,
        name=ffi.string(info.name),
        tag=bytes(info.tag),
        map_ids=tuple(map_ids[0 : min(info.nr_map_ids, len(map_ids))]) if info.nr_map_ids else (),
        btf_id=info.btf_id,
        load_time_ns=info.load_time,
        created_by_uid=info.created_by_uid,
        run_time_ns=info.run_time_ns,
        run_cnt=info.run_cnt,
        attach_btf_obj_id=info.attach_btf_obj_id,
        attach_btf_id=info.attach_btf_id,
    )


_LINK_PARTS: dict[BpfLinkType, tuple[str, tuple[str, ...]]] = {
    BpfLinkType.RAW_TRACEPOINT: ("raw_tracepoint", ()),
    BpfLinkType.TRACING: ("tracing", ("attach_type", "target_obj_id", "target_btf_id")),
    BpfLinkType.CGROUP: ("cgroup", ("cgroup_id", "attach_type")),
    BpfLinkType.ITER: ("iter", ("map_id",)),
    BpfLinkType.NETNS: ("netns", ("netns_ino", "attach_type")),
    BpfLinkType.XDP: ("xdp", ("ifindex",)),
    BpfLinkType.PERF_EVENT: ("perf_event", ("type",)),
    BpfLinkType.STRUCT_OPS: ("struct_ops", ("map_id",)),
    BpfLinkType.NETFILTER: ("netfilter", ("pf", "hooknum", "priority", "flags")),
    BpfLinkType.TCX: ("tcx", ("ifindex", "attach_type")),
    BpfLinkType.NETKIT: ("tcx", ("ifindex", "attach_type")),
    BpfLinkType.SOCKMAP: ("sockmap", ("map_id", "attach_type")),
}

_LINK_TEXTS: dict[BpfLinkType, tuple[str, str, str]] = {
    BpfLinkType.RAW_TRACEPOINT: ("raw_tracepoint", "tp_name", "tp_name_len"),
    BpfLinkType.ITER: ("iter", "target_name", "target_name_len"),
    BpfLinkType.PERF_EVENT: ("perf_event", "name", "name_len"),
}


def link_info(fd: int) -> LinkInfo:
    """BPF_OBJ_GET_INFO_BY_FD of a link, with the name of what it is attached to where the kernel tells one."""
    info = attr("link_info")
    _info(fd, info)
    details: dict[str, int | bytes] = {}
    kind = info.type
    if kind in _LINK_TEXTS:
        part, pointer, length = _LINK_TEXTS[kind]
        text = ffi.new("char[]", 256)
        again = attr("link_info")
        setattr(getattr(again, part), pointer, int(ffi.cast("uintptr_t", text)))
        setattr(getattr(again, part), length, 256)
        try:
            _info(fd, again)
        except KernelError:  # ENOSPC: longer than any name that the kernel keeps; the rest is still worth showing
            details[pointer] = b""
        else:
            info = again
            details[pointer] = ffi.string(text)
    if kind in _LINK_PARTS:
        part, names = _LINK_PARTS[kind]
        details |= {name: int(getattr(getattr(info, part), name)) for name in names}
    return LinkInfo(type=kind, id=info.id, prog_id=info.prog_id, details=details)


def btf_info(fd: int) -> BtfInfo:
    """BPF_OBJ_GET_INFO_BY_FD of a BTF object."""
    name = ffi.new("char[]", 128)
    info = attr("btf_info")
    info.name = int(ffi.cast("uintptr_t", name))
    info.name_len = 128
    _info(fd, info)
    return BtfInfo(id=info.id, size_bytes=info.btf_size, name=ffi.string(name), kernel=bool(info.kernel_btf))


def btf_data(fd: int) -> bytes:
    """The raw BTF of a BTF object, as it was loaded."""
    size_bytes = btf_info(fd).size_bytes
    data = bytearray(size_bytes)
    info = attr("btf_info")
    info.btf, alive = address_out(data)
    info.btf_size = size_bytes
    _info(fd, info)
    del alive
    return bytes(data)


LIMIT_ATTACHED = 64
"""Programs that one hook takes: BPF_CGROUP_MAX_PROGS."""


def prog_query(target_fd: int, attach_type: int) -> tuple[int, ...]:
    """BPF_PROG_QUERY: ids of the programs attached to a cgroup, a network namespace or a socket map, in order of running.

    It names also those that were attached without a link. Needs CAP_NET_ADMIN or CAP_SYS_ADMIN.
    """
    argument = attr("prog_query")
    argument.target_fd = target_fd
    argument.attach_type = attach_type
    found = ffi.new("uint32_t[]", LIMIT_ATTACHED)
    argument.prog_ids = int(ffi.cast("uintptr_t", found))
    argument.prog_cnt = LIMIT_ATTACHED
    bpf(BpfCmd.PROG_QUERY, argument)
    return tuple(found[0 : argument.prog_cnt])


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFd:
    """What a descriptor of a task runs: a perf event or raw tracepoint with a program on it."""

    prog_id: int
    fd_type: int
    """``enum bpf_task_fd_type``: 0 raw tracepoint, 1 tracepoint, 2 kprobe, 3 kretprobe, 4 uprobe, 5 uretprobe."""
    name: bytes
    """Of the tracepoint, function or file."""
    probe_offset: int


def task_fd_query(pid: int, fd: int) -> TaskFd:
    """BPF_TASK_FD_QUERY: the program behind a perf event's or raw tracepoint's descriptor in process `pid`.

    raises  NotSupported for any other descriptor, ObjectGone when there is none of that number
    """
    argument = attr("task_fd_query")
    argument.pid = pid
    argument.fd = fd
    name = ffi.new("char[]", 256)
    argument.buf = int(ffi.cast("uintptr_t", name))
    argument.buf_len = 256
    bpf(BpfCmd.TASK_FD_QUERY, argument)
    return TaskFd(
        prog_id=argument.prog_id,
        fd_type=argument.fd_type,
        name=ffi.string(name),
        probe_offset=argument.probe_offset,
    )
