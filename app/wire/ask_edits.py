"""The asking side of edits, of plans of them, and of the audit log."""

from __future__ import annotations

from app.wire import edits
from app.wire import records as audit
from app.wire.accounts import Credential
from app.wire.asking import Asking
from app.wire.verbs import Verb


class AskingEdits(Asking):
    """One method a verb; each raises what app.wire.errors has below Declined, beside the errors of Client."""

    def may(self, credential: Credential, map_id: int) -> edits.May:
        """Say what this person may do with a map. raises ObjectGone"""
        return self._plain(Verb.MAY, edits.AskMay(credential, map_id), edits.May)

    def hidden(self, credential: Credential, name: str, pins: tuple[str, ...], kind: int) -> tuple[str, ...]:
        """Patterns of paths that this person may not see of a map that had this name, these pins and this type."""
        return self._plain(Verb.HIDDEN, edits.AskHidden(credential, name, pins, kind), edits.Hidden).patterns

    def edit(self, credential: Credential, edit: edits.Edit, reason: str, *, dry_run: bool) -> edits.Report:
        """Plan an edit, or do it. raises NotAllowed, NeedsWriteSession, EditsOff, TooFast, BadField, MapChanged, CannotRecord"""
        return self._plain(Verb.EDIT, edits.AskEdit(credential, edit, reason, dry_run), edits.Report)

    def undo(self, credential: Credential, number: int, reason: str, *, dry_run: bool) -> edits.Report:
        """Take an edit back. raises as `edit`, and NotThere"""
        return self._plain(Verb.UNDO, edits.AskUndo(credential, number, reason, dry_run), edits.Report)

    def plan_make(self, credential: Credential, of: audit.MapIdentity, *, label: str, reason: str) -> edits.PlanFacts:
        """Begin a plan."""
        return self._plain(Verb.PLAN_MAKE, edits.AskPlanMake(credential, of, label, reason), edits.PlanFacts)

    def plan_rows(self, credential: Credential, plan: int, rows: tuple[edits.Edit, ...]) -> edits.PlanFacts:
        """Add rows to a draft; all of them must fit one question."""
        return self._plain(Verb.PLAN_ROWS, edits.AskPlanRows(credential, plan, rows), edits.PlanFacts)

    def plan(self, credential: Credential, plan: int, *, first: int = 0, limit: int = 0) -> edits.Plan:
        """One plan and some of its rows."""
        return self._plain(Verb.PLAN, edits.AskPlan(credential, plan, first, limit), edits.Plan)

    def plans(self, credential: Credential, *, before: int = 0, limit: int = 50) -> edits.Plans:
        """Plans, newest first."""
        return self._plain(Verb.PLANS, edits.AskPlans(credential, before, limit), edits.Plans)

    def plan_step(self, credential: Credential, plan: int, step: str) -> edits.PlanFacts:
        """Check, start, stop, approve or cancel a plan."""
        return self._plain(Verb.PLAN_STEP, edits.AskPlanStep(credential, plan, step), edits.PlanFacts)

    def records(self, question: audit.AskRecords) -> audit.Records:
        """Audit records, newest first."""
        return self._plain(Verb.RECORDS, question, audit.Records)

    def record(self, credential: Credential, number: int) -> audit.RecordGroup:
        """One audit record with what belongs to it. raises NotThere"""
        return self._plain(Verb.RECORD, audit.AskRecord(credential, number), audit.RecordGroup)

    def history(self, question: audit.AskHistory) -> str:
        """Have a change of the history recorded, before it is done: the name of who wants it. raises NotAllowed, CannotRecord"""
        return self._plain(Verb.HISTORY, question, audit.Author).user

    def verify(self, credential: Credential) -> audit.Verdict:
        """Walk the chain of the audit log."""
        return self._plain(Verb.VERIFY, audit.AskVerify(credential), audit.Verdict)
