"""Large bodies in sealed memory files: who receives one can map it without fear of it shrinking or changing."""

from __future__ import annotations

import fcntl
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EINVAL

from app.wire.errors import BadFrame

_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
_MFD_NOEXEC_SEAL = 0x0008  # v6.3, include/uapi/linux/memfd.h


def hold(data: bytes) -> int:
    """Make a sealed memory file that holds `data`; its descriptor is the caller's to close."""
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    try:
        descriptor = os.memfd_create("bpf-atlas-answer", flags | _MFD_NOEXEC_SEAL)
    except OSError as error:
        if error.errno != EINVAL:
            raise
        descriptor = os.memfd_create("bpf-atlas-answer", flags)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


@contextmanager
def opened(descriptor: int, size_bytes: int) -> Iterator[memoryview]:
    """Map the content of a received memory file for reading; `descriptor` stays the caller's to close.

    raises  BadFrame unless it is a sealed memory file of exactly `size_bytes`
    """
    try:
        seals = fcntl.fcntl(descriptor, fcntl.F_GET_SEALS)
    except OSError:
        raise BadFrame("a sealed memory file", "another kind of file") from None
    found_bytes = os.fstat(descriptor).st_size
    if seals & _SEALS != _SEALS or found_bytes != size_bytes or not size_bytes:
        raise BadFrame(f"a sealed memory file of {size_bytes} bytes", f"seals {seals:#x}, {found_bytes} bytes")
    with mmap.mmap(descriptor, size_bytes, mmap.MAP_SHARED, mmap.PROT_READ) as area, memoryview(area) as view:
        yield view
