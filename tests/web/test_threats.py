"""Rows of the threat table that no other file has: what errors tell, what is too large, what is reachable from elsewhere."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

ROOT = Path(__file__).resolve().parents[2]
ORIGIN = "http://127.0.0.1:8470"
SECRET = "/somewhere/secret.py line 7: hunter2"


@pytest.mark.parametrize("path", ["/", "/api/v1/maps"])
def test_t28_a_fault_shows_its_number_and_nothing_of_the_code(
    someone: FlaskClient, shell: Flask, monkeypatch: pytest.MonkeyPatch, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError(SECRET)

    monkeypatch.setattr(shell.extensions["client"], "maps", broken)
    answer = someone.get(path)
    assert answer.status_code == 500
    assert answer.headers["X-Request-Id"] in answer.text
    for told in (SECRET, "hunter2", "Traceback", "RuntimeError", ".py", str(ROOT)):
        assert told not in answer.text
    assert SECRET in caplog.text, "the log has what the page has not"


@pytest.mark.parametrize("path", ["/login", "/plans/new", "/api/v1/maps/1/edits", "/csp-report", "/theme"])
def test_t20_a_body_beyond_the_limit_is_not_read(someone: FlaskClient, path: str) -> None:
    headers = {"Origin": ORIGIN, "Content-Type": "application/x-www-form-urlencoded"}
    answer = someone.post(path, data=b"x=" + b"y" * (2 << 20), headers=headers)
    assert answer.status_code == 413


@pytest.mark.kernel
@pytest.mark.parametrize("listen", ["0.0.0.0:0", "[::]:0", "10.255.0.1:0"])
def test_t26_nothing_listens_beyond_loopback_unless_it_was_meant(tmp_path: Path, listen: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "app.cli.main", "serve", "--listen", listen, "--data", str(tmp_path / "data")],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "is not loopback" in done.stderr
    assert not (tmp_path / "data").exists()
