"""Bodies about people: signing in, sessions, write sessions, users, API tokens.

A secret (a password, a session's or a token's value) travels only from whoever brought it to the broker, which keeps a
hash of it. Times are CLOCK_REALTIME in whole seconds.
"""

from __future__ import annotations

from app.wire.bodies import Body


class Credential(Body, frozen=True):
    """Who asks, as far as they can show: goes with every question that somebody must be allowed to ask.

    Root's own processes (uid 0 on the socket) may leave `session` empty: they are the host's root.
    """

    session: str = ""
    """Value of the session cookie, or of an API token."""
    write: str = ""
    """Value of the cookie that a write session has; API tokens of scope `edit` need none."""
    source: str = ""
    """Where the request came from, in the asking process's words: an address, or `cli`. For the record alone."""
    request_id: str = ""
    """Of the HTTP request, for finding it in the logs."""


class SessionFacts(Body, frozen=True):
    """A session, or an API token while it is used."""

    id: str
    """Not its value: a short name to list and revoke it by."""
    user: str
    role: str
    """`viewer`, `editor`, `admin` or `auditor`."""
    kind: str
    """`session` or `token`."""
    scope: str
    """`read` or `edit`; of a session always `edit`, since its role and write session decide."""
    how: str
    """`password`, `link`, `proxy`, `oidc`, `token`."""
    source: str
    agent: str
    began_at_s: int
    seen_at_s: int
    ends_at_s: int
    """When it is over at the latest."""
    idle_ends_at_s: int
    """When it is over unless it is used."""
    write_until_s: int
    """End of its write session, 0 without one."""
    has_password: bool
    """Its user can begin a write session by a password; otherwise one must be chosen first."""


class Entered(Body, frozen=True):
    """A new session; `value` is shown this once."""

    value: str
    session: SessionFacts


class AskSignIn(Body, frozen=True):
    """By name and password."""

    name: str
    password: str
    source: str
    agent: str


class AskLinkMake(Body, frozen=True):
    """A one-time link's token for a user; empty: `root`, the host's own administrator."""

    user: str = ""


class AskLinkUse(Body, frozen=True):
    """The token of a one-time link."""

    token: str
    source: str
    agent: str


class AskVouched(Body, frozen=True):
    """Somebody whom a trusted proxy header or an OIDC provider named: such a session reads until its user's password is given."""

    name: str
    how: str
    """`proxy` or `oidc`."""
    source: str
    agent: str


class AskSession(Body, frozen=True):
    """Is it one? With `passive` the question itself does not count as use."""

    value: str
    passive: bool


class MaybeSession(Body, frozen=True):
    """None: forged, over, revoked or idle too long; `why` says which in one clause, empty when there never was one."""

    session: SessionFacts | None
    why: str


class AskElevate(Body, frozen=True):
    """Begin a write session: the password again. `choose` sets a first password for a user who has none (by a fresh link)."""

    credential: Credential
    password: str
    choose: bool = False


class Elevated(Body, frozen=True):
    """A write session, and the session's new value: it is rotated."""

    write: str
    value: str
    session: SessionFacts


class AskAsSomebody(Body, frozen=True):
    """A question with nothing but a credential: sign out, drop the write session, list."""

    credential: Credential


class AskNamed(Body, frozen=True):
    """A question about one user, session or token: `name` is its name or id."""

    credential: Credential
    name: str


class AskUserAdd(Body, frozen=True):
    """A new user; without a password only links, a proxy or OIDC bring them in."""

    credential: Credential
    name: str
    role: str
    password: str | None


class AskUserRole(Body, frozen=True):
    """Another role; the user's sessions and write sessions end."""

    credential: Credential
    name: str
    role: str


class AskPassword(Body, frozen=True):
    """A new password: one's own with the old one, or anybody's by an admin in a write session or the host's root."""

    credential: Credential
    name: str
    old: str
    new: str


class UserFacts(Body, frozen=True):
    """A user."""

    name: str
    role: str
    has_password: bool
    created_at_s: int
    seen_at_s: int
    """0: never."""


class UserList(Body, frozen=True):
    users: tuple[UserFacts, ...]


class SessionList(Body, frozen=True):
    sessions: tuple[SessionFacts, ...]


class AskTokenMake(Body, frozen=True):
    """An API token for a user (empty: the asker's own)."""

    credential: Credential
    user: str
    label: str
    scope: str
    """`read` or `edit`."""
    days: int


class TokenFacts(Body, frozen=True):
    """An API token without its value."""

    id: str
    user: str
    label: str
    scope: str
    created_at_s: int
    ends_at_s: int
    seen_at_s: int
    """0: never used."""


class TokenMade(Body, frozen=True):
    """`value` is shown this once."""

    value: str
    token: TokenFacts


class TokenList(Body, frozen=True):
    tokens: tuple[TokenFacts, ...]


class Done(Body, frozen=True):
    """It is so now."""
