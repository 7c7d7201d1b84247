"""Descriptors arrive closed on exec, and none is left open that nobody asked for."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from app.wire import fdpass
from app.wire.errors import BadFrame

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    one, two = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with one, two:
        yield one, two


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_a_descriptor_arrives_and_is_closed_on_exec(pair: Pair) -> None:
    reading, writing = os.pipe()
    fdpass.send(pair[0], b"here", [writing])
    data, received = fdpass.receive_with(pair[1], 100, 2)
    assert (data, len(received)) == (b"here", 1)
    assert not os.get_inheritable(received[0])
    os.write(received[0], b"x")
    assert os.read(reading, 1) == b"x"
    fdpass.close_all([reading, writing, *received])


@pytest.mark.parametrize(("size_bytes", "count"), [(50, 3), (50, 200), (101, 1), (101, 0)])
def test_more_than_was_asked_for_is_closed_and_refused(pair: Pair, size_bytes: int, count: int) -> None:
    before = open_descriptors()
    fdpass.send(pair[0], bytes(size_bytes), [0] * count)
    with pytest.raises(BadFrame):
        fdpass.receive_with(pair[1], 100, 2)
    assert open_descriptors() == before


@pytest.mark.parametrize("count", [1, 2, 250])
def test_who_expects_none_gets_none(pair: Pair, count: int) -> None:
    before = open_descriptors()
    fdpass.send(pair[0], b"x", [0] * count)
    with pytest.raises(BadFrame, match="no descriptors"):
        fdpass.receive(pair[1], 100)
    assert open_descriptors() == before


def test_a_datagram_that_is_too_long_is_refused(pair: Pair) -> None:
    fdpass.send(pair[0], bytes(101))
    with pytest.raises(BadFrame, match="at most 100 bytes"):
        fdpass.receive(pair[1], 100)


def test_the_end_is_empty(pair: Pair) -> None:
    pair[0].close()
    assert fdpass.receive(pair[1], 100) == b""
    assert fdpass.receive_with(pair[1], 100, 2) == (b"", [])
