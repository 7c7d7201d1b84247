"""Who wants the history changed: the broker looks at what they brought, and writes down what is about to be done."""

from __future__ import annotations

from dataclasses import dataclass

from app.wire.accounts import Credential
from app.wire.ask import Client
from app.wire.records import AskHistory


@dataclass(frozen=True, slots=True)
class By:
    """The process that asks, by SO_PEERCRED."""

    uid: int
    pid: int


def author(client: Client, by: By, credential: Credential, change: str, detail: str = "") -> str:
    """The name of who wants a change; unless it takes nothing away, it stands in the audit log from now on.

    raises  SessionOver, NotAllowed, CannotRecord, BrokerAbsent: it is not to be done then
    """
    by_root = by.uid == 0 and not credential.session
    return client.history(AskHistory(credential, change, detail, by_root=by_root, pid=by.pid if by_root else 0))
