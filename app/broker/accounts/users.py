"""Users: names, roles, and whether a password was ever chosen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from app.broker.accounts.names import ROOT, checked_name, checked_role
from app.broker.accounts.sessions import end_where
from app.broker.database import Database
from app.wire.accounts import UserFacts
from app.wire.errors import NotThere, Taken


@dataclass(frozen=True, slots=True)
class User:
    """One row; `password` is the hash, or None."""

    name: str
    role: str
    password: str | None


class Users:
    """Of one accounts.db; safe for threads. `recorded` is called before a change counts, and may prevent it by raising."""

    def __init__(self, database: Database, now: Callable[[], float]) -> None:
        self._database = database
        self._now = now
        with database.writing() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO users (name, role, password, created_at_s) VALUES (?, 'admin', NULL, ?)",
                (ROOT, int(now())),
            )

    def find(self, name: str) -> User | None:
        """By name, whatever its case."""
        with self._database.reading() as connection:
            row = connection.execute("SELECT name, role, password FROM users WHERE name = ?", (name,)).fetchone()
        return User(*row) if row else None

    def get(self, name: str) -> User:
        """As `find`. raises NotThere"""
        found = self.find(name)
        if found is None:
            raise NotThere("there is no such user: `bpf-atlas user list` has all of them")
        return found

    def add(self, name: str, role: str, password: str | None, recorded: Callable[[], None]) -> None:
        """A new one; `password` is a hash. raises Taken, BadField"""
        checked_name(name)
        checked_role(role)
        with self._database.writing() as connection:
            if connection.execute("SELECT 1 FROM users WHERE name = ?", (name,)).fetchone():
                raise Taken(f"there is a user {name} already: choose another name")
            connection.execute(
                "INSERT INTO users (name, role, password, created_at_s) VALUES (?, ?, ?, ?)",
                (name, role, password, int(self._now())),
            )
            recorded()

    def set_role(self, name: str, role: str, recorded: Callable[[], None]) -> None:
        """Another role; the user's sessions end. raises NotThere, Taken, BadField"""
        checked_role(role)
        name = self.get(name).name
        if name == ROOT:
            raise Taken(f"{ROOT} is the host's own administrator and stays one: give roles to other users")
        with self._database.writing() as connection:
            connection.execute("UPDATE users SET role = ? WHERE name = ?", (role, name))
            end_where(connection, "user = ?", name, "its user was given another role")
            recorded()

    def set_password(self, name: str, password: str, recorded: Callable[[], None]) -> None:
        """Another password's hash; the user's sessions and unused links end."""
        with self._database.writing() as connection:
            connection.execute("UPDATE users SET password = ? WHERE name = ?", (password, name))
            connection.execute("DELETE FROM links WHERE user = ?", (name,))
            end_where(connection, "user = ?", name, "its user's password was changed")
            recorded()

    def choose_password(self, name: str, password: str, recorded: Callable[[], None]) -> None:
        """A first password's hash; sessions go on. raises Taken"""
        with self._database.writing() as connection:
            changed = connection.execute(
                "UPDATE users SET password = ? WHERE name = ? AND password IS NULL", (password, name)
            )
            if not changed.rowcount:
                raise Taken(f"{name} has a password already: give that one")
            recorded()

    def remove(self, name: str, recorded: Callable[[], None]) -> None:
        """Remove it with its sessions, tokens and links. raises NotThere, Taken"""
        name = self.get(name).name
        if name == ROOT:
            raise Taken(f"{ROOT} is the host's own administrator and stays: remove other users")
        with self._database.writing() as connection:
            connection.execute("DELETE FROM users WHERE name = ?", (name,))
            recorded()

    def listed(self) -> tuple[UserFacts, ...]:
        """All, by name."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT name, role, password IS NOT NULL, created_at_s, seen_at_s FROM users ORDER BY name"
            ).fetchall()
        return tuple(UserFacts(name, role, bool(has), made_s, seen_s) for name, role, has, made_s, seen_s in rows)
