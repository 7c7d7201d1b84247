"""bpf(2), the commands on objects: ids, descriptors, pins, info; and loading of BTF, programs and links.

Every descriptor returned is close-on-exec and the caller's to close.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from errno import ENOENT, ENOSPC
from os import fsencode

from app.uapi.call import address, address_out, attempt, attr, bpf, error_for, ffi
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


def btf_load(data: bytes) -> int:
    """BPF_BTF_LOAD: a descriptor of a new BTF object."""
    argument = attr("btf_load")
    argument.btf, alive = address(data)
    argument.btf_size = len(data)
    try:
        return bpf(BpfCmd.BTF_LOAD, argument)
    finally:
        del alive


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgSpec:
    """Arguments of BPF_PROG_LOAD; `insns` is the raw ``struct bpf_insn`` array in host byte order."""

    type: int
    insns: bytes
    license: bytes = b"GPL"
    name: bytes = b""
    flags: int = 0
    expected_attach_type: int = 0
    attach_btf_id: int = 0
    attach_prog_fd: int = 0
    prog_btf_fd: int = 0
    log_bytes: int = 0
    """Room for the verifier's log; it ends the error's text when the program is refused."""


class ProgRefused(KernelError):
    """The verifier's own words, as far as log_bytes had room."""

    def __init__(self, error: KernelError, log: str) -> None:
        super().__init__(error.cmd, error.errno, f"the program was refused: {log.strip()[-2000:]}")
        self.log = log


def prog_load(spec: ProgSpec) -> int:
    """BPF_PROG_LOAD: a descriptor of the program.

    raises  ProgRefused with the verifier's log when log_bytes is given, otherwise KernelError
    """
    argument = attr("prog_load")
    argument.prog_type = spec.type
    argument.insn_cnt = len(spec.insns) // 8
    argument.insns, alive = address(spec.insns)
    licence = ffi.new("char[]", spec.license)
    argument.license = int(ffi.cast("uintptr_t", licence))
    argument.prog_name = spec.name[:15]
    argument.prog_flags = spec.flags
    argument.expected_attach_type = spec.expected_attach_type
    argument.attach_btf_id = spec.attach_btf_id
    argument.attach_prog_fd = spec.attach_prog_fd
    argument.prog_btf_fd = spec.prog_btf_fd
    log = bytearray(spec.log_bytes)
    if spec.log_bytes:
        argument.log_level = 1
        argument.log_size = spec.log_bytes
        argument.log_buf, keep = address_out(log)
    fd, errno = attempt(BpfCmd.PROG_LOAD, argument)
    if errno == ENOSPC and spec.log_bytes:
        # The log was too short for what the verifier had to say, which fails a program that is good.
        argument.log_level = argument.log_size = argument.log_buf = 0
        fd, errno = attempt(BpfCmd.PROG_LOAD, argument)
    del alive
    if errno:
        error = error_for(BpfCmd.PROG_LOAD, errno)
        if spec.log_bytes:
            del keep
            raise ProgRefused(error, log.split(b"\0", 1)[0].decode(errors="backslashreplace"))
        raise error
    return fd


def link_create(prog_fd: int, target_fd: int, attach_type: int, *, iter_map_fd: int | None = None, flags: int = 0) -> int:
    """BPF_LINK_CREATE; `iter_map_fd` is the map that a map-element iterator goes over."""
    argument = attr("link_create")
    argument.prog_fd = prog_fd
    argument.target_fd = target_fd
    argument.attach_type = attach_type
    argument.flags = flags
    info = ffi.new("uint32_t[4]")
    if iter_map_fd is not None:
        info[0] = iter_map_fd  # union bpf_iter_link_info: its first member is the map's descriptor
        argument.iter_info = int(ffi.cast("uintptr_t", info))
        argument.iter_info_len = 4
    return bpf(BpfCmd.LINK_CREATE, argument)


def iter_create(link_fd: int) -> int:
    """BPF_ITER_CREATE: a descriptor to read the iterator's output from."""
    argument = attr("iter_create")
    argument.link_fd = link_fd
    return bpf(BpfCmd.ITER_CREATE, argument)


def raw_tracepoint_open(name: bytes, prog_fd: int) -> int:
    """BPF_RAW_TRACEPOINT_OPEN; an empty name attaches a tp_btf program to what it was loaded for."""
    argument = attr("raw_tracepoint")
    text = ffi.new("char[]", name)
    argument.name = int(ffi.cast("uintptr_t", text)) if name else 0
    argument.prog_fd = prog_fd
    return bpf(BpfCmd.RAW_TRACEPOINT_OPEN, argument)


def prog_attach(target_fd: int, prog_fd: int, attach_type: int, flags: int = 0) -> None:
    """BPF_PROG_ATTACH."""
    argument = attr("prog_attach")
    argument.target_fd = target_fd
    argument.attach_bpf_fd = prog_fd
    argument.attach_type = attach_type
    argument.attach_flags = flags
    bpf(BpfCmd.PROG_ATTACH, argument)


def prog_detach(target_fd: int, prog_fd: int, attach_type: int) -> None:
    """BPF_PROG_DETACH."""
    argument = attr("prog_attach")
    argument.target_fd = target_fd
    argument.attach_bpf_fd = prog_fd
    argument.attach_type = attach_type
    bpf(BpfCmd.PROG_DETACH, argument)


def prog_test_run(prog_fd: int, data_in: bytes = b"", ctx_in: bytes = b"") -> int:
    """BPF_PROG_TEST_RUN, once: the program's return value (u32)."""
    argument = attr("test_run")
    argument.prog_fd = prog_fd
    if data_in:
        argument.data_in, alive_data = address(data_in)
        argument.data_size_in = len(data_in)
    if ctx_in:
        argument.ctx_in, alive_ctx = address(ctx_in)
        argument.ctx_size_in = len(ctx_in)
    bpf(BpfCmd.PROG_TEST_RUN, argument)
    return int(argument.retval)
