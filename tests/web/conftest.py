"""The web with a broker that has real accounts and no maps, and with the real one inside this process."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app.broker.desk import Desk
from app.broker.host import Host as BrokerHost
from app.broker.peers import Asker, Peer
from app.broker.requests import BY_VERB
from app.settings import Settings
from app.web import cookies, csrf
from app.web.factory import create_app
from app.wire import bodies
from app.wire.ask import Client
from app.wire.errors import BrokerAbsent
from app.wire.verbs import Verb

HOST = "127.0.0.1:8470"
ORIGIN = f"http://{HOST}"

HELLO = bodies.Hello(
    version="0",
    kernel_release="6.18.44",
    hostname="edge-7",
    boot_id="0",
    pid=1,
    possible_cpus=2,
    effective_capabilities="0",
    passes_descriptors=True,
    capabilities=(),
)


class EmptyHost:
    """A broker on a host without a single bpf object; `away` makes it one that is not there."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.away = False

    @property
    def people(self) -> BrokerHost:
        """What answers about accounts, policy and audit log: the broker's own code, over files of this test."""
        kept = _opened.get(self.settings.data)
        if kept is None:
            quiet = replace(self.settings, audit_copies=())
            kept = _opened[self.settings.data] = BrokerHost(bpffs=Path("/"), open_desk=lambda: Desk.open(quiet))
        return kept

    def ask(self, verb: Verb, question: bodies.Body) -> tuple[bodies.Body, int | None]:
        if self.away:
            raise BrokerAbsent("broker.sock", "no such file")
        answers: dict[Verb, bodies.Body] = {
            Verb.HELLO: HELLO,
            Verb.MAPS: bodies.MapList(maps=(), taken_at_ns=1_700_000_000_000_000_000, unreadable=()),
            Verb.PROGS: bodies.ProgList(progs=()),
            Verb.LINKS: bodies.LinkList(links=()),
            Verb.PINS: bodies.PinList(pins=(), problem=""),
            Verb.HOLDERS: bodies.HolderList(holders=(), problem=""),
        }
        if verb in answers:
            return answers[verb], None
        request = BY_VERB[int(verb)]
        peer = Peer.ROOT if verb is Verb.LINK_MAKE else Peer.WEB
        asked = request.decoder.decode(msgspec.msgpack.encode(question))
        return request.reply(self.people, asked, Asker(peer, 58470, 1)).body, None

    def close(self) -> None:
        pass


_opened: dict[Path, BrokerHost] = {}


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    """Whatever a test opened is let go."""
    yield
    while _opened:
        _opened.popitem()[1].close()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path, listen=HOST)


@pytest.fixture
def broker(settings: Settings) -> EmptyHost:
    return EmptyHost(settings)


@pytest.fixture
def shell(settings: Settings, broker: EmptyHost) -> Flask:
    """The application on an empty host."""
    return create_app(settings, Client(broker))


def link(app: Flask, user: str = "") -> str:
    """Path of a new one-time link."""
    return "/login?token=" + app.extensions["client"].link_make(user).value


def browser(app: Flask, settings: Settings, user: str = "") -> LocalClient:
    """A test client that came in by a login link; by default as root."""
    client = stranger(app)
    assert client.get(link(app, user)).status_code == 303
    assert client.get_cookie(cookies.session_name(settings), domain="127.0.0.1") is not None
    return client


PASSWORD = "correct horse 42"


def with_role(app: Flask, broker: EmptyHost, role: str) -> LocalClient:
    """A test client of a user of that name and role, who has PASSWORD."""
    accounts = broker.people.desk.accounts
    if accounts.users.find(role) is None:
        accounts.users.add(role, role, accounts.passwords.hash(PASSWORD), lambda: None)
    return browser(app, broker.settings, role)


class LocalClient(FlaskClient):
    """Asks for paths of the address that the settings listen on."""

    def value(self, name: str) -> str:
        """A cookie's value, empty without one."""
        cookie = self.get_cookie(name, domain="127.0.0.1")
        return cookie.value if cookie else ""

    @property
    def csrf(self) -> str:
        """What a form of a page of ours has."""
        return csrf.token(self.value(cookies.session_name(self.application.extensions["settings"])))

    def submit(self, path: str, **fields: str) -> TestResponse:
        """Send a form as a page of ours does."""
        return self.post(path, data={"csrf": self.csrf, **fields}, headers={"Origin": ORIGIN})

    def elevate(self, password: str = PASSWORD) -> None:
        """Begin a write session."""
        fields = {"password": password, "again": password}
        assert self.submit("/elevate", **fields).status_code == 303

    def open(self, *args: Any, **kwargs: Any) -> TestResponse:
        if args and isinstance(args[0], str):
            kwargs.setdefault("base_url", ORIGIN)
        return super().open(*args, **kwargs)


def stranger(app: Flask) -> LocalClient:
    """A test client without a session."""
    app.test_client_class = LocalClient
    client = app.test_client()
    assert isinstance(client, LocalClient)
    return client


@pytest.fixture
def nobody(shell: Flask) -> LocalClient:
    return stranger(shell)


@pytest.fixture
def someone(shell: Flask, settings: Settings) -> LocalClient:
    return browser(shell, settings)
