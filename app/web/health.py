"""Is it alive, is it ready: for probes, without a session and without details."""

from __future__ import annotations

import time
from http import HTTPStatus
from typing import TYPE_CHECKING

import msgspec
from flask import Blueprint, Response, make_response

from app.errors import AppError

if TYPE_CHECKING:
    from app.wire.ask import Client

SLOW_S = 0.5


class Readiness(msgspec.Struct, frozen=True, kw_only=True):
    """Answer of /readyz."""

    ready: bool
    broker: str
    """``ok``, ``slow`` (more than half a second) or ``away``."""


def blueprint(client: Client) -> Blueprint:
    """/healthz and /readyz."""
    bp = Blueprint("health", __name__)

    @bp.get("/healthz")
    def healthz() -> Response:
        response = make_response("ok\n")
        response.headers["Content-Type"] = "text/plain; charset=utf-8"
        return response

    @bp.get("/readyz")
    def readyz() -> Response:
        began_s = time.monotonic()
        try:
            client.hello()
        except (AppError, OSError):
            broker = "away"
        else:
            broker = "ok" if time.monotonic() - began_s <= SLOW_S else "slow"
        ready = broker != "away"
        response = make_response(
            msgspec.json.encode(Readiness(ready=ready, broker=broker)),
            HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE,
        )
        response.headers["Content-Type"] = "application/json"
        return response

    return bp
