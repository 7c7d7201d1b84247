"""Answers about plans: made, filled, checked, approved, applied in the background, stopped, gone on with."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from app.broker.host import Host, Reply
from app.broker.peers import Asker
from app.wire import edits
from app.wire.errors import BadField, Declined, NotAllowed, Taken

if TYPE_CHECKING:
    from app.broker.accounts.actor import Actor
    from app.wire.accounts import Credential

GOES_ON = frozenset({"unknown", "failed"})
ENOUGH = frozenset({"done"})


def answer_plan_make(host: Host, question: edits.AskPlanMake, asker: Asker) -> Reply:
    """Begin a plan."""
    from app.broker.edits.execute import check_edits, check_reason

    actor = _editor(host, asker, question.credential)
    check_edits(host, actor, None)
    check_reason(question.reason)
    return Reply(host.desk.plans.make(actor, question.map, question.label, question.reason))


def answer_plan_rows(host: Host, question: edits.AskPlanRows, asker: Asker) -> Reply:
    """Add rows to one's own draft."""
    from app.broker.edits.plans import MAX_ROWS, MAX_ROWS_ADMIN

    actor = _editor(host, asker, question.credential)
    _check_own(actor, host.desk.plans.facts(question.plan))
    limit = MAX_ROWS_ADMIN if actor.role == "admin" else MAX_ROWS
    return Reply(host.desk.plans.add(question.plan, question.edits, limit))


def answer_plan(host: Host, question: edits.AskPlan, asker: Asker) -> Reply:
    """One plan and some rows."""
    _editor(host, asker, question.credential)
    return Reply(host.desk.plans.plan(question.plan, question.first, question.limit))


def answer_plans(host: Host, question: edits.AskPlans, asker: Asker) -> Reply:
    """Plans, newest first."""
    _editor(host, asker, question.credential)
    return Reply(host.desk.plans.plans(question.before, question.limit))


def answer_plan_step(host: Host, question: edits.AskPlanStep, asker: Asker) -> Reply:
    """Check, start, stop, approve, cancel."""
    plans = host.desk.plans
    facts = plans.facts(question.plan)
    match question.step:
        case "check":
            return Reply(_check(host, asker, question.credential, facts))
        case "start":
            return Reply(_start(host, asker, question.credential, facts))
        case "approve":
            return Reply(_approve(host, asker, question.credential, facts))
        case "stop":
            _check_own(_editor(host, asker, question.credential), facts)
            if facts.state != "running":
                raise Taken(f"plan {facts.id} does not run: it is {facts.state}")
            host.stopping.add(facts.id)
            return Reply(facts)
        case "cancel":
            _check_own(_editor(host, asker, question.credential), facts)
            if facts.state in {"running", "done", "cancelled"}:
                raise Taken(f"plan {facts.id} is {facts.state}: it cannot be cancelled")
            return Reply(plans.set_state(facts.id, "cancelled", "Cancelled; rows that were done stay so."))
        case _:
            raise BadField(f"{question.step[:20]!r} is none of check, start, stop, approve, cancel", "step")


def _editor(host: Host, asker: Asker, credential: Credential) -> Actor:
    from app.broker.edits.execute import somebody

    return somebody(host, asker, credential, None, dry_run=True)


def _check_own(actor: Actor, facts: edits.PlanFacts) -> None:
    if actor.user != facts.user and actor.role != "admin":
        raise NotAllowed(f"plan {facts.id} is {facts.user}'s: only they, or an admin, may change it")


def _check(host: Host, asker: Asker, credential: Credential, facts: edits.PlanFacts) -> edits.PlanFacts:
    """A dry run of every row; what would not work is noted with it, and nothing is written."""
    from app.broker.edits.execute import Cause, perform

    plans, bad, first = host.desk.plans, 0, 1
    while rows := plans.rows(facts.id, first, 500):
        first = rows[-1].number + 1
        for row in rows:
            if row.state == "done":
                continue
            question = edits.AskEdit(credential, row.edit, facts.reason, dry_run=True)
            try:
                report = perform(host, asker, question, Cause(plan=facts.id))
            except (BadField, NotAllowed) as error:
                said = str(error)
            else:
                said = (
                    ""
                    if report.result == "planned" and not report.warnings
                    else " ".join([*report.warnings, report.why]).strip()
                )
            bad += bool(said)
            if said != row.sentence:
                plans.set_row(facts.id, row.number, row.state, audit=row.audit, sentence=said)
    said = (
        f"Checked: {bad} of {facts.rows} rows need a look."
        if bad
        else f"Checked: all {facts.rows} rows can be written as things stand."
    )
    return plans.set_state(facts.id, facts.state, said)


def _approve(host: Host, asker: Asker, credential: Credential, facts: edits.PlanFacts) -> edits.PlanFacts:
    from app.broker.edits.execute import somebody

    actor = somebody(host, asker, credential, None, dry_run=False)  # to agree to a write takes a write session as well
    found = host.desk.plans.approve(facts.id, actor.user)
    return found if found.approvals else _start(host, asker, credential, found)


def _start(host: Host, asker: Asker, credential: Credential, facts: edits.PlanFacts) -> edits.PlanFacts:
    from app.broker.edits.execute import check_edits, somebody

    actor = somebody(host, asker, credential, None, dry_run=False)
    check_edits(host, actor, None)
    if facts.user != actor.user and actor.user not in facts.approved_by:
        _check_own(actor, facts)
    if not facts.rows:
        raise BadField("the plan has no rows yet", "rows")
    facts = host.desk.plans.begin(facts.id)
    host.stopping.discard(facts.id)
    if asker.in_process:
        _apply(host, asker, credential, facts)
        return host.desk.plans.facts(facts.id)
    threading.Thread(target=_apply, args=(host, asker, credential, facts), daemon=True, name=f"plan {facts.id}").start()
    return facts


def _apply(host: Host, asker: Asker, credential: Credential, facts: edits.PlanFacts) -> None:
    """Row after row, each with the asker's session checked anew; stops at the first that is not done."""
    from app.broker import log
    from app.broker.edits.act import Held
    from app.broker.edits.execute import Cause, perform
    from app.errors import AppError

    plans = host.desk.plans
    held = Held()
    cause = Cause(plan=facts.id, approved_by=facts.approved_by, held=held)
    said, state = "", "stopped"
    try:
        while True:
            row = plans.next_row(facts.id)
            if row is None:
                state, said = "done", "All rows are done."
                break
            if facts.id in host.stopping:
                said = f"Stopped before row {row.number}."
                break
            question = edits.AskEdit(credential, row.edit, facts.reason, dry_run=False)
            try:
                report = perform(host, asker, question, cause)
            except Declined as error:
                plans.set_row(facts.id, row.number, "failed", audit=row.audit, sentence=str(error))
                said = f"Stopped at row {row.number}: {error}"
                break
            good = report.result in ENOUGH or _was_done(row, report)
            if not good:
                plans.set_row(facts.id, row.number, "failed", audit=report.audit, sentence=report.sentence)
                said = f"Stopped at row {row.number}: {report.sentence}"
                break
            plans.set_row(facts.id, row.number, "done", audit=report.audit)
    except AppError as error:
        said = f"Stopped: {error}"
    except Exception as error:  # noqa: BLE001  (a bug ends this plan, not the broker; it is logged)
        log.write("failed", plan=facts.id, error=repr(error))
        said = "Stopped by a fault of the broker's; its log says more."
    finally:
        held.close()
        host.stopping.discard(facts.id)
        try:
            plans.set_state(facts.id, state, said)
        except AppError as error:
            log.write("plan_not_kept", plan=facts.id, reason=str(error))


def _was_done(row: edits.PlanRow, report: edits.Report) -> bool:
    """A row whose outcome a crash left unknown, and that turns out to have been written."""
    if row.state not in GOES_ON or report.result != "conflict" or row.edit.action != "set":
        return False
    return all(field.after == change.new for field, change in zip(report.fields, row.edit.changes, strict=False))
