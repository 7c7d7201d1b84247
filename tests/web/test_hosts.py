from __future__ import annotations

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import EnvironBuilder, run_wsgi_app

from app.settings import Settings
from app.web.hosts import allowed


@pytest.mark.parametrize(
    ("listen", "extra", "expected"),
    [
        pytest.param("127.0.0.1:8470", (), {"127.0.0.1:8470", "localhost:8470", "[::1]:8470"}, id="loopback by its names"),
        pytest.param("[::1]:80", (), {"127.0.0.1:80", "localhost:80", "[::1]:80", "127.0.0.1", "localhost", "[::1]"}, id="port 80 may be left out"),
        pytest.param("10.0.0.7:8470", (), {"10.0.0.7:8470"}, id="an address of its own, and no loopback"),
        pytest.param("127.0.0.1:1", ("Atlas.example",), {"127.0.0.1:1", "localhost:1", "[::1]:1", "atlas.example", "atlas.example:1"}, id="a proxy's name"),
        pytest.param("10.0.0.7:1", ("atlas.example:8443",), {"10.0.0.7:1", "atlas.example:8443"}, id="a proxy's name and port"),
    ],
)  # fmt: skip
def test_names_that_are_answered(listen: str, extra: tuple[str, ...], expected: set[str]) -> None:
    assert allowed(Settings(listen=listen, allowed_hosts=extra)) == expected


FOREIGN = ["evil.example", "evil.example:8470", "127.0.0.1", "127.0.0.1:8471", "127.0.0.1.:8470", "localhost.:8470",
           "[::1]", "[::ffff:127.0.0.1]:8470", "127.0.0.1:8470,evil.example", "2130706433:8470", ""]  # fmt: skip
PATHS = ["/", "/healthz", "/readyz", "/login", "/maps/1", "/api/v1/maps", "/static/x", "/nothing"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("host", FOREIGN)
def test_t01_any_other_host_gets_421_on_every_path(nobody: FlaskClient, host: str, path: str) -> None:
    answer = nobody.get(path, headers={"Host": host})
    assert answer.status_code == 421
    assert b"edge-7" not in answer.data


def test_a_host_in_capitals_is_the_same_host(nobody: FlaskClient) -> None:
    assert nobody.get("/healthz", headers={"Host": "LOCALHOST:8470"}).status_code == 200


def test_t01_a_request_without_host_gets_400(shell: Flask) -> None:
    builder = EnvironBuilder(path="/healthz")
    environ = builder.get_environ()
    del environ["HTTP_HOST"]
    _, status, _ = run_wsgi_app(shell.wsgi_app, environ)
    assert status.startswith("400 ")
