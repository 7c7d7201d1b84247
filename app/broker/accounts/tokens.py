"""API tokens and one-time links: values that stand for a user without a password."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from app.broker import log
from app.broker.accounts import secret_values
from app.broker.accounts.secret_values import TOKEN_PREFIX
from app.broker.database import Database, StoreUnusable
from app.wire.accounts import SessionFacts, TokenFacts
from app.wire.errors import BadField, NotThere

DAY_S = 24 * 3600
MOST_DAYS = 365
EACH = 50
"""Live tokens of one user."""
LABEL = 80
SCOPES = ("read", "edit")
SEEN_EVERY_S = 60
LINK_S = 30 * 60


class Tokens:
    """Of one accounts.db; safe for threads."""

    def __init__(self, database: Database, now: Callable[[], float]) -> None:
        self._database = database
        self._now = now
        self._limited = log.Limited()

    def make(
        self, user: str, *, label: str, scope: str, days: int, recorded: Callable[[TokenFacts], None]
    ) -> tuple[str, TokenFacts]:
        """A new token and its value. raises BadField"""
        label = label.strip()
        if not 0 < len(label) <= LABEL or not label.isprintable():
            raise BadField(f"a token's label has 1 to {LABEL} printable characters: say what it is for", "label")
        if scope not in SCOPES:
            raise BadField(f"there is no scope {scope[:40]!r}: it is read or edit", "scope")
        if not 1 <= days <= MOST_DAYS:
            raise BadField(f"a token lasts 1 to {MOST_DAYS} days", "days")
        value, now_s = secret_values.new_value(TOKEN_PREFIX), int(self._now())
        with self._database.writing() as connection:
            connection.execute("DELETE FROM tokens WHERE ends_at_s <= ?", (now_s,))
            (count,) = connection.execute("SELECT count(*) FROM tokens WHERE user = ?", (user,)).fetchone()
            if count >= EACH:
                raise BadField(f"{user} has {count} tokens: revoke one first", "label")
            token_id = secret_values.new_id()
            connection.execute(
                "INSERT INTO tokens (id, digest, user, label, scope, created_at_s, ends_at_s) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (token_id, secret_values.digest(value), user, label, scope, now_s, now_s + days * DAY_S),
            )
            facts = _facts(connection.execute("SELECT * FROM tokens WHERE id = ?", (token_id,)).fetchone())
            recorded(facts)
        return value, facts

    def find(self, value: str) -> tuple[SessionFacts | None, str]:
        """As Sessions.find."""
        with self._database.reading() as connection:
            row = connection.execute(
                "SELECT t.*, u.role, u.password IS NOT NULL AS has_password FROM tokens t JOIN users u ON u.name = t.user"
                " WHERE t.digest = ?",
                (secret_values.digest(value),),
            ).fetchone()
        if row is None:
            return None, ""
        if row["ends_at_s"] <= self._now():
            return None, "the token's time is over"
        return SessionFacts(
            id=row["id"],
            user=row["user"],
            role=row["role"],
            kind="token",
            scope=row["scope"],
            how="token",
            source="",
            agent=row["label"],
            began_at_s=row["created_at_s"],
            seen_at_s=row["seen_at_s"],
            ends_at_s=row["ends_at_s"],
            idle_ends_at_s=row["ends_at_s"],
            write_until_s=row["ends_at_s"] if row["scope"] == "edit" else 0,
            has_password=bool(row["has_password"]),
        ), ""

    def use(self, facts: SessionFacts) -> None:
        """It was used just now."""
        now_s = int(self._now())
        if now_s - facts.seen_at_s < SEEN_EVERY_S:
            return
        try:
            with self._database.writing() as connection:
                connection.execute("UPDATE tokens SET seen_at_s = ? WHERE id = ?", (now_s, facts.id))
        except StoreUnusable as problem:  # not a reason to show nothing
            self._limited.write("use_not_written", reason=str(problem))

    def get(self, token_id: str) -> TokenFacts:
        """One by its id. raises NotThere"""
        with self._database.reading() as connection:
            row = connection.execute("SELECT * FROM tokens WHERE id = ?", (token_id,)).fetchone()
        if row is None:
            raise NotThere("there is no such token: `bpf-atlas token list` has all of them")
        return _facts(row)

    def revoke(self, token_id: str, recorded: Callable[[], None]) -> None:
        """It is worth nothing from here on."""
        with self._database.writing() as connection:
            connection.execute("DELETE FROM tokens WHERE id = ?", (token_id,))
            recorded()

    def listed(self, user: str = "") -> tuple[TokenFacts, ...]:
        """Those that live: a user's, or all; the newest first."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT * FROM tokens WHERE ends_at_s > ? AND (? = '' OR user = ?) ORDER BY created_at_s DESC, id",
                (int(self._now()), user, user),
            ).fetchall()
        return tuple(map(_facts, rows))


class Links:
    """One-time links: at most one a user, the newest."""

    def __init__(self, database: Database, now: Callable[[], float]) -> None:
        self._database = database
        self._now = now

    def make(self, user: str, recorded: Callable[[], None]) -> tuple[str, TokenFacts]:
        """A new link's token; an unused one of the same user stops working."""
        value, now_s = secret_values.new_value(), int(self._now())
        with self._database.writing() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO links (user, digest, ends_at_s) VALUES (?, ?, ?)",
                (user, secret_values.digest(value), now_s + LINK_S),
            )
            recorded()
        return value, TokenFacts("", user, "one-time link", "", now_s, now_s + LINK_S, 0)

    def use(self, token: str) -> str:
        """Use one up: its user, or nothing when there is no such link (any more)."""
        digest = secret_values.digest(token)
        with self._database.reading() as connection:
            if not connection.execute("SELECT 1 FROM links WHERE digest = ?", (digest,)).fetchone():
                return ""
        with self._database.writing() as connection:
            row = connection.execute(
                "DELETE FROM links WHERE digest = ? RETURNING user, ends_at_s", (digest,)
            ).fetchone()
            return row["user"] if row and row["ends_at_s"] > self._now() else ""


def _facts(row: sqlite3.Row) -> TokenFacts:
    return TokenFacts(
        id=row["id"],
        user=row["user"],
        label=row["label"],
        scope=row["scope"],
        created_at_s=row["created_at_s"],
        ends_at_s=row["ends_at_s"],
        seen_at_s=row["seen_at_s"],
    )
