"""What the bar says about writing: not now, or until when."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.web.permissions import Need

if TYPE_CHECKING:
    from app.settings import Settings
    from app.wire.accounts import SessionFacts

MINUTE_S = 60


@dataclass(frozen=True, slots=True)
class Mode:
    """The badge."""

    text: str
    says: str
    """What it means, for a pointer that rests on it and for a screen reader."""
    is_on: bool = False
    """A write session runs."""
    can_begin: bool = False
    """Giving the password begins one."""


def of(session: SessionFacts | None, settings: Settings) -> Mode:
    """For one session; in the service's own time zone."""
    if session is None or session.role not in Need.EDIT.value:
        return Mode("READ-ONLY", "Nothing here can write to a map: the web process holds read-only descriptors")
    if session.write_until_s:
        until = time.strftime("%H:%M", time.localtime(session.write_until_s))
        left = max(1, round((session.write_until_s - time.time()) / MINUTE_S))
        if settings.allow_edits:
            return Mode(f"WRITE until {until}", f"Edits are possible for {left} more min", is_on=True)
        says = f"Accounts can be changed for {left} more min; maps cannot: the service runs without --allow-edits"
        return Mode(f"UNLOCKED until {until}", says, is_on=True)
    if settings.allow_edits:
        return Mode("READ-ONLY", "Give your password to begin a write session", can_begin=True)
    return Mode("READ-ONLY", "The service runs without --allow-edits: nothing here can write to a map")
