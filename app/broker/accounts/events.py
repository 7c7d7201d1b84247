"""What happens to accounts, in the audit log: who began or was refused a session, and each change to users and tokens."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from app.broker import log
from app.wire.errors import CannotRecord
from app.wire.records import ActorFacts, AuditRecord

if TYPE_CHECKING:
    from app.broker.host import Host

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
TEXT = 300


def note(host: Host, code: str, actor: ActorFacts, detail: str = "", *, most: int = TEXT) -> None:
    """Write one record, with so many characters of its detail at most. raises CannotRecord"""
    host.desk.audit.note(
        AuditRecord(
            at_ns=time.time_ns(), boot_id=BOOT_ID.read_text().strip(), code=code, actor=actor, detail=detail[:most]
        )
    )


def note_if_possible(host: Host, code: str, actor: ActorFacts, detail: str = "") -> None:
    """Write one record of what stands even where it cannot be written down: an end, a refusal."""
    try:
        note(host, code, actor, detail)
    except CannotRecord as problem:
        log.write("not_recorded", code=code, user=actor.user, session=actor.session, reason=str(problem))
