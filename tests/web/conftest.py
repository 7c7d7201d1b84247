"""The web with a broker that has a host and no maps, and with the real one inside this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app.settings import Settings
from app.web import gate
from app.web.factory import create_app
from app.web.login_link import new_login_link
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

    def __init__(self) -> None:
        self.away = False

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
        return answers[verb], None

    def close(self) -> None:
        pass


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path, listen=HOST)


@pytest.fixture
def broker() -> EmptyHost:
    return EmptyHost()


@pytest.fixture
def shell(settings: Settings, broker: EmptyHost) -> Flask:
    """The application on an empty host."""
    return create_app(settings, Client(broker))


def browser(app: Flask, settings: Settings) -> FlaskClient:
    """A test client that came in by a login link."""
    client = stranger(app)
    path = new_login_link(settings).removeprefix(ORIGIN)
    assert client.get(path).status_code == 303
    assert client.get_cookie(gate.cookie_name(settings), domain="127.0.0.1") is not None
    return client


class LocalClient(FlaskClient):
    """Asks for paths of the address that the settings listen on."""

    def open(self, *args: Any, **kwargs: Any) -> TestResponse:
        if args and isinstance(args[0], str):
            kwargs.setdefault("base_url", ORIGIN)
        return super().open(*args, **kwargs)


def stranger(app: Flask) -> FlaskClient:
    """A test client without a session."""
    app.test_client_class = LocalClient
    return app.test_client()


@pytest.fixture
def nobody(shell: Flask) -> FlaskClient:
    return stranger(shell)


@pytest.fixture
def someone(shell: Flask, settings: Settings) -> FlaskClient:
    return browser(shell, settings)
