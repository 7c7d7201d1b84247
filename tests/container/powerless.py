"""Plays a seccomp profile that refuses bpf(2) to processes without capabilities, which no profile's text can say.

Docker's own refuses it to a container without CAP_SYS_ADMIN as a whole. Here the kernel asks this process about each
call that readers make (SECCOMP_RET_USER_NOTIF), and it looks at who calls.
"""

from __future__ import annotations

import array
import contextlib
import copy
import errno
import fcntl
import os
import select
import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.uapi.confine import READER_COMMANDS
from tests.container.running import shipped_profile, status_of

_NOTIFICATION = struct.Struct("=QII iIQ6Q")  # struct seccomp_notif
_RESPONSE = struct.Struct("=QqiI")  # struct seccomp_notif_resp
_RECEIVE, _SEND = 0xC0502100, 0xC0182101  # SECCOMP_IOCTL_NOTIF_RECV, _SEND
_CONTINUE = 1


def asking_profile(listener: Path) -> dict[str, Any]:
    """The shipped profile, but the commands of readers ask at the socket `listener`."""
    profile = copy.deepcopy(shipped_profile())
    for rule in profile["syscalls"]:
        if rule["names"] == ["bpf"] and rule["args"][0]["value"] in READER_COMMANDS:
            rule["action"] = "SCMP_ACT_NOTIFY"
    return profile | {"listenerPath": str(listener)}


@dataclass
class Refuser:
    """Answers the kernel's questions; `refused` are the threads that got EPERM, `let` counts the other calls."""

    refused: set[int] = field(default_factory=set)
    let: int = 0

    def serve(self, listener: socket.socket, stop: threading.Event) -> None:
        """Each connection brings one notification descriptor: the container's, and one for each `exec` into it."""
        poll = select.poll()
        poll.register(listener, select.POLLIN)
        descriptors: set[int] = set()
        while not stop.is_set():
            for descriptor, event in poll.poll(100):
                if descriptor == listener.fileno():
                    with listener.accept()[0] as connection:
                        _, sent, _, _ = connection.recvmsg(1 << 16, socket.CMSG_SPACE(4))
                    received = array.array("i", sent[0][2])[0]
                    descriptors.add(received)
                    poll.register(received, select.POLLIN)
                elif event & select.POLLIN:
                    self._answer(descriptor)
                else:  # the last process behind it has ended
                    poll.unregister(descriptor)
                    descriptors.discard(descriptor)
                    os.close(descriptor)
        for descriptor in descriptors:
            os.close(descriptor)

    def _answer(self, descriptor: int) -> None:
        asked = bytearray(_NOTIFICATION.size)
        with contextlib.suppress(OSError):  # it was killed meanwhile
            fcntl.ioctl(descriptor, _RECEIVE, asked)
            call_id, thread, *_ = _NOTIFICATION.unpack(asked)
            if int(status_of(thread)["CapEff"], 16):
                self.let += 1
                answer = _RESPONSE.pack(call_id, 0, 0, _CONTINUE)
            else:
                self.refused.add(thread)
                answer = _RESPONSE.pack(call_id, 0, -errno.EPERM, 0)
            fcntl.ioctl(descriptor, _SEND, bytearray(answer))


@contextlib.contextmanager
def refusing(path: Path) -> Iterator[Refuser]:
    """A Refuser that listens at `path` until the block ends."""
    refuser, stop = Refuser(), threading.Event()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen(8)
        thread = threading.Thread(target=refuser.serve, args=(listener, stop), daemon=True)
        thread.start()
        try:
            yield refuser
        finally:
            stop.set()
            thread.join()
