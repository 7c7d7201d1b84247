"""pidfd_getfd(2): a copy of another process's descriptor."""

from __future__ import annotations

import os

from app.uapi.call import ffi, raw_syscall

NR_PIDFD_GETFD = 438
"""The same number on every architecture; v5.6."""


def pidfd_getfd(process_fd: int, descriptor: int) -> int:
    """Copy a descriptor of the process behind a pidfd; close-on-exec, the caller's to close.

    raises  OSError: EPERM without the right to look into that process, EBADF for a descriptor that it does not have
    """
    found, number = raw_syscall(NR_PIDFD_GETFD, process_fd, ffi.cast("void *", descriptor), 0)
    if found < 0:
        raise OSError(number, os.strerror(number))
    return found
