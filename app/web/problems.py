"""Errors of this room: what a request can do wrong before any map is looked at."""

from __future__ import annotations

from app.errors import AppError


class WebError(AppError):
    """Base of the room; not raised itself."""


class NotSignedIn(WebError):
    """A page or an API path that needs a session was asked for without one."""

    def __init__(self) -> None:
        super().__init__("Sign in first: `bpf-atlas login` prints a link that does it.")


class LinkUnusable(WebError):
    """A login token that is unknown, used or too old: the three look the same from outside."""

    def __init__(self) -> None:
        super().__init__(
            "This login link was used already, is too old or was replaced by a newer one: run `bpf-atlas login` for a new one."
        )


class TooManyAttempts(WebError):
    """Failed logins came faster than a person types."""

    def __init__(self, retry_s: int) -> None:
        super().__init__(f"Too many failed logins: wait {retry_s} s and try again.")
        self.retry_s = retry_s


class ForeignRequest(WebError):
    """Another site's page made the browser send this request."""

    def __init__(self, found: str, wanted: str) -> None:
        super().__init__(
            f"This request came from {found}, and only pages of {wanted} may send it: open the dashboard itself."
        )


class BadArgument(WebError):
    """One argument of the URL cannot be used."""

    def __init__(self, name: str, found: str, wanted: str) -> None:
        super().__init__(f"{name}={found[:80]!r} is not {wanted}.")


class NotHere(WebError):
    """No such page or thing."""

    def __init__(self, what: str) -> None:
        super().__init__(f"There is no {what} here.")


class CannotRemember(WebError):
    """Signed out, and the disk takes no note of it."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"You are signed out, until the dashboard restarts: it could not write that down ({reason}). Make room in its data"
            " directory; the session ends by itself after twelve hours."
        )


class DataUnusable(WebError):
    """The web's folder cannot be made or written."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(
            f"{path} cannot be written ({reason}): make room there, or choose another directory with --data"
        )
