"""Outermost layer of the web: the Host check and the headers that every answer carries, errors included."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; object-src 'none'; frame-ancestors 'none'; report-uri /csp-report"
)
PERMISSIONS = ", ".join(
    f"{feature}=()"
    for feature in (
        "accelerometer",
        "autoplay",
        "camera",
        "display-capture",
        "encrypted-media",
        "fullscreen",
        "geolocation",
        "gyroscope",
        "magnetometer",
        "microphone",
        "midi",
        "payment",
        "publickey-credentials-get",
        "screen-wake-lock",
        "usb",
        "xr-spatial-tracking",
    )
)
ALWAYS = (
    ("Content-Security-Policy", CSP),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Permissions-Policy", PERMISSIONS),
)
HSTS = ("Strict-Transport-Security", "max-age=31536000")


class Doorway:
    """WSGI middleware around everything: an unknown Host is answered 421 before any of our code sees the request."""

    def __init__(self, inside: WSGIApplication, hosts: frozenset[str], *, hsts: bool) -> None:
        self._inside = inside
        self._hosts = hosts
        self._headers = (*ALWAYS, HSTS) if hsts else ALWAYS

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start = self._with_headers(start_response)
        host = environ.get("HTTP_HOST")
        if host is None:
            return _plain(start, "400 Bad Request", "A request needs a Host header.")
        if host.lower() not in self._hosts:
            return _plain(
                start,
                "421 Misdirected Request",
                "This name is not one of the dashboard's. Use the address that it printed at start, "
                "or add the name to BPF_ATLAS_ALLOWED_HOSTS.",
            )
        return self._inside(environ, start)

    def _with_headers(self, start_response: StartResponse) -> StartResponse:
        def start(status: str, headers: list[tuple[str, str]], exc_info: object = None) -> Callable[[bytes], object]:
            have = {name.lower() for name, _ in headers}
            headers.extend(header for header in self._headers if header[0].lower() not in have)
            if "cache-control" not in have:
                headers.append(("Cache-Control", "no-store"))
            return start_response(status, headers, exc_info)  # type: ignore[arg-type]

        return start


def _plain(start: StartResponse, status: str, sentence: str) -> Iterable[bytes]:
    body = sentence.encode() + b"\n"
    start(status, [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))])
    return [body]
