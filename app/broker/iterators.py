"""Loads the iterator programs once and reads what they write."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from threading import RLock

from app.broker import programs, vmlinux
from app.broker.programs import IteratorProgram
from app.broker.vmlinux import Vmlinux
from app.uapi import loading
from app.uapi.enums import BpfAttachType, BpfMapType, BpfProgType
from app.uapi.errors import KernelError
from app.uapi.syscall import MapSpec, map_create
from app.wire.errors import UnusableHere

_Build = Callable[[], IteratorProgram]

_COUNT_KFUNC = "bpf_map_sum_elem_count"
_INIT_PID_NAMESPACE = 0xEFFFFFFC  # include/linux/proc_ns.h: PROC_PID_INIT_INO
_READ_BYTES = 256 * 1024
_LOG_BYTES = 1 << 16
# A minimal BTF: one int. Something to hold while the address of a BTF file's show_fdinfo is learnt.
_ONE_INT = bytes.fromhex(
    "9feb0100 18000000 00000000 10000000 10000000 05000000 01000000 00000001 04000000 20000000 00696e7400"
)


class Iterators:
    """Programs and links of this process; each is loaded at its first use, or all by `load_all` before the seccomp filter.

    Safe to share between threads. `UnusableHere` says why one cannot be had, each time again.
    """

    def __init__(self) -> None:
        self._lock = RLock()
        self._kernel: Vmlinux | None = None
        self._ids: dict[str, int] = {}
        self._programs: dict[str, int] = {}
        self._links: dict[str, int] = {}
        self._refusals: dict[str, str] = {}

    def load_all(self) -> None:
        """Load everything that this kernel takes, and let go of what was needed for it."""
        for prepare in (self._counts_link, self._holders_link, self._files_link, self._sockets_program):
            try:
                prepare()
            except UnusableHere:
                continue
        self._kernel = None

    def close(self) -> None:
        """Close all programs and links; the next use loads them again."""
        with self._lock:
            for descriptor in (*self._links.values(), *self._programs.values()):
                os.close(descriptor)
            self._links.clear()
            self._programs.clear()
            self._refusals.clear()

    def element_counts(self) -> dict[int, int]:
        """Count elements by map id, 0 also for types that keep no counter."""
        data = _read(self._counts_link())
        return {map_id: count for map_id, _, count in programs.COUNT.iter_unpack(data)}

    def holders(self) -> list[tuple[int, int, str, int, bytes]]:
        """Pid, descriptor, kind, object id, comm of every descriptor of a bpf object."""
        data = _read(self._holders_link())
        return [
            (pid, fd, programs.KINDS[kind], object_id, comm.split(b"\0", 1)[0])
            for pid, fd, kind, object_id, comm in programs.HOLDER.iter_unpack(data)
        ]

    def open_files(self) -> list[tuple[int, int, bytes]]:
        """Pid, descriptor, path (empty when too long) of every regular file and directory held open."""
        data = _read(self._files_link())
        found, at = [], 0
        while at < len(data):
            pid, fd, path_bytes = programs.OPEN_FILE.unpack_from(data, at)
            at += programs.OPEN_FILE.size
            found.append((pid, fd, data[at : at + path_bytes].split(b"\0", 1)[0]))
            at += path_bytes
        return found

    def socket_values(self, map_fd: int) -> bytes:
        """SOCKET records, each followed by its value, of an SK_STORAGE map."""
        link = loading.link_create(self._sockets_program(), 0, BpfAttachType.TRACE_ITER, iter_map_fd=map_fd)
        try:
            return _read(link)
        finally:
            os.close(link)

    def sockets_ready(self) -> None:
        """Load what `socket_values` needs."""
        self._sockets_program()

    def _counts_link(self) -> int:
        return self._link("counts", self._counts)

    def _holders_link(self) -> int:
        return self._link("holders", self._holders)

    def _files_link(self) -> int:
        return self._link("files", lambda: programs.open_files(self._vmlinux()))

    def _sockets_program(self) -> int:
        return self._program("sockets", lambda: programs.socket_values(self._vmlinux()))

    def _counts(self) -> IteratorProgram:
        kernel = self._vmlinux()
        if _COUNT_KFUNC not in self._ids:
            raise UnusableHere(
                f"this kernel has no {_COUNT_KFUNC}, which came with 6.6: entries are counted by reading"
            )
        return programs.element_counts(kernel, self._ids[_COUNT_KFUNC])

    def _holders(self) -> IteratorProgram:
        """Learn the addresses of show_fdinfo on descriptors of this process, one of each kind."""
        if os.stat("/proc/self/ns/pid").st_ino != _INIT_PID_NAMESPACE:
            raise UnusableHere(
                "the broker is in a pid namespace of its own, where the kernel's process ids mean nothing"
            )
        with ExitStack() as stack:
            map_fd = map_create(
                MapSpec(type=BpfMapType.ARRAY, key_size=4, value_size=4, max_entries=1, name=b"atlas_probe")
            )
            stack.callback(os.close, map_fd)
            btf_fd = loading.btf_load(_ONE_INT)
            stack.callback(os.close, btf_fd)
            prog_fd = self._load(programs.own_files(self._vmlinux()))
            stack.callback(os.close, prog_fd)
            link_fd = loading.link_create(prog_fd, 0, BpfAttachType.TRACE_ITER)
            stack.callback(os.close, link_fd)
            address = dict(programs.OWN_FILE.iter_unpack(_read(link_fd)))
            found = (address[map_fd], address[prog_fd], address[link_fd], address[btf_fd])
        if len(set(found)) != len(found) or 0 in found:
            raise UnusableHere("this kernel does not tell descriptors of maps, programs, links and BTF apart")
        return programs.holders(self._vmlinux(), found)

    def _link(self, name: str, build: _Build) -> int:
        with self._lock:
            if name not in self._links:
                program = self._program(name, build)
                try:
                    self._links[name] = loading.link_create(program, 0, BpfAttachType.TRACE_ITER)
                except KernelError as error:
                    self._refusals[name] = f"the iterator {name} cannot be started: {error}"
                    raise UnusableHere(self._refusals[name]) from None
            return self._links[name]

    def _program(self, name: str, build: _Build) -> int:
        with self._lock:
            if name in self._refusals:
                # A new error each time: one that is raised again would keep every frame that it ever went through.
                raise UnusableHere(self._refusals[name])
            if name not in self._programs:
                try:
                    self._programs[name] = self._load(build())
                except (UnusableHere, KernelError) as error:
                    self._refusals[name] = f"the iterator {name} cannot be loaded: {error}"
                    raise UnusableHere(self._refusals[name]) from None
            return self._programs[name]

    def _load(self, program: IteratorProgram) -> int:
        target = f"bpf_iter_{program.target}"
        if target not in self._ids:
            raise UnusableHere(f"this kernel has no iterator over {program.target}")
        spec = loading.ProgSpec(
            type=BpfProgType.TRACING,
            insns=program.insns,
            name=program.name,
            expected_attach_type=BpfAttachType.TRACE_ITER,
            attach_btf_id=self._ids[target],
        )
        try:
            return loading.prog_load(spec)
        except KernelError:
            # Once more, for the verifier's words.
            return loading.prog_load(replace(spec, log_bytes=_LOG_BYTES))

    def _vmlinux(self) -> Vmlinux:
        with self._lock:
            if self._kernel is None:
                self._kernel = vmlinux.load()
                targets = ("bpf_map", "task_file", "bpf_sk_storage_map")
                self._ids = self._kernel.func_ids([_COUNT_KFUNC, *(f"bpf_iter_{target}" for target in targets)])
            return self._kernel


def _read(link_fd: int) -> bytes:
    """All that one pass of an iterator writes."""
    descriptor = loading.iter_create(link_fd)
    parts: list[bytes] = []
    try:
        while True:
            try:
                part = os.read(descriptor, _READ_BYTES)
            except BlockingIOError:  # A million objects went by without output: the kernel wants to be asked again.
                continue
            if not part:
                return b"".join(parts)
            parts.append(part)
    finally:
        os.close(descriptor)
