"""Answers about edits: what somebody may do, an edit planned or done, one taken back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.broker.host import Host, Reply, with_fd
from app.broker.objects import map_facts
from app.broker.peers import Asker
from app.uapi import objects
from app.uapi.enums import BpfMapFlag
from app.wire import edits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.broker.accounts.actor import Actor
    from app.broker.policy.rules import Policy


def answer_edit(host: Host, question: edits.AskEdit, asker: Asker) -> Reply:
    """Plan an edit, or do it."""
    from app.broker.edits.execute import perform

    return Reply(perform(host, asker, question))


def answer_undo(host: Host, question: edits.AskUndo, asker: Asker) -> Reply:
    """Take one back, as an edit of its own with the same checks."""
    from app.broker.edits.execute import Cause, perform, somebody
    from app.broker.edits.reverse import reverse

    somebody(host, asker, question.credential, None, dry_run=True)
    group = host.desk.audit.group(question.audit)
    edit = reverse(group)
    asked = edits.AskEdit(question.credential, edit, question.reason, question.dry_run)
    return Reply(perform(host, asker, asked, Cause(undo_of=group.intent.number)))


def answer_may(host: Host, question: edits.AskMay, asker: Asker) -> Reply:
    """Say what this person may do with a map, and why not, before they try."""
    from app.broker.edits import kinds
    from app.broker.edits.execute import why_off
    from app.broker.edits.identity import identity_of, pins_of, type_name

    actor = host.desk.accounts.authorise(asker, question.credential)
    facts = with_fd(
        objects.map_get_fd_by_id(question.map_id, BpfMapFlag.RDONLY), lambda map_fd: map_facts(map_fd, None)
    )
    policy, kind = host.desk.policy.current(), type_name(facts.type)
    pins = pins_of(host, facts.id, policy)
    ruled_out = kinds.possible(facts)
    acts = []
    for action in edits.ACTIONS:
        why = ruled_out.get(action, "")
        refusal = _refusal(policy, actor, action, facts.name, pins, kind)
        acts.append(edits.MayAct(action, not why, not refusal, why or refusal))
    why = why_off(host)
    return Reply(
        edits.May(
            map=identity_of(facts),
            edits=not why,
            why=why,
            actions=tuple(acts),
            write_until_s=actor.write_until_s,
            redacted=_hidden(policy, actor, facts.name, pins, kind),
        )
    )


def answer_hidden(host: Host, question: edits.AskHidden, asker: Asker) -> Reply:
    """Say what this person may not see of a map of the past: what the policy of now says of one so named."""
    from app.broker.edits.identity import type_name

    actor = host.desk.accounts.authorise(asker, question.credential)
    policy = host.desk.policy.current()
    return Reply(edits.Hidden(_hidden(policy, actor, question.name, question.pins, type_name(question.type))))


def _hidden(policy: Policy, actor: Actor, name: str, pins: Sequence[str], kind: str) -> tuple[str, ...]:
    """Patterns of paths, each once."""
    hidden = [
        pattern
        for each in policy.redactions(map_name=name, pins=pins, type_name=kind)
        if actor.role in each.hide_from
        for pattern in each.patterns
    ]
    return tuple(dict.fromkeys(hidden))


def _refusal(policy: Policy, actor: Actor, action: str, name: str, pins: Sequence[str], kind: str) -> str:
    """Why the policy does not let this person, empty where it does for all of the value or a part of it."""
    from app.broker.accounts.actor import EDITORS

    if actor.role not in EDITORS:
        return f"your role is {actor.role}, and only editors and admins edit"
    if actor.scope != "edit":
        return "this token may only read"
    paths = ("value",) if action == "set" else ()
    ruling = policy.decide(map_name=name, pins=pins, type_name=kind, action=action, paths=paths, role=actor.role)
    if ruling.allowed or (
        action == "set" and policy.allows_some_field(map_name=name, pins=pins, type_name=kind, role=actor.role)
    ):
        return ""
    return ruling.reason
