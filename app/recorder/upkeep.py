"""What keeps a history in shape while maps are recorded: thinning, the disk budget, and reading through it for damage."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection
from dataclasses import dataclass

from app.history import retention, shortage
from app.history.errors import DatabaseUnusable
from app.history.retention import Collected
from app.history.verify import Problem
from app.history.writer import Writer
from app.recorder.budget import DiskBudget

log = logging.getLogger("bpf_atlas.recorder")

THIN_S = 3600.0
SIZE_S = 60.0
OLDEST = 500
"""Snapshots that go at once when the disk is short, at the most: then it is looked again."""
LEAST_PART = 100
"""Of the budget, what is asked for at least in one step."""
WAL_BYTES = 16 << 20
SCRUB_S = 86_400.0
"""All chunks are read through so often, some at a time …"""
SCRUB_LEAST_S, SCRUB_MOST_S = 1.0, 10.0
"""… with so much between."""
SCRUB_FIRST_S = 600.0
"""After a start there is more urgent work."""
MOST_DAMAGED = 50
"""Damaged chunks that are told of."""
NOT_YET = "not yet"


@dataclass(slots=True)
class Upkeep:
    """Of one history. Times are of CLOCK_BOOTTIME in seconds, and of CLOCK_REALTIME in nanoseconds."""

    writer: Writer
    disk: DiskBudget
    thinned: str = NOT_YET
    """What came of the last thinning."""
    scrubbed: str = NOT_YET
    """How far the history was read through."""
    live: frozenset[int] = frozenset()
    """Series of the maps that are there now."""
    _thinned_s: float = 0.0
    _sized_s: float = 0.0
    scrub_due_s: float = 0.0
    _stretch_told: float = 1.0

    def size_is_due(self, now_s: float) -> bool:
        """`look_at_disk` is."""
        return now_s - self._sized_s >= SIZE_S

    def thinning_is_due(self, now_s: float) -> bool:
        """`thin` is."""
        return now_s - self._thinned_s >= THIN_S

    def scrub_is_due(self, now_s: float) -> bool:
        """`scrub` is."""
        return now_s >= self.scrub_due_s

    def thin(self, now_s: float, real_ns: int) -> str:
        """Thin by age, collect, give room back; says what came of it."""
        self._thinned_s = now_s
        database = self.writer.database
        gone = retention.thin(database, real_ns)
        shortage.forget_series(database, real_ns - shortage.FORGET_SERIES_NS, self.live)
        collected = self._collect()
        database.shrink()
        database.checkpoint()
        self.disk.used_bytes = retention.used_bytes(database)
        self.disk.ease(now_s)
        self.thinned = f"{gone:,} snapshots thinned, {collected.bytes:,} bytes freed at {_minute(real_ns)}"
        return self.thinned

    def look_at_disk(self, now_s: float, real_ns: int = 0) -> str:
        """Make room where the history takes more than it may: why nothing more can be kept, empty while it can.

        real_ns  0: the clock is not to be believed, so nobody knows which maps are gone for long
        """
        lately_ns = max(real_ns - shortage.LATELY_NS, 0)
        self._sized_s = now_s
        database = self.writer.database
        self.disk.used_bytes = retention.used_bytes(database)
        if database.is_sqlite and database.path.with_name(f"{database.path.name}-wal").stat().st_size > WAL_BYTES:
            database.checkpoint()
        if not self.disk.is_over:
            self.disk.full = False
            return ""
        self._collect()
        self.disk.used_bytes = retention.used_bytes(database)
        problem = ""
        pressed = False
        while self.disk.used_bytes > self.disk.target_bytes:
            # Only about as many as make up for it, since what is gone does not come back. What one added may be needed by
            # younger ones, so that little is freed: asking for less and less would take for ever.
            wanted_bytes = max(self.disk.used_bytes - self.disk.target_bytes, self.disk.budget_bytes // LEAST_PART)
            oldest = shortage.oldest(database, OLDEST, wanted_bytes, lately_ns=lately_ns, live=self.live)
            gone = retention.forget(database, oldest)
            if not gone:
                problem = (
                    f"the history takes {self.disk.used_bytes:,} of the {self.disk.budget_bytes:,} bytes that it may, and all that is"
                    " left is labelled or the newest of a map of the last 30 days: delete snapshots, or raise BPF_ATLAS_HISTORY_MIB"
                )
                break
            pressed = True
            self._collect()
            self.disk.used_bytes = retention.used_bytes(database)
        self.disk.full = bool(problem)
        if pressed:
            self.disk.pressed(now_s)
        if self.disk.stretch > self._stretch_told:
            log.warning(
                "the disk budget is short: the oldest snapshots went, and maps are looked at %g times less often",
                self.disk.stretch,
            )
        self._stretch_told = self.disk.stretch
        database.shrink()
        database.checkpoint()
        return problem

    def scrub(self, now_s: float, real_ns: int) -> None:
        """Read some more of the history, so that what is damaged is known before it is needed."""
        scrub = self.writer.scrub
        known = set(scrub.damaged)
        try:
            ended = scrub.step()
        except DatabaseUnusable as problem:
            self.scrub_due_s = now_s + SCRUB_S
            self.scrubbed = f"it could not go on: {problem}"
            log.warning("reading through the history: %s", problem)
            return
        self._tell_but(known)
        self.scrub_due_s = now_s + (SCRUB_S if ended else min(max(SCRUB_S / scrub.steps, SCRUB_LEAST_S), SCRUB_MOST_S))
        if ended:
            self.scrubbed = f"all {scrub.looked_at:,} chunks by {_minute(real_ns)}"

    def _collect(self) -> Collected:
        """Collect; what is found damaged meanwhile is told of as if it had been read through."""
        collected = retention.collect(self.writer.database)
        if collected.unread:
            known = set(self.writer.scrub.damaged)
            with self.writer.reading() as connection:
                self.writer.scrub.note(connection, collected.unread)
            self._tell_but(known)
        return collected

    def _tell_but(self, known: Collection[bytes]) -> None:
        damaged = self.writer.scrub.damaged
        for name in damaged.keys() - set(known):
            log.warning("%s", _told(damaged[name].problem))

    def damaged(self) -> tuple[str, ...]:
        """A sentence for each chunk that cannot be read, the first few."""
        return tuple(_told(each.problem) for each in [*self.writer.scrub.damaged.values()][:MOST_DAMAGED])


def _minute(at_ns: int) -> str:
    """`2026-11-24T18:03Z`"""
    return time.strftime("%Y-%m-%dT%H:%MZ", time.gmtime(at_ns / 1e9))


def _told(problem: Problem) -> str:
    named = ", ".join(problem.snapshots[:5])
    needed = f", which {named}{' …' if problem.snapshots[5:] else ''} cannot be read without" if named else ""
    return f"{problem.what} is damaged: {problem.why}{needed}"
