"""The broker's answers within the asking process: for a command of root's on a host without a running service."""

from __future__ import annotations

import msgspec

from app.broker.host import Host
from app.broker.requests import BY_VERB
from app.settings import Settings
from app.wire import bodies
from app.wire.ask import Client
from app.wire.errors import LimitExceeded
from app.wire.verbs import Verb

_encoder = msgspec.msgpack.Encoder()


class LocalTransport:
    """Same table, same limits, same decoding; no socket. See ask.Transport."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def ask(self, verb: Verb, question: bodies.Body) -> tuple[bodies.Body, int | None]:
        """Answer; errors are raised as they are."""
        request = BY_VERB[int(verb)]
        encoded = _encoder.encode(question)
        if len(encoded) > request.body_limit_bytes:
            raise LimitExceeded(f"{verb.name} takes {request.body_limit_bytes} bytes, {len(encoded)} were asked with")
        reply = request.answer(self._host, request.decoder.decode(encoded))
        return reply.body, reply.descriptor

    def close(self) -> None:
        """Let go of the iterator programs."""
        self._host.iterators.close()


def client(settings: Settings) -> Client:
    """Give a client that does the broker's work itself, with the rights of this process."""
    return Client(LocalTransport(Host(bpffs=settings.bpffs)))
