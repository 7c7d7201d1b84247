from __future__ import annotations

from urllib.parse import quote, urlsplit

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app.web.permissions import NEEDS, Need
from tests.web.conftest import LocalClient, link
from tests.web.routes import routes

ORIGIN = "http://127.0.0.1:8470"


def test_every_route_but_the_open_ones_needs_a_session(shell: Flask, nobody: FlaskClient) -> None:
    closed = 0
    for method, path, endpoint in routes(shell):
        if NEEDS[endpoint] is Need.OPEN:
            continue
        answer = nobody.open(path, method=method, headers={"Origin": ORIGIN})
        if path.startswith("/api/"):
            assert answer.status_code == 401, path
            assert answer.headers["Content-Type"] == "application/problem+json"
            assert answer.json is not None
            assert answer.json["status"] == 401
        else:
            assert answer.status_code == 303, path
            assert answer.headers["Location"].startswith("/login"), path
            fragment = nobody.open(path, method=method, headers={"HX-Request": "true", "Origin": ORIGIN})
            assert fragment.status_code == 401
            assert fragment.headers["HX-Redirect"].startswith("/login")
        closed += 1
    assert closed >= 1


def test_an_unknown_path_does_not_tell_a_stranger_so(nobody: FlaskClient, someone: FlaskClient) -> None:
    assert nobody.get("/nothing").status_code == 303
    assert nobody.get("/api/v1/nothing").status_code == 401
    assert someone.get("/nothing").status_code == 404
    assert someone.get("/api/v1/nothing").status_code == 404


def test_login_comes_back_to_the_page(nobody: FlaskClient) -> None:
    answer = nobody.get("/maps/7?where=value.x+%3E+1")
    assert answer.headers["Location"] == "/login?next=%2Fmaps%2F7%3Fwhere%3Dvalue.x%2B%253E%2B1"


SITES = [
    # Sec-Fetch-Site, Mode, Dest, Origin, Authorization -> allowed GET, allowed POST
    pytest.param({}, True, False, id="no browser header at all"),
    pytest.param({"Authorization": "Bearer x"}, True, True, id="a program with a bearer token"),
    pytest.param({"Sec-Fetch-Site": "same-origin", "Origin": ORIGIN}, True, True, id="our own page"),
    pytest.param({"Origin": ORIGIN}, True, True, id="our own page, old browser"),
    pytest.param({"Sec-Fetch-Site": "same-origin", "Origin": "null"}, True, True, id="our own form, which sends no referrer"),
    pytest.param({"Sec-Fetch-Site": "same-origin", "Origin": "https://evil.example"}, True, False, id="two headers that contradict each other"),
    pytest.param({"Sec-Fetch-Site": "none", "Origin": "null"}, True, False, id="null origin, not from our page"),
    pytest.param({"Origin": "null"}, True, False, id="null origin"),
    pytest.param({"Origin": "http://localhost:9999"}, True, False, id="another port"),
    pytest.param({"Origin": "https://127.0.0.1:8470"}, True, False, id="another scheme"),
    pytest.param({"Sec-Fetch-Site": "none"}, True, True, id="typed by the user"),
    pytest.param({"Sec-Fetch-Site": "cross-site"}, False, False, id="fetch from another site"),
    pytest.param({"Sec-Fetch-Site": "same-site", "Origin": "http://127.0.0.1:9999"}, False, False, id="same site, another port"),
    pytest.param({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}, True, False, id="a link on another site"),
    pytest.param({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}, False, False, id="a frame on another site"),
    pytest.param({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document", "HX-Request": "true"}, False, False, id="a link that claims to be htmx"),
]  # fmt: skip


@pytest.mark.parametrize(("headers", "get_allowed", "post_allowed"), SITES)
def test_other_sites_may_link_and_nothing_else(
    someone: FlaskClient, headers: dict[str, str], get_allowed: bool, post_allowed: bool
) -> None:
    assert (someone.get("/", headers=headers).status_code != 403) is get_allowed
    assert (someone.post("/theme", data={"theme": "auto"}, headers=headers).status_code != 403) is post_allowed


def test_t31_what_follows_signing_in_is_a_path_of_ours(shell: Flask, nobody: LocalClient) -> None:
    for target in (
        "//evil",
        "/\\evil",
        "https:evil",
        "https://evil.example",
        "/%2f/evil",
        "%2f%2fevil",
        "\\evil",
        "/\tevil",
    ):
        answer = nobody.get(f"{link(shell)}&next={quote(target)}")
        assert answer.status_code == 303
        assert urlsplit(answer.headers["Location"]).netloc == ""
        assert answer.headers["Location"].startswith("/")
        assert not answer.headers["Location"].startswith(("//", "/\\"))


def test_t05_no_page_can_be_framed(nobody: LocalClient, someone: LocalClient) -> None:
    for client in (nobody, someone):
        for path in ("/", "/login", "/settings", "/nothing", "/maps/4294967295"):
            answer = client.get(path)
            assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
            assert answer.headers["X-Frame-Options"] == "DENY"


def test_get_changes_nothing_and_there_is_no_cors(someone: FlaskClient) -> None:
    answer = someone.options("/", headers={"Origin": "https://evil.example", "Access-Control-Request-Method": "GET"})
    assert "Access-Control-Allow-Origin" not in answer.headers
    assert someone.get("/logout").status_code == 405


def test_a_bearer_session_opens_the_api_only(shell: Flask, someone: FlaskClient) -> None:
    cookie = someone.get_cookie("bpf-atlas-8470", domain="127.0.0.1")
    assert cookie is not None
    client = shell.test_client()
    headers = {"Host": "127.0.0.1:8470", "Authorization": f"Bearer {cookie.value}"}
    assert client.get("/api/v1/maps", headers=headers).status_code == 200
    assert client.get("/", headers=headers).status_code == 303
    headers["Authorization"] = "Bearer nonsense"
    assert client.get("/api/v1/maps", headers=headers).status_code == 401


@pytest.mark.parametrize(
    "address", ["http://[", "http://[::1", "//[x", "", "javascript:alert(1)", "http://evil.example//evil.example"]
)
def test_a_fragment_asked_from_nowhere_leads_to_the_login(
    nobody: FlaskClient, address: str, caplog: pytest.LogCaptureFixture
) -> None:
    answer = nobody.get("/maps/3", headers={"HX-Request": "true", "HX-Current-URL": address})
    assert answer.status_code in {200, 303, 401}
    assert "evil" not in str(answer.headers)
    assert caplog.records == []


def test_a_program_without_a_token_is_told_to_sign_in_and_one_with_a_cookie_that_it_needs_an_origin(
    nobody: LocalClient, someone: LocalClient
) -> None:
    for headers in ({}, {"Authorization": "Bearer nonsense"}):
        answer = nobody.post("/api/v1/maps/1/edits", json={"key": 1}, headers=headers)
        assert answer.status_code == 401
        assert answer.content_type == "application/problem+json"
    assert someone.post("/api/v1/maps/1/edits", json={"key": 1}).status_code == 403
    assert nobody.post("/maps/1/entries/00/edit").status_code == 403
