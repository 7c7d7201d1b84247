"""Plans: many edits of one map, kept until somebody applies them; or one edit that waits for a second person.

Each row is an edit of its own, with its own check, its own record and its own undo. A plan is applied row after row, stops
at the first that is not done, and goes on from there when it is started again.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from app.broker.accounts.actor import Actor
from app.broker.database import Database
from app.wire.edits import AskEdit, Edit, Plan, PlanFacts, PlanRow, Plans, Report
from app.wire.errors import BadField, NotThere, Taken
from app.wire.records import MapIdentity

MAX_ROWS = 1000
MAX_ROWS_ADMIN = 100_000
MAX_PAGE = 500
KEPT_PLANS = 1000

_MIGRATIONS = (
    """
    CREATE TABLE plan (
        id INTEGER PRIMARY KEY AUTOINCREMENT, map BLOB NOT NULL, label TEXT NOT NULL, reason TEXT NOT NULL, user TEXT NOT NULL,
        created_at_s INTEGER NOT NULL, state TEXT NOT NULL, sentence TEXT NOT NULL DEFAULT '', approvals INTEGER NOT NULL DEFAULT 0
    );
    CREATE TABLE row (
        plan INTEGER NOT NULL REFERENCES plan ON DELETE CASCADE, number INTEGER NOT NULL, edit BLOB NOT NULL,
        state TEXT NOT NULL DEFAULT 'ready', audit INTEGER NOT NULL DEFAULT 0, sentence TEXT NOT NULL DEFAULT '',
        PRIMARY KEY (plan, number)
    ) WITHOUT ROWID;
    CREATE TABLE approval (
        plan INTEGER NOT NULL REFERENCES plan ON DELETE CASCADE, user TEXT NOT NULL, at_s INTEGER NOT NULL,
        PRIMARY KEY (plan, user)
    ) WITHOUT ROWID;
    """,
)
_encoder = msgspec.msgpack.Encoder()
_edit = msgspec.msgpack.Decoder(Edit)
_identity = msgspec.msgpack.Decoder(MapIdentity)
_FACTS = """
    SELECT id, map, label, reason, user, created_at_s, state, sentence, approvals,
        (SELECT count(*) FROM row WHERE plan = plan.id),
        (SELECT count(*) FROM row WHERE plan = plan.id AND state = 'done'),
        (SELECT count(*) FROM row WHERE plan = plan.id AND state IN ('failed', 'unknown'))
    FROM plan
"""


class PlanStore:
    """All plans of a data directory."""

    def __init__(self, path: Path) -> None:
        self._database = Database(path, _MIGRATIONS)
        with self._database.writing() as connection:
            # Whatever ran when the broker ended has stopped: the audit log tells how far its last row came.
            connection.execute(
                "UPDATE plan SET state = 'stopped', sentence = 'The broker ended while it ran; start it again to go on.' "
                "WHERE state = 'running'"
            )

    def close(self) -> None:
        """Let the database go."""
        self._database.close()

    def make(self, actor: Actor, of: MapIdentity, label: str, reason: str, *, state: str = "draft") -> PlanFacts:
        """A plan without rows."""
        with self._database.writing() as connection:
            number = connection.execute(
                "INSERT INTO plan (map, label, reason, user, created_at_s, state) VALUES (?, ?, ?, ?, ?, ?)",
                (_encoder.encode(of), label[:200], reason, actor.user, int(time.time()), state),
            ).lastrowid
            connection.execute("DELETE FROM plan WHERE id <= ? AND state != 'running'", ((number or 0) - KEPT_PLANS,))
        return self.facts(number or 0)

    def add(self, plan: int, edits: tuple[Edit, ...], limit: int) -> PlanFacts:
        """Rows at the end of a draft. raises Taken, BadField, NotThere"""
        facts = self.facts(plan)
        if facts.state != "draft":
            raise Taken(f"plan {plan} is {facts.state}: rows are added to drafts only")
        if facts.rows + len(edits) > limit:
            raise BadField(f"a plan has at most {limit} rows: split it", "rows")
        for edit in edits:
            if edit.map != facts.map:
                raise BadField("all rows of a plan are about its one map", "rows")
        with self._database.writing() as connection:
            connection.executemany(
                "INSERT INTO row (plan, number, edit) VALUES (?, ?, ?)",
                [(plan, number, _encoder.encode(edit)) for number, edit in enumerate(edits, facts.rows + 1)],
            )
        return self.facts(plan)

    def hold(self, actor: Actor, question: AskEdit, approvals: int) -> Report:
        """Keep one edit until others agree."""
        facts = self.make(actor, question.edit.map, f"{question.edit.action}, waits for agreement", question.reason)
        self.add(facts.id, (question.edit,), 1)
        self.set_state(facts.id, "waiting", _waits(approvals), approvals=approvals)
        return Report(
            result="pending",
            sentence=f"Nothing was written yet: {_waits(approvals)} It is plan {facts.id}.",
            approvals=approvals,
            plan=facts.id,
        )

    def approve(self, plan: int, user: str) -> PlanFacts:
        """One more person agrees. raises NotThere, Taken"""
        facts = self.facts(plan)
        if facts.state != "waiting":
            raise Taken(f"plan {plan} is {facts.state}: it waits for nobody")
        if user == facts.user:
            raise Taken("whoever asked for an edit cannot agree to it as the second person")
        if user in facts.approved_by:
            raise Taken(f"{user} has agreed already")
        with self._database.writing() as connection:
            connection.execute("INSERT INTO approval VALUES (?, ?, ?)", (plan, user, int(time.time())))
        left = facts.approvals - 1
        return self.set_state(
            plan,
            "waiting" if left else "ready",
            _waits(left) if left else "Everybody who must has agreed.",
            approvals=left,
        )

    def set_state(self, plan: int, state: str, sentence: str = "", *, approvals: int | None = None) -> PlanFacts:
        """Another state."""
        with self._database.writing() as connection:
            connection.execute(
                "UPDATE plan SET state = ?, sentence = ?, approvals = coalesce(?, approvals) WHERE id = ?",
                (state, sentence, approvals, plan),
            )
        return self.facts(plan)

    def begin(self, plan: int) -> PlanFacts:
        """Mark it as running. raises Taken when it does already, or is not to be applied"""
        with self._database.writing() as connection:
            changed = connection.execute(
                "UPDATE plan SET state = 'running', sentence = '' WHERE id = ? AND state IN ('draft', 'ready', 'stopped')",
                (plan,),
            ).rowcount
        facts = self.facts(plan)
        if not changed:
            raise Taken(f"plan {plan} is {facts.state}: {facts.sentence or 'it cannot be started'}")
        return facts

    def set_row(self, plan: int, number: int, state: str, *, audit: int = 0, sentence: str = "") -> None:
        """How far a row is."""
        with self._database.writing() as connection:
            connection.execute(
                "UPDATE row SET state = ?, audit = ?, sentence = ? WHERE plan = ? AND number = ?",
                (state, audit, sentence, plan, number),
            )

    def next_row(self, plan: int) -> PlanRow | None:
        """The first row that is not done."""
        with self._database.reading() as connection:
            found = connection.execute(
                "SELECT number, edit, state, audit, sentence FROM row WHERE plan = ? AND state != 'done' ORDER BY number LIMIT 1",
                (plan,),
            ).fetchone()
        return None if found is None else _row(found)

    def rows(self, plan: int, first: int, limit: int) -> tuple[PlanRow, ...]:
        """Rows from `first` (from 1) on."""
        with self._database.reading() as connection:
            found = connection.execute(
                "SELECT number, edit, state, audit, sentence FROM row WHERE plan = ? AND number >= ? ORDER BY number LIMIT ?",
                (plan, first, min(limit, MAX_PAGE)),
            ).fetchall()
        return tuple(_row(each) for each in found)

    def plan(self, plan: int, first: int, limit: int) -> Plan:
        """One plan and some of its rows. raises NotThere"""
        return Plan(self.facts(plan), self.rows(plan, first, limit))

    def facts(self, plan: int) -> PlanFacts:
        """One plan without its rows. raises NotThere"""
        with self._database.reading() as connection:
            found = connection.execute(f"{_FACTS} WHERE id = ?", (plan,)).fetchone()
            if found is None:
                raise NotThere(f"there is no plan {plan}")
            return _facts(connection, found)

    def plans(self, before: int, limit: int) -> Plans:
        """Newest first."""
        limit = min(max(limit, 1), MAX_PAGE)
        with self._database.reading() as connection:
            found = connection.execute(
                f"{_FACTS} WHERE id < ? ORDER BY id DESC LIMIT ?", (before or 1 << 62, limit)
            ).fetchall()
            facts = tuple(_facts(connection, each) for each in found)
        return Plans(facts, facts[-1].id if len(facts) == limit else 0)


def _facts(connection: sqlite3.Connection, found: Sequence[Any]) -> PlanFacts:
    number, identity, label, reason, user, created, state, sentence, approvals, rows, done, failed = found
    agreed = connection.execute("SELECT user FROM approval WHERE plan = ? ORDER BY at_s", (number,)).fetchall()
    return msgspec.convert(
        [
            number, _identity.decode(identity), label, reason, user, created, state, rows, done, failed, sentence, approvals,
            tuple(name for (name,) in agreed),
        ],
        PlanFacts,
    )  # fmt: skip


def _row(found: tuple[int, bytes, str, int, str]) -> PlanRow:
    number, edit, state, audit, sentence = found
    return PlanRow(number, _edit.decode(edit), state, audit, sentence)


def _waits(approvals: int) -> str:
    return f"the policy asks for the agreement of {approvals} other {'person' if approvals == 1 else 'people'}."
