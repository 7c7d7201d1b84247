"""Errors of this room: what a request can do wrong before any map is looked at."""

from __future__ import annotations

from collections.abc import Collection

from app.errors import AppError


class WebError(AppError):
    """Base of the room; not raised itself."""


class NotSignedIn(WebError):
    """A page or an API path that needs a session was asked for without one."""

    def __init__(self, why: str = "") -> None:
        super().__init__(
            f"The session is over ({why}): sign in again."
            if why
            else "Sign in first, by password or by the link that `bpf-atlas login` prints."
        )


class WrongRole(WebError):
    """A page that this user's role does not reach."""

    def __init__(self, user: str, role: str, roles: Collection[str], why: str = "") -> None:
        if role and roles:
            why = f"the role {role} does not reach this; it takes {' or '.join(sorted(roles))}: ask an admin"
        super().__init__(f"{user} is not let in here: {why or 'nobody is'}.")


class StalePage(WebError):
    """A form without the token of this session: from before it began, or not from a page of ours."""

    def __init__(self) -> None:
        super().__init__(
            "This page is older than the session, and nothing was changed: go back, load it again, and send the form once more."
        )


class ProviderFailed(WebError):
    """Somebody did not come in by the OpenID Connect provider."""

    def __init__(self, why: str) -> None:
        super().__init__(
            f"Signing in at your organisation's provider failed: {why}. Try again, or sign in by password."
        )


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


class EditNotDone(WebError):
    """Base of edits that wrote nothing; the sentence is the broker's."""

    def __init__(self, sentence: str, result: str, audit: int) -> None:
        super().__init__(sentence)
        self.result = result
        self.audit = audit


class EditFailed(EditNotDone):
    """The entry is not, or no longer, what the edit was made for."""


class EditRefused(EditNotDone):
    """The kernel, or the map's state, does not allow it."""


class NotKeptAll(WebError):
    """Some of the maps that snapshots were asked of could not be kept."""

    def __init__(self, problems: Collection[str], refs: Collection[str]) -> None:
        taken = f"; taken were {', '.join(refs)}" if refs else ""
        super().__init__(f"{'; '.join(problems)}{taken}")


class Unkept(WebError):
    """No snapshot could be taken before a plan."""

    def __init__(self, why: str) -> None:
        super().__init__(f"Nothing was written: the snapshot before it was not taken ({why}).")


class DataUnusable(WebError):
    """The web's folder cannot be made or written."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(
            f"{path} cannot be written ({reason}): make room there, or choose another directory with --data"
        )
