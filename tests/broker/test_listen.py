"""The socket under peers of every kind: strangers, liars, the clumsy, and a thousand good questions."""

from __future__ import annotations

import os
import random
import socket
import struct
import time
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import msgspec
import pytest

from app.broker import log
from app.broker.errors import CannotListen
from app.broker.listen import bind
from app.uapi.errors import ObjectGone
from app.wire import bodies, fdpass, frame
from app.wire.ask import Client
from app.wire.connection import connect
from app.wire.errors import BrokerAbsent, BrokerClosed
from app.wire.verbs import Verb
from tests.broker.conftest import (
    RECORDER_UID,
    STRANGER_UID,
    WEB_UID,
    Running,
    as_account,
    fill,
    id_of,
    start,
)

pytestmark = pytest.mark.kernel


def open_connection(broker: Running) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    sock.settimeout(10)
    sock.connect(str(broker.settings.socket))
    return sock


def is_closed(broker: Running, datagram: bytes, descriptors: tuple[int, ...] = ()) -> bool:
    """Whether the broker closes the connection at this datagram, and goes on answering others."""
    with open_connection(broker) as sock:
        fdpass.send(sock, datagram, descriptors)
        closed = sock.recv(100) == b""
    with connect(broker.settings.socket) as client:
        assert client.hello().pid == broker.pid
    return closed


NOTHING = msgspec.msgpack.encode(bodies.AskNothing())


@pytest.mark.parametrize(
    "datagram",
    [
        pytest.param(b"x", id="too short"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", id="another protocol"),
        pytest.param(struct.pack("<4sHHII", b"bpaQ", 2, 1, 1, 1) + NOTHING, id="version 2"),
        pytest.param(struct.pack("<4sHHII", b"bpaQ", 1, 1, 1, 1 << 30) + NOTHING, id="length of 1 GiB"),
        pytest.param(struct.pack("<4sHHII", b"bpaQ", 1, 1, 1, 0) + NOTHING, id="length too small"),
        pytest.param(frame.question(0, 1, NOTHING), id="verb 0"),
        pytest.param(frame.question(999, 1, NOTHING), id="unknown verb"),
        pytest.param(frame.question(Verb.MAPS, 1, b""), id="no body"),
        pytest.param(frame.question(Verb.MAPS, 1, bytes(17)), id="body over the verb's limit"),
        pytest.param(frame.question(Verb.MAP_OPEN, 1, msgspec.msgpack.encode(["7"])), id="text for a number"),
        pytest.param(frame.question(Verb.MAP_OPEN, 1, msgspec.msgpack.encode([1, 2])), id="one argument too many"),
        pytest.param(frame.question(Verb.MAP_OPEN, 1, msgspec.msgpack.encode({"id": 7})), id="a map for a list"),
        pytest.param(frame.question(Verb.BATCH, 1, msgspec.msgpack.encode([1, "x", 2])), id="text for bytes"),
        pytest.param(frame.question(Verb.PIN_OPEN, 1, b"\x91\xa2\xff\xfe"), id="text that is no UTF-8"),
        pytest.param(bytes(frame.DATAGRAM_BYTES + 1), id="longer than any question"),
        pytest.param(frame.answer(frame.Outcome.ANSWERED, frame.Place.INLINE, 0, 1, 0), id="an answer"),
    ],
)
def test_a_malformed_frame_closes_the_connection_and_nothing_else(broker: Running, datagram: bytes) -> None:
    assert is_closed(broker, datagram)


def test_descriptors_beside_a_question_are_never_installed(broker: Running) -> None:
    before = sorted(os.listdir(f"/proc/{broker.pid}/fd"))
    with Path("/etc/hostname").open() as file:
        assert is_closed(broker, frame.question(Verb.HELLO, 1, NOTHING), (file.fileno(),) * 5)
    assert len(settled_descriptors(broker, len(before))) <= len(before)


@pytest.mark.parametrize("map_id", [-1, 0, 2**31, 2**32 - 1, 2**32, 2**63 - 1])
def test_an_id_that_is_not_there_is_answered_as_the_kernel_answers(client: Client, map_id: int) -> None:
    with pytest.raises(ObjectGone):
        client.map_open(map_id)


@pytest.mark.parametrize("map_id", [-1, 2**32, 2**63 - 1])
def test_an_id_that_no_kernel_can_have_is_malformed(broker: Running, map_id: int) -> None:
    assert is_closed(broker, frame.question(Verb.MAP_OPEN, 1, msgspec.msgpack.encode([map_id])))


@pytest.mark.parametrize(("uid", "welcome"), [(WEB_UID, True), (RECORDER_UID, True)])
def test_the_accounts_of_web_and_recorder_are_answered(broker: Running, uid: int, welcome: bool) -> None:
    assert as_account(uid, lambda: connect(broker.settings.socket).hello().pid == broker.pid) is welcome


def test_t11_the_socket_file_is_closed_to_other_accounts(broker: Running) -> None:
    assert as_account(STRANGER_UID, lambda: connect(broker.settings.socket).hello()) == BrokerAbsent.__name__


def test_t11_a_stranger_who_gets_at_the_socket_is_turned_away(broker: Running) -> None:
    broker.settings.socket.chmod(0o666)
    try:
        assert as_account(STRANGER_UID, lambda: connect(broker.settings.socket).hello()) == BrokerClosed.__name__
    finally:
        broker.settings.socket.chmod(0o660)
    assert any(event["event"] == "stranger" and event["uid"] == STRANGER_UID for event in broker.events())


def test_the_recorder_may_not_ask_whose_a_session_is(broker: Running) -> None:
    asked = as_account(RECORDER_UID, lambda: connect(broker.settings.socket).session("x" * 43, passive=True))
    assert asked == BrokerClosed.__name__
    assert any(event["event"] == "not_allowed" for event in broker.events())


def settled_descriptors(broker: Running, wanted: int) -> list[str]:
    """The broker's descriptors once its threads have noticed who hung up."""
    deadline = time.monotonic() + 5
    while True:
        found = os.listdir(f"/proc/{broker.pid}/fd")
        if len(found) <= wanted or time.monotonic() > deadline:
            return found
        time.sleep(0.05)


@pytest.mark.slow
def test_fifty_thousand_random_frames_neither_stop_nor_swell_the_broker(broker: Running) -> None:
    chance = random.Random(20_261_123)
    good = [
        frame.question(verb, 7, msgspec.msgpack.encode([3, b"\0\0\0\0", 1][: chance.randrange(4)])) for verb in Verb
    ]

    def one() -> bytes:
        if chance.random() < 0.5:
            return chance.randbytes(chance.randrange(1, 200))
        spoilt = bytearray(chance.choice(good))
        for _ in range(chance.randrange(4)):
            spoilt[chance.randrange(len(spoilt))] = chance.randrange(256)
        return bytes(spoilt)

    def send_some(count: int) -> None:
        sock = open_connection(broker)
        for _ in range(count):
            try:
                sock.send(one())
                data, descriptors = fdpass.receive_with(sock, frame.DATAGRAM_BYTES, frame.PASSED_LIMIT)
                fdpass.close_all(descriptors)
            except (ConnectionError, BrokenPipeError):
                data = b""
            if not data:
                sock.close()
                sock = open_connection(broker)
        sock.close()

    send_some(5_000)
    before_kib, lines_before = int(broker.status()["VmRSS"].split()[0]), noted(broker)
    began_s = time.monotonic()
    send_some(50_000)
    periods = 2 + (time.monotonic() - began_s) / log.PERIOD_S
    assert b"Traceback" not in broker.log.read_bytes()
    grown_kib = int(broker.status()["VmRSS"].split()[0]) - before_kib
    with connect(broker.settings.socket) as client:
        assert client.hello().pid == broker.pid
    assert grown_kib < 4096
    assert noted(broker) - lines_before < 2 * log.LINES * periods, "strangers can fill the log"


def noted(broker: Running) -> int:
    """Lines of the log about frames that are none."""
    return sum(event["event"] in {"bad_frame", "bad_body"} for event in broker.events())


def test_a_thousand_questions_leave_no_descriptor_behind(
    broker: Running, client: Client, make_map: Callable[..., int]
) -> None:
    map_id = id_of(make_map())
    client.holders()
    own, brokers = len(os.listdir("/proc/self/fd")), len(os.listdir(f"/proc/{broker.pid}/fd"))
    for number in range(1000):
        match number % 5:
            case 0:
                client.maps()
            case 1:
                client.progs()
            case 2:
                with pytest.raises(ObjectGone):
                    client.btf(2**31 - 1)
            case _:
                _, fd = client.map_open(map_id)
                assert fd is not None
                os.close(fd)
    assert len(os.listdir("/proc/self/fd")) == own
    # The broker closes its copy after it sent one: a moment after the answer is here.
    assert len(settled_descriptors(broker, brokers)) == brokers
    held = [each for each in client.holders().holders if each.kind == "map" and each.id == map_id]
    assert {each.pid for each in held} == {os.getpid()}, "the broker keeps maps alive"


def test_large_answers_come_whole_through_a_sealed_file(client: Client) -> None:
    # $ cat /sys/kernel/btf/vmlinux
    assert client.btf(1) == Path("/sys/kernel/btf/vmlinux").read_bytes()


def test_the_passed_descriptor_is_closed_on_exec(client: Client, make_map: Callable[..., int]) -> None:
    _, fd = client.map_open(id_of(make_map()))
    assert fd is not None
    assert not os.get_inheritable(fd)
    os.close(fd)


def test_many_threads_share_one_client(client: Client, make_map: Callable[..., int]) -> None:
    wanted = id_of(make_map())
    found: list[int] = []

    def ask() -> None:
        for _ in range(50):
            opened, fd = client.map_open(wanted)
            if fd is not None:
                os.close(fd)
            found.append(opened.facts.id)

    threads = [Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [wanted] * 400


def test_a_client_outlives_its_broker(tmp_path: Path, bpffs: Path, make_map: Callable[..., int]) -> None:
    fill(make_map(), 1)
    first = start(tmp_path, bpffs)
    with connect(first.settings.socket) as client:
        assert client.hello().pid == first.pid
        first.process.kill()
        first.process.wait()
        with pytest.raises(BrokerAbsent, match="bpf-atlas serve"):
            client.hello()
        first.log.unlink()
        second = start(tmp_path, bpffs)  # in place of the socket that a killed broker left behind
        assert client.hello().pid == second.pid
        second.process.terminate()
        assert second.process.wait(30) == 0
        assert not second.settings.socket.exists()
        first.log.unlink()
        third = start(tmp_path, bpffs)
        assert client.hello().pid == third.pid  # asked on the second's connection, again on a new one
        third.process.terminate()
        assert third.process.wait(30) == 0


def test_two_brokers_do_not_share_a_socket(broker: Running) -> None:
    with pytest.raises(CannotListen, match="a broker answers there"):
        bind(broker.settings.socket)
    assert broker.settings.socket.is_socket()
