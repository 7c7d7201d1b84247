"""The way of every edit: who asks, is it the same map, does the policy allow it, what would happen; written down, done, read again.

Nothing is written to a map before its intent is in the audit log and synced, and nothing is called done that was not read
again afterwards.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from app.broker.accounts.actor import EDITORS, Actor, nobody
from app.broker.edits import act as acting
from app.broker.edits import fields, kinds, mapwide, whole
from app.broker.edits.act import Act, Ended, Held, Prepared
from app.broker.edits.identity import check_identity, pins_of, type_name
from app.broker.edits.pieces import check_bounds, place
from app.broker.edits.recording import intent_record, outcome_record, refusal_record
from app.broker.errors import BrokerError
from app.broker.host import Host
from app.broker.objects import map_facts
from app.broker.peers import Asker
from app.btf.errors import BtfError
from app.uapi import objects
from app.uapi.errors import KernelError, ObjectGone
from app.wire.accounts import Credential
from app.wire.bodies import MapFacts
from app.wire.edits import ACTIONS, AskEdit, Edit, Report
from app.wire.errors import BadField, CannotRecord, Declined, EditsOff, MapChanged, NotAllowed

if TYPE_CHECKING:
    from app.broker.policy.rules import Policy, Ruling

MAX_REASON = 1000
_PREPARE: Mapping[str, Callable[[Act], Prepared]] = {
    "set": fields.set_fields,
    "replace": whole.replace,
    "create": whole.create,
    "delete": whole.delete,
    "put": whole.put,
    "push": whole.push,
    "pop": whole.pop,
    "freeze": mapwide.freeze,
    "pin": mapwide.pin,
    "unpin": mapwide.unpin,
    "clear": mapwide.clear,
    "make": mapwide.make,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """What an edit is part of, beside what it asks for."""

    undo_of: int = 0
    plan: int = 0
    approved_by: tuple[str, ...] = ()
    """People who agreed already."""
    held: Held | None = None
    """What is kept between the edits of one plan; whoever runs the plan closes it."""


ALONE = Cause()


def perform(host: Host, asker: Asker, question: AskEdit, cause: Cause = ALONE) -> Report:
    """Plan an edit, or do it.

    raises  Declined leaves: SessionOver, NeedsWriteSession, NotAllowed, EditsOff, TooFast, BadField, MapChanged,
            CannotRecord; and ObjectGone
    """
    edit, desk = question.edit, host.desk
    actor = somebody(host, asker, question.credential, edit, dry_run=question.dry_run)
    check_edits(host, actor, edit)
    if not question.dry_run:
        check_reason(question.reason)
    with opened(host, edit, cause) as act:
        policy = desk.policy.current()
        pins = pins_of(host, act.facts.id, policy)
        ruling = allowed(host, policy, actor, act, pins)
        prepared = _prepared(act)
        if prepared.method == "refused" or question.dry_run:
            return _planned(prepared, ruling.approvals)
        if ruling.approvals > len(cause.approved_by):
            return desk.plans.hold(actor, question, ruling.approvals)
        if ruling.per_minute:
            desk.limits.take(f"{ruling.rule_number} {actor.user}", ruling.per_minute)
        redactions = policy.redactions(map_name=edit.map.name, pins=pins, type_name=type_name(act.facts.type))
        intent = intent_record(
            actor, act, prepared, question.reason, redactions,
            undo_of=cause.undo_of, plan=cause.plan, approved_by=cause.approved_by,
        )  # fmt: skip
        number = desk.audit.begin(intent)
        began_ns = time.monotonic_ns()
        ended = _run(prepared)
        duration_ns = time.monotonic_ns() - began_ns
        report = _ended(prepared, ended, number, duration_ns)
        try:
            desk.audit.finish(outcome_record(intent, number, ended, duration_ns, redactions))
        except CannotRecord as error:
            said = f"What came of it could not be written down ({error}): its record says so from the next start on."
            report = msgspec.structs.replace(report, warnings=(*report.warnings, said))
        return report


def somebody(host: Host, asker: Asker, credential: Credential, edit: Edit | None, *, dry_run: bool) -> Actor:
    """Who asks; an editor at least, and in a write session unless nothing is to be written.

    raises  SessionOver, NeedsWriteSession, NotAllowed: each is in the audit log then
    """
    accounts, audit = host.desk.accounts, host.desk.audit
    actor = nobody(asker, credential.source, credential.request_id)
    try:
        actor = accounts.authorise(asker, credential)
        if actor.role not in EDITORS:
            raise NotAllowed(f"{actor.user} is {_article(actor.role)}, and only editors and admins edit")
        return actor if dry_run else accounts.writing(asker, credential)
    except Declined as error:
        audit.note(refusal_record(actor, edit, str(error)))
        raise


def check_edits(host: Host, actor: Actor, edit: Edit | None) -> None:
    """Refuse where the service does not edit at all. raises EditsOff, in the audit log"""
    why = why_off(host)
    if why:
        host.desk.audit.note(refusal_record(actor, edit, why))
        raise EditsOff(why)


def why_off(host: Host) -> str:
    """Why this service edits nothing, empty when it does."""
    if not host.desk.settings.allow_edits:
        return "edits are off: start the service with --allow-edits, or BPF_ATLAS_ALLOW_EDITS=1"
    problem = host.desk.policy.current().problem
    return f"edits are off until the policy is mended: {problem}" if problem else ""


def check_reason(reason: str) -> None:
    """No reason, no edit. raises BadField"""
    if not reason.strip():
        raise BadField("say why: the reason stands in the audit log", "reason")
    if len(reason) > MAX_REASON:
        raise BadField(f"a reason has at most {MAX_REASON} characters", "reason")


@contextmanager
def opened(host: Host, edit: Edit, cause: Cause = ALONE) -> Iterator[Act]:
    """The map of an edit, open for writing until the `with` ends, if it still is that map.

    raises  MapChanged, ObjectGone, BadField
    """
    if edit.action not in ACTIONS:
        raise BadField(f"{edit.action[:20]!r} is no action", "action")
    held = Held() if cause.held is None else cause.held
    try:
        if edit.action == "make":
            facts = _no_facts()
        else:
            if held.map_fd < 0:
                held.map_fd = _open(edit)
            facts = map_facts(held.map_fd, None)
            check_identity(edit.map, facts)
        btf = acting.btf_of(facts)
        try:
            kept = acting.kept_of(facts, btf)
        except (BtfError, BrokerError) as error:
            raise BadField(f"this map's values cannot be laid out, so nothing is written: {error}", "value") from None
        yield Act(
            edit=edit, map_fd=held.map_fd, facts=facts, bpffs=host.bpffs, btf=btf, kept=kept, editors=held.editors
        )
    finally:
        if cause.held is None:
            held.close()


def _open(edit: Edit) -> int:
    try:
        return objects.map_get_fd_by_id(edit.map.id)
    except ObjectGone:
        raise MapChanged(f"map {edit.map.id} is gone; list the maps again") from None


def _no_facts() -> MapFacts:
    return MapFacts(0, 0, "", 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, False, None, None)  # noqa: FBT003  (positional as on the wire)


def allowed(host: Host, policy: Policy, actor: Actor, act: Act, pins: tuple[str, ...]) -> Ruling:
    """What the policy says of this edit, its numbers included. raises NotAllowed (in the audit log), BadField"""
    edit, made = act.edit, act.edit.new_map
    scalars = {change.path for change in edit.changes if place(act, change).scalar}
    ruling = policy.decide(
        map_name=edit.map.name if made is None else made.name,
        pins=pins if made is None else (made.pin,),
        type_name=type_name(act.facts.type if made is None else made.type),
        action=edit.action,
        paths=[change.path for change in edit.changes],
        scalars=scalars,
        role=actor.role,
    )
    if not ruling.allowed:
        host.desk.audit.note(refusal_record(actor, edit, ruling.reason))
        raise NotAllowed(ruling.reason)
    reason = kinds.possible(act.facts).get(edit.action, "") if made is None else ""
    if reason:
        raise BadField(reason, "action")
    for change, bounds in zip(edit.changes, ruling.bounds, strict=False):
        if not bounds.free:
            check_bounds(act, change, bounds)
    return ruling


def _prepared(act: Act) -> Prepared:
    try:
        prepared = _PREPARE[act.edit.action](act)
    except BrokerError as error:
        raise BadField(str(error), "value") from None
    if kinds.programs_only_read(act.facts):
        prepared.warnings.append("Programs may only read this map (BPF_F_RDONLY_PROG): user space is its writer.")
    if prepared.moved:
        prepared.warnings.insert(
            0, "The entry has changed since it was shown: as it stands, this edit would be a conflict."
        )
    return prepared


def _run(prepared: Prepared) -> Ended:
    """Carry it out; a no of the kernel's is an outcome like others."""
    try:
        return prepared.run()
    except KernelError as error:
        return Ended(result="refused", sentence=whole.refusal_of(error))
    except BadField as error:
        return Ended(result="refused", sentence=str(error))
    except BrokerError as error:
        return Ended(result="refused", sentence=str(error))


def _planned(prepared: Prepared, approvals: int) -> Report:
    refused = prepared.method == "refused"
    why = f"Nothing can be written: {prepared.why}." if refused else acting.RESULT_SENTENCES["planned"]
    return Report(
        result="refused" if refused else "planned",
        sentence=why,
        fields=prepared.fields,
        method=prepared.method,
        promise=prepared.promise,
        why=prepared.why,
        before=prepared.before,
        after=prepared.after,
        warnings=tuple(prepared.warnings),
        approvals=approvals,
    )


def _ended(prepared: Prepared, ended: Ended, number: int, duration_ns: int) -> Report:
    return Report(
        result=ended.result,
        sentence=ended.says,
        audit=number,
        fields=ended.fields or prepared.fields,
        method=prepared.method,
        promise=prepared.promise,
        why=prepared.why,
        before=prepared.before,
        after=ended.after,
        warnings=tuple(prepared.warnings),
        new_map_id=ended.new_map_id,
        duration_ns=duration_ns,
    )


def _article(role: str) -> str:
    return f"an {role}" if role[:1] in "aeio" else f"a {role}"
