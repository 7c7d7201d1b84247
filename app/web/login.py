"""Coming in by password, one-time link or a proxy's word; the write session; going out; and the theme."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from flask import Blueprint, Response, g, make_response, redirect, render_template, request

from app.settings import Settings
from app.web import arguments, cookies, gate
from app.web.rendering import THEME_COOKIE, THEMES, as_response
from app.wire.errors import BadField, Declined, NotAllowed, SignInFailed, TooFast

if TYPE_CHECKING:
    from app.wire.ask import Client

PASSWORD_CHARS = 512
TOKEN_CHARS = 200
YEAR_S = 365 * 24 * 3600
_STATUS: dict[type[Declined], HTTPStatus] = {
    SignInFailed: HTTPStatus.FORBIDDEN,
    NotAllowed: HTTPStatus.FORBIDDEN,
    TooFast: HTTPStatus.TOO_MANY_REQUESTS,
    BadField: HTTPStatus.UNPROCESSABLE_ENTITY,
}
_REFUSALS = tuple(_STATUS)


def blueprint(settings: Settings, client: Client) -> Blueprint:
    """/login, /elevate, /drop, /logout, /theme."""
    bp = Blueprint("login", __name__)

    def enter_by_link(token: str, target: str) -> Response:
        try:
            entered = client.link_use(token, source=g.source, agent=gate.agent())
        except _REFUSALS as refusal:
            return _login_page(settings, target, refusal, by_link=True)
        return entered_response(settings, entered.value, target)

    @bp.get("/login")
    def form() -> Response:
        target = gate.local_path(request.args.get("next"))
        if token := request.args.get("token", ""):
            return enter_by_link(token[:TOKEN_CHARS], target)
        if g.session is not None:
            return as_response(redirect(target, code=HTTPStatus.SEE_OTHER))
        return _login_page(settings, target)

    @bp.post("/login")
    def submit() -> Response:
        target = gate.local_path(request.form.get("next"))
        if token := request.form.get("token", "").strip():
            return enter_by_link(token.rpartition("token=")[2][:TOKEN_CHARS], target)
        try:
            entered = client.sign_in(
                arguments.typed("name").strip(),
                arguments.typed("password", PASSWORD_CHARS),
                source=g.source,
                agent=gate.agent(),
            )
        except _REFUSALS as refusal:
            return _login_page(settings, target, refusal)
        return entered_response(settings, entered.value, target)

    @bp.get("/elevate")
    def elevate_form() -> Response:
        return _elevate_page(gate.local_path(request.args.get("next")))

    @bp.post("/elevate")
    def elevate() -> Response:
        target = gate.local_path(request.form.get("next"))
        chooses = not g.session.has_password
        try:
            password = arguments.typed("password", PASSWORD_CHARS)
            if chooses and password != request.form.get("again", ""):
                raise BadField("the two passwords differ: type the same one twice", "again")
            elevated = client.elevate(gate.credential(), password, choose=chooses)
        except _REFUSALS as refusal:
            return _elevate_page(target, refusal)
        response = entered_response(settings, elevated.value, target)
        cookies.set_write(response, settings, elevated.write)
        return response

    @bp.post("/drop")
    def drop() -> Response:
        client.drop(gate.credential())
        response = as_response(redirect(gate.local_path(request.form.get("next")), code=HTTPStatus.SEE_OTHER))
        cookies.clear_write(response, settings)
        return response

    @bp.post("/logout")
    def logout() -> Response:
        client.sign_out(gate.credential())
        response = as_response(redirect("/login", code=HTTPStatus.SEE_OTHER))
        g.fresh_value = ""
        cookies.clear(response, settings)
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


def entered_response(settings: Settings, value: str, target: str) -> Response:
    """On to where somebody wanted to go, with the new session's cookie."""
    response = as_response(redirect(target, code=HTTPStatus.SEE_OTHER))
    g.fresh_value = ""
    cookies.set_session(response, settings, value)
    return response


def elevate_path(target: str) -> str:
    """Where a write session is begun that leads back to `target`."""
    return "/elevate" if target == "/" else "/elevate?" + urlencode({"next": target})


def _login_page(settings: Settings, target: str, refusal: Declined | None = None, *, by_link: bool = False) -> Response:
    page = render_template(
        "login.html",
        next=target,
        over=g.session_over,
        problem=str(refusal) if refusal else "",
        by_link=by_link,
        name=request.form.get("name", "").strip()[:64],
        proxied=g.proxied,
        oidc=bool(settings.oidc_issuer),
        begin_oidc="/login/oidc" + ("" if target == "/" else "?" + urlencode({"next": target})),
    )
    return _with_status(page, refusal)


def _elevate_page(target: str, refusal: Declined | None = None) -> Response:
    page = render_template(
        "elevate.html",
        next=target,
        problem=str(refusal) if refusal else "",
        chooses=not g.session.has_password,
        by_link=g.session.how == "link",
        field=refusal.field if isinstance(refusal, BadField) else "password",
    )
    return _with_status(page, refusal)


def _with_status(page: str, refusal: Declined | None) -> Response:
    response = make_response(page)
    if refusal is not None:
        response.status_code = _STATUS[type(refusal)]
    if isinstance(refusal, TooFast):
        response.headers["Retry-After"] = str(refusal.retry_s)
    return response
