"""The web process over a bare socket: what no browser would send."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

import pytest

from tests.functional.conftest import Service

pytestmark = [pytest.mark.browser, pytest.mark.kernel]


def answer_to(service: Service, request: str) -> str:
    """Status line and body of whatever comes back; empty when the connection is closed without a word."""
    parts = urlsplit(service.origin)
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=30) as connection:
        connection.sendall(request.replace("\n", "\r\n").encode())
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b"")).decode("latin-1")


@pytest.mark.parametrize(
    ("head", "statuses"),
    [
        pytest.param("GET /healthz HTTP/1.1\nHost: HOST\n\n", {"200"}, id="plain"),
        pytest.param("GET /healthz HTTP/1.1\nHost: evil.example\n\n", {"421"}, id="foreign host"),
        pytest.param("GET /healthz HTTP/1.1\n\n", {"400"}, id="no host"),
        pytest.param("GET /healthz HTTP/1.0\n\n", {"400"}, id="no host, old protocol"),
        pytest.param("GET /healthz HTTP/1.1\nHost: HOST\nHost: evil.example\n\n", {"400", "421"}, id="two hosts"),
        pytest.param(
            "GET /healthz HTTP/1.1\nHost: evil.example\nHost: HOST\n\n", {"400", "421"}, id="two hosts, ours last"
        ),
        pytest.param(
            "GET /healthz HTTP/1.1\nHost: HOST\nX-Forwarded-Host: evil.example\nX-Forwarded-Proto: https\n\n",
            {"200"},
            id="proxy headers from nobody",
        ),
        pytest.param(
            "POST /login HTTP/1.1\nHost: HOST\nContent-Length: 3\nTransfer-Encoding: chunked\n\n0\n\n",
            {"400"},
            id="two lengths",
        ),
        pytest.param(
            "POST /login HTTP/1.1\nHost: HOST\nOrigin: http://HOST\nContent-Length: 2000000\n\nx",
            {"413"},
            id="body beyond the limit",
        ),
        pytest.param("GET /" + "x" * 9000 + " HTTP/1.1\nHost: HOST\n\n", {"400", "414"}, id="endless address"),
        pytest.param("BREW / HTTP/1.1\nHost: HOST\n\n", {"405", "303", "400", "403"}, id="unknown method"),
    ],
)
def test_t30_requests_that_no_browser_sends(service: Service, head: str, statuses: set[str]) -> None:
    answer = answer_to(service, head.replace("HOST", urlsplit(service.origin).netloc))
    assert answer.split(" ", 2)[1] in statuses, answer[:200]
    assert "edge-7" not in answer
    assert "Traceback" not in answer


def test_a_proxys_word_on_https_is_not_believed(service: Service) -> None:
    answer = service.get("/", headers={"X-Forwarded-Proto": "https", "X-Forwarded-For": "1.2.3.4"})
    assert "Strict-Transport-Security" not in answer.headers
