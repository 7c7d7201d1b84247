"""What the person who looks at a map may do with it, as links and greyed buttons need it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from urllib.parse import urlencode

from flask import g

from app.errors import AppError
from app.web import opening
from app.web.permissions import NEEDS
from app.wire.ask import Client
from app.wire.edits import May

ACTIONS = frozenset(
    {"set", "replace", "create", "delete", "put", "push", "pop", "freeze", "pin", "unpin", "clear", "make"}
)


@dataclass(frozen=True, slots=True)
class Permit:
    """One action of one person on one map."""

    possible: bool
    """The map's type and state allow it at all."""
    why: str
    """What stands in the way; empty when nothing does, but perhaps the want of a write session."""

    @property
    def is_given(self) -> bool:
        """Nothing stands in the way."""
        return self.possible and not self.why


@dataclass(frozen=True, slots=True)
class Permits:
    """All actions."""

    by_action: dict[str, Permit]
    writing: bool
    """A write session runs, or none is needed."""
    redacted: tuple[str, ...] = ()

    def __getitem__(self, action: str) -> Permit:
        return self.by_action.get(action, Permit(possible=False, why="there is no such action"))

    def first(self, *actions: str) -> str:
        """The first of these that the map's type has; the first of all where it has none."""
        return next((action for action in actions if self[action].possible), actions[0])

    def way(self, target: str) -> str:
        """Where a link to `target` leads: there, or to the password first."""
        return target if self.writing else "/elevate?" + urlencode({"next": target})


def permits(client: Client, map_id: int) -> Permits:
    """Ask the broker; whatever it says no to stands as the reason at each action."""
    session = g.session
    if session is not None and session.role not in NEEDS["edits.form"].value:
        return _none(f"your role is {session.role}, and only editors and admins edit")
    try:
        found = opening.may(client, map_id)
    except AppError as refusal:
        return _none(str(refusal))
    return Permits(
        {act.action: Permit(act.possible, _why(found, act.action)) for act in found.actions},
        _writes(found),
        found.redacted,
    )


def _why(found: May, action: str) -> str:
    act = next(act for act in found.actions if act.action == action)
    if not act.possible:
        return act.reason
    return found.why if not found.edits else "" if act.allowed else act.reason or "the policy does not allow it"


def _writes(found: May) -> bool:
    return found.write_until_s > time.time()


def _none(why: str) -> Permits:
    return Permits({action: Permit(possible=True, why=why) for action in ACTIONS}, writing=True)
