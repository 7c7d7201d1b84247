from __future__ import annotations

import os
import stat
import time
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app.settings import Settings
from app.web import gate, login_link, sessions
from app.web.factory import create_app
from app.web.private import Folder
from app.wire.ask import Client

ORIGIN = "http://127.0.0.1:8470"


def link(settings: Settings) -> str:
    return login_link.new_login_link(settings).removeprefix(ORIGIN)


def test_a_link_works_once_and_says_how_to_get_another(nobody: FlaskClient, settings: Settings, shell: Flask) -> None:
    path = link(settings)
    first = nobody.get(path)
    assert first.status_code == 303
    assert first.headers["Location"] == "/"
    assert nobody.get("/").status_code == 200
    second = shell.test_client().get(path, headers={"Host": "127.0.0.1:8470"})
    assert second.status_code == 403
    assert "bpf-atlas login" in second.text


def test_cookie_is_kept_from_scripts_and_other_sites(nobody: FlaskClient, settings: Settings) -> None:
    cookie = nobody.get(link(settings)).headers["Set-Cookie"]
    assert cookie.startswith("bpf-atlas-8470=")
    for part in ("HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=43200"):
        assert part in cookie
    assert "Secure" not in cookie


def test_cookie_behind_tls_is_bound_to_the_host(tmp_path: Path, broker: object) -> None:
    behind = Settings(data=tmp_path, listen="127.0.0.1:8470", allowed_hosts=("atlas.example",), behind_tls=True)
    client = create_app(behind, Client(broker)).test_client()  # type: ignore[arg-type]
    token = login_link.new_login_link(behind).rpartition("=")[2]
    answer = client.get(f"/login?token={token}", headers={"Host": "atlas.example"})
    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith("__Host-bpf-atlas=")
    assert "Secure" in cookie
    assert "Domain" not in cookie
    assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"


def test_a_newer_link_replaces_the_older(nobody: FlaskClient, settings: Settings) -> None:
    old, new = link(settings), link(settings)
    assert nobody.get(old).status_code == 403
    assert nobody.get(new).status_code == 303


def test_a_link_is_too_old_after_half_an_hour(nobody: FlaskClient, settings: Settings) -> None:
    path = link(settings)
    past = time.time() - login_link.VALID_S - 1
    os.utime(settings.data / "web" / login_link.FILE, (past, past))
    assert nobody.get(path).status_code == 403


def test_files_are_for_the_web_account_alone_and_hold_no_token(settings: Settings, shell: Flask) -> None:
    token = link(settings).rpartition("=")[2]
    folder = settings.data / "web"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for name in ("secret", login_link.FILE):
        facts = (folder / name).stat()
        assert stat.S_IMODE(facts.st_mode) == 0o600
        assert token.encode() not in (folder / name).read_bytes()


def test_pasting_the_whole_link_works_too(nobody: FlaskClient, settings: Settings) -> None:
    answer = nobody.post(
        "/login", data={"token": ORIGIN + link(settings), "next": "/maps/7"}, headers={"Origin": ORIGIN}
    )
    assert answer.status_code == 303
    assert answer.headers["Location"] == "/maps/7"


@pytest.mark.parametrize(
    "target",
    ["//evil.example", "/\\evil.example", "\\\\evil", "https:evil.example", "https://evil.example", "javascript:alert(1)",
     "/\t/evil.example", "/%0a/x\n", "/ evil", "evil", "", "/login?token=x", "/\x00"],
)  # fmt: skip
def test_what_follows_a_login_is_local(target: str) -> None:
    assert gate.local_path(target) == "/"


@pytest.mark.parametrize("target", ["/", "/maps/7", "/maps/7?where=value.x%20%3E%201", "/maps/7/entries/00ff"])
def test_local_paths_are_followed(target: str) -> None:
    assert gate.local_path(target) == target


def test_guessing_is_slowed_down(nobody: FlaskClient, settings: Settings) -> None:
    statuses = [nobody.get(f"/login?token={number}").status_code for number in range(20)]
    assert statuses[:10] == [403] * 10
    assert statuses[-1] == 429
    assert int(nobody.get("/login?token=x").headers["Retry-After"]) >= 1


def test_a_guesser_locks_nobody_out(nobody: FlaskClient, settings: Settings, shell: Flask) -> None:
    path = link(settings)
    for number in range(20):
        nobody.get(f"/login?token={number}")
    assert shell.test_client().get(path, headers={"Host": "127.0.0.1:8470"}).status_code == 303


def test_signing_out_ends_the_session_for_good(
    someone: FlaskClient, settings: Settings, broker: object, shell: Flask
) -> None:
    kept = someone.get_cookie(gate.cookie_name(settings), domain="127.0.0.1")
    assert kept is not None
    answer = someone.post("/logout", headers={"Origin": ORIGIN})
    assert answer.status_code == 303
    assert answer.headers["Clear-Site-Data"] == '"cache", "storage"'
    again = create_app(settings, Client(broker))  # type: ignore[arg-type]
    for app in (shell, again):
        client = app.test_client()
        answer = client.get(
            "/", headers={"Host": "127.0.0.1:8470", "Cookie": f"{gate.cookie_name(settings)}={kept.value}"}
        )
        assert answer.status_code == 303


def test_session_is_over_after_twelve_hours(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    issuer = sessions.Sessions(Folder.prepare(settings))
    value = issuer.begin()
    assert issuer.check(value) is not None
    began = time.time()
    monkeypatch.setattr(time, "time", lambda: began + sessions.VALID_S + 5)
    assert issuer.check(value) is None


def test_a_session_of_another_secret_is_none(settings: Settings, tmp_path: Path) -> None:
    other = sessions.Sessions(Folder.prepare(Settings(data=tmp_path / "other")))
    ours = sessions.Sessions(Folder.prepare(settings))
    assert ours.check(other.begin()) is None
    assert ours.check("") is None
    assert ours.check("a.b.c") is None


def test_theme_is_kept_and_drawn_by_the_server(someone: FlaskClient) -> None:
    assert "data-theme" not in someone.get("/").text
    answer = someone.post("/theme", data={"theme": "dark", "next": "/?q=x"}, headers={"Origin": ORIGIN})
    assert answer.headers["Location"] == "/?q=x"
    assert '<html lang="en" data-theme="dark">' in someone.get("/").text
    someone.post("/theme", data={"theme": '"><script>', "next": "//x"}, headers={"Origin": ORIGIN})
    assert "data-theme" not in someone.get("/").text
