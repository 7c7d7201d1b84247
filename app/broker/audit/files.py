"""Verifying a log that this process does not have open: a copy, or a data directory without a service."""

from __future__ import annotations

from pathlib import Path

from app.broker.audit.head import head_path, parse
from app.broker.audit.key import AuditKeyUnusable, read_key
from app.broker.audit.verify import walk, walk_without_head
from app.broker.database import StoreUnusable
from app.wire.records import Verdict


def verify_files(database: Path, key_path: Path) -> tuple[Verdict, bool]:
    """Walk a database. Returns the verdict, and whether the log's head was found beside the key.

    raises  AuditKeyUnusable, StoreUnusable
    """
    if not database.is_file():
        raise StoreUnusable(database, "there is no such file")
    try:
        key = read_key(key_path)
    except FileNotFoundError:
        raise AuditKeyUnusable(key_path, "there is no such file") from None
    head = head_path(key_path)
    try:
        data = head.read_bytes()
    except FileNotFoundError:
        return walk_without_head(database, key), False
    except OSError as problem:
        raise StoreUnusable(head, str(problem.strerror)) from problem
    return walk(database, key, parse(data, key)), True
