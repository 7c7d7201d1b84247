"""Accounts: what a credential is worth, and every change to users, sessions, tokens and links."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Collection
from pathlib import Path

from app.broker.accounts import secret_values
from app.broker.accounts.actor import FOREVER, Actor
from app.broker.accounts.names import ROOT
from app.broker.accounts.passwords import Passwords
from app.broker.accounts.schema import MIGRATIONS
from app.broker.accounts.sessions import Sessions
from app.broker.accounts.throttle import Throttle
from app.broker.accounts.tokens import Links, Tokens
from app.broker.accounts.users import User, Users
from app.broker.database import Database
from app.broker.peers import Asker, Peer
from app.errors import BadSetting
from app.settings import Settings
from app.wire.accounts import Credential, SessionFacts
from app.wire.errors import NeedsWriteSession, NotAllowed, SessionOver, SignInFailed

FRESH_LINK_S = 30 * 60
"""A session by a link may choose its user's first password for so long."""
WRONG = "name or password is wrong"
_SOURCE = 200


class Accounts:
    """One data directory's; safe for threads."""

    def __init__(self, path: Path, settings: Settings, *, now: Callable[[], float] = time.time) -> None:
        """Open or make it. `now`: CLOCK_REALTIME in seconds.

        raises  StoreUnusable, StoreTooNew, BadSetting
        """
        for name in ("session_idle_minutes", "session_hours", "write_minutes"):
            if getattr(settings, name) < 1:
                raise BadSetting(name, str(getattr(settings, name)), "a whole number above 0")
        self.settings = settings
        self.now = now
        self._database = Database(path, MIGRATIONS)
        self._database.connection.row_factory = sqlite3.Row
        self.users = Users(self._database, now)
        self.sessions = Sessions(self._database, settings, now)
        self.tokens = Tokens(self._database, now)
        self.links = Links(self._database, now)
        self.passwords = Passwords()
        self.throttle = Throttle()

    def close(self) -> None:
        """Let the file go."""
        self._database.close()

    def authorise(self, asker: Asker, credential: Credential) -> Actor:
        """Who asks. Does not count as use of the session: being asked for it with Verb.SESSION does.

        raises  SessionOver
        """
        if not credential.session:
            if Peer.ROOT in asker.peer:
                return _actor(_ROOT_FACTS, asker, credential)
            raise SessionOver("this takes somebody who is signed in: sign in first")
        facts, why = self.look_up(credential.session)
        if facts is None:
            raise SessionOver(f"the session is over{f' ({why})' if why else ''}: sign in again")
        return _actor(facts, asker, credential)

    def writing(self, asker: Asker, credential: Credential) -> Actor:
        """As `authorise`, of somebody who may write just now as far as the session goes.

        raises  SessionOver, NeedsWriteSession
        """
        actor = self.authorise(asker, credential)
        if actor.is_root:
            return actor
        if actor.how == "token":
            if actor.scope != "edit":
                raise NeedsWriteSession("this API token may only read: make one of scope edit")
            return actor
        if self.sessions.find_writing(credential.session, credential.write) is None:
            raise NeedsWriteSession("this session may only read until its password is given again")
        return actor

    def administering(self, asker: Asker, credential: Credential) -> Actor:
        """As `writing`, of an admin in person or the host's root. raises NotAllowed as well"""
        actor = self.person(asker, credential)
        self.must_be(actor, {"admin"})
        return self.writing(asker, credential)

    def person(self, asker: Asker, credential: Credential) -> Actor:
        """As `authorise`, but no API token: those do not manage accounts. raises NotAllowed as well"""
        actor = self.authorise(asker, credential)
        if actor.how == "token":
            raise NotAllowed("an API token does not manage accounts: sign in for that")
        return actor

    def must_be(self, actor: Actor, roles: Collection[str]) -> None:
        """Raises  NotAllowed unless the actor has one of the roles."""
        if actor.role not in roles:
            raise NotAllowed(f"{actor.user} is {_article(actor.role)}; this takes {' or '.join(sorted(roles))}")

    def look_up(self, value: str) -> tuple[SessionFacts | None, str]:
        """The live session or token of a value, else None and why it is over."""
        if value.startswith(secret_values.TOKEN_PREFIX):
            return self.tokens.find(value)
        return self.sessions.find(value)

    def use(self, facts: SessionFacts) -> None:
        """A session or token was used just now."""
        if facts.kind == "token":
            self.tokens.use(facts)
        else:
            self.sessions.use(facts)

    def check_password(self, name: str, password: str, source: str) -> User:
        """Somebody by name and password.

        raises  SignInFailed, which does not tell an unknown name from a wrong password; TooFast
        """
        self.throttle.attempt(name, source)
        user = self.users.find(name)
        if not self.passwords.check(user.password if user else None, password) or user is None:
            raise SignInFailed(WRONG)
        self.throttle.succeeded(name, source)
        return user

    def check_link(self, token: str, source: str) -> User:
        """Use up a one-time link. A right one always opens: whoever tries wrong ones locks nobody out.

        raises  SignInFailed, TooFast
        """
        if name := self.links.use(token):
            return self.users.get(name)
        self.throttle.attempt("", source)
        raise SignInFailed("this link was used already, is older than 30 minutes, or was replaced by a newer one")

    def may_choose_password(self, actor: Actor) -> bool:
        """A session by a fresh link, of a user who has none yet."""
        facts = next((each for each in self.sessions.listed(actor.user) if each.id == actor.session), None)
        return (
            facts is not None
            and facts.how == "link"
            and not facts.has_password
            and self.now() - facts.began_at_s < FRESH_LINK_S
        )


_ROOT_FACTS = SessionFacts(
    id="",
    user=ROOT,
    role="admin",
    kind="session",
    scope="edit",
    how="root",
    source="",
    agent="",
    began_at_s=0,
    seen_at_s=0,
    ends_at_s=FOREVER,
    idle_ends_at_s=FOREVER,
    write_until_s=FOREVER,
    has_password=False,
)


def _actor(facts: SessionFacts, asker: Asker, credential: Credential) -> Actor:
    is_editing_token = facts.kind == "token" and facts.scope == "edit"
    return Actor(
        user=facts.user,
        role=facts.role,
        session=facts.id,
        how=facts.how,
        scope=facts.scope,
        write_until_s=FOREVER if is_editing_token else facts.write_until_s,
        source=credential.source[:_SOURCE],
        uid=asker.uid,
        pid=asker.pid,
        request_id=credential.request_id[:_SOURCE],
    )


def _article(role: str) -> str:
    return f"{'an' if role[0] in 'aeiou' else 'a'} {role}"
