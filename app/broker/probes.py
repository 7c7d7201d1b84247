"""What this host allows, found by trying: the answer to hello, which `doctor` prints."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from app import __version__
from app.broker import pins
from app.broker.host import Host, Reply, with_fd
from app.errors import AppError
from app.uapi import objects, syscall
from app.uapi.cpus import possible_cpus
from app.uapi.enums import BpfMapFlag, BpfMapType
from app.uapi.errors import KernelError, NotSupported, ObjectGone
from app.uapi.syscall import MapSpec, map_create
from app.wire import bodies

NOBODY = 65534
KEPT_S = 15.0
"""Findings are this old at most."""
_AS_ROOT = "start the broker as root in the initial user namespace, with CAP_BPF, CAP_PERFMON and CAP_SYS_ADMIN"
_BTF = "run a kernel that was built with CONFIG_DEBUG_INFO_BTF=y, as distributions' kernels are"


class _NotSo(AppError):
    """A probe's finding that is no error of the kernel's."""


def answer_hello(host: Host, _: bodies.AskNothing) -> Reply:
    """Facts about the broker and its host; what cannot be tried again in a confined process was tried at start."""
    release = os.uname()
    return Reply(
        bodies.Hello(
            version=__version__,
            kernel_release=release.release,
            hostname=release.nodename,
            boot_id=Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
            pid=os.getpid(),
            possible_cpus=possible_cpus(),
            effective_capabilities=_status("CapEff"),
            passes_descriptors=host.passes_descriptors,
            capabilities=_capabilities(host),
        )
    )


def _capabilities(host: Host) -> tuple[bodies.Capability, ...]:
    """Try again after KEPT_S: hello is also how others see whether the broker lives, and looking at all is not free."""
    with host.lock:
        if not host.found or time.monotonic() > host.found_until_s:
            host.tried = host.tried or at_start()
            host.found = (*_now(host), *host.tried)
            host.found_until_s = time.monotonic() + KEPT_S
        return host.found


def at_start() -> tuple[bodies.Capability, ...]:
    """Try what takes rights that the broker gives up: a map of our own, and a child that is nobody."""
    return (
        _try(
            "passing",
            _as_nobody,
            "a process without any right reads a map through a read-only descriptor",
            "nothing needs doing: the broker reads instead, more slowly; kernels from 5.19 on, and containers whose seccomp "
            "profile lets bpf(2) through, read by themselves",
        ),
        _try(
            "batch",
            _batch,
            "BPF_MAP_LOOKUP_BATCH reads many entries at once",
            "run a kernel of 5.6 or newer",
        ),
    )


def passes(tried: tuple[bodies.Capability, ...]) -> bool:
    """Whether readers may use passed descriptors, by what `at_start` found."""
    return any(each.works for each in tried if each.name == "passing")


def _now(host: Host) -> tuple[bodies.Capability, ...]:
    iterate = host.iterators
    mount = f"`mount -t bpf bpf {host.bpffs}`, or set bpffs to where yours is"
    return (
        _try("bpf", _bpf, "this kernel has bpf(2)", "run a kernel with CONFIG_BPF_SYSCALL=y"),
        _try("list", _list_maps, "all maps of the host can be listed", _AS_ROOT),
        _try("open", _open_any, "maps can be opened by their id, for reading only", _AS_ROOT),
        _try("btf", _kernel_btf, "the kernel's own types are readable", _BTF),
        _try("bpffs", lambda: _bpffs(host), f"a bpffs is mounted at {host.bpffs}", mount),
        _try(
            "counts",
            iterate.element_counts,
            "the kernel counts the entries of hash maps without reading them (bpf_map_sum_elem_count)",
            "run a kernel of 6.6 or newer with BTF; until then entries are counted by reading them",
        ),
        _try(
            "processes",
            iterate.holders,
            "descriptors of all processes are found by an iterator over tasks' files",
            "without it /proc is walked, which shows other users' processes only to root with CAP_SYS_PTRACE",
        ),
        _try("files", iterate.open_files, "owners of inode storage are looked for among all open files", _AS_ROOT),
        _try(
            "sockets",
            iterate.sockets_ready,
            "sockets that own storage are enumerated by an iterator",
            "run a kernel of 5.9 or newer with BTF",
        ),
    )


def _try(name: str, probe: Callable[[], object], works: str, remedy: str) -> bodies.Capability:
    try:
        probe()
    except (AppError, OSError) as error:
        return bodies.Capability(name=name, works=False, found=str(error), remedy=remedy)
    return bodies.Capability(name=name, works=True, found=works, remedy="")


def _bpf() -> None:
    try:
        objects.map_get_next_id(0)
    except NotSupported:
        raise
    except KernelError:  # Refused is not missing.
        return


def _list_maps() -> None:
    objects.map_get_next_id(0)


def _open_any() -> None:
    for map_id in objects.ids(objects.map_get_next_id):
        try:
            os.close(objects.map_get_fd_by_id(map_id, BpfMapFlag.RDONLY))
        except ObjectGone:
            continue
        return


def _kernel_btf() -> None:
    with Path("/sys/kernel/btf/vmlinux").open("rb") as file:
        file.read(1)


def _bpffs(host: Host) -> None:
    if not pins.is_mounted(host.bpffs):
        raise _NotSo(f"no bpffs is mounted at {host.bpffs}, so pins cannot be seen")


def _own_map() -> int:
    """Open read-only a map of our own; it is gone when that is closed. An array has its entry without being written to."""
    spec = MapSpec(type=BpfMapType.ARRAY, key_size=4, value_size=4, max_entries=1, name=b"atlas_probe")
    writable = map_create(spec)
    try:
        return objects.map_get_fd_by_id(objects.map_info(writable).id, BpfMapFlag.RDONLY)
    finally:
        os.close(writable)


def _batch() -> None:
    def read(fd: int) -> None:
        syscall.map_lookup_batch(fd, None, bytearray(4), bytearray(4), bytearray(4), 1)

    with_fd(_own_map(), read)


def _as_nobody() -> None:
    """In a child that gave up everything, as the web does, look up through an inherited read-only descriptor."""
    from app.uapi import confine  # it brings a C parser, and only hello comes here

    def look(fd: int) -> int:
        child = os.fork()
        if child:
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        code = 2
        try:
            uid = os.getuid() or NOBODY
            confine.powerless(uid, os.getgid() or NOBODY)
            code = 0 if syscall.map_lookup(fd, bytes(4), bytearray(4)) else 1
        except AppError:
            code = 1
        finally:
            os._exit(code)

    if with_fd(_own_map(), look):
        raise _NotSo("a process without rights was refused a look-up through a read-only descriptor that it was passed")


def _status(field: str) -> str:
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, value = line.partition(":\t")
        if name == field:
            return value
    return ""
