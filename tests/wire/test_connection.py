"""The asking side against a peer that misbehaves, each way chosen by name."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread

import msgspec
import pytest

from app.wire import bodies, fdpass, frame, sealed
from app.wire.connection import connect
from app.wire.errors import BadFrame, BrokerAbsent, BrokerClosed, BrokerSlow, WireError
from app.wire.frame import Outcome, Place

BODY = msgspec.msgpack.encode(bodies.PinList((), ""))
Peer = Callable[[socket.socket, int], None]


def good(sock: socket.socket, request_id: int) -> None:
    fdpass.send(sock, frame.answer(Outcome.ANSWERED, Place.INLINE, 0, request_id, len(BODY), BODY))


def in_file(sock: socket.socket, request_id: int) -> None:
    file = sealed.hold(BODY)
    fdpass.send(sock, frame.answer(Outcome.ANSWERED, Place.MEMORY_FILE, 0, request_id, len(BODY)), [file])
    os.close(file)


def hangs_up(sock: socket.socket, _: int) -> None:
    sock.close()


def says_nothing(sock: socket.socket, _: int) -> None:
    sock.recv(1)


def other_request(sock: socket.socket, request_id: int) -> None:
    good(sock, request_id + 1)


def noise(sock: socket.socket, _: int) -> None:
    fdpass.send(sock, b"\0" * 40)


def other_type(sock: socket.socket, request_id: int) -> None:
    body = msgspec.msgpack.encode([1, 2, 3])
    fdpass.send(sock, frame.answer(Outcome.ANSWERED, Place.INLINE, 0, request_id, len(body), body))


def too_many_descriptors(sock: socket.socket, request_id: int) -> None:
    fdpass.send(sock, frame.answer(Outcome.ANSWERED, Place.INLINE, 0, request_id, len(BODY), BODY), [0, 0])


def too_few_descriptors(sock: socket.socket, request_id: int) -> None:
    fdpass.send(sock, frame.answer(Outcome.ANSWERED, Place.MEMORY_FILE, 0, request_id, len(BODY)))


def unsealed_file(sock: socket.socket, request_id: int) -> None:
    file = os.memfd_create("x")
    os.write(file, BODY)
    fdpass.send(sock, frame.answer(Outcome.ANSWERED, Place.MEMORY_FILE, 0, request_id, len(BODY)), [file, 0])
    os.close(file)


def noise_in_a_file(sock: socket.socket, request_id: int) -> None:
    file = sealed.hold(b"\xc1\xc1")
    fdpass.send(sock, frame.answer(Outcome.ANSWERED, Place.MEMORY_FILE, 0, request_id, 2), [file])
    os.close(file)


@pytest.fixture
def listen(tmp_path: Path) -> Iterator[Callable[[list[Peer]], Path]]:
    """Listens and treats each connection's questions by the next of the given peers; what it accepted, it closes."""
    path = tmp_path / "s"
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    sock.bind(str(path))
    sock.listen()
    threads: list[Thread] = []

    def converse(peers: list[Peer]) -> None:
        for peer in peers:
            connection, _ = sock.accept()
            with connection:
                while connection.fileno() >= 0 and (datagram := connection.recv(frame.DATAGRAM_BYTES)):
                    peer(connection, frame.read_question(datagram).request_id)

    def run(peers: list[Peer]) -> Path:
        threads.append(Thread(target=converse, args=(peers,)))
        threads[-1].start()
        return path

    yield run
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    sock.close()


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("peer", [good, in_file], ids=lambda peer: peer.__name__)
def test_an_answer_is_read(listen: Callable[[list[Peer]], Path], peer: Peer) -> None:
    with connect(listen([peer])) as client:
        for _ in range(3):
            assert client.pins() == bodies.PinList((), "")


@pytest.mark.parametrize(
    ("peer", "error"),
    [
        (hangs_up, BrokerClosed),
        (says_nothing, BrokerSlow),
        (other_request, BadFrame),
        (noise, BadFrame),
        (other_type, BadFrame),
        (too_many_descriptors, BadFrame),
        (too_few_descriptors, BadFrame),
        (unsealed_file, BadFrame),
        (noise_in_a_file, BadFrame),
    ],
    ids=lambda value: value.__name__,
)
def test_a_peer_that_misbehaves_is_an_error_and_leaks_nothing(
    listen: Callable[[list[Peer]], Path], peer: Peer, error: type[WireError]
) -> None:
    path = listen([peer, good])
    before = descriptors()
    with connect(path, timeout_s=0.3) as client:
        with pytest.raises(error):
            client.pins()
        assert client.pins() == bodies.PinList((), ""), "the next question goes out on a fresh connection"
    deadline = 200
    while descriptors() > before and (deadline := deadline - 1):
        os.sched_yield()
    assert descriptors() <= before + 1  # the peer's end may close a moment later


def test_nobody_there_says_what_to_start(tmp_path: Path) -> None:
    with connect(tmp_path / "nothing") as client, pytest.raises(BrokerAbsent, match="start one with `bpf-atlas serve`"):
        client.maps()


def test_after_a_fork_each_process_has_connections_of_its_own(listen: Callable[[list[Peer]], Path]) -> None:
    with connect(listen([good, good])) as client:
        client.pins()
        child = os.fork()
        if not child:
            # The peer answers the child once the parent's connection has ended: had the child used that one, it
            # would wait for ever or take the parent's answers.
            transport = client._transport
            os._exit(0 if transport._take() is None else 1)  # type: ignore[attr-defined]
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        client.pins()
        client.close()
        client.pins()
