"""Every route, every role, every way of asking: what the table in permissions.py says is what happens."""

from __future__ import annotations

import pytest
from flask import Flask

from app.broker.accounts.actor import ROLES
from app.settings import Settings
from app.web import gate
from app.web.permissions import NEEDS, Need
from tests.web.conftest import ORIGIN, EmptyHost, LocalClient, stranger, with_role
from tests.web.routes import routes

UNSAFE = frozenset({"POST", "PUT", "PATCH", "DELETE"})


def test_t09_every_route_has_its_row(shell: Flask) -> None:
    endpoints = {rule.endpoint for rule in shell.url_map.iter_rules()}
    assert endpoints <= set(NEEDS)


@pytest.mark.parametrize("role", ["", *ROLES])
def test_t09_every_route_for_every_role(shell: Flask, broker: EmptyHost, role: str) -> None:
    client = with_role(shell, broker, role) if role else stranger(shell)
    let_in, kept_out = [], []
    for method, path, endpoint in routes(shell):
        if endpoint in {"login.logout", "login.submit"}:  # they end the session that the others need
            continue
        headers = {"Origin": ORIGIN, "X-Csrf-Token": client.csrf}
        answer = client.open(path, method=method, headers=headers)
        refused = (
            answer.status_code in {401, 303}
            if not role and NEEDS[endpoint] is not Need.OPEN
            else answer.status_code == 403
        )
        if not role and refused and answer.status_code == 303:
            assert answer.headers["Location"].startswith("/login"), path
        if role in NEEDS[endpoint].value:
            # Let in: what the page itself then says (no such map, nothing was sent, a password is wrong) is another matter.
            assert "does not reach this" not in answer.text, (role, method, path)
            let_in.append(endpoint)
        else:
            assert refused, (role, method, path, answer.status_code)
            if role:
                assert f"the role {role} does not reach this" in answer.text, path
            kept_out.append(endpoint)
    assert "overview.maps" in (let_in if role else kept_out)
    assert ("entries.show" in let_in) == (role in {"viewer", "editor", "admin"})
    assert ("settings.user_add" in let_in) == (role == "admin")


def test_t09_a_route_without_a_row_is_for_nobody(
    shell: Flask, broker: EmptyHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(NEEDS, "schema.show")
    for role in ROLES:
        assert with_role(shell, broker, role).get("/maps/1/schema").status_code == 403
    assert stranger(shell).get("/maps/1/schema").status_code == 303


@pytest.mark.parametrize("named", ["0", "-1", ":id", "1", "../root", "x" * 300, "%00"])
def test_t09_what_is_anothers_is_not_there(shell: Flask, broker: EmptyHost, named: str) -> None:
    client = with_role(shell, broker, "editor")
    for path in (f"/settings/sessions/{named}/end", f"/settings/tokens/{named}/revoke"):
        assert client.submit(path).status_code == 404, path


def test_t09_another_users_session_and_token_are_not_there(shell: Flask, broker: EmptyHost) -> None:
    viewer, editor = with_role(shell, broker, "viewer"), with_role(shell, broker, "editor")
    accounts = broker.people.desk.accounts
    value, made = accounts.tokens.make("viewer", label="x", scope="read", days=1, recorded=lambda _: None)
    (session,) = accounts.sessions.listed("viewer")
    assert editor.submit(f"/settings/sessions/{session.id}/end").status_code == 404
    assert editor.submit(f"/settings/tokens/{made.id}/revoke").status_code == 404
    page = editor.get("/settings").text
    assert session.id not in page
    assert made.id not in page
    assert viewer.get("/").status_code == 200
    assert stranger(shell).get("/api/v1/maps", headers={"Authorization": f"Bearer {value}"}).status_code == 200


CROSS = [
    pytest.param({"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}, id="cross-site"),
    pytest.param({"Sec-Fetch-Site": "same-site", "Origin": "http://127.0.0.1:9999"}, id="same site, another port"),
    pytest.param({}, id="no header at all"),
    pytest.param({"Origin": "null"}, id="null origin"),
    pytest.param({"Origin": ORIGIN}, id="ours, without the token"),
    pytest.param({"Origin": ORIGIN, "X-Csrf-Token": "0" * 64}, id="ours, with a wrong token"),
    pytest.param({"Origin": ORIGIN, "X-Csrf-Token": "\udcff"}, id="ours, with no token that could be"),
    pytest.param({"Origin": ORIGIN, "Content-Type": "text/plain"}, id="text/plain"),
]


@pytest.mark.parametrize("headers", CROSS)
def test_t02_nothing_is_changed_for_another_site_or_without_the_token(
    shell: Flask, broker: EmptyHost, headers: dict[str, str]
) -> None:
    client = with_role(shell, broker, "admin")
    before = broker.people.desk.audit.verify().records
    tried = 0
    for method, path, endpoint in routes(shell):
        if method not in UNSAFE or (endpoint in gate.NO_CSRF and headers.get("Origin") == ORIGIN):
            continue
        if endpoint == "headers.csp_report":
            continue
        sent = {name: value.encode("utf-8", "surrogateescape").decode("latin-1") for name, value in headers.items()}
        answer = client.open(path, method=method, headers=sent, data=b"csrf=" if "Content-Type" in headers else None)
        assert answer.status_code == 403, (method, path)
        tried += 1
    assert tried >= 10
    assert client.get("/").status_code == 200
    assert broker.people.desk.audit.verify().records == before


def test_t02_no_address_that_is_only_looked_at_changes_anything(shell: Flask, broker: EmptyHost) -> None:
    client = with_role(shell, broker, "admin")
    client.elevate()
    before = broker.people.desk.audit.verify().records
    for method, path, endpoint in routes(shell):
        if method == "GET" and not endpoint.startswith("oidc."):
            client.get(path)
            client.get(path, headers={"HX-Request": "true"})
    assert broker.people.desk.audit.verify().records == before


def test_t02_a_token_of_another_session_is_none(shell: Flask, broker: EmptyHost) -> None:
    one, other = with_role(shell, broker, "editor"), with_role(shell, broker, "editor")
    answer = one.post("/drop", data={"csrf": other.csrf}, headers={"Origin": ORIGIN})
    assert answer.status_code == 403
    assert "load it again" in answer.text
    assert one.submit("/drop").status_code == 303


def test_a_program_with_a_bearer_token_needs_no_page(shell: Flask, broker: EmptyHost) -> None:
    with_role(shell, broker, "viewer")
    value, _ = broker.people.desk.accounts.tokens.make(
        "viewer", label="x", scope="read", days=1, recorded=lambda _: None
    )
    client = stranger(shell)
    headers = {"Authorization": f"Bearer {value}"}
    assert client.get("/api/v1/maps", headers=headers).status_code == 200
    assert client.get("/", headers=headers).status_code == 303
    assert client.get("/api/v1/maps/1/entries", headers=headers).status_code != 403


def proxied(settings: Settings, broker: EmptyHost, **more: object) -> Flask:
    import dataclasses

    from app.web.factory import create_app
    from app.wire.ask import Client

    behind = dataclasses.replace(settings, proxy_header="Remote-User", proxy_addresses=("10.0.0.0/24",), **more)  # type: ignore[arg-type]
    broker.settings = behind
    return create_app(behind, Client(broker))


def test_t25_a_proxys_word_counts_from_its_address_alone(settings: Settings, broker: EmptyHost) -> None:
    app = proxied(settings, broker)
    with_role(app, broker, "viewer")
    named = {"Remote-User": "viewer", "X-Forwarded-For": "203.0.113.9"}
    for address in ("127.0.0.1", "10.0.1.1", "203.0.113.9"):
        assert stranger(app).get("/", headers=named, environ_base={"REMOTE_ADDR": address}).status_code == 303, address
    client = stranger(app)
    behind = {"REMOTE_ADDR": "10.0.0.7"}
    assert client.get("/", headers=named, environ_base=behind).status_code == 200
    begun = {(each.how, each.source) for each in broker.people.desk.accounts.sessions.listed("viewer")}
    assert ("proxy", "203.0.113.9") in begun
    # The session is worth as much as the proxy's word now.
    assert client.get("/", environ_base=behind).status_code == 303
    assert client.get("/", headers=named, environ_base={"REMOTE_ADDR": "127.0.0.1"}).status_code == 303
    assert client.get("/", headers={"Remote-User": "stranger"}, environ_base=behind).status_code == 403
    two = [("Remote-User", "viewer"), ("Remote-User", "admin")]
    assert stranger(app).get("/", headers=two, environ_base=behind).status_code == 303


@pytest.mark.parametrize(
    ("peer", "forwarded", "source"),
    [
        pytest.param("203.0.113.1", "1.2.3.4", "203.0.113.1", id="from nobody that is trusted"),
        pytest.param("10.0.0.7", "1.2.3.4", "1.2.3.4", id="from the proxy"),
        pytest.param(
            "10.0.0.7", "6.6.6.6, 1.2.3.4", "1.2.3.4", id="what the client itself put before it is not believed"
        ),
        pytest.param("10.0.0.7", "6.6.6.6, 1.2.3.4, 10.0.0.8", "1.2.3.4", id="two proxies of ours"),
        pytest.param("10.0.0.7", "", "10.0.0.7", id="the proxy says nothing"),
        pytest.param("10.0.0.7", "1.2.3.4, evil\u202e", "10.0.0.7", id="no address at all"),
        pytest.param("::ffff:10.0.0.7", "2001:db8::1", "2001:db8::1", id="the proxy by its other name"),
    ],
)
def test_t25_forwarded_for_names_the_source_only_behind_a_trusted_proxy(
    settings: Settings, broker: EmptyHost, peer: str, forwarded: str, source: str
) -> None:
    client = stranger(proxied(settings, broker))
    forged = forwarded.encode().decode("latin-1")
    client.post(
        "/login",
        data={"name": "nobody", "password": "x"},
        headers={"Origin": ORIGIN, "X-Forwarded-For": forged},
        environ_base={"REMOTE_ADDR": peer},
    )
    from app.wire.accounts import Credential
    from app.wire.records import AskRecords

    (newest, *_) = broker.people.desk.audit.records(AskRecords(Credential(), code="session.refused")).records
    assert newest.record.actor.source == source


def test_t25_guessing_under_many_forged_addresses_is_one_source(shell: Flask, broker: EmptyHost) -> None:
    client = stranger(shell)
    statuses = [
        client.post(
            "/login",
            data={"name": "root", "password": "x"},
            headers={"Origin": ORIGIN, "X-Forwarded-For": f"198.51.100.{number}"},
        ).status_code
        for number in range(8)
    ]
    assert statuses[0] == 403
    assert statuses[-1] == 429


def test_a_proxy_header_without_addresses_is_refused_at_the_start(settings: Settings, broker: EmptyHost) -> None:
    import dataclasses

    from app.errors import BadSetting
    from app.web.factory import create_app
    from app.wire.ask import Client

    with pytest.raises(BadSetting):
        create_app(dataclasses.replace(settings, proxy_header="Remote-User"), Client(broker))
    with pytest.raises(BadSetting):
        create_app(dataclasses.replace(settings, proxy_addresses=("proxy.example",)), Client(broker))


def test_a_vouched_session_reads_and_needs_the_password_to_write(settings: Settings, broker: EmptyHost) -> None:
    app = proxied(settings, broker)
    with_role(app, broker, "editor")
    client: LocalClient = stranger(app)
    client.environ_base["REMOTE_ADDR"] = "10.0.0.7"
    headers = {"Remote-User": "editor"}
    assert client.get("/", headers=headers).status_code == 200
    sent = {**headers, "Origin": ORIGIN}
    fields = {"csrf": client.csrf, "label": "x", "scope": "read", "days": "1"}
    assert client.post("/settings/tokens", data=fields, headers=sent).headers["Location"].startswith("/elevate")
    wrong = client.post("/elevate", data={"csrf": client.csrf, "password": "wrong horse 42"}, headers=sent)
    assert wrong.status_code == 403
    right = client.post("/elevate", data={"csrf": client.csrf, "password": "correct horse 42"}, headers=sent)
    assert right.status_code == 303
    assert "UNLOCKED until" in client.get("/", headers=headers).text
