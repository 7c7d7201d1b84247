"""A desk of a test's own, and questions about people asked of it as the socket would ask them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from app.broker.desk import Desk
from app.broker.host import Host
from app.broker.peers import Asker, Peer
from app.broker.requests import BY_VERB
from app.settings import Settings
from app.wire import bodies, refusals
from app.wire.accounts import Credential, Elevated, Entered
from app.wire.ask import Client
from app.wire.records import AskRecords, AuditRecord
from app.wire.verbs import Verb

PASSWORD = "correct horse 42"
ROOT = Asker(Peer.ROOT, 0, 1)
WEB = Asker(Peer.WEB, 58470, 2)


@dataclass
class As:
    """A transport that asks as one kind of peer; errors cross as they do on the wire."""

    host: Host
    asker: Asker

    def ask(self, verb: Verb, question: bodies.Body) -> tuple[bodies.Body, int | None]:
        request = BY_VERB[int(verb)]
        encoded = msgspec.msgpack.encode(question)
        assert len(encoded) <= request.body_limit_bytes, "the connection would be closed"
        assert self.asker.peer & request.needs, "the connection would be closed"
        try:
            reply = request.reply(self.host, request.decoder.decode(encoded), self.asker)
        except Exception as error:
            raise refusals.as_error(refusals.refused(error)) from error  # type: ignore[arg-type]
        return reply.body, reply.descriptor

    def close(self) -> None:
        return


class People:
    """A broker with accounts and nothing else, and a clock that a test can turn."""

    def __init__(self, data: Path, **more: object) -> None:
        self.settings = Settings(data=data, audit_copies=(), **more)  # type: ignore[arg-type]
        self.host = Host(bpffs=data, open_desk=lambda: Desk.open(self.settings))
        self.root = Client(As(self.host, ROOT))
        self.web = Client(As(self.host, WEB))
        self.here = Credential(source="cli")

    def add(self, name: str, role: str, password: str | None = PASSWORD) -> None:
        self.root.user_add(self.here, name, role, password)

    def enter(self, name: str, password: str = PASSWORD, source: str = "203.0.113.1") -> Entered:
        return self.web.sign_in(name, password, source=source, agent="a browser")

    def elevated(self, name: str) -> tuple[Elevated, Credential]:
        entered = self.enter(name)
        elevated = self.web.elevate(Credential(entered.value, "", "203.0.113.1"), PASSWORD)
        return elevated, Credential(elevated.value, elevated.write, "203.0.113.1", "a-request")

    def turn_clock(self, to_s: float) -> None:
        """All of the accounts' clocks."""
        accounts = self.host.desk.accounts
        for each in (accounts.sessions, accounts.tokens, accounts.links, accounts.users):
            each._now = lambda: to_s
        accounts.now = lambda: to_s

    def records(self, code: str = "") -> list[AuditRecord]:
        """Newest first."""
        found = self.host.desk.audit.records(AskRecords(self.here, code=code, limit=500)).records
        return [each.record for each in found]
