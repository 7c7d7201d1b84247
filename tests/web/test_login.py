"""Coming in and going out: links, passwords, cookies."""

from __future__ import annotations

import dataclasses
import stat
import time
from pathlib import Path

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from app.broker.accounts import tokens
from app.settings import Settings
from app.web import cookies, gate
from app.web.factory import create_app
from app.wire.ask import Client
from tests.web.conftest import ORIGIN, PASSWORD, EmptyHost, LocalClient, browser, link, stranger, with_role


def sign_in(client: LocalClient, name: str, password: str = PASSWORD, **more: str) -> TestResponse:
    return client.post("/login", data={"name": name, "password": password, **more}, headers={"Origin": ORIGIN})


def test_a_link_works_once_and_says_how_to_get_another(nobody: LocalClient, shell: Flask) -> None:
    path = link(shell)
    first = nobody.get(path)
    assert first.status_code == 303
    assert first.headers["Location"] == "/"
    assert nobody.get("/").status_code == 200
    second = stranger(shell).get(path)
    assert second.status_code == 403
    assert "bpf-atlas login" in second.text
    assert "Set-Cookie" not in second.headers


def test_cookie_is_kept_from_scripts_and_other_sites(nobody: LocalClient, shell: Flask) -> None:
    cookie = nobody.get(link(shell)).headers["Set-Cookie"]
    assert cookie.startswith("bpf-atlas-8470=")
    for part in ("HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=43200"):
        assert part in cookie
    assert "Secure" not in cookie


def test_cookies_behind_tls_are_bound_to_the_host(settings: Settings) -> None:
    behind = dataclasses.replace(settings, allowed_hosts=("atlas.example",), behind_tls=True)
    broker = EmptyHost(behind)
    app = create_app(behind, Client(broker))
    client = app.test_client()
    answer = client.get(link(app), base_url="https://atlas.example")
    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith("__Host-bpf-atlas=")
    assert "Secure" in cookie
    assert "Domain" not in cookie
    assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"
    from app.web import csrf

    value = client.get_cookie("__Host-bpf-atlas", domain="atlas.example")
    assert value is not None
    answer = client.post(
        "/elevate",
        data={"password": PASSWORD, "again": PASSWORD, "csrf": csrf.token(value.value)},
        base_url="https://atlas.example",
        headers={"Origin": "https://atlas.example"},
    )
    write = next(each for each in answer.headers.getlist("Set-Cookie") if "write" in each)
    assert write.startswith("__Host-bpf-atlas-write=")
    for part in ("Secure", "HttpOnly", "SameSite=Strict", "Max-Age=900"):
        assert part in write


def test_a_newer_link_replaces_the_older(nobody: LocalClient, shell: Flask) -> None:
    old, new = link(shell), link(shell)
    assert nobody.get(old).status_code == 403
    assert nobody.get(new).status_code == 303


def test_a_link_is_too_old_after_half_an_hour(
    nobody: LocalClient, shell: Flask, monkeypatch: pytest.MonkeyPatch, broker: EmptyHost
) -> None:
    path = link(shell)
    monkeypatch.setattr(broker.people.desk.accounts.links, "_now", lambda: time.time() + tokens.LINK_S + 1)
    assert nobody.get(path).status_code == 403


def test_files_are_for_the_broker_alone_and_hold_no_value(
    settings: Settings, shell: Flask, nobody: LocalClient
) -> None:
    token = link(shell).rpartition("=")[2]
    nobody.get(link(shell))
    value = nobody.value(cookies.session_name(settings))
    assert stat.S_IMODE((settings.data / "web").stat().st_mode) == 0o700
    assert stat.S_IMODE(settings.broker_folder.stat().st_mode) == 0o700
    files = [path for path in settings.data.rglob("*") if path.is_file()]
    assert any(path.name.startswith("accounts.db") for path in files)
    for path in files:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
        assert token.encode() not in path.read_bytes()
        assert value.encode() not in path.read_bytes()


def test_pasting_the_whole_link_works_too(nobody: LocalClient, shell: Flask) -> None:
    answer = nobody.post("/login", data={"token": ORIGIN + link(shell), "next": "/maps/7"}, headers={"Origin": ORIGIN})
    assert answer.status_code == 303
    assert answer.headers["Location"] == "/maps/7"


@pytest.mark.parametrize(
    "target",
    ["//evil.example", "/\\evil.example", "\\\\evil", "https:evil.example", "https://evil.example", "javascript:alert(1)",
     "/\t/evil.example", "/%0a/x\n", "/ evil", "evil", "", "/login?token=x", "/\x00", "/elevate?next=/"],
)  # fmt: skip
def test_what_follows_a_login_is_local(target: str) -> None:
    assert gate.local_path(target) == "/"


@pytest.mark.parametrize("target", ["/", "/maps/7", "/maps/7?where=value.x%20%3E%201", "/maps/7/entries/00ff"])
def test_local_paths_are_followed(target: str) -> None:
    assert gate.local_path(target) == target


def test_guessing_links_is_slowed_down_and_locks_nobody_out(nobody: LocalClient, shell: Flask) -> None:
    path = link(shell)
    statuses = [nobody.get(f"/login?token={number}").status_code for number in range(30)]
    assert statuses[:20] == [403] * 20
    assert statuses[-1] == 429
    assert int(nobody.get("/login?token=x").headers["Retry-After"]) >= 1
    assert stranger(shell).get(path).status_code == 303


def test_by_name_and_password(nobody: LocalClient, shell: Flask, broker: EmptyHost) -> None:
    with_role(shell, broker, "editor")
    answer = sign_in(nobody, "editor", next="/maps/7")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/maps/7")
    page = nobody.get("/").text
    assert "<bdi>editor</bdi>" in page
    assert "READ-ONLY" in page


def test_a_wrong_password_and_an_unknown_name_look_the_same(
    nobody: LocalClient, shell: Flask, broker: EmptyHost
) -> None:
    with_role(shell, broker, "editor")
    wrong, unknown = sign_in(nobody, "editor", "wrong horse 42"), sign_in(nobody, "nobody-here", "wrong horse 42")
    assert wrong.status_code == unknown.status_code == 403
    assert wrong.text.replace("editor", "NAME") == unknown.text.replace("nobody-here", "NAME")
    assert "Name or password is wrong." in wrong.text
    assert "wrong horse" not in wrong.text
    assert 'aria-describedby="problem"' in wrong.text


def test_signing_out_ends_the_session_for_good(
    someone: LocalClient, settings: Settings, broker: EmptyHost, shell: Flask
) -> None:
    kept = someone.value(cookies.session_name(settings))
    answer = someone.post("/logout", headers={"Origin": ORIGIN})
    assert answer.status_code == 303
    assert answer.headers["Clear-Site-Data"] == '"cache", "storage"'
    again = create_app(settings, Client(broker))
    for app in (shell, again):
        client = app.test_client()
        answer = client.get(
            "/", headers={"Host": "127.0.0.1:8470", "Cookie": f"{cookies.session_name(settings)}={kept}"}
        )
        assert answer.status_code == 303


def test_t24_nothing_is_left_in_the_browser_after_signing_out(someone: LocalClient) -> None:
    assert someone.get("/").headers["Cache-Control"] == "no-store"
    page = someone.get("/settings")
    assert page.headers["Cache-Control"] == "no-store"
    assert '"historyCacheSize":0' in page.text
    answer = someone.submit("/logout")
    assert answer.headers["Clear-Site-Data"] == '"cache", "storage"'
    assert [each for each in answer.headers.getlist("Set-Cookie") if "Max-Age=0" in each]
    assert someone.get("/").headers["Location"].startswith("/login")


def test_the_page_says_why_the_session_is_over(
    someone: LocalClient, broker: EmptyHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = time.time() + 31 * 60
    monkeypatch.setattr(broker.people.desk.accounts.sessions, "_now", lambda: later)
    answer = someone.get("/maps/7")
    assert answer.headers["Location"] == "/login?next=%2Fmaps%2F7"
    assert "it was not used for 30 minutes" in someone.get(answer.headers["Location"]).text
    api = someone.get("/api/v1/maps")
    assert api.status_code == 401
    assert "it was not used for 30 minutes" in api.text


def test_a_session_of_another_service_is_none(settings: Settings, tmp_path: Path, shell: Flask) -> None:
    other = Settings(data=tmp_path / "other", listen=settings.listen)
    value = browser(create_app(other, Client(EmptyHost(other))), other).value(cookies.session_name(other))
    for each in (value, "", "a.b.c", "x" * 900, "\udcff"):
        answer = shell.test_client().get(
            "/",
            headers={
                "Host": "127.0.0.1:8470",
                "Cookie": f"{cookies.session_name(settings)}={each}".encode("utf-8", "surrogateescape").decode(
                    "latin-1"
                ),
            },
        )
        assert answer.status_code == 303


def test_theme_is_kept_and_drawn_by_the_server(someone: LocalClient) -> None:
    assert "data-theme" not in someone.get("/").text
    answer = someone.post("/theme", data={"theme": "dark", "next": "/?q=x"}, headers={"Origin": ORIGIN})
    assert answer.headers["Location"] == "/?q=x"
    assert '<html lang="en" data-theme="dark">' in someone.get("/").text
    someone.post("/theme", data={"theme": '"><script>', "next": "//x"}, headers={"Origin": ORIGIN})
    assert "data-theme" not in someone.get("/").text


def test_t29_a_poll_is_no_use_of_a_session(
    someone: LocalClient, broker: EmptyHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 40 minutes of nothing but polling
    sessions = broker.people.desk.accounts.sessions
    began = time.time()
    seen = []
    for minute in range(0, 41, 2):
        monkeypatch.setattr(sessions, "_now", lambda: began + minute * 60)  # noqa: B023
        poll = someone.get("/?live=2", headers={"HX-Request": "true", "X-Bpf-Atlas-Passive": "1"})
        page = someone.get("/?live=2&polled=1")
        seen.append((minute, poll.status_code, page.status_code))
    assert [each for each in seen if each[0] < 30] == [(minute, 200, 200) for minute in range(0, 30, 2)]
    assert [each for each in seen if each[0] > 30] == [(minute, 401, 303) for minute in range(32, 41, 2)]
