"""Who may send a request at all: no other site's page, nobody without a session but for a handful of paths, and each role
only where permissions.py has it.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

from flask import Flask, Request, Response, current_app, g, request

from app.web import cookies, csrf
from app.web.permissions import NEEDS, Need
from app.web.problems import ForeignRequest, NotSignedIn, StalePage, WrongRole
from app.web.proxies import Proxies
from app.wire.accounts import Credential, SessionFacts
from app.wire.errors import SignInFailed

if TYPE_CHECKING:
    from app.settings import Settings
    from app.wire.ask import Client

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
UNASKED = frozenset({"assets.static", "headers.csp_report", "health.healthz", "health.readyz"})
"""Answered without asking whose request it is."""
NO_CSRF = frozenset({"login.submit", "login.theme", "login.logout", "oidc.begin", "oidc.end", "headers.csp_report"})
"""Unsafe ones that need no token: they begin or end a session, or change nothing but a colour."""
PASSIVE_HEADER = "X-Bpf-Atlas-Passive"
PASSIVE_ARGUMENT = "polled"
"""Of a page that reloads itself where there is no script."""
AGENT_CHARS = 200
VALUE_CHARS = 200
"""No value of a session, token or write session is longer."""


def install(app: Flask, settings: Settings, client: Client) -> None:
    """Check every request before its view; the order matters: a foreign request learns nothing about sessions."""
    proxies = Proxies(settings)

    @app.before_request
    def _check() -> None:
        g.source = proxies.source(request)
        if request.endpoint != "headers.csp_report":
            check_origin(request, settings)
        if request.endpoint in UNASKED:
            return
        _recognise(client, settings, proxies)
        if request.endpoint is None:  # no such page, or not with that method; a stranger is told neither
            return
        check_role(request.endpoint, g.session)
        if (
            g.by_cookie
            and request.method not in SAFE_METHODS
            and request.endpoint not in NO_CSRF
            and not csrf.is_right(request, g.session_value)
        ):
            raise StalePage

    @app.after_request
    def _tell(response: Response) -> Response:
        if g.get("fresh_value"):
            cookies.set_session(response, settings, g.fresh_value)
        return response


def forget() -> None:
    """Begin a request: nobody is known yet."""
    g.session = None
    g.session_value = ""
    g.session_over = ""
    g.by_cookie = False
    g.fresh_value = ""
    g.proxied = ""
    g.source = ""


def check_role(endpoint: str, session: SessionFacts | None) -> None:
    """Raises  NotSignedIn; WrongRole where the role, or (for want of a row in the table) everybody is shut out."""
    need = NEEDS.get(endpoint)
    if need is Need.OPEN:
        return
    if session is None:
        raise NotSignedIn(g.session_over)
    if need is None or session.role not in need.value:
        raise WrongRole(session.user, session.role, need.value if need else frozenset())


def credential() -> Credential:
    """What goes with a question that somebody must be allowed to ask. raises NotSignedIn"""
    if g.session is None:  # without a session's value the broker would have to go by our uid
        raise NotSignedIn(g.session_over)
    settings: Settings = current_app.extensions["settings"]
    write = request.cookies.get(cookies.write_name(settings), "")[:VALUE_CHARS] if g.by_cookie else ""
    return Credential(session=g.session_value, write=write, source=g.source, request_id=g.request_id)


def agent() -> str:
    """The browser, in its own words."""
    return request.headers.get("User-Agent", "")[:AGENT_CHARS]


def is_passive(asked: Request) -> bool:
    """A page that asks by itself: no sign that anybody is there."""
    return asked.method in SAFE_METHODS and (
        asked.headers.get(PASSIVE_HEADER) == "1" or asked.args.get(PASSIVE_ARGUMENT) == "1"
    )


def _recognise(client: Client, settings: Settings, proxies: Proxies) -> None:
    """Set g.session and what belongs to it, by cookie, by bearer value for the API, or by a trusted proxy's word."""
    value = request.cookies.get(cookies.session_name(settings), "")
    if len(value) > VALUE_CHARS:  # no value of ours, and longer than the broker reads
        value = ""
    g.by_cookie = bool(value)
    if not value and is_api(request):
        kind, _, bearer = request.headers.get("Authorization", "").partition(" ")
        value = bearer.strip()[:VALUE_CHARS] if kind.lower() == "bearer" else ""
    g.proxied = proxies.named(request)
    if value:
        found = client.session(value, passive=is_passive(request))
        # What a proxy vouched for is worth as much as its word now: of another user, or of nobody, it is worth nothing.
        if not (found.session and found.session.how == "proxy" and found.session.user.lower() != g.proxied.lower()):
            g.session, g.session_over = found.session, found.why
    if g.session is not None:
        g.session_value = value
        return
    g.by_cookie = False
    if g.proxied and request.method == "GET" and NEEDS.get(request.endpoint or "", Need.OPEN) is not Need.OPEN:
        if is_api(request) or is_passive(request):
            return
        enter_by_proxy(client)


def enter_by_proxy(client: Client) -> None:
    """Begin a session for whom the proxy names. raises WrongRole for somebody who is no user here"""
    try:
        entered = client.vouched(g.proxied, "proxy", source=g.source, agent=agent())
    except SignInFailed as refusal:
        raise WrongRole(g.proxied, "", frozenset(), str(refusal)) from refusal
    g.session, g.session_value, g.by_cookie, g.fresh_value = entered.session, entered.value, True, entered.value


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
        if is_api(asked) and cookies.session_name(settings) not in asked.cookies:
            return  # a program that forgot its token, and has nothing that a browser added: it is told just that
        raise ForeignRequest("a program that says no Origin", ours)


def local_path(target: str | None) -> str:
    """`target` if it is a path of ours, else ``/``: what may follow a login (no open redirect)."""
    if not target or not target.startswith("/") or target.startswith(("//", "/\\")):
        return "/"
    if any(char <= " " or char in "\\\x7f" for char in target):
        return "/"
    parts = urlsplit(target)
    if parts.scheme or parts.netloc or parts.path.startswith(("/login", "/logout", "/elevate")):
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
