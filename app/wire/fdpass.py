"""Datagrams with descriptors beside them: SCM_RIGHTS, received close-on-exec, nothing ever left open by accident."""

from __future__ import annotations

import os
import socket
from array import array
from collections.abc import Iterable, Sequence

from app.wire.errors import BadFrame

_INT_BYTES = array("i").itemsize


def send(sock: socket.socket, datagram: bytes, descriptors: Sequence[int] = ()) -> None:
    """Send one datagram and copies of `descriptors`, which stay the caller's to close.

    raises  OSError (EPIPE when the other side has gone; no signal)
    """
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", descriptors))] if descriptors else []
    sock.sendmsg([datagram], ancillary, socket.MSG_NOSIGNAL)


def receive(sock: socket.socket, limit_bytes: int) -> bytes:
    """One datagram from a side that has no business passing descriptors; b"" at its end.

    With no room for ancillary data the kernel installs no descriptor at all, and says that it dropped some.

    raises  BadFrame when the datagram is longer than `limit_bytes`, or descriptors came with it
    """
    data, _, flags, _ = sock.recvmsg(limit_bytes)
    if flags & socket.MSG_CTRUNC:
        raise BadFrame("no descriptors", "some")
    if flags & socket.MSG_TRUNC:
        raise BadFrame(f"at most {limit_bytes} bytes", "more")
    return data


def receive_with(sock: socket.socket, limit_bytes: int, limit_descriptors: int) -> tuple[bytes, list[int]]:
    """One datagram and the descriptors beside it, the caller's to close; b"" at the other side's end.

    raises  BadFrame when either was cut short or is of another kind; what came is closed then
    """
    space = socket.CMSG_SPACE(limit_descriptors * _INT_BYTES)
    data, ancillary, flags, _ = sock.recvmsg(limit_bytes, space, socket.MSG_CMSG_CLOEXEC)
    descriptors: list[int] = []
    foreign = False
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            ints = array("i")
            ints.frombytes(content[: len(content) - len(content) % _INT_BYTES])
            descriptors.extend(ints)
        else:
            foreign = True
    if foreign or flags & (socket.MSG_CTRUNC | socket.MSG_TRUNC) or len(descriptors) > limit_descriptors:
        close_all(descriptors)
        raise BadFrame(f"at most {limit_bytes} bytes and {limit_descriptors} descriptors", "more")
    return data, descriptors


def close_all(descriptors: Iterable[int]) -> None:
    """Close each."""
    for descriptor in descriptors:
        os.close(descriptor)
