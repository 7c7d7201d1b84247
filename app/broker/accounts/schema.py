"""Tables of accounts.db. Of passwords, sessions, tokens and links only hashes are in it: a copy of it opens nothing."""

from __future__ import annotations

MIGRATIONS = (
    """
    CREATE TABLE users (
        name TEXT PRIMARY KEY COLLATE NOCASE,
        role TEXT NOT NULL,
        password TEXT,              -- argon2id with its parameters and salt; NULL: none was ever chosen
        created_at_s INTEGER NOT NULL,
        seen_at_s INTEGER NOT NULL DEFAULT 0
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE sessions (
        id TEXT PRIMARY KEY,
        digest BLOB NOT NULL UNIQUE,
        user TEXT NOT NULL COLLATE NOCASE REFERENCES users (name) ON DELETE CASCADE,
        how TEXT NOT NULL,
        source TEXT NOT NULL,
        agent TEXT NOT NULL,
        began_at_s INTEGER NOT NULL,
        seen_at_s INTEGER NOT NULL,
        ends_at_s INTEGER NOT NULL,
        write_digest BLOB,          -- NULL: no write session
        write_until_s INTEGER NOT NULL DEFAULT 0,
        ended TEXT NOT NULL DEFAULT ''  -- why it was ended before its time, in one clause
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX sessions_of_user ON sessions (user);

    CREATE TABLE tokens (
        id TEXT PRIMARY KEY,
        digest BLOB NOT NULL UNIQUE,
        user TEXT NOT NULL COLLATE NOCASE REFERENCES users (name) ON DELETE CASCADE,
        label TEXT NOT NULL,
        scope TEXT NOT NULL,
        created_at_s INTEGER NOT NULL,
        ends_at_s INTEGER NOT NULL,
        seen_at_s INTEGER NOT NULL DEFAULT 0
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX tokens_of_user ON tokens (user);

    CREATE TABLE links (
        user TEXT PRIMARY KEY COLLATE NOCASE REFERENCES users (name) ON DELETE CASCADE,
        digest BLOB NOT NULL UNIQUE,
        ends_at_s INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    """,
)
"""One script a version."""
