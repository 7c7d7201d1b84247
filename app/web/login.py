"""Coming in by a one-time link, going out, and the one thing a visitor may choose before that: the theme."""

from __future__ import annotations

import threading
import time
from http import HTTPStatus

from flask import Blueprint, Response, g, make_response, redirect, render_template, request

from app.settings import Settings
from app.web import gate, login_link
from app.web.private import Folder
from app.web.problems import LinkUnusable, TooManyAttempts
from app.web.rendering import THEME_COOKIE, THEMES, as_response
from app.web.sessions import VALID_S, Sessions

BURST = 10
REFILL_S = 6.0
YEAR_S = 365 * 24 * 3600


class Attempts:
    """Token bucket over all failed logins: ten at once, then one in six seconds. Links are 256 bits, so this only spares the log."""

    def __init__(self, burst: int = BURST, refill_s: float = REFILL_S) -> None:
        self._burst = float(burst)
        self._refill_s = refill_s
        self._left = self._burst
        self._at_s = time.monotonic()
        self._lock = threading.Lock()

    def failed(self) -> None:
        """One attempt was wrong. Raises TooManyAttempts while the bucket is empty."""
        with self._lock:
            self._fill()
            if self._left < 1:
                raise TooManyAttempts(int((1 - self._left) * self._refill_s) + 1)
            self._left -= 1

    def _fill(self) -> None:
        now_s = time.monotonic()
        self._left = min(self._burst, self._left + (now_s - self._at_s) / self._refill_s)
        self._at_s = now_s


def blueprint(settings: Settings, folder: Folder, sessions: Sessions) -> Blueprint:
    """/login, /logout, /theme."""
    bp = Blueprint("login", __name__)
    attempts = Attempts()

    def enter(token: str, target: str | None) -> Response:
        # A right link always opens: whoever fills the bucket with wrong ones locks nobody out.
        if not login_link.consume(folder, token):
            attempts.failed()
            raise LinkUnusable
        response = as_response(redirect(gate.local_path(target), code=HTTPStatus.SEE_OTHER))
        response.set_cookie(
            gate.cookie_name(settings),
            sessions.begin(),
            max_age=VALID_S,
            path="/",
            secure=settings.behind_tls,
            httponly=True,
            samesite="Lax",
        )
        return response

    @bp.get("/login")
    def form() -> Response:
        target = request.args.get("next")
        if token := request.args.get("token", ""):
            return enter(token, target)
        if g.session is not None:
            return as_response(redirect(gate.local_path(target), code=HTTPStatus.SEE_OTHER))
        return make_response(render_template("login.html", next=gate.local_path(target)))

    @bp.post("/login")
    def submit() -> Response:
        token = request.form.get("token", "").strip()
        return enter(token.rpartition("token=")[2], request.form.get("next"))

    @bp.post("/logout")
    def logout() -> Response:
        sessions.end(g.session)
        response = as_response(redirect("/login", code=HTTPStatus.SEE_OTHER))
        gate.clear_cookie(response)
        response.headers["Clear-Site-Data"] = '"cache", "storage"'
        return response

    @bp.post("/theme")
    def theme() -> Response:
        chosen = request.form.get("theme", "")
        response = as_response(redirect(gate.local_path(request.form.get("next")), code=HTTPStatus.SEE_OTHER))
        response.set_cookie(
            THEME_COOKIE,
            chosen if chosen in THEMES else "auto",
            max_age=YEAR_S,
            path="/",
            secure=settings.behind_tls,
            httponly=True,
            samesite="Lax",
        )
        return response

    return bp
