from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from app.web.headers import ALWAYS, CSP

ANSWERS = [("/healthz", 200), ("/login", 200), ("/login?token=wrong", 403), ("/", 303), ("/static/none", 404),
           ("/api/v1/maps", 401), ("/nothing", 303)]  # fmt: skip


@pytest.mark.parametrize(("path", "status"), ANSWERS)
def test_every_answer_carries_the_headers(nobody: FlaskClient, path: str, status: int) -> None:
    answer = nobody.get(path)
    assert answer.status_code == status
    for name, value in ALWAYS:
        assert answer.headers.getlist(name) == [value]
    assert answer.headers["Cache-Control"] == "no-store"
    assert not [name for name, _ in answer.headers if name.lower().startswith("access-control-")]
    assert "Strict-Transport-Security" not in answer.headers


def test_also_for_a_foreign_host(nobody: FlaskClient) -> None:
    answer = nobody.get("/", headers={"Host": "evil.example"})
    assert answer.headers["Content-Security-Policy"] == CSP


def test_policy_allows_nothing_inline_and_nothing_foreign() -> None:
    assert "unsafe" not in CSP
    assert "http" not in CSP
    assert CSP.startswith("default-src 'none'; ")
    assert "frame-ancestors 'none'" in CSP


def test_static_files_are_kept_for_ever_under_their_hash(nobody: FlaskClient) -> None:
    page = nobody.get("/login").text
    url = page.split('rel="stylesheet" href="')[1].split('"')[0]
    answer = nobody.get(url, headers={"Accept-Encoding": "gzip"})
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert answer.headers["Content-Encoding"] == "gzip"
    assert len(answer.data) <= 15 * 1024
    wrong = url.replace(url.split("/")[2], "0" * 16)
    assert nobody.get(wrong).status_code == 404


def test_reports_of_violations_are_taken_and_bounded(nobody: FlaskClient, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(20):
        assert nobody.post("/csp-report", data=b"{\x1b]0;x" + b"x" * 9000).status_code == 204
    messages = [record.getMessage() for record in caplog.records if record.name == "bpf_atlas.csp"]
    assert len(messages) <= 10
    assert all("\x1b" not in message and len(message) < 4200 for message in messages)
