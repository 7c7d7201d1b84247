"""The one door to bpf(2): a struct of app/uapi/_abi.py goes in, the kernel's answer or an error comes out.

The call goes through ``syscall`` of the C library with one fixed prototype, so that cffi needs no compiler; it releases
the interpreter's lock while the kernel works.
"""

from __future__ import annotations

import errno as _errno
import platform
from typing import Any

from app.uapi import _abi
from app.uapi.enums import BpfCmd
from app.uapi.errors import KernelError, error_for

ffi: Any = _abi.ffi
_C: Any = ffi.dlopen(None)

# __NR_bpf: arch/*/entry/syscalls and include/uapi/asm-generic/unistd.h.
_NUMBER = {
    "x86_64": 321,
    "aarch64": 280,
    "riscv64": 280,
    "loongarch64": 280,
    "s390x": 351,
    "ppc64le": 361,
    "ppc64": 361,
}
NR_BPF = _NUMBER.get(platform.machine(), 280)

type_cache: dict[str, Any] = {}

Readable = bytes | bytearray | memoryview
"""What can be handed to the kernel to read from."""


def attr(kind: str) -> Any:
    """A zeroed ``struct kind`` of _abi.py."""
    pointer = type_cache.get(kind)
    if pointer is None:
        pointer = type_cache[kind] = ffi.typeof(f"struct {kind} *")
    return ffi.new(pointer)


def address(buffer: object) -> tuple[int, object]:
    """Address of a readable buffer, and what must stay alive while it is used; 0 for None."""
    if buffer is None:
        return 0, None
    view = ffi.from_buffer(buffer)
    return int(ffi.cast("uintptr_t", view)), view


def address_out(buffer: object) -> tuple[int, object]:
    """Address of a buffer that the kernel will write to, and what must stay alive meanwhile; 0 for None."""
    if buffer is None:
        return 0, None
    view = ffi.from_buffer("char[]", buffer, require_writable=True)
    return int(ffi.cast("uintptr_t", view)), view


def bpf(cmd: BpfCmd, argument: Any) -> int:
    """Ask the kernel.

    returns  what the kernel returns: 0, a descriptor or a count
    raises   KernelError, by app/uapi/errors.py
    """
    result, errno = attempt(cmd, argument)
    if errno:
        raise error_for(cmd, errno)
    return result


def attempt(cmd: BpfCmd, argument: Any) -> tuple[int, int]:
    """As `bpf`, with the errno as a second result instead of an error (0: it went well)."""
    size = ffi.sizeof(argument[0])
    while True:
        result: int = _C.syscall(NR_BPF, int(cmd), argument, size)
        if result >= 0:
            return result, 0
        errno: int = ffi.errno
        if errno not in (_errno.EINTR, _errno.EAGAIN):
            return result, errno


def raw_syscall(number: int, first: int, second: Any, third: int) -> tuple[int, int]:
    """Another system call through the same door: (result, errno)."""
    result: int = _C.syscall(number, first, second, third)
    return result, ffi.errno if result < 0 else 0


__all__ = [
    "KernelError",
    "Readable",
    "address",
    "address_out",
    "attempt",
    "attr",
    "bpf",
    "error_for",
    "ffi",
    "raw_syscall",
]
