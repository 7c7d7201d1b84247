"""What can be asked of the recorder, the only writer of the history: over a socket of its own, in the frames of the broker's.

Which process asks is told by the uid that the kernel vouches for: root, or the web. What changes the history goes with the
credential of the person who wants it: the recorder has the broker look at it, and write down what is about to be done.
"""

from __future__ import annotations

from enum import IntEnum
from pathlib import Path
from typing import TypeVar

import msgspec

from app.wire.accounts import Credential
from app.wire.asking import Asking
from app.wire.bodies import AskNothing, Body, ObjectId
from app.wire.connection import SocketTransport
from app.wire.errors import BrokerAbsent, BrokerClosed, BrokerSlow, RecorderAbsent, RecorderSlow
from app.wire.verbs import Shape

TIMEOUT_S = 30.0
MOST_RULES_CHARS = 16_000
"""Of rules in TOML."""
_Answer = TypeVar("_Answer", bound=Body)


class Task(IntEnum):
    """Numbers are for ever: a new task takes a new one."""

    TAKE = 1
    JOB = 2
    LABEL = 3
    FORGET = 4
    IGNORE = 5
    STATE = 6
    IMPORT = 7
    TIDY = 8
    SCHEDULE = 9
    RULES = 10


class AskTake(Body, frozen=True):
    """Snapshots of some maps, as soon as may be."""

    map_ids: tuple[ObjectId, ...]
    trigger: str
    """`manual` or `pre-edit`."""
    label: str
    credential: Credential


class AskJob(Body, frozen=True):
    """How far it is."""

    id: int


class AskLabel(Body, frozen=True):
    """A label for a snapshot; empty takes it away."""

    ref: str
    label: str
    credential: Credential


class AskForget(Body, frozen=True):
    """Delete snapshots."""

    refs: tuple[str, ...]
    credential: Credential


class AskIgnore(Body, frozen=True):
    """Patterns of paths that comparisons of a map leave out."""

    series_id: int
    patterns: tuple[str, ...]
    credential: Credential


class AskImport(Body, frozen=True):
    """Take in a file of snapshots that lies in the recorder's own folder; it is removed afterwards."""

    name: str
    credential: Credential


class AskSchedule(Body, frozen=True):
    """Which maps are recorded how often."""

    first: int
    """So many maps were told of already."""
    rules: str | None
    """As it would be under these, in TOML; None: as it is."""


class AskRules(Body, frozen=True):
    """Record by these rules, in TOML, from now on."""

    rules: str
    credential: Credential


class JobFacts(Body, frozen=True):
    """Work that takes a while."""

    id: int
    state: str
    """`waiting`, `running`, `done`."""
    done: int
    total: int
    doing: str
    """What is being read now, and how far."""
    refs: tuple[str, ...]
    """Snapshots that were taken."""
    problems: tuple[str, ...]
    """A sentence for each map of which none could be taken."""


class Done(Body, frozen=True):
    """It is done; how many it was about."""

    count: int


class Stretch(Body, frozen=True):
    """A map that is recorded less often than it should be."""

    name: str
    wanted_s: float
    actual_s: float


class Paced(Body, frozen=True):
    """How one live map is recorded. Intervals are in seconds, 0: never."""

    map_id: int
    series_id: int
    entries: int | None
    now_s: float
    """As it is."""
    interval_s: float
    """As it would be under the rules that were asked about."""
    lately_s: float
    """What it came to, where that is much less often than it should be; 0 else."""
    by: str
    """Which rule says so; empty: none."""
    why_not: str
    """Why it is not recorded; empty where it is."""


class ScheduleFacts(Body, frozen=True):
    """Rules, and some maps under them."""

    rules: str
    """In force, in TOML."""
    source: str
    """`file`, `page`, or empty."""
    told: str
    """Where they are from, or what is wrong with them."""
    file: str
    """Path of the file that counts for more than the page, there or not."""
    default_s: float
    default_entries: int
    total: int
    """Maps in all."""
    maps: tuple[Paced, ...]


class RecorderFacts(Body, frozen=True):
    """How the recorder is."""

    recording: bool
    """False: only on demand."""
    since_ns: int
    maps: int
    """That are recorded."""
    left_out: tuple[tuple[str, str], ...]
    """(map, why) of those that are not."""
    cpu_share: float
    """Of one core, over the last ten minutes."""
    cpu_budget: float
    used_bytes: int
    budget_bytes: int
    stretched: tuple[Stretch, ...]
    retention: str
    """When it last thinned, or why it rests."""
    problem: str
    """Why nothing can be written at present; empty when all is well."""
    rules: str
    """Where the rules are from, or what is wrong with them."""
    taken: int
    """Snapshots since the start."""
    failed: int
    scrub: str
    """How far the history has been read through."""
    damaged: tuple[str, ...]
    """What of it cannot be read, and which snapshots need that: a sentence each, the first few."""


TASKS: dict[IntEnum, Shape] = {
    Task.TAKE: Shape(AskTake, JobFacts),
    Task.JOB: Shape(AskJob, JobFacts),
    Task.LABEL: Shape(AskLabel, Done),
    Task.FORGET: Shape(AskForget, Done),
    Task.IGNORE: Shape(AskIgnore, Done),
    Task.STATE: Shape(AskNothing, RecorderFacts),
    Task.IMPORT: Shape(AskImport, JobFacts),
    Task.TIDY: Shape(AskNothing, JobFacts),
    Task.SCHEDULE: Shape(AskSchedule, ScheduleFacts),
    Task.RULES: Shape(AskRules, Done),
}
ONCE = frozenset(Task) - {Task.JOB, Task.STATE, Task.SCHEDULE}
MOST_BYTES = {
    Task.TAKE: 32_768, Task.FORGET: 32_768, Task.IGNORE: 16_384, Task.LABEL: 4_096, Task.IMPORT: 4_096, Task.SCHEDULE: 49_152,
    Task.RULES: 49_152,
}  # fmt: skip
"""Of a question's body; 64 for all others."""


class RecorderClient(Asking):
    """Asks the recorder. Safe to share between threads; usable as a context manager. Each method raises WireError ones."""

    def take(self, credential: Credential, map_ids: tuple[int, ...], *, trigger: str, label: str = "") -> JobFacts:
        """Begin snapshots."""
        return self._ask(Task.TAKE, AskTake(map_ids, trigger, label, credential), JobFacts)

    def job(self, number: int) -> JobFacts:
        """How far work is. raises NotThere"""
        return self._ask(Task.JOB, AskJob(number), JobFacts)

    def label(self, credential: Credential, ref: str, label: str) -> None:
        """Give a snapshot a label. raises NotThere"""
        self._ask(Task.LABEL, AskLabel(ref, label, credential), Done)

    def forget(self, credential: Credential, refs: tuple[str, ...]) -> int:
        """Delete snapshots: how many there were. raises NotThere"""
        return self._ask(Task.FORGET, AskForget(refs, credential), Done).count

    def ignore(self, credential: Credential, series_id: int, patterns: tuple[str, ...]) -> None:
        """Set what comparisons of a map leave out. raises NotThere"""
        self._ask(Task.IGNORE, AskIgnore(series_id, patterns, credential), Done)

    def state(self) -> RecorderFacts:
        """How it is."""
        return self._ask(Task.STATE, AskNothing(), RecorderFacts)

    def import_file(self, credential: Credential, name: str) -> JobFacts:
        """Begin to take in a file of its folder."""
        return self._ask(Task.IMPORT, AskImport(name, credential), JobFacts)

    def tidy(self) -> JobFacts:
        """Thin and collect now."""
        return self._ask(Task.TIDY, AskNothing(), JobFacts)

    def schedule(self, rules: str | None = None) -> ScheduleFacts:
        """Which maps are recorded how often, all of them; under other rules, if any are given. raises Declined"""
        found = self._ask(Task.SCHEDULE, AskSchedule(0, rules), ScheduleFacts)
        maps = list(found.maps)
        while len(maps) < found.total:
            more = self._ask(Task.SCHEDULE, AskSchedule(len(maps), rules), ScheduleFacts).maps
            if not more:
                break
            maps += more
        return msgspec.structs.replace(found, maps=tuple(maps))

    def rules(self, credential: Credential, text: str) -> int:
        """Record by other rules from now on: how many there are. raises Declined"""
        return self._ask(Task.RULES, AskRules(text, credential), Done).count

    def _ask(self, task: Task, question: Body, wanted: type[_Answer]) -> _Answer:
        try:
            return self._plain(task, question, wanted)
        except (BrokerAbsent, BrokerClosed) as absent:
            raise RecorderAbsent from absent
        except BrokerSlow as slow:
            raise RecorderSlow(TIMEOUT_S) from slow


def connect(path: Path) -> RecorderClient:
    """Give a client of the recorder that listens at `path`; the first question opens the first connection."""
    return RecorderClient(SocketTransport(path, TIMEOUT_S, shapes=TASKS, once=ONCE))
