"""One's own account, sessions and tokens; for admins the users, and what this service goes by."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from flask import Blueprint, Response, g, make_response, redirect, render_template, request

from app.settings import Settings
from app.web import arguments, cookies, gate, origins
from app.web.login import PASSWORD_CHARS, elevate_path
from app.web.rendering import as_response
from app.wire.errors import BadField, Declined, NeedsWriteSession, NotAllowed, NotThere, SignInFailed, Taken, TooFast

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.wire.accounts import TokenMade
    from app.wire.ask import Client

HERE = "/settings"
ID_CHARS = 40
ROLES = ("viewer", "editor", "admin", "auditor")
_STATUS: dict[type[Declined], HTTPStatus] = {
    SignInFailed: HTTPStatus.FORBIDDEN,
    NotAllowed: HTTPStatus.FORBIDDEN,
    TooFast: HTTPStatus.TOO_MANY_REQUESTS,
    BadField: HTTPStatus.UNPROCESSABLE_ENTITY,
    Taken: HTTPStatus.CONFLICT,
    NotThere: HTTPStatus.NOT_FOUND,
}
_REFUSALS = tuple(_STATUS)
SAID = {
    "session": "The session is ended.",
    "token": "The token is revoked.",
    "added": "The user is added.",
    "role": "The role is changed, and the user's sessions are ended.",
    "removed": "The user is removed.",
    "set": "The password is set, and the user's sessions are ended.",
    "chosen": "The password is set.",
}
"""What a change leaves behind on the page, by the word in its address."""


def blueprint(settings: Settings, client: Client) -> Blueprint:
    """/settings and what its forms post to."""
    bp = Blueprint("settings", __name__, url_prefix=HERE)
    page = Page(settings, client)
    bp.get("", endpoint="show")(page.show)
    bp.get("/stay", endpoint="stay")(page.stay)
    for path, answer in (
        ("/password", page.password),
        ("/sessions/<session_id>/end", page.session_end),
        ("/tokens", page.token_make),
        ("/tokens/<token_id>/revoke", page.token_revoke),
        ("/users", page.user_add),
        ("/users/role", page.user_role),
        ("/users/remove", page.user_remove),
        ("/users/password", page.user_password),
    ):
        bp.post(path, endpoint=answer.__name__)(answer)
    return bp


class Page:
    """One page with several forms; each change comes back to it."""

    def __init__(self, settings: Settings, client: Client) -> None:
        self._settings = settings
        self._client = client

    def show(self) -> Response:
        """As things stand."""
        return self._rendered()

    def stay(self) -> Response:
        """Nothing; that it was asked for counts as use of the session."""
        return Response(status=HTTPStatus.NO_CONTENT)

    def password(self) -> Response:
        """One's own."""
        had_one = g.session.has_password
        try:
            self._client.password(
                gate.credential(), g.session.user, old=arguments.typed("old", PASSWORD_CHARS), new=_twice()
            )
        except _REFUSALS as refusal:
            return self._rendered("password", refusal)
        if not had_one:
            return _back("password", "chosen")
        response = as_response(redirect("/login", code=HTTPStatus.SEE_OTHER))
        cookies.clear(response, self._settings)
        return response

    def session_end(self, session_id: str) -> Response:
        """One's own, or for an admin anybody's."""
        return self._changed(
            "sessions", lambda: self._client.session_end(gate.credential(), session_id[:ID_CHARS]), "session"
        )

    def token_make(self) -> Response:
        """The answer is the page with the token's value, this once."""
        try:
            made = self._client.token_make(
                gate.credential(), label=arguments.typed("label"), scope=arguments.typed("scope"), days=_days()
            )
        except NeedsWriteSession:
            return _unlock()
        except _REFUSALS as refusal:
            return self._rendered("tokens", refusal)
        return self._rendered("tokens", made=made)

    def token_revoke(self, token_id: str) -> Response:
        """One's own, or for an admin anybody's."""
        return self._changed(
            "tokens", lambda: self._client.token_revoke(gate.credential(), token_id[:ID_CHARS]), "token"
        )

    def user_add(self) -> Response:
        """With a password or without."""

        def add() -> None:
            chosen = _twice() if request.form.get("new") or request.form.get("again") else None
            name, role = arguments.typed("name").strip(), arguments.typed("role")
            self._client.user_add(gate.credential(), name, role, chosen)

        return self._changed("users", add, "added")

    def user_role(self) -> Response:
        """Another role."""

        def change() -> None:
            self._client.user_role(gate.credential(), arguments.typed("name"), arguments.typed("role"))

        return self._changed("users", change, "role")

    def user_remove(self) -> Response:
        """With all sessions and tokens."""
        return self._changed(
            "users", lambda: self._client.user_remove(gate.credential(), arguments.typed("name")), "removed"
        )

    def user_password(self) -> Response:
        """Somebody else's."""

        def change() -> None:
            self._client.password(gate.credential(), arguments.typed("name"), new=_twice())

        return self._changed("users", change, "set")

    def _changed(self, section: str, change: Callable[[], None], said: str) -> Response:
        """Do it and come back; what is refused stands in its section, and what takes a write session leads to one."""
        try:
            change()
        except NeedsWriteSession:
            return _unlock()
        except _REFUSALS as refusal:
            return self._rendered(section, refusal)
        return _back(section, said)

    def _rendered(self, section: str = "", problem: Declined | None = None, made: TokenMade | None = None) -> Response:
        is_admin = g.session.role == "admin"
        asking = gate.credential()
        response = make_response(
            render_template(
                "settings.html",
                sessions=self._client.sessions(asking),
                tokens=self._client.tokens(asking),
                users=self._client.users(asking) if is_admin else (),
                is_admin=is_admin,
                roles=ROLES,
                shown=origins.shown(self._settings) if is_admin else [],
                section=section,
                problem=str(problem) if problem else "",
                said=SAID.get(request.args.get("said", ""), ""),
                made=made,
                typed=request.form,
                unlock=elevate_path(HERE),
            )
        )
        if problem is not None:
            response.status_code = _STATUS[type(problem)]
        if isinstance(problem, TooFast):
            response.headers["Retry-After"] = str(problem.retry_s)
        return response


def _back(section: str, said: str) -> Response:
    return as_response(redirect(f"{HERE}?said={said}#{section}", code=HTTPStatus.SEE_OTHER))


def _unlock() -> Response:
    return as_response(redirect(elevate_path(HERE), code=HTTPStatus.SEE_OTHER))


def _days() -> int:
    days = request.form.get("days", "")
    if not (days.isascii() and days.isdecimal() and len(days) <= len("365")):
        raise BadField("a token lasts 1 to 365 days: give a whole number", "days")
    return int(days)


def _twice() -> str:
    """The new password, typed twice. raises BadField"""
    new = arguments.typed("new", PASSWORD_CHARS)
    if new != request.form.get("again", ""):
        raise BadField("the two passwords differ: type the same one twice", "again")
    return new
