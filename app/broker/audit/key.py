"""The key of the audit chain: a file of its own, outside the database, that nobody but its owner may read."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from app.broker.errors import BrokerError

KEY_BYTES = 32
_MOST_BYTES = 4096


class AuditKeyUnusable(BrokerError):
    """The key's file is there, and must not be used."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"the audit key {path} cannot be used: {reason}")


class AuditKeyMissing(BrokerError):
    """There are records, and nothing to check or continue them with."""

    def __init__(self, path: Path, database: Path) -> None:
        super().__init__(
            f"{database} has records and their key {path} is gone: put the key back, or move the database away to begin a new log"
        )


def read_key(path: Path) -> bytes:
    """Read it.

    raises  FileNotFoundError; AuditKeyUnusable if it is short, or if its mode or owner lets others have it
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK)
    except FileNotFoundError:
        raise
    except OSError as problem:
        raise AuditKeyUnusable(path, f"{problem.strerror}: look at its owner and mode") from problem
    try:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            raise AuditKeyUnusable(path, "it is no regular file")
        if facts.st_mode & 0o077:
            raise AuditKeyUnusable(path, f"its mode {facts.st_mode & 0o777:o} lets others at it: `chmod 600` it")
        if facts.st_uid not in {0, os.geteuid()}:
            raise AuditKeyUnusable(path, f"it belongs to uid {facts.st_uid}: `chown` it to root")
        key = os.read(descriptor, _MOST_BYTES)
    finally:
        os.close(descriptor)
    if len(key) < KEY_BYTES:
        raise AuditKeyUnusable(path, f"it has {len(key)} bytes, {KEY_BYTES} are the least")
    return key


def make_key(path: Path) -> bytes:
    """Make one, synced with its directory before this returns.

    raises  AuditKeyUnusable
    """
    key = os.urandom(KEY_BYTES)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            os.write(descriptor, key)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        sync_directory(path.parent)
    except OSError as problem:
        raise AuditKeyUnusable(path, f"it cannot be made ({problem.strerror})") from problem
    return key


def sync_directory(path: Path) -> None:
    """Make a new file's name last."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
