"""Answers about the audit log. What the policy left out when a record was written is in nobody's answer."""

from __future__ import annotations

from app.broker.accounts.actor import READERS_OF_AUDIT
from app.broker.host import Host, Reply
from app.broker.peers import Asker
from app.wire.accounts import Credential
from app.wire.errors import NotAllowed
from app.wire.records import AskRecord, AskRecords, AskVerify


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


def _reader(host: Host, credential: Credential, asker: Asker) -> None:
    actor = host.desk.accounts.authorise(asker, credential)
    if not actor.is_root and actor.role not in READERS_OF_AUDIT:
        raise NotAllowed(f"the role {actor.role} does not read the audit log: ask an admin for the role auditor")
