"""bpf(2), the commands that bring something into the kernel: BTF, programs, links, attachments; and one run of a program.

Every descriptor returned is close-on-exec and the caller's to close. The broker uses these before its filter closes, and
tests use them; nothing else does.
"""

from __future__ import annotations

from dataclasses import dataclass
from errno import ENOSPC

from app.uapi.call import address, address_out, attempt, attr, bpf, error_for, ffi
from app.uapi.enums import BpfCmd
from app.uapi.errors import KernelError


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


def link_create(
    prog_fd: int, target_fd: int, attach_type: int, *, iter_map_fd: int | None = None, flags: int = 0
) -> int:
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


def prog_test_run(prog_fd: int, data_in: bytes = b"", ctx_in: bytes = b"", *, repeat: int = 0) -> int:
    """BPF_PROG_TEST_RUN, once or `repeat` times where the program type can: the program's return value (u32)."""
    argument = attr("test_run")
    argument.prog_fd = prog_fd
    argument.repeat = repeat
    if data_in:
        argument.data_in, _alive_data = address(data_in)
        argument.data_size_in = len(data_in)
    if ctx_in:
        argument.ctx_in, _alive_ctx = address(ctx_in)
        argument.ctx_size_in = len(ctx_in)
    bpf(BpfCmd.PROG_TEST_RUN, argument)
    return int(argument.retval)
