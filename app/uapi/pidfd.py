"""pidfd_getfd(2): a copy of another process's descriptor; and pidfd_open(2) of any thread."""

from __future__ import annotations

import os

from app.uapi.call import ffi, raw_syscall

NR_PIDFD_GETFD = 438
"""The same number on every architecture; v5.6."""


PIDFD_THREAD = os.O_EXCL
"""Of pidfd_open(2), v6.9."""


def pidfd_of_task(tid: int) -> int:
    """A pidfd of a task, also of a thread that leads no process; the caller's to close. raises OSError"""
    try:
        return os.pidfd_open(tid, 0)
    except OSError:
        return os.pidfd_open(tid, PIDFD_THREAD)


def pidfd_getfd(process_fd: int, descriptor: int) -> int:
    """Copy a descriptor of the process behind a pidfd; close-on-exec, the caller's to close.

    raises  OSError: EPERM without the right to look into that process, EBADF for a descriptor that it does not have
    """
    found, number = raw_syscall(NR_PIDFD_GETFD, process_fd, ffi.cast("void *", descriptor), 0)
    if found < 0:
        raise OSError(number, os.strerror(number))
    return found
