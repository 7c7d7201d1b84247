"""Signing in at an OpenID Connect provider: a real one on loopback, honest and not."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from flask import Flask
from werkzeug.test import TestResponse

from app.errors import BadSetting
from app.settings import Settings
from app.web.factory import create_app
from app.wire.ask import Client
from tests.web import provider
from tests.web.conftest import ORIGIN, EmptyHost, LocalClient, stranger, with_role

START_S = 20.0


@contextmanager
def running(folder: Path, mode: str) -> Iterator[str]:
    """Address of a provider that behaves so."""
    port = folder / "port"
    process = subprocess.Popen([sys.executable, provider.__file__, str(port), mode])
    try:
        deadline = time.monotonic() + START_S
        while not (port.exists() and port.read_text()):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.02)
        yield f"http://127.0.0.1:{port.read_text()}"
    finally:
        process.terminate()
        process.wait(30)


def service(settings: Settings, issuer: str, **more: object) -> tuple[Flask, EmptyHost]:
    (settings.data / "oidc-secret").write_text(provider.SECRET + "\n")
    chosen = dataclasses.replace(settings, oidc_issuer=issuer, oidc_client_id=provider.CLIENT, **more)  # type: ignore[arg-type]
    broker = EmptyHost(chosen)
    app = create_app(chosen, Client(broker))
    broker.people.desk.accounts.users.find("alice") or broker.people.desk.accounts.users.add("alice", "viewer", None, lambda: None)  # fmt: skip
    return app, broker


def there_and_back(client: LocalClient, path: str = "/login/oidc?next=/maps/7") -> TestResponse:
    """What a browser does: to the provider, and where it sends us."""
    away = client.get(path)
    if away.status_code != 303:
        return away
    answer = requests.get(away.headers["Location"], timeout=30, allow_redirects=False)
    assert answer.status_code == 302, answer.text
    back = urlsplit(answer.headers["Location"])
    assert f"{back.scheme}://{back.netloc}" == ORIGIN
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    return client.get(f"{back.path}?{back.query}", headers=headers)


def test_somebody_comes_in_and_where_they_wanted_to_go(settings: Settings, tmp_path: Path) -> None:
    with running(tmp_path, "honest") as issuer:
        app, broker = service(settings, issuer)
        client = stranger(app)
        assert 'href="/login/oidc?next=%2Fmaps%2F7"' in client.get("/login?next=/maps/7").text
        answer = there_and_back(client)
        assert (answer.status_code, answer.headers["Location"]) == (303, "/maps/7")
        assert "<bdi>alice</bdi>" in client.get("/").text
        (session,) = broker.people.desk.accounts.sessions.listed("alice")
        assert session.how == "oidc"
        # And it reads: no password was given here.
        assert not session.write_until_s
        assert client.get("/settings").status_code == 200


@pytest.mark.parametrize(("mode", "says"), [each for each in provider.MISBEHAVIOURS.items() if each[0] != "honest"])
def test_a_provider_that_misbehaves_lets_nobody_in(settings: Settings, tmp_path: Path, mode: str, says: str) -> None:
    with running(tmp_path, mode) as issuer:
        app, broker = service(settings, issuer)
        client = stranger(app)
        answer = there_and_back(client)
        assert answer.status_code == 403
        assert says in answer.text
        assert client.get("/").status_code == 303
        assert broker.people.desk.accounts.sessions.listed("alice") == ()


def test_who_is_no_user_here_stays_out(settings: Settings, tmp_path: Path) -> None:
    with running(tmp_path, "honest") as issuer:
        app, broker = service(settings, issuer)
        broker.people.desk.accounts.users.remove("alice", lambda: None)
        answer = there_and_back(stranger(app))
        assert answer.status_code == 403
        assert "bpf-atlas user add" in answer.text


def test_an_answer_belongs_to_the_browser_that_asked(settings: Settings, tmp_path: Path) -> None:
    with running(tmp_path, "honest") as issuer:
        app, _ = service(settings, issuer)
        one, other = stranger(app), stranger(app)
        away = one.get("/login/oidc")
        asked = parse_qs(urlsplit(away.headers["Location"]).query)
        assert asked["code_challenge_method"] == ["S256"]
        assert len(asked["state"][0]) >= 43
        assert len(asked["nonce"][0]) >= 43
        back = urlsplit(requests.get(away.headers["Location"], timeout=30, allow_redirects=False).headers["Location"])
        path = f"{back.path}?{back.query}"
        assert other.get(path).status_code == 403
        other.get("/login/oidc")
        assert "another sign-in" in other.get(path).text
        assert one.get(path.replace("state=", "state=x")).status_code == 403
        assert one.get(path).status_code == 303
        assert one.get(path).status_code == 403, "a code is used once"
        forged = stranger(app)
        forged.set_cookie("bpf-atlas-oidc-8470", "x.y.z", domain="127.0.0.1")
        assert forged.get(path).status_code == 403


@pytest.mark.parametrize("target", ["//evil.example", "https://evil.example", "/\\evil"])
def test_t31_the_provider_leads_back_to_a_path_of_ours(settings: Settings, tmp_path: Path, target: str) -> None:
    with running(tmp_path, "honest") as issuer:
        app, _ = service(settings, issuer)
        answer = there_and_back(stranger(app), f"/login/oidc?next={target}")
        assert answer.headers["Location"] == "/"


def test_t21_nothing_calls_out_unless_it_is_configured(
    shell: Flask, broker: EmptyHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a connection was begun")

    client = with_role(shell, broker, "admin")
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    for path in ("/login/oidc", "/login/oidc/callback?code=x&state=x"):
        assert client.get(path).status_code == 404
    assert "organisation" not in stranger(shell).get("/login").text
    assert client.get("/settings").status_code == 200


@pytest.mark.parametrize(
    "change",
    [
        {"oidc_issuer": "http://provider.example"},
        {"oidc_issuer": "provider.example"},
        {"oidc_client_id": ""},
        {"oidc_client_secret_file": Path("not-there")},
    ],
)
def test_settings_that_cannot_work_are_refused_at_the_start(settings: Settings, change: dict[str, object]) -> None:
    (settings.data / "oidc-secret").write_text(provider.SECRET)
    works = {"oidc_issuer": "https://provider.example", "oidc_client_id": provider.CLIENT}
    create_app(dataclasses.replace(settings, **works), Client(EmptyHost(settings)))  # type: ignore[arg-type]
    with pytest.raises(BadSetting):
        create_app(dataclasses.replace(settings, **(works | change)), Client(EmptyHost(settings)))  # type: ignore[arg-type]
