"""The web process's own socket."""

from __future__ import annotations

import logging
import socket
import sys
import time

import pytest

from app.web import serve


def test_t20_a_client_that_takes_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "STALLED_S", 1)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        serve.let_go_of_stalled(listener.fileno())
        with socket.create_connection(listener.getsockname()) as stalled:
            accepted, _ = listener.accept()
            with accepted:
                began_s = time.monotonic()
                with pytest.raises(TimeoutError):
                    accepted.sendall(bytes(64 << 20))
                assert time.monotonic() - began_s < 30
            assert stalled.fileno() >= 0


def test_that_is_no_news_and_a_fault_is() -> None:
    def record(error: Exception) -> logging.LogRecord:
        try:
            raise error
        except Exception:
            return logging.LogRecord("gunicorn.error", logging.ERROR, "", 0, "Socket error", None, sys.exc_info())

    assert not serve._is_news(record(TimeoutError()))
    assert serve._is_news(record(OSError()))
    assert serve._is_news(logging.LogRecord("gunicorn.error", logging.ERROR, "", 0, "worker died", None, None))
