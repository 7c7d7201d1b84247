"""Connections to the broker: a pool that threads share, one question at a time on each, renewed once when it broke."""

from __future__ import annotations

import itertools
import os
import socket
from collections.abc import Collection, Mapping
from enum import IntEnum
from errno import ECONNRESET, EPIPE
from pathlib import Path
from threading import Lock

import msgspec

from app.wire import bodies, fdpass, frame, refusals, sealed
from app.wire.ask import Client
from app.wire.errors import BadFrame, BrokerAbsent, BrokerClosed, BrokerSlow
from app.wire.verbs import ONCE, SHAPES, Shape

_IDLE_LIMIT = 8

_encoder = msgspec.msgpack.Encoder()
_refused = msgspec.msgpack.Decoder(bodies.Refused)


class SocketTransport:
    """Asks over a socket, the broker's unless its shapes are another's."""

    def __init__(
        self,
        path: Path,
        timeout_s: float,
        *,
        shapes: Mapping[IntEnum, Shape] | None = None,
        once: Collection[IntEnum] = ONCE,
    ) -> None:
        """`once`: questions that are never asked a second time because the first one's answer was lost."""
        self._path = path
        self._timeout_s = timeout_s
        self._once = once
        self._decoders = {
            verb: msgspec.msgpack.Decoder(shape.answer)
            for verb, shape in (SHAPES if shapes is None else shapes).items()
        }
        self._lock = Lock()
        self._idle: list[socket.socket] = []
        self._pid = os.getpid()
        self._numbers = itertools.count(1)

    def ask(self, verb: IntEnum, question: bodies.Body) -> tuple[bodies.Body, int | None]:
        """See ask.Transport.

        raises  BrokerAbsent, BrokerClosed, BrokerSlow, BadFrame, and what the broker's Refused stands for
        """
        request_id = next(self._numbers) & 0xFFFFFFFF
        datagram = frame.question(verb, request_id, _encoder.encode(question))
        # A connection from the pool may have outlived its broker: what changes nothing is asked again on a new one then,
        # and what changes something goes over a new one at once.
        sock = None if verb in self._once else self._take()
        if sock is not None:
            try:
                received = self._exchange(sock, verb, datagram)
            except BrokerClosed:
                self.close()
                sock = None
        if sock is None:
            sock = self._connect()
            received = self._exchange(sock, verb, datagram)
        data, descriptors = received
        try:
            answer = self._read(verb, request_id, data, descriptors)
        except BadFrame:
            sock.close()
            fdpass.close_all(descriptors)
            raise
        self._give_back(sock)
        if isinstance(answer, bodies.Refused):
            fdpass.close_all(descriptors)
            raise refusals.as_error(answer)
        return answer, descriptors.pop() if descriptors else None

    def close(self) -> None:
        """Close the idle connections."""
        with self._lock:
            idle, self._idle = self._idle, []
        for sock in idle:
            sock.close()

    def _exchange(self, sock: socket.socket, verb: IntEnum, datagram: bytes) -> tuple[bytes, list[int]]:
        try:
            fdpass.send(sock, datagram)
            received = fdpass.receive_with(sock, frame.DATAGRAM_BYTES, frame.PASSED_LIMIT)
        except TimeoutError:
            sock.close()
            raise BrokerSlow(verb.name, self._timeout_s) from None
        except OSError as error:
            sock.close()
            if error.errno in (EPIPE, ECONNRESET):
                raise BrokerClosed(verb.name) from None
            raise
        except BadFrame:
            sock.close()
            raise
        if not received[0]:
            sock.close()
            raise BrokerClosed(verb.name)
        return received

    def _read(self, verb: IntEnum, request_id: int, data: bytes, descriptors: list[int]) -> bodies.Body:
        """Decode an answer; the body's descriptor is closed and taken out of `descriptors`."""
        head = frame.read_answer(data)
        in_file = head.place is frame.Place.MEMORY_FILE
        if head.request_id != request_id or len(descriptors) != head.passed + in_file:
            raise BadFrame(
                f"the answer to request {request_id} with {head.passed + in_file} descriptors",
                f"request {head.request_id} with {len(descriptors)}",
            )
        decoder: msgspec.msgpack.Decoder[bodies.Refused] | msgspec.msgpack.Decoder[bodies.Body]
        decoder = _refused if head.outcome is frame.Outcome.REFUSED else self._decoders[verb]
        try:
            if not in_file:
                return decoder.decode(head.body)
            file = descriptors.pop(0)
            try:
                with sealed.opened(file, head.body_bytes) as body:
                    return decoder.decode(body)
            finally:
                os.close(file)
        except (msgspec.MsgspecError, ValueError) as error:  # text that is no UTF-8 is a ValueError
            raise BadFrame(f"an answer to {verb.name}", str(error)) from None

    def _take(self) -> socket.socket | None:
        with self._lock:
            if self._pid != os.getpid():  # After a fork the parent's connections are the parent's; these are copies.
                self._pid = os.getpid()
                while self._idle:
                    self._idle.pop().close()
            return self._idle.pop() if self._idle else None

    def _give_back(self, sock: socket.socket) -> None:
        with self._lock:
            if len(self._idle) < _IDLE_LIMIT:
                self._idle.append(sock)
                return
        sock.close()

    def _connect(self) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            sock.settimeout(self._timeout_s)
            sock.connect(str(self._path))
        except OSError as error:
            sock.close()
            raise BrokerAbsent(str(self._path), error.strerror or str(error)) from None
        return sock


def connect(path: Path, timeout_s: float = 20.0) -> Client:
    """Give a client of the broker that listens at `path`; the first question opens the first connection.

    timeout_s  a walk over every process of a busy host takes a while; a broker that takes longer is stuck
    """
    return Client(SocketTransport(path, timeout_s))
