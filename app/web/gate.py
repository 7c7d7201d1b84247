"""Who may send a request at all: no other site's page, and nobody without a session but for a handful of paths."""

from __future__ import annotations

import hmac
from urllib.parse import urlencode, urlsplit

from flask import Flask, Request, Response, current_app, g, request

from app.settings import Settings
from app.web.problems import ForeignRequest, NotSignedIn
from app.web.sessions import Session, Sessions

OPEN_ENDPOINTS = frozenset(
    {
        "login.form",
        "login.submit",
        "health.healthz",
        "health.readyz",
        "assets.static",
        "headers.csp_report",
        "login.theme",
    }
)
"""Reached without a session. Everything that is not in here needs one: tests walk the route table."""
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def install(app: Flask, settings: Settings, sessions: Sessions) -> None:
    """Check every request before its view; the order matters: a foreign request learns nothing about sessions."""
    cookie = cookie_name(settings)

    @app.before_request
    def _check() -> None:
        if request.endpoint != "headers.csp_report":
            check_origin(request, settings)
        g.session = find_session(request, sessions, cookie)
        if g.session is None and request.endpoint not in OPEN_ENDPOINTS and request.endpoint is not None:
            raise NotSignedIn


def cookie_name(settings: Settings) -> str:
    """``__Host-`` binds the cookie to this name and https; on loopback http the port keeps two instances apart."""
    if settings.behind_tls:
        return "__Host-bpf-atlas"
    return f"bpf-atlas-{settings.listen.rpartition(':')[2]}"


def find_session(asked: Request, sessions: Sessions, cookie: str) -> Session | None:
    """By cookie, or by ``Authorization: Bearer`` for the API."""
    value = asked.cookies.get(cookie)
    if value is None and is_api(asked):
        kind, _, token = asked.headers.get("Authorization", "").partition(" ")
        if kind.lower() == "bearer":
            value = token.strip()
    return sessions.check(value) if value else None


def is_api(asked: Request) -> bool:
    """Paths whose errors are problem+json."""
    return asked.path.startswith("/api/")


def is_htmx(asked: Request) -> bool:
    """HTMX asked, so it wants a fragment; a request for Back's page wants the whole of it."""
    return asked.headers.get("HX-Request") == "true" and asked.headers.get("HX-History-Restore-Request") != "true"


def check_origin(asked: Request, settings: Settings) -> None:
    """Refuse what another site's page made the browser send.

    Browsers say where a request comes from (Sec-Fetch-Site, Origin) and pages cannot forge it. A foreign page may only
    link here: a top-level GET. Unsafe methods need proof of our own origin; without any browser header that is refused
    too, unless the request carries a bearer token, which no browser adds by itself.
    raises  ForeignRequest
    """
    ours = f"{'https' if settings.behind_tls else 'http'}://{asked.host}"
    site = asked.headers.get("Sec-Fetch-Site")
    origin = asked.headers.get("Origin")
    unsafe = asked.method not in SAFE_METHODS
    if site is not None and site not in {"same-origin", "none"}:
        link = asked.headers.get("Sec-Fetch-Mode") == "navigate" and asked.headers.get("Sec-Fetch-Dest") == "document"
        if unsafe or is_htmx(asked) or not link:
            raise ForeignRequest(f"another site ({site})", ours)
    if not unsafe:
        return
    if origin == "null" and site == "same-origin":
        return  # what a browser says of a form on a page that sends no referrer, as ours do
    if origin is not None:
        if not hmac.compare_digest(origin.encode(), ours.encode()):
            raise ForeignRequest(origin[:200], ours)
    elif site is None and not asked.headers.get("Authorization", "").lower().startswith("bearer "):
        raise ForeignRequest("a program that says no Origin", ours)


def local_path(target: str | None) -> str:
    """`target` if it is a path of ours, else ``/``: what may follow a login (no open redirect)."""
    if not target or not target.startswith("/") or target.startswith(("//", "/\\")):
        return "/"
    if any(char <= " " or char in "\\\x7f" for char in target):
        return "/"
    parts = urlsplit(target)
    if parts.scheme or parts.netloc or parts.path.startswith(("/login", "/logout")):
        return "/"
    return target


def login_path(asked: Request) -> str:
    """The login page that comes back to what was asked for, where that can be asked for again."""
    wanted = asked.full_path.removesuffix("?") if asked.method == "GET" else "/"
    if is_htmx(asked):
        try:
            current = urlsplit(asked.headers.get("HX-Current-URL", "/"))
        except ValueError:  # no URL at all, so not from HTMX
            return "/login"
        wanted = current.path + (f"?{current.query}" if current.query else "")
    wanted = local_path(wanted)
    return "/login" if wanted == "/" else "/login?" + urlencode({"next": wanted})


def clear_cookie(response: Response) -> None:
    """Take the session cookie back."""
    settings: Settings = current_app.extensions["settings"]
    response.delete_cookie(cookie_name(settings), path="/", secure=settings.behind_tls, httponly=True, samesite="Lax")
