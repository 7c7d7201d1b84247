"""Error class -> HTTP status, in one table, and the three forms an error takes: page, fragment, problem+json."""

from __future__ import annotations

import logging
from http import HTTPStatus
from urllib.parse import urlencode

import msgspec
from flask import Flask, Response, g, make_response, redirect, request
from werkzeug.exceptions import HTTPException

from app.btf.errors import BtfError
from app.columns import errors as columns
from app.errors import AppError, BadSetting, UsageError
from app.history import errors as history
from app.maps import errors as maps
from app.timeline import errors as timeline
from app.uapi import errors as kernel
from app.web import drafts, gate, gone, problems, rendering, times
from app.wire import errors as wire

log = logging.getLogger("bpf_atlas.web")

STATUS: dict[type[AppError], HTTPStatus] = {
    problems.NotSignedIn: HTTPStatus.UNAUTHORIZED,
    problems.WrongRole: HTTPStatus.FORBIDDEN,
    problems.StalePage: HTTPStatus.FORBIDDEN,
    problems.ProviderFailed: HTTPStatus.FORBIDDEN,
    problems.ForeignRequest: HTTPStatus.FORBIDDEN,
    problems.EditFailed: HTTPStatus.CONFLICT,
    problems.EditRefused: HTTPStatus.UNPROCESSABLE_ENTITY,
    problems.NotKeptAll: HTTPStatus.UNPROCESSABLE_ENTITY,
    problems.Unkept: HTTPStatus.SERVICE_UNAVAILABLE,
    problems.DataUnusable: HTTPStatus.INSUFFICIENT_STORAGE,
    problems.BadArgument: HTTPStatus.BAD_REQUEST,
    problems.NotHere: HTTPStatus.NOT_FOUND,
    maps.NoSuchMap: HTTPStatus.NOT_FOUND,
    maps.NoSuchEntry: HTTPStatus.NOT_FOUND,
    maps.ViewGone: HTTPStatus.GONE,
    maps.Busy: HTTPStatus.TOO_MANY_REQUESTS,
    maps.CannotList: HTTPStatus.UNPROCESSABLE_ENTITY,
    maps.CannotLookUp: HTTPStatus.UNPROCESSABLE_ENTITY,
    maps.AmbiguousName: HTTPStatus.CONFLICT,
    maps.CannotEdit: HTTPStatus.UNPROCESSABLE_ENTITY,
    maps.NothingToChange: HTTPStatus.UNPROCESSABLE_ENTITY,
    columns.ColumnsError: HTTPStatus.UNPROCESSABLE_ENTITY,
    BtfError: HTTPStatus.UNPROCESSABLE_ENTITY,
    kernel.ObjectGone: HTTPStatus.GONE,
    kernel.KernelError: HTTPStatus.BAD_GATEWAY,
    wire.WireError: HTTPStatus.SERVICE_UNAVAILABLE,
    wire.SessionOver: HTTPStatus.UNAUTHORIZED,
    wire.SignInFailed: HTTPStatus.FORBIDDEN,
    wire.NeedsWriteSession: HTTPStatus.FORBIDDEN,
    wire.NotAllowed: HTTPStatus.FORBIDDEN,
    wire.EditsOff: HTTPStatus.FORBIDDEN,
    wire.TooFast: HTTPStatus.TOO_MANY_REQUESTS,
    wire.BadField: HTTPStatus.UNPROCESSABLE_ENTITY,
    wire.NotThere: HTTPStatus.NOT_FOUND,
    wire.CannotRecord: HTTPStatus.SERVICE_UNAVAILABLE,
    wire.Declined: HTTPStatus.CONFLICT,
    history.NoHistory: HTTPStatus.NOT_FOUND,
    history.NoSuchSnapshot: HTTPStatus.NOT_FOUND,
    history.NoSuchSeries: HTTPStatus.NOT_FOUND,
    history.NothingThen: HTTPStatus.NOT_FOUND,
    history.Unlike: HTTPStatus.UNPROCESSABLE_ENTITY,
    history.HistoryError: HTTPStatus.SERVICE_UNAVAILABLE,
    timeline.ManySeries: HTTPStatus.CONFLICT,
    timeline.TimelineError: HTTPStatus.UNPROCESSABLE_ENTITY,
    UsageError: HTTPStatus.BAD_REQUEST,
    BadSetting: HTTPStatus.INTERNAL_SERVER_ERROR,
}
TITLES = {
    HTTPStatus.BAD_REQUEST: "That cannot be asked",
    HTTPStatus.UNAUTHORIZED: "Sign in",
    HTTPStatus.FORBIDDEN: "Not allowed",
    HTTPStatus.NOT_FOUND: "Not found",
    HTTPStatus.METHOD_NOT_ALLOWED: "Not possible here",
    HTTPStatus.GONE: "Gone",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "Too much at once",
    HTTPStatus.UNPROCESSABLE_ENTITY: "That cannot be done",
    HTTPStatus.TOO_MANY_REQUESTS: "Slow down",
    HTTPStatus.CONFLICT: "Not possible now",
    HTTPStatus.INSUFFICIENT_STORAGE: "The disk is full",
    HTTPStatus.INTERNAL_SERVER_ERROR: "A fault of ours",
    HTTPStatus.BAD_GATEWAY: "The kernel refused",
    HTTPStatus.SERVICE_UNAVAILABLE: "The broker does not answer",
}


SILENT: dict[type[AppError], str] = {
    problems.Unkept: "The recorder does not answer",
    wire.RecorderAbsent: "The recorder does not answer",
    history.HistoryError: "The history cannot be read",
}
"""What a page is headed where something else than the broker is away."""


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """RFC 9457 problem details."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    instance: str = ""
    """The request's id, as in the log and the X-Request-Id header."""
    column: int | None = None
    """For an expression: where it went wrong, counted from 1."""
    field: str = ""
    """For an edit: which part of the question cannot be used, a path, `key`, `reason` and so on."""
    result: str = ""
    """For an edit that wrote nothing: `conflict`, `no_entry`, `contended` or `refused`."""
    audit: int = 0
    """For such an edit: the number of its record."""


def status_of(error: AppError) -> HTTPStatus:
    """The status of the nearest class in the table; an error that nobody listed is our fault."""
    for cls in type(error).__mro__:
        if cls in STATUS:
            return STATUS[cls]
    return HTTPStatus.INTERNAL_SERVER_ERROR


def install(app: Flask) -> None:
    """Handle every error; only a fault of ours is logged with its traceback."""

    @app.errorhandler(AppError)
    def _ours(error: AppError) -> Response:
        if isinstance(error, problems.NotSignedIn | wire.SessionOver) and not gate.is_api(request):
            return _to_login()
        status = status_of(error)
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            log.warning("%s: %s", type(error).__name__, error)
        response = _answer(status, str(error), error, again=_again(error))
        if isinstance(error, wire.TooFast):
            response.headers["Retry-After"] = str(error.retry_s)
        if status is HTTPStatus.UNAUTHORIZED:
            response.headers["WWW-Authenticate"] = 'Bearer realm="bpf-atlas"'
        return response

    @app.errorhandler(HTTPException)
    def _http(error: HTTPException) -> Response:
        if g.get("session") is None and error.code == HTTPStatus.NOT_FOUND and not request.path.startswith("/static/"):
            return _ours(problems.NotSignedIn())
        response = _answer(HTTPStatus(error.code or 500), SENTENCES.get(error.code or 500, error.description or ""))
        if error.code == HTTPStatus.METHOD_NOT_ALLOWED and getattr(error, "valid_methods", None):
            response.headers["Allow"] = ", ".join(error.valid_methods)  # type: ignore[attr-defined]
        return response

    @app.errorhandler(Exception)
    def _fault(error: Exception) -> Response:
        log.error("request %s failed", g.request_id, exc_info=error)
        return _answer(
            HTTPStatus.INTERNAL_SERVER_ERROR,
            f"The dashboard failed while answering this. Its log says more under request {g.request_id}.",
        )


SENTENCES = {
    404: "There is no such page; the maps of this host are on the first one.",
    405: "This address does not take that method.",
    413: "The request is larger than the dashboard takes.",
}


def _to_login() -> Response:
    draft = drafts.way_back(request) if drafts.was_signed_in() else ""
    if draft:
        where = "/login?" + urlencode({"next": draft})
    elif request.method in gate.SAFE_METHODS or gate.is_htmx(request):
        where = gate.login_path(request)
    else:
        where = "/login"
    if gate.is_htmx(request):
        response = make_response("", HTTPStatus.UNAUTHORIZED)
        response.headers["HX-Redirect"] = where
        return response
    return rendering.as_response(redirect(where, code=303))


def _again(error: AppError) -> str:
    """Where to go on from a page whose reading is no longer kept: the same page of a new one."""
    if not isinstance(error, maps.ViewGone | maps.BadCursor) or gate.is_api(request):
        return ""
    kept = [(name, value) for name, value in request.args.items(multi=True) if name not in {"cursor", "format"}]
    return request.path + ("?" + urlencode(kept) if kept else "")


def _answer(status: HTTPStatus, sentence: str, error: AppError | None = None, *, again: str = "") -> Response:
    title = TITLES.get(status, status.phrase)
    if status is HTTPStatus.SERVICE_UNAVAILABLE:
        title = next((words for kind, words in SILENT.items() if isinstance(error, kind)), title)
    if gate.is_api(request):
        body = Problem(
            title=title,
            status=status,
            detail=sentence,
            instance=g.get("request_id", ""),
            column=getattr(error, "column", None),
            field=getattr(error, "field", "") or getattr(error, "path", ""),
            result=getattr(error, "result", ""),
            audit=getattr(error, "audit", 0),
        )
        response = make_response(msgspec.json.encode(body), status)
        response.headers["Content-Type"] = "application/problem+json"
        return response
    last = gone.last_of_asked() if isinstance(error, maps.NoSuchMap) else None
    if last is not None and last.page:
        return rendering.as_response(redirect(last.page, code=HTTPStatus.SEE_OTHER))
    response = rendering.page_or_fragment(
        "errors/page.html", "errors/_flash.html", title=title, status=int(status), sentence=sentence, again=again,
        gone=last, utc=times.utc,
    )  # fmt: skip
    response.status_code = status
    if gate.is_htmx(request):
        response.headers["HX-Retarget"] = "#flash"
        response.headers["HX-Reswap"] = "innerHTML"
    return response
