"""Sessions: begun, found by their value, rotated, ended. What is kept of a value is its hash."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from threading import Lock

from app.broker import log
from app.broker.accounts import secret_values
from app.broker.database import Database, StoreUnusable
from app.settings import Settings
from app.wire.accounts import SessionFacts
from app.wire.errors import SessionOver

SEEN_EVERY_S = 60
"""The last use is written at most so often; in between it is remembered."""
KEPT_S = 24 * 3600
"""How long an ended session is kept, to say why it is over."""
EACH = 50
"""Sessions of one user at a time: the one that was not used for longest ends when one more begins."""
TEXT = 300
"""Of source and agent at most so many characters are kept."""
ANOTHER_PLACE = "too many were begun after it"


class Sessions:
    """Of one accounts.db; safe for threads."""

    def __init__(self, database: Database, settings: Settings, now: Callable[[], float]) -> None:
        self._database = database
        self._idle_s = settings.session_idle_minutes * 60
        self._absolute_s = settings.session_hours * 3600
        self._write_s = settings.write_minutes * 60
        self._now = now
        self._seen: dict[str, int] = {}
        self._limited = log.Limited()
        self._unwritten: dict[str, str] = {}
        """Sessions that were ended while nothing could be written, and why."""
        self._lock = Lock()

    def begin(
        self, user: str, how: str, source: str, agent: str, recorded: Callable[[SessionFacts], None]
    ) -> tuple[str, SessionFacts]:
        """A new session; `recorded` is called before it is of any use, and may prevent it by raising."""
        value, now_s = secret_values.new_value(), int(self._now())
        self._write_ends()
        with self._database.writing() as connection:
            connection.execute("DELETE FROM sessions WHERE ends_at_s < ?", (now_s - KEPT_S,))
            connection.execute(
                "UPDATE sessions SET ended = ? WHERE id IN (SELECT id FROM sessions WHERE user = ? AND ended = ''"
                " ORDER BY seen_at_s DESC LIMIT -1 OFFSET ?)",
                (ANOTHER_PLACE, user, EACH - 1),
            )
            session_id = secret_values.new_id()
            connection.execute(
                "INSERT INTO sessions (id, digest, user, how, source, agent, began_at_s, seen_at_s, ends_at_s)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    session_id,
                    secret_values.digest(value),
                    user,
                    how,
                    source[:TEXT],
                    agent[:TEXT],
                    now_s,
                    now_s,
                    now_s + self._absolute_s,
                ),
            )
            connection.execute("UPDATE users SET seen_at_s = ? WHERE name = ?", (now_s, user))
            facts = self._facts(_row(connection, "s.id = ?", session_id))
            recorded(facts)
        return value, facts

    def find(self, value: str) -> tuple[SessionFacts | None, str]:
        """The live session of a value, else None and why it is over; the second is empty when there never was one."""
        found = self._find(value)
        if found is None:
            return None, ""
        facts, _, ended = found
        why = ended or self._over(facts)
        return (None, why) if why else (facts, "")

    def find_writing(self, value: str, write: str) -> SessionFacts | None:
        """The live session of a value, if `write` is the value of its live write session."""
        found = self._find(value)
        if found is None:
            return None
        facts, write_digest, ended = found
        if ended or self._over(facts) or facts.write_until_s <= self._now():
            return None
        return facts if secret_values.same(write, write_digest) else None

    def use(self, facts: SessionFacts) -> None:
        """It was used just now."""
        now_s = int(self._now())
        with self._lock:
            self._seen[facts.id] = now_s
            if len(self._seen) > 10 * EACH:
                self._seen = {each: at_s for each, at_s in self._seen.items() if at_s + self._idle_s > now_s}
        with self._database.reading() as connection:
            (written_s,) = connection.execute(
                "SELECT seen_at_s FROM sessions WHERE id = ?", (facts.id,)
            ).fetchone() or (now_s,)
        if now_s - written_s < SEEN_EVERY_S:
            return
        try:
            with self._database.writing() as connection:
                connection.execute("UPDATE sessions SET seen_at_s = ? WHERE id = ?", (now_s, facts.id))
                connection.execute("UPDATE users SET seen_at_s = ? WHERE name = ?", (now_s, facts.user))
        except StoreUnusable as problem:  # not a reason to show nothing
            self._limited.write("use_not_written", reason=str(problem))

    def elevate(self, session_id: str, recorded: Callable[[SessionFacts], None]) -> tuple[str, str, SessionFacts]:
        """Begin its write session: (the write session's value, the session's own new value, facts)."""
        value, write, now_s = secret_values.new_value(), secret_values.new_value(), int(self._now())
        with self._database.writing() as connection:
            connection.execute(
                "UPDATE sessions SET digest = ?, write_digest = ?, write_until_s = min(?, ends_at_s)"
                " WHERE id = ? AND ended = ''",
                (secret_values.digest(value), secret_values.digest(write), now_s + self._write_s, session_id),
            )
            facts = self._facts(_row(connection, "s.ended = '' AND s.id = ?", session_id))
            recorded(facts)
        return write, value, facts

    def drop(self, session_id: str) -> None:
        """End its write session."""
        with self._database.writing() as connection:
            connection.execute("UPDATE sessions SET write_digest = NULL, write_until_s = 0 WHERE id = ?", (session_id,))

    def end(self, session_id: str, why: str) -> None:
        """End it, also where the disk takes no note of it: then until it does, or until a restart. `why`: in one clause."""
        with self._lock:
            self._unwritten[session_id] = why
        try:
            self._write_ends()
        except StoreUnusable as problem:
            log.write("session_end_not_written", session=session_id, reason=str(problem))

    def _write_ends(self) -> None:
        with self._lock:
            ends = dict(self._unwritten)
        if not ends:
            return
        with self._database.writing() as connection:
            for session_id, why in ends.items():
                end_where(connection, "id = ?", session_id, why)
        with self._lock:
            for session_id in ends:
                self._unwritten.pop(session_id, None)

    def listed(self, user: str = "") -> tuple[SessionFacts, ...]:
        """Those that live: a user's, or all; the newest first."""
        with self._database.reading() as connection:
            rows = connection.execute(
                _SELECT + " WHERE s.ended = '' AND (? = '' OR s.user = ?) ORDER BY s.began_at_s DESC, s.id",
                (user, user),
            ).fetchall()
        live = (self._facts(row) for row in rows)
        with self._lock:
            unwritten = set(self._unwritten)
        return tuple(facts for facts in live if facts.id not in unwritten and not self._over(facts))

    def _find(self, value: str) -> tuple[SessionFacts, bytes | None, str] | None:
        with self._database.reading() as connection:
            row = _row(connection, "s.digest = ?", secret_values.digest(value))
        if row is None:
            return None
        with self._lock:
            ended = row["ended"] or self._unwritten.get(row["id"], "")
        return self._facts(row), row["write_digest"], ended

    def _over(self, facts: SessionFacts) -> str:
        now_s = self._now()
        if now_s >= facts.ends_at_s:
            return f"it began {self._absolute_s // 3600} hours ago"
        if now_s >= facts.idle_ends_at_s:
            return f"it was not used for {self._idle_s // 60} minutes"
        return ""

    def _facts(self, row: sqlite3.Row | None) -> SessionFacts:
        if row is None:
            raise SessionOver("the session was ended just now: sign in again")
        with self._lock:
            seen_s = max(row["seen_at_s"], self._seen.get(row["id"], 0))
        return SessionFacts(
            id=row["id"],
            user=row["user"],
            role=row["role"],
            kind="session",
            scope="edit",
            how=row["how"],
            source=row["source"],
            agent=row["agent"],
            began_at_s=row["began_at_s"],
            seen_at_s=seen_s,
            ends_at_s=row["ends_at_s"],
            idle_ends_at_s=min(seen_s + self._idle_s, row["ends_at_s"]),
            write_until_s=row["write_until_s"] if row["write_until_s"] > self._now() else 0,
            has_password=bool(row["has_password"]),
        )


_SELECT = "SELECT s.*, u.role, u.password IS NOT NULL AS has_password FROM sessions s JOIN users u ON u.name = s.user"


def _row(connection: sqlite3.Connection, where: str, value: object) -> sqlite3.Row | None:
    found: sqlite3.Row | None = connection.execute(f"{_SELECT} WHERE {where}", (value,)).fetchone()
    return found


def end_where(connection: sqlite3.Connection, where: str, value: object, why: str) -> None:
    """End the sessions of a condition of ours, with its one value, in the caller's transaction."""
    connection.execute(
        f"UPDATE sessions SET ended = ?, write_digest = NULL, write_until_s = 0 WHERE ended = '' AND {where}",  # noqa: S608
        (why, value),
    )
