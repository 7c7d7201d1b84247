"""Who an answer is for: what the credential and the process that brought it are worth."""

from __future__ import annotations

from dataclasses import dataclass

from app.broker.peers import Asker
from app.wire.records import ActorFacts

ROLES = ("viewer", "editor", "admin", "auditor")
EDITORS = frozenset({"editor", "admin"})
READERS_OF_AUDIT = frozenset({"auditor", "admin", "editor"})
FOREVER = 1 << 62


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Somebody whose session, token or uid has just been checked."""

    user: str
    role: str
    session: str
    """Id of the session or token; empty for the host's root."""
    how: str
    scope: str
    """`read` or `edit`."""
    write_until_s: int
    """End of the write session, 0 without one; FOREVER for the host's root and tokens of scope `edit`."""
    source: str
    uid: int
    pid: int
    request_id: str = ""

    @property
    def is_root(self) -> bool:
        """A process of uid 0 that brought no session."""
        return self.how == "root"

    def facts(self, approved_by: str = "") -> ActorFacts:
        """As the audit log keeps it."""
        return ActorFacts(
            user=self.user,
            role=self.role,
            session=self.session,
            how=self.how,
            source=self.source,
            uid=self.uid,
            pid=self.pid,
            request_id=self.request_id,
            approved_by=approved_by,
        )


def nobody(asker: Asker, source: str, request_id: str) -> Actor:
    """Whoever brought a credential that is none, for the record of being refused."""
    return Actor(
        user="",
        role="",
        session="",
        how="",
        scope="",
        write_until_s=0,
        source=source,
        uid=asker.uid,
        pid=asker.pid,
        request_id=request_id,
    )
