"""The broker's answers within the asking process: for a command of root's on a host without a running service."""

from __future__ import annotations

import dataclasses
import os
from enum import IntEnum
from typing import TYPE_CHECKING

import msgspec

from app.broker import log
from app.broker.host import Host
from app.broker.peers import Asker, Peer
from app.broker.requests import BY_VERB
from app.settings import Settings
from app.wire import bodies
from app.wire.ask import Client
from app.wire.errors import LimitExceeded

if TYPE_CHECKING:
    from app.broker.desk import Desk

_encoder = msgspec.msgpack.Encoder()


class LocalTransport:
    """Same table, same limits, same decoding; no socket. See ask.Transport."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def ask(self, verb: IntEnum, question: bodies.Body) -> tuple[bodies.Body, int | None]:
        """Answer; errors are raised as they are."""
        request = BY_VERB[int(verb)]
        encoded = _encoder.encode(question)
        if len(encoded) > request.body_limit_bytes:
            raise LimitExceeded(f"{verb.name} takes {request.body_limit_bytes} bytes, {len(encoded)} were asked with")
        asker = Asker(Peer.ROOT, os.geteuid(), os.getpid(), in_process=True)
        reply = request.reply(self._host, request.decoder.decode(encoded), asker)
        return reply.body, reply.descriptor

    def close(self) -> None:
        """Let go of iterator programs and databases."""
        self._host.close()


def client(settings: Settings) -> Client:
    """Give a client that does the broker's work itself, with the rights of this process."""
    log.silence()
    return Client(LocalTransport(Host(bpffs=settings.bpffs, open_desk=lambda: _desk(settings))))


def _desk(settings: Settings) -> Desk:
    from app.broker.desk import Desk  # accounts bring a password library, and most commands never come here

    # A command's standard error is for its user; the copies that go elsewhere are made all the same.
    copies = tuple(each for each in settings.audit_copies if each != "log")
    return Desk.open(dataclasses.replace(settings, audit_copies=copies))
