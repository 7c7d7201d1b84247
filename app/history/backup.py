"""A database put in the place of another one, as from a backup: whole, synced, and what was there kept beside it."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.history.errors import DatabaseUnusable, OtherRecorder
from app.history.migrate import copy


def replace(target: Path, source: Path) -> Path | None:
    """Put a copy of `source` in the place of `target`, while nobody writes it; where what was there is now, if anything was.

    raises  OtherRecorder, DatabaseUnusable
    """
    with _claimed(target):
        draft = target.with_name(f"{target.stem}-restored.db")
        copy(source, draft)
        try:
            kept = _aside(target)
            draft.rename(target)
        except OSError as problem:
            raise DatabaseUnusable(str(target), problem.strerror or str(problem)) from problem
    return kept


@contextmanager
def _claimed(target: Path) -> Iterator[None]:
    """The lock that Database.claim takes, without opening a database that may be what has to go."""
    try:
        target.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        lock = target.with_suffix(".lock").open("ab")
    except OSError as problem:
        raise DatabaseUnusable(str(target), problem.strerror or str(problem)) from problem
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OtherRecorder(str(target)) from None
        yield


def _aside(target: Path) -> Path | None:
    """Rename a database, and with it the log of what is not in it yet: beside another database that would be wrong."""
    kept = None
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    if target.exists() and target.stat().st_size:
        kept = target.with_name(f"{target.stem}-replaced-{stamp}.db")
        target.rename(kept)
    wal, shm = (target.with_name(f"{target.name}-{end}") for end in ("wal", "shm"))
    if kept is not None and wal.exists():
        wal.rename(kept.with_name(f"{kept.name}-wal"))
    wal.unlink(missing_ok=True)
    shm.unlink(missing_ok=True)
    return kept
