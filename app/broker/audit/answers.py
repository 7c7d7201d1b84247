"""Answers about the audit log. What the policy left out when a record was written is in nobody's answer."""

from __future__ import annotations

from app.broker.accounts import events
from app.broker.accounts.actor import EDITORS, READERS_OF_AUDIT
from app.broker.host import Host, Reply
from app.broker.peers import Asker, Peer
from app.wire.accounts import Credential
from app.wire.errors import BadField, NotAllowed
from app.wire.records import AskHistory, AskRecord, AskRecords, AskVerify, Author

_ADMIN = frozenset({"admin"})
_HISTORY = {
    "take": EDITORS, "label": EDITORS, "ignore": EDITORS, "forget": _ADMIN, "rules": _ADMIN, "import": _ADMIN, "restore": _ADMIN,
}  # fmt: skip
"""Change of the history → roles that may."""
_DETAIL = 16_000
_UNTOLD = frozenset({"take"})
"""Takes nothing away, and says by itself who asked for it."""


def answer_records(host: Host, question: AskRecords, asker: Asker) -> Reply:
    """Records that were asked for, newest first. raises SessionOver, NotAllowed"""
    _reader(host, question.credential, asker)
    return Reply(host.desk.audit.records(question))


def answer_record(host: Host, question: AskRecord, asker: Asker) -> Reply:
    """One record with what belongs to it. raises SessionOver, NotAllowed, NotThere"""
    _reader(host, question.credential, asker)
    return Reply(host.desk.audit.group(question.number))


def answer_verify(host: Host, question: AskVerify, asker: Asker) -> Reply:
    """Walk the chain. raises SessionOver, NotAllowed"""
    _reader(host, question.credential, asker)
    return Reply(host.desk.audit.verify())


def answer_history(host: Host, question: AskHistory, asker: Asker) -> Reply:
    """Write down what is about to be done to the history, and say for whom. raises SessionOver, NotAllowed, CannotRecord"""
    if question.change not in _HISTORY:
        raise BadField(f"the history is not changed by {question.change[:20]!r}", "change")
    if question.by_root and Peer.RECORDER in asker.peer:
        asker = Asker(Peer.ROOT, 0, question.pid)
    keeper = host.desk.accounts
    actor = keeper.authorise(asker, question.credential)
    try:
        keeper.must_be(actor, _HISTORY[question.change])
    except NotAllowed as refusal:
        events.note_if_possible(host, "history.refused", actor.facts(), f"{question.change}: {refusal}")
        raise
    if question.change not in _UNTOLD:
        events.note(host, f"history.{question.change}", actor.facts(), question.detail, most=_DETAIL)
    return Reply(Author(actor.user))


def _reader(host: Host, credential: Credential, asker: Asker) -> None:
    actor = host.desk.accounts.authorise(asker, credential)
    if not actor.is_root and actor.role not in READERS_OF_AUDIT:
        raise NotAllowed(f"the role {actor.role} does not read the audit log: ask an admin for the role auditor")
