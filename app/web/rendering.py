"""Templates: one function decides between page and fragment; what every page's frame shows is set here."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flask import Flask, Response, current_app, g, make_response, render_template, request
from jinja2 import DictLoader, StrictUndefined

from app.errors import AppError
from app.web import csrf, gate, mode, text
from app.web.assets import Assets
from app.web.permissions import NEEDS

if TYPE_CHECKING:
    from werkzeug.wrappers import Response as AnyResponse

    from app.web.backend import Backend
    from app.web.past import Past
    from app.wire.accounts import SessionFacts
    from app.wire.ask import Client

HELLO_KEPT_S = 10.0
HOSTS_SHOWN = 2
THEMES = ("auto", "light", "dark")
THEME_COOKIE = "bpf-atlas-theme"
NAV = (
    ("overview.maps", "/", "Maps"),
    ("snapshots.index", "/snapshots", "History"),
    ("diff.show", "/diff", "Diff"),
    ("plans.index", "/plans", "Plans"),
    ("audit.show", "/audit", "Audit"),
)
"""The bar's links: endpoint, path, word. Each is there for whom its page is there."""
OF_HISTORY = frozenset({"snapshots.index", "diff.show"})
"""What there is of them where a history was opened by itself."""


@dataclass(frozen=True, slots=True)
class Host:
    """What the top bar says about the machine; empty while the broker does not answer."""

    name: str
    kernel: str
    """Empty for the host of a history that was opened by itself."""


class HostFacts:
    """The broker's hello, asked for at most every ten seconds."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._kept = Host("", "")
        self._until_s = 0.0

    def get(self) -> Host:
        """The host's names; the last known ones while the broker is away."""
        now_s = time.monotonic()
        if now_s >= self._until_s:
            self._until_s = now_s + HELLO_KEPT_S
            try:
                hello = self._client.hello()
            except (AppError, OSError):
                return self._kept
            self._kept = Host(hello.hostname, hello.kernel_release)
        return self._kept


class HistoryHosts:
    """The hosts that a history is of, for one that was opened by itself: the one it is looked at on is not the matter."""

    def __init__(self, past: Past) -> None:
        self._past = past
        self._kept: Host | None = None

    def get(self) -> Host:
        """Their names; the file does not change, so they are read once."""
        timeline = self._past.timeline_or_none()
        if self._kept is None and timeline is not None:
            found = sorted({each.of.host for each in timeline.history.series()})
            more = len(found) - HOSTS_SHOWN
            self._kept = Host(", ".join(found[:HOSTS_SHOWN]) + (f" and {more} more" if more > 0 else ""), "")
        return self._kept or Host("", "")


def install(app: Flask, templates: Path, assets: Assets, backend: Backend) -> None:
    """Read every template, so that a request opens no file; set filters and the frame's variables."""
    app.jinja_env.loader = DictLoader(
        {path.relative_to(templates).as_posix(): path.read_text() for path in templates.rglob("*.html")}
    )
    app.jinja_env.undefined = StrictUndefined
    app.jinja_env.trim_blocks = True
    app.jinja_env.lstrip_blocks = True
    app.jinja_env.filters.update(
        visible=text.visible,
        sentence=text.sentence,
        thousands=text.thousands,
        bytes_text=text.bytes_text,
        percent=text.percent,
        plural=text.plural,
        shorter=text.shorter,
        clock=text.clock,
    )
    settings = backend.settings
    facts = HistoryHosts(backend.past) if settings.is_alone else HostFacts(backend.client)
    icon = assets.inline("icon.svg")
    alone = settings.is_alone

    @app.context_processor
    def _frame() -> dict[str, Any]:
        session = g.get("session")
        signed_in = session is not None
        chosen = request.cookies.get(THEME_COOKIE, "auto")
        theme = chosen if chosen in THEMES else "auto"
        return {
            "asset": assets.url,
            "icon": icon,
            "signed_in": signed_in,
            "session": session,
            "mode": mode.of(session, settings),
            "idle_s": settings.session_idle_minutes * 60,
            "nav": [
                (path, label)
                for endpoint, path, label in NAV
                if _reaches(app, endpoint, session) and (endpoint in OF_HISTORY or not alone)
            ],
            "csrf": lambda: csrf.token(g.session_value) if signed_in else "",
            "csrf_field": lambda: csrf.field(g.session_value) if signed_in else "",
            "host": facts.get() if signed_in else Host("", ""),
            "theme": theme,
            "next_theme": THEMES[(THEMES.index(theme) + 1) % len(THEMES)],
            "here": gate.local_path(request.full_path.removesuffix("?")) if request.method == "GET" else "/",
            "query": request.args.get("q", "")[:200],
        }


def _reaches(app: Flask, endpoint: str, session: SessionFacts | None) -> bool:
    return endpoint in app.view_functions and session is not None and session.role in NEEDS[endpoint].value


def compile_templates(app: Flask) -> None:
    """Compile every template now rather than in the first request that needs it."""
    for name in app.jinja_env.list_templates():
        app.jinja_env.get_template(name)


def page_or_fragment(page: str, fragment: str, **context: Any) -> Response:
    """The whole page, or for HTMX its changing part; both say that the answer depends on who asks."""
    response = make_response(render_template(fragment if gate.is_htmx(request) else page, **context))
    response.headers["Vary"] = "HX-Request, Cookie"
    return response


def as_response(answer: AnyResponse) -> Response:
    """Flask's own type for what `redirect` gives."""
    return current_app.make_response(answer)
