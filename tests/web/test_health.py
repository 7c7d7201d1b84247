from __future__ import annotations

from flask.testing import FlaskClient


def test_alive_and_ready_without_a_session(nobody: FlaskClient) -> None:
    assert nobody.get("/healthz").status_code == 200
    answer = nobody.get("/readyz")
    assert answer.status_code == 200
    assert answer.json == {"ready": True, "broker": "ok"}


def test_alive_but_not_ready_without_a_broker(nobody: FlaskClient, broker: object) -> None:
    broker.away = True  # type: ignore[attr-defined]
    assert nobody.get("/healthz").status_code == 200
    answer = nobody.get("/readyz")
    assert answer.status_code == 503
    assert answer.json == {"ready": False, "broker": "away"}
