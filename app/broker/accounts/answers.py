"""Answers about people. Nothing heavy is imported here: every command of root's loads this module."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.broker.accounts import events
from app.broker.accounts.actor import EDITORS
from app.broker.host import Host, Reply
from app.broker.peers import Asker
from app.wire import accounts
from app.wire.errors import NotAllowed, NotThere, SignInFailed, TooFast
from app.wire.records import ActorFacts

if TYPE_CHECKING:
    from app.broker.accounts.actor import Actor
    from app.broker.accounts.users import User

_DONE = Reply(accounts.Done())


def answer_sign_in(host: Host, body: accounts.AskSignIn, asker: Asker) -> Reply:
    """Begin a session by name and password."""
    keeper = host.desk.accounts
    try:
        user = keeper.check_password(body.name, body.password, body.source)
    except (SignInFailed, TooFast) as refusal:
        _refused(host, body, asker, "password", body.name, refusal)
        raise
    return _enter(host, user, "password", body, asker)


def answer_link_make(host: Host, body: accounts.AskLinkMake, asker: Asker) -> Reply:
    """Make a one-time link's token; for the host's root."""
    from app.broker.accounts.names import ROOT

    keeper = host.desk.accounts
    name = keeper.users.get(body.user or ROOT).name
    actor = keeper.authorise(asker, accounts.Credential(source="cli"))
    value, facts = keeper.links.make(name, lambda: events.note(host, "link.make", actor.facts(), f"for {name}"))
    return Reply(accounts.TokenMade(value, facts))


def answer_link_use(host: Host, body: accounts.AskLinkUse, asker: Asker) -> Reply:
    """Begin a session by a one-time link."""
    try:
        user = host.desk.accounts.check_link(body.token, body.source)
    except (SignInFailed, TooFast) as refusal:
        _refused(host, body, asker, "link", "", refusal)
        raise
    return _enter(host, user, "link", body, asker)


def answer_vouched(host: Host, body: accounts.AskVouched, asker: Asker) -> Reply:
    """Begin a session for somebody whom the web's proxy or provider named: of a user who exists, and for reading."""
    settings = host.desk.settings
    on = {"proxy": bool(settings.proxy_header), "oidc": bool(settings.oidc_issuer)}
    try:
        if not on.get(body.how, False):
            raise NotAllowed(f"nobody vouches for users here: the setting for {body.how[:20]!r} is not set")
        user = host.desk.accounts.users.find(body.name)
        if user is None:
            raise SignInFailed("there is no such user here: an admin adds one by `bpf-atlas user add NAME`")
    except (NotAllowed, SignInFailed) as refusal:
        _refused(host, body, asker, body.how, body.name, refusal)
        raise
    return _enter(host, user, body.how, body, asker)


def answer_session(host: Host, body: accounts.AskSession, asker: Asker) -> Reply:
    """Look a session or token up."""
    del asker
    keeper = host.desk.accounts
    facts, why = keeper.look_up(body.value)
    if facts is not None and not body.passive:
        keeper.use(facts)
    return Reply(accounts.MaybeSession(facts, why))


def answer_sign_out(host: Host, body: accounts.AskAsSomebody, asker: Asker) -> Reply:
    """End the asker's session."""
    keeper = host.desk.accounts
    actor = _in_session(host, body.credential, asker)
    keeper.sessions.end(actor.session, "it was signed out")
    events.note_if_possible(host, "session.end", actor.facts(), "signed out")
    return _DONE


def answer_elevate(host: Host, body: accounts.AskElevate, asker: Asker) -> Reply:
    """Begin a write session: the password again, or a first one."""
    keeper = host.desk.accounts
    actor = _in_session(host, body.credential, asker)
    try:
        keeper.must_be(actor, EDITORS)
        if body.choose:
            _choose_password(host, actor, body.password)
        else:
            keeper.check_password(actor.user, body.password, actor.source)
    except (NotAllowed, SignInFailed, TooFast) as refusal:
        events.note_if_possible(host, "write.refused", actor.facts(), str(refusal))
        if isinstance(refusal, SignInFailed):
            raise SignInFailed("the password is wrong") from None
        raise
    write, value, session = keeper.sessions.elevate(
        actor.session, lambda _: events.note(host, "write.begin", actor.facts(), _minutes(host))
    )
    return Reply(accounts.Elevated(write, value, session))


def answer_drop(host: Host, body: accounts.AskAsSomebody, asker: Asker) -> Reply:
    """End the write session."""
    actor = _in_session(host, body.credential, asker)
    host.desk.accounts.sessions.drop(actor.session)
    events.note_if_possible(host, "write.end", actor.facts())
    return _DONE


def answer_sessions(host: Host, body: accounts.AskAsSomebody, asker: Asker) -> Reply:
    """List sessions."""
    keeper = host.desk.accounts
    actor = keeper.person(asker, body.credential)
    return Reply(accounts.SessionList(keeper.sessions.listed("" if actor.role == "admin" else actor.user)))


def answer_session_end(host: Host, body: accounts.AskNamed, asker: Asker) -> Reply:
    """End a session: one's own, or as an admin in a write session any."""
    keeper = host.desk.accounts
    actor = keeper.person(asker, body.credential)
    own = {facts.id for facts in keeper.sessions.listed(actor.user)}
    if body.name not in own:
        if actor.role != "admin":
            raise NotThere("there is no such session")
        actor = keeper.administering(asker, body.credential)
    ended = next((facts for facts in keeper.sessions.listed() if facts.id == body.name), None)
    if ended is None:
        raise NotThere("there is no such session")
    keeper.sessions.end(body.name, f"{actor.user} ended it")
    events.note_if_possible(host, "session.end", actor.facts(), f"{ended.id} of {ended.user}")
    return _DONE


def answer_user_add(host: Host, body: accounts.AskUserAdd, asker: Asker) -> Reply:
    """Make a user."""
    from app.broker.accounts.names import checked_name, checked_role

    keeper = host.desk.accounts
    actor = keeper.administering(asker, body.credential)
    checked_name(body.name)
    checked_role(body.role)
    hashed = None
    if body.password is not None:
        keeper.passwords.check_new(body.name, body.password)
        hashed = keeper.passwords.hash(body.password)
    detail = f"{body.name} as {body.role}{'' if hashed else ', without a password'}"
    keeper.users.add(body.name, body.role, hashed, lambda: events.note(host, "user.add", actor.facts(), detail))
    return _DONE


def answer_user_role(host: Host, body: accounts.AskUserRole, asker: Asker) -> Reply:
    """Give a user another role."""
    keeper = host.desk.accounts
    actor = keeper.administering(asker, body.credential)
    before = keeper.users.get(body.name)
    detail = f"{before.name}: {before.role} → {body.role}"
    keeper.users.set_role(body.name, body.role, lambda: events.note(host, "user.role", actor.facts(), detail))
    return _DONE


def answer_user_remove(host: Host, body: accounts.AskNamed, asker: Asker) -> Reply:
    """Remove a user."""
    keeper = host.desk.accounts
    actor = keeper.administering(asker, body.credential)
    before = keeper.users.get(body.name)
    detail = f"{before.name}, who was {before.role}"
    keeper.users.remove(body.name, lambda: events.note(host, "user.remove", actor.facts(), detail))
    return _DONE


def answer_users(host: Host, body: accounts.AskAsSomebody, asker: Asker) -> Reply:
    """List users; for admins."""
    keeper = host.desk.accounts
    keeper.must_be(keeper.person(asker, body.credential), {"admin"})
    return Reply(accounts.UserList(keeper.users.listed()))


def answer_password(host: Host, body: accounts.AskPassword, asker: Asker) -> Reply:
    """Set a password: one's own with the old one, or anybody's as an admin in a write session. Sessions end by it."""
    keeper = host.desk.accounts
    actor = keeper.person(asker, body.credential)
    if actor.is_root or body.name.lower() != actor.user.lower():
        actor = keeper.administering(asker, body.credential)
    elif not body.old and keeper.may_choose_password(actor):
        _choose_password(host, actor, body.new)
        return _DONE
    else:
        try:
            keeper.check_password(actor.user, body.old, actor.source)
        except (SignInFailed, TooFast) as refusal:
            events.note_if_possible(host, "session.refused", actor.facts(), f"changing the password: {refusal}")
            if isinstance(refusal, SignInFailed):
                raise SignInFailed("the old password is wrong") from None
            raise
    name = keeper.users.get(body.name).name
    keeper.passwords.check_new(name, body.new)
    hashed = keeper.passwords.hash(body.new)
    keeper.users.set_password(name, hashed, lambda: events.note(host, "user.password", actor.facts(), f"of {name}"))
    return _DONE


def answer_token_make(host: Host, body: accounts.AskTokenMake, asker: Asker) -> Reply:
    """Make an API token. One that edits, or is another's, takes a write session: else a session would outgrow itself."""
    keeper = host.desk.accounts
    actor = keeper.person(asker, body.credential)
    user = keeper.users.get(body.user or actor.user)
    if user.name != actor.user:
        actor = keeper.administering(asker, body.credential)
    elif body.scope == "edit" or actor.how in {"proxy", "oidc"}:
        actor = keeper.writing(asker, body.credential)
    if body.scope == "edit" and user.role not in EDITORS:
        raise NotAllowed(f"{user.name} has the role {user.role}, which does not edit: make a token of scope read")
    value, facts = keeper.tokens.make(
        user.name,
        label=body.label,
        scope=body.scope,
        days=body.days,
        recorded=lambda made: events.note(
            host, "token.make", actor.facts(), f"{made.id} of {made.user}, {made.scope}, {body.days} days: {made.label}"
        ),
    )
    return Reply(accounts.TokenMade(value, facts))


def answer_tokens(host: Host, body: accounts.AskAsSomebody, asker: Asker) -> Reply:
    """List tokens."""
    keeper = host.desk.accounts
    actor = keeper.person(asker, body.credential)
    return Reply(accounts.TokenList(keeper.tokens.listed("" if actor.role == "admin" else actor.user)))


def answer_token_revoke(host: Host, body: accounts.AskNamed, asker: Asker) -> Reply:
    """Revoke a token: one's own, or as an admin in a write session any."""
    keeper = host.desk.accounts
    actor = keeper.person(asker, body.credential)
    if body.name not in {facts.id for facts in keeper.tokens.listed(actor.user)}:
        if actor.role != "admin":
            raise NotThere("there is no such token")
        actor = keeper.administering(asker, body.credential)
    token = keeper.tokens.get(body.name)
    keeper.tokens.revoke(
        token.id,
        lambda: events.note(host, "token.revoke", actor.facts(), f"{token.id} of {token.user}: {token.label}"),
    )
    return _DONE


def _in_session(host: Host, credential: accounts.Credential, asker: Asker) -> Actor:
    actor = host.desk.accounts.person(asker, credential)
    if actor.is_root:
        raise NotAllowed("the host's root needs no session: it may do this at any time")
    return actor


def _choose_password(host: Host, actor: Actor, password: str) -> None:
    keeper = host.desk.accounts
    if not keeper.may_choose_password(actor):
        raise NotAllowed("a first password is chosen within 30 minutes after `bpf-atlas login`: make a new link by it")
    keeper.passwords.check_new(actor.user, password)
    hashed = keeper.passwords.hash(password)
    keeper.users.choose_password(
        actor.user, hashed, lambda: events.note(host, "user.password", actor.facts(), f"of {actor.user}, the first one")
    )


def _enter(
    host: Host, user: User, how: str, body: accounts.AskSignIn | accounts.AskLinkUse | accounts.AskVouched, asker: Asker
) -> Reply:
    value, session = host.desk.accounts.sessions.begin(
        user.name,
        how,
        body.source,
        body.agent,
        lambda facts: events.note(
            host, "session.begin", _somebody(facts.user, facts.role, facts.id, how, body.source, asker)
        ),
    )
    return Reply(accounts.Entered(value, session))


def _refused(
    host: Host,
    body: accounts.AskSignIn | accounts.AskLinkUse | accounts.AskVouched,
    asker: Asker,
    how: str,
    name: str,
    refusal: Exception,
) -> None:
    # A name that nobody has may be a password, typed into the wrong box: it is not kept.
    user = host.desk.accounts.users.find(name) if name else None
    actor = _somebody(user.name if user else "", user.role if user else "", "", how[:20], body.source, asker)
    events.note_if_possible(host, "session.refused", actor, f"{refusal}{'; no such user' if name and not user else ''}")


def _somebody(user: str, role: str, session: str, how: str, source: str, asker: Asker) -> ActorFacts:
    return ActorFacts(user=user, role=role, session=session, how=how, source=source[:200], uid=asker.uid, pid=asker.pid)


def _minutes(host: Host) -> str:
    return f"for {host.desk.settings.write_minutes} minutes"
