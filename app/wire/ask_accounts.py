"""The asking side of people: signing in, sessions, users, API tokens."""

from __future__ import annotations

from app.wire import accounts
from app.wire.accounts import Credential
from app.wire.asking import Asking
from app.wire.verbs import Verb


class AskingAccounts(Asking):
    """One method a verb; each raises what app.wire.errors has below Declined, beside the errors of Client."""

    def sign_in(self, name: str, password: str, *, source: str, agent: str) -> accounts.Entered:
        """By name and password. raises SignInFailed, TooFast"""
        return self._plain(Verb.SIGN_IN, accounts.AskSignIn(name, password, source, agent), accounts.Entered)

    def link_make(self, user: str = "") -> accounts.TokenMade:
        """Make a one-time link's token; for root alone."""
        return self._plain(Verb.LINK_MAKE, accounts.AskLinkMake(user), accounts.TokenMade)

    def link_use(self, token: str, *, source: str, agent: str) -> accounts.Entered:
        """Use one up. raises SignInFailed, TooFast"""
        return self._plain(Verb.LINK_USE, accounts.AskLinkUse(token, source, agent), accounts.Entered)

    def vouched(self, name: str, how: str, *, source: str, agent: str) -> accounts.Entered:
        """Begin a session for somebody whom a proxy or a provider named. raises SignInFailed, NotAllowed"""
        return self._plain(Verb.VOUCHED, accounts.AskVouched(name, how, source, agent), accounts.Entered)

    def session(self, value: str, *, passive: bool = False) -> accounts.MaybeSession:
        """Look a session or API token up; `passive` does not count as use."""
        return self._plain(Verb.SESSION, accounts.AskSession(value, passive), accounts.MaybeSession)

    def sign_out(self, credential: Credential) -> None:
        """End the session."""
        self._plain(Verb.SIGN_OUT, accounts.AskAsSomebody(credential), accounts.Done)

    def elevate(self, credential: Credential, password: str, *, choose: bool = False) -> accounts.Elevated:
        """Begin a write session. raises SignInFailed, TooFast, NotAllowed, BadField"""
        return self._plain(Verb.ELEVATE, accounts.AskElevate(credential, password, choose), accounts.Elevated)

    def drop(self, credential: Credential) -> None:
        """End the write session."""
        self._plain(Verb.DROP, accounts.AskAsSomebody(credential), accounts.Done)

    def sessions(self, credential: Credential) -> tuple[accounts.SessionFacts, ...]:
        """One's own sessions; all of them for an admin."""
        return self._plain(Verb.SESSIONS, accounts.AskAsSomebody(credential), accounts.SessionList).sessions

    def session_end(self, credential: Credential, session_id: str) -> None:
        """End a session of one's own, or any as an admin. raises NotThere"""
        self._plain(Verb.SESSION_END, accounts.AskNamed(credential, session_id), accounts.Done)

    def user_add(self, credential: Credential, name: str, role: str, password: str | None) -> None:
        """Make a user. raises Taken, BadField"""
        self._plain(Verb.USER_ADD, accounts.AskUserAdd(credential, name, role, password), accounts.Done)

    def user_role(self, credential: Credential, name: str, role: str) -> None:
        """Give a user another role. raises NotThere, BadField"""
        self._plain(Verb.USER_ROLE, accounts.AskUserRole(credential, name, role), accounts.Done)

    def user_remove(self, credential: Credential, name: str) -> None:
        """Remove a user with all sessions and tokens. raises NotThere"""
        self._plain(Verb.USER_REMOVE, accounts.AskNamed(credential, name), accounts.Done)

    def users(self, credential: Credential) -> tuple[accounts.UserFacts, ...]:
        """All users; for admins."""
        return self._plain(Verb.USERS, accounts.AskAsSomebody(credential), accounts.UserList).users

    def password(self, credential: Credential, name: str, *, old: str = "", new: str) -> None:
        """Set a password. raises SignInFailed, NotThere, BadField"""
        self._plain(Verb.PASSWORD, accounts.AskPassword(credential, name, old, new), accounts.Done)

    def token_make(
        self, credential: Credential, *, user: str = "", label: str, scope: str, days: int
    ) -> accounts.TokenMade:
        """Make an API token. raises BadField, NotThere"""
        return self._plain(
            Verb.TOKEN_MAKE, accounts.AskTokenMake(credential, user, label, scope, days), accounts.TokenMade
        )

    def tokens(self, credential: Credential) -> tuple[accounts.TokenFacts, ...]:
        """One's own tokens; all of them for an admin."""
        return self._plain(Verb.TOKENS, accounts.AskAsSomebody(credential), accounts.TokenList).tokens

    def token_revoke(self, credential: Credential, token_id: str) -> None:
        """Revoke a token of one's own, or any as an admin. raises NotThere"""
        self._plain(Verb.TOKEN_REVOKE, accounts.AskNamed(credential, token_id), accounts.Done)
