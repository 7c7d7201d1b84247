"""The write session and the settings page, as a browser meets them."""

from __future__ import annotations

import dataclasses
import re
import time

import pytest
from flask import Flask

from app.settings import Settings
from app.web import cookies
from app.web.factory import create_app
from app.wire.accounts import Credential
from app.wire.ask import Client
from app.wire.records import AskRecords
from tests.web.conftest import ORIGIN, PASSWORD, EmptyHost, LocalClient, browser, stranger, with_role


@pytest.fixture
def editing(settings: Settings) -> tuple[Flask, EmptyHost]:
    """A service that allows edits."""
    broker = EmptyHost(dataclasses.replace(settings, allow_edits=True))
    return create_app(broker.settings, Client(broker)), broker


def codes(broker: EmptyHost) -> list[str]:
    return [each.record.code for each in broker.people.desk.audit.records(AskRecords(Credential(), limit=500)).records]


def test_the_password_again_begins_a_write_session_and_drop_ends_it(editing: tuple[Flask, EmptyHost]) -> None:
    app, broker = editing
    client = with_role(app, broker, "editor")
    assert 'href="/elevate?next=/"' in client.get("/").text
    before = client.value(cookies.session_name(broker.settings))
    answer = client.submit("/elevate", password=PASSWORD, next="/maps/7")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/maps/7")
    write = next(each for each in answer.headers.getlist("Set-Cookie") if each.startswith("bpf-atlas-write-8470="))
    for part in ("HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=900"):
        assert part in write
    after = client.value(cookies.session_name(broker.settings))
    assert before not in {"", after}
    page = client.get("/").text
    assert re.search(r"WRITE until \d\d:\d\d", page)
    assert '<header class="top write">' in page
    old = stranger(app)
    old.set_cookie(cookies.session_name(broker.settings), before, domain="127.0.0.1")
    assert old.get("/").status_code == 303
    assert client.submit("/drop", next="/").status_code == 303
    assert "READ-ONLY" in client.get("/").text
    assert client.value(cookies.write_name(broker.settings)) == ""
    assert codes(broker)[:2] == ["write.end", "write.begin"]


def test_t33_a_write_session_ends_on_time_whatever_is_done(
    editing: tuple[Flask, EmptyHost], monkeypatch: pytest.MonkeyPatch
) -> None:
    app, broker = editing
    client = with_role(app, broker, "admin")
    client.elevate()
    sessions = broker.people.desk.accounts.sessions
    began = time.time()
    for minute in range(0, 15, 3):
        monkeypatch.setattr(sessions, "_now", lambda: began + minute * 60)  # noqa: B023
        assert client.submit("/settings/users/role", name="admin2", role="viewer").status_code == 404
    monkeypatch.setattr(sessions, "_now", lambda: began + 15 * 60 + 2)
    answer = client.submit("/settings/users/role", name="admin2", role="viewer")
    assert answer.headers["Location"] == "/elevate?next=%2Fsettings"
    assert "READ-ONLY" in client.get("/").text


def test_t33_the_write_cookie_of_another_session_is_worth_nothing(editing: tuple[Flask, EmptyHost]) -> None:
    app, broker = editing
    one, other = with_role(app, broker, "admin"), with_role(app, broker, "admin")
    one.elevate()
    name = cookies.write_name(broker.settings)
    other.set_cookie(name, one.value(name), domain="127.0.0.1")
    assert other.submit("/settings/users", name="eve", role="admin").headers["Location"].startswith("/elevate")
    assert one.submit("/settings/users", name="eve", role="viewer").status_code == 303


@pytest.mark.parametrize("role", ["viewer", "auditor"])
def test_who_cannot_edit_has_nothing_to_elevate(editing: tuple[Flask, EmptyHost], role: str) -> None:
    app, broker = editing
    client = with_role(app, broker, role)
    assert client.submit("/elevate", password=PASSWORD).status_code == 403
    assert "/elevate" not in client.get("/").text


def test_wrong_passwords_are_refused_in_place_and_slowed_down(editing: tuple[Flask, EmptyHost]) -> None:
    app, broker = editing
    client = with_role(app, broker, "editor")
    answers = [client.submit("/elevate", password=f"wrong horse {number}", next="/maps/7") for number in range(8)]
    assert answers[0].status_code == 403
    assert "The password is wrong." in answers[0].text
    assert 'name="next" value="/maps/7"' in answers[0].text
    assert "wrong horse" not in answers[0].text
    assert answers[-1].status_code == 429
    assert "write.refused" in codes(broker)


def test_root_chooses_a_password_after_the_link(shell: Flask, broker: EmptyHost, someone: LocalClient) -> None:
    page = someone.get("/").text
    assert 'href="/elevate?next=/"' in page
    assert "Choose a password" in someone.get("/elevate").text
    for password, again, says in (
        ("short", "short", "at least 10 characters"),
        ("password12", "password12", "tried first"),
        ("a good long one", "another long one", "two passwords differ"),
    ):
        answer = someone.submit("/elevate", password=password, again=again)
        assert answer.status_code == 422
        assert says in answer.text
        assert 'aria-invalid="true"' in answer.text
    assert someone.submit("/elevate", password=PASSWORD, again=PASSWORD).status_code == 303
    assert "has no password yet" not in someone.get("/").text
    assert "UNLOCKED until" in someone.get("/").text  # this service was started without --allow-edits
    stranger_ = stranger(shell)
    answer = stranger_.post("/login", data={"name": "root", "password": PASSWORD}, headers={"Origin": ORIGIN})
    assert answer.status_code == 303


def test_t07_changing_the_password_ends_every_session(shell: Flask, broker: EmptyHost) -> None:
    one, other = with_role(shell, broker, "viewer"), with_role(shell, broker, "viewer")
    wrong = one.submit("/settings/password", old="wrong horse 42", new="a good long one", again="a good long one")
    assert wrong.status_code == 403
    assert "The old password is wrong." in wrong.text
    differ = one.submit("/settings/password", old=PASSWORD, new="a good long one", again="another long one")
    assert differ.status_code == 422
    answer = one.submit("/settings/password", old=PASSWORD, new="a good long one", again="a good long one")
    assert answer.headers["Location"] == "/login"
    for client in (one, other):
        assert client.get("/").status_code == 303
    assert stranger(shell).post("/login", data={"name": "viewer", "password": PASSWORD}, headers={"Origin": ORIGIN}).status_code == 403  # fmt: skip
    assert stranger(shell).post("/login", data={"name": "viewer", "password": "a good long one"}, headers={"Origin": ORIGIN}).status_code == 303  # fmt: skip


def test_an_admin_looks_after_users(shell: Flask, broker: EmptyHost) -> None:
    client = with_role(shell, broker, "admin")
    assert (
        client.submit("/settings/users", name="eve", role="viewer").headers["Location"] == "/elevate?next=%2Fsettings"
    )
    client.elevate()
    added = client.submit("/settings/users", name="eve", role="viewer", new=PASSWORD, again=PASSWORD)
    assert added.headers["Location"] == "/settings?said=added#users"
    assert "The user is added." in client.get("/settings?said=added").text
    assert client.submit("/settings/users", name="eve", role="viewer").status_code == 409
    assert client.submit("/settings/users", name="e v e", role="viewer").status_code == 422
    assert client.submit("/settings/users", name="\u202eeve", role="viewer").status_code == 422
    assert client.submit("/settings/users", name="eva", role="boss").status_code == 422
    eve = browser(shell, broker.settings, "eve")
    assert client.submit("/settings/users/role", name="eve", role="auditor").status_code == 303
    assert eve.get("/").status_code == 303
    assert client.submit("/settings/users/password", name="eve", new="a good long one", again="a good long one").status_code == 303  # fmt: skip
    assert client.submit("/settings/users/remove", name="eve").status_code == 303
    assert client.submit("/settings/users/remove", name="eve").status_code == 404
    assert client.submit("/settings/users/remove", name="root").status_code == 409
    assert client.submit("/settings/users/role", name="root", role="viewer").status_code == 409
    assert codes(broker)[:4] == ["user.remove", "user.password", "user.role", "session.begin"]


def test_a_tokens_value_is_shown_once(shell: Flask, broker: EmptyHost) -> None:
    client = with_role(shell, broker, "editor")
    page = client.submit("/settings/tokens", label="<b>grafana</b>", scope="read", days="30")
    assert page.status_code == 200
    (value,) = re.findall(r'id="made">(bpa_[\w-]+)<', page.text)
    assert "<b>grafana" not in page.text
    assert value not in client.get("/settings").text
    headers = {"Authorization": f"Bearer {value}"}
    assert stranger(shell).get("/api/v1/maps", headers=headers).status_code == 200
    (token,) = broker.people.desk.accounts.tokens.listed("editor")
    assert client.submit(f"/settings/tokens/{token.id}/revoke").status_code == 303
    assert stranger(shell).get("/api/v1/maps", headers=headers).status_code == 401
    # One that edits would outlast a write session, so it takes one.
    assert (
        client.submit("/settings/tokens", label="x", scope="edit", days="30").headers["Location"].startswith("/elevate")
    )
    for days in ("0", "366", "-1", "x", "٣", ""):
        assert client.submit("/settings/tokens", label="x", scope="read", days=days).status_code == 422, days


def test_sessions_are_listed_and_ended(shell: Flask, broker: EmptyHost) -> None:
    one, other = with_role(shell, broker, "viewer"), with_role(shell, broker, "viewer")
    page = one.get("/settings").text
    (session_id,) = re.findall(r"/settings/sessions/(\w+)/end", page)
    assert one.submit(f"/settings/sessions/{session_id}/end").headers["Location"] == "/settings?said=session#sessions"
    assert other.get("/").status_code == 303
    assert one.get("/").status_code == 200


def test_t04_what_a_browser_calls_itself_is_text(shell: Flask, broker: EmptyHost) -> None:
    client = with_role(shell, broker, "viewer")
    agent = '"><script>alert(1)</script>\u202e'.encode().decode("latin-1")
    stranger(shell).post(
        "/login",
        data={"name": "viewer", "password": PASSWORD},
        headers={"Origin": ORIGIN, "User-Agent": agent},
    )
    page = client.get("/settings").text
    assert "<script>alert" not in page
    assert "\u202e" not in page
    assert "&lt;script&gt;" in page


def test_what_the_service_goes_by_is_shown_to_admins(
    shell: Flask, broker: EmptyHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = with_role(shell, broker, "admin").get("/settings").text
    for field in dataclasses.fields(Settings):
        assert f'<th scope="row" class="mono">{field.name}</th>' in page
    assert "audit_key" not in with_role(shell, broker, "editor").get("/settings").text


def test_links_of_the_bar_are_those_that_the_role_reaches(shell: Flask, broker: EmptyHost) -> None:
    for role, has_audit in (("viewer", False), ("auditor", True)):
        page = with_role(shell, broker, role).get("/").text
        assert 'href="/settings"' in page
        assert ('href="/audit"' in page) == (has_audit and "audit.show" in shell.view_functions)
