"""Answers that list: maps, programs, links."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path

from app.broker import vmlinux
from app.broker.host import Host, Reply, text, with_fd
from app.uapi import objects
from app.uapi.enums import BpfLinkType, BpfMapFlag, BpfMapType
from app.uapi.errors import KernelError, ObjectGone
from app.wire import bodies
from app.wire.errors import UnusableHere

COUNTED = frozenset(
    {
        BpfMapType.HASH,
        BpfMapType.PERCPU_HASH,
        BpfMapType.LRU_HASH,
        BpfMapType.LRU_PERCPU_HASH,
        BpfMapType.HASH_OF_MAPS,
    }
)
"""Types for which bpf_map_sum_elem_count tells the truth; it says 0 for all others."""

_VMLINUX_BTF_ID = 1
_PERF_EVENTS = {1: "uprobe", 2: "uretprobe", 3: "kprobe", 4: "kretprobe", 5: "tracepoint", 6: "perf event"}


def answer_maps(host: Host, _: bodies.AskNothing) -> Reply:
    """Every map: opened for reading only, asked, and closed again."""
    counts = element_counts(host)
    maps, unreadable = [], []
    for map_id in objects.ids(objects.map_get_next_id):
        try:
            maps.append(with_fd(objects.map_get_fd_by_id(map_id, BpfMapFlag.RDONLY), lambda fd: map_facts(fd, counts)))
        except KernelError:
            unreadable.append(map_id)
    return Reply(bodies.MapList(tuple(maps), time.time_ns(), tuple(unreadable)))


def element_counts(host: Host) -> Mapping[int, int] | None:
    """Elements by map id; None where this kernel cannot count."""
    try:
        return host.iterators.element_counts()
    except UnusableHere:
        return None


def map_facts(map_fd: int, counts: Mapping[int, int] | None) -> bodies.MapFacts:
    """``struct bpf_map_info`` of an open map, and what only fdinfo tells."""
    info = objects.map_info(map_fd)
    memlock_bytes, frozen, owner = _fdinfo(map_fd)
    return bodies.MapFacts(
        id=info.id,
        type=info.type,
        name=text(info.name),
        key_size=info.key_size,
        value_size=info.value_size,
        max_entries=info.max_entries,
        map_flags=info.map_flags,
        map_extra=info.map_extra,
        btf_id=info.btf_id,
        btf_key_type_id=info.btf_key_type_id,
        btf_value_type_id=info.btf_value_type_id,
        btf_vmlinux_id=info.btf_vmlinux_id,
        btf_vmlinux_value_type_id=info.btf_vmlinux_value_type_id,
        ifindex=info.ifindex,
        memlock_bytes=memlock_bytes,
        frozen=frozen,
        owner_prog_type=owner,
        entries=counts.get(info.id) if counts is not None and info.type in COUNTED else None,
    )


def _fdinfo(fd: int) -> tuple[int, bool, int | None]:
    """Memory, frozen, type of the owning program: /proc is the only place that tells.

    source  kernel/bpf/syscall.c, bpf_map_show_fdinfo
    """
    descriptor = os.open(f"/proc/self/fdinfo/{fd}", os.O_RDONLY | os.O_CLOEXEC)
    lines = with_fd(descriptor, lambda opened: os.read(opened, 4096)).split(b"\n")
    facts = dict(line.split(b":\t", 1) for line in lines if b":\t" in line)
    owner = facts.get(b"owner_prog_type")
    return int(facts.get(b"memlock", 0)), facts.get(b"frozen", b"0") != b"0", None if owner is None else int(owner)


def answer_progs(_: Host, __: bodies.AskNothing) -> Reply:
    """Every program."""
    progs = []
    for prog_id in objects.ids(objects.prog_get_next_id):
        try:
            progs.append(with_fd(objects.prog_get_fd_by_id(prog_id), _prog_facts))
        except ObjectGone:
            continue
    return Reply(bodies.ProgList(tuple(progs)))


def _prog_facts(prog_fd: int) -> bodies.ProgFacts:
    info = objects.prog_info(prog_fd)
    return bodies.ProgFacts(
        id=info.id,
        type=info.type,
        name=text(info.name),
        tag=info.tag.hex(),
        map_ids=info.map_ids,
        btf_id=info.btf_id,
        loaded_at_ns=info.load_time_ns,
        created_by_uid=info.created_by_uid,
        run_time_ns=info.run_time_ns,
        run_count=info.run_cnt,
        memlock_bytes=_fdinfo(prog_fd)[0],
    )


def answer_links(_: Host, __: bodies.AskNothing) -> Reply:
    """Every link, with the name of the kernel function that a tracing link hangs on."""
    infos = []
    for link_id in objects.ids(objects.link_get_next_id):
        try:
            infos.append(with_fd(objects.link_get_fd_by_id(link_id), objects.link_info))
        except ObjectGone:
            continue
    functions = _function_names(infos)
    return Reply(bodies.LinkList(tuple(_link_facts(info, functions) for info in infos)))


def _function_names(infos: list[objects.LinkInfo]) -> dict[int, str]:
    """Names of the vmlinux types that tracing links are attached to."""
    wanted = {
        number
        for info in infos
        if info.details.get("target_obj_id") == _VMLINUX_BTF_ID
        and isinstance(number := info.details.get("target_btf_id"), int)
    }
    if not wanted:
        return {}
    try:
        return vmlinux.load(Path(vmlinux.PATH)).names_of(wanted)
    except UnusableHere:
        return {}


def _link_facts(info: objects.LinkInfo, functions: Mapping[int, str]) -> bodies.LinkFacts:
    numbers = {name: value for name, value in info.details.items() if isinstance(value, int)}
    return bodies.LinkFacts(
        id=info.id,
        type=info.type,
        prog_id=info.prog_id,
        attach_type=numbers.get("attach_type"),
        target=_target(info, numbers, functions),
        map_id=numbers.get("map_id") or None,
    )


def _target(info: objects.LinkInfo, numbers: Mapping[str, int], functions: Mapping[int, str]) -> str:
    """Say what a link is attached to, in words; empty where the kernel does not tell."""
    texts = {name: text(value) for name, value in info.details.items() if isinstance(value, bytes)}
    match info.type:
        case BpfLinkType.RAW_TRACEPOINT:
            return texts.get("tp_name", "")
        case BpfLinkType.TRACING:
            number = numbers.get("target_btf_id", 0)
            in_kernel = numbers.get("target_obj_id") == _VMLINUX_BTF_ID
            return functions.get(number, "") if in_kernel else f"type {number} of BTF {numbers.get('target_obj_id', 0)}"
        case BpfLinkType.CGROUP:
            return f"cgroup {numbers['cgroup_id']}"
        case BpfLinkType.ITER:
            return f"iterator {texts.get('target_name', '')}".strip()
        case BpfLinkType.NETNS:
            return f"network namespace {numbers['netns_ino']}"
        case BpfLinkType.XDP | BpfLinkType.TCX | BpfLinkType.NETKIT:
            return f"interface {numbers['ifindex']}"
        case BpfLinkType.PERF_EVENT:
            return f"{_PERF_EVENTS.get(numbers.get('type', 0), 'perf event')} {texts.get('name', '')}".strip()
        case BpfLinkType.NETFILTER:
            return f"netfilter family {numbers['pf']}, hook {numbers['hooknum']}, priority {numbers['priority']}"
        case BpfLinkType.STRUCT_OPS | BpfLinkType.SOCKMAP:
            return f"map {numbers['map_id']}"
        case _:
            return ""
