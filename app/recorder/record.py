"""The recorder's work: look at every map as often as its pace and the budget allow, keep what changed, thin what is old."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from app.errors import AppError
from app.history.errors import Damaged, DatabaseUnusable
from app.history.series import SeriesFacts
from app.history.writer import Writer
from app.maps.catalog import Listing, MapRow, listing
from app.maps.errors import NoSuchMap
from app.maps.kinds import Counter, Enumerate
from app.maps.layouts import Btfs
from app.maps.opening import open_map
from app.maps.tabulate import cannot_change
from app.maps.views import identity
from app.recorder import clock, rules
from app.recorder.budget import CpuBudget, DiskBudget
from app.recorder.clock import Clock
from app.recorder.rules import NEVER_S, Pace, Rules
from app.recorder.upkeep import NOT_YET, SCRUB_FIRST_S, Upkeep
from app.settings import MIB, Settings
from app.timeline import naming, taking
from app.timeline.errors import NotKept
from app.timeline.naming import LiveMap
from app.timeline.taking import Request, TooHeavy, TooLarge
from app.uapi.errors import KernelError
from app.wire.ask import Client
from app.wire.recorder import RecorderFacts, Stretch

log = logging.getLogger("bpf_atlas.recorder")

LIST_S = 10.0
"""The list of maps is read anew so often …"""
ASSIGN_S = 60.0
"""… and noted in the history, where nothing about it changed, so often."""
STRETCHED = 1.5
"""A map that is recorded so many times less often than it should be is told of."""
FAULT_S = 3600.0
IDLE_S = 0.25


@dataclass(slots=True)
class Recorded:
    """One live map, as the recorder goes about it."""

    row: MapRow
    series: SeriesFacts
    pace: Pace
    due_s: float
    looked_s: float = 0.0
    """CLOCK_BOOTTIME when it was last read; 0: never."""
    actual_s: float = 0.0
    """The interval that it really has, averaged; while the host sleeps there is nothing to look at."""
    slept_s: float = 0.0
    """When it was last read, the host had been suspended for so long."""
    paced_s: float = 0.0
    """CLOCK_BOOTTIME since which it has its pace."""
    settled: bool = False
    """It is kept, and nothing can change any more."""
    why_not: str = ""
    fault: str = ""
    """A bug of ours that it met, damage, or too much to be read at once; tried again after a while."""

    @property
    def is_stretched(self) -> bool:
        """It is recorded much less often than it should be."""
        return self.actual_s > STRETCHED * self.pace.interval_s


@dataclass(slots=True)
class Recorder:
    """Writes the history. One thread calls `run`; others may ask `facts`."""

    writer: Writer
    client: Client
    settings: Settings
    host: str
    boot_id: str
    rules: Rules
    cpu: CpuBudget
    upkeep: Upkeep
    clock: Clock
    since_ns: int = field(default_factory=time.time_ns)
    maps: dict[int, Recorded] = field(default_factory=dict)
    problem: str = ""
    taken: int = 0
    failed: int = 0
    _listed_s: float = 0.0
    _assigned_s: float = 0.0
    _named: tuple[LiveMap, ...] = ()
    _series: dict[int, SeriesFacts] = field(default_factory=dict)
    _btfs: Btfs | None = None
    _checked: dict[int, int] = field(default_factory=dict)
    """By id of a series, CLOCK_REALTIME when its map was last compared."""
    _said: str = ""
    _passing: str = ""
    """A problem that is over as soon as maps are listed again."""

    @classmethod
    def begin(cls, writer: Writer, client: Client, settings: Settings, host: str, boot_id: str) -> Recorder:
        """One that has not looked at anything yet."""
        now_s = clock.now_s()
        return cls(
            writer=writer,
            client=client,
            settings=settings,
            host=host,
            boot_id=boot_id,
            rules=_rules(settings, writer, host),
            cpu=CpuBudget(share=settings.history_cpu_percent / 100, now_s=now_s),
            upkeep=Upkeep(writer, DiskBudget(settings.history_mib * MIB), scrub_due_s=now_s + SCRUB_FIRST_S),
            clock=Clock(now_s, time.time() - now_s),
        )

    def run(self, stop: threading.Event, jobs: Callable[[], bool], arrived: threading.Event) -> None:
        """Work until `stop` is set.

        jobs     does what was asked for, and says whether there was anything
        arrived  set when there is something again
        """
        while not stop.is_set():
            busy = jobs()
            try:
                busy = (self.settings.record and self.step(clock.now_s(), time.time())) or busy
            except DatabaseUnusable as problem:
                self._say(str(problem))
                stop.wait(5)
            except AppError as problem:  # the broker is away, or a map refused: the next look may go well
                self._say(str(problem))
                self._passing = self.problem
                stop.wait(1)
            if not busy:
                arrived.wait(IDLE_S)
                arrived.clear()

    def step(self, now_s: float, real_s: float) -> bool:
        """Do the next thing that is due, if any: a list, a map, or some tidying. raises what broker and database raise"""
        moved_s = self.clock.look(now_s, real_s)
        if moved_s:
            log.warning("%s", self.clock.why)
        self.cpu.advance(now_s)
        if now_s - self._listed_s >= LIST_S or not self._listed_s:
            started_s = time.process_time()
            self._list(now_s)
            self.cpu.spend(time.process_time() - started_s)
            return True
        if self.upkeep.size_is_due(now_s):
            if problem := self.upkeep.look_at_disk(now_s, 0 if self.clock.rests(now_s) else int(real_s * 1e9)):
                self._say(problem)
            return True
        if self.upkeep.thinning_is_due(now_s) and not self.clock.rests(now_s):
            self.upkeep.thin(now_s, int(real_s * 1e9))
            return True
        if not self.cpu.is_open:
            return False
        if self.upkeep.scrub_is_due(now_s):
            started_s = time.process_time()
            self.upkeep.scrub(now_s, int(real_s * 1e9))
            self.cpu.spend(time.process_time() - started_s)
            return True
        if self.disk.full:
            return False
        due = self._next(now_s)
        if due is None:
            return False
        started_s = time.process_time()
        self._record(due, now_s)
        self.cpu.spend(time.process_time() - started_s)
        return True

    def series_of(self, map_id: int) -> SeriesFacts:
        """The series of a live map, found now if it is not known yet. raises NoSuchMap"""
        known = self.maps.get(map_id)
        if known is None:
            self._list(clock.now_s())
            known = self.maps.get(map_id)
        if known is None:
            raise NoSuchMap(f"#{map_id}")
        return known.series

    @property
    def disk(self) -> DiskBudget:
        """Room for the history."""
        return self.upkeep.disk

    def facts(self) -> RecorderFacts:
        """How it is."""
        recorded = [each for each in list(self.maps.values()) if not each.why_not]
        resting = self.clock.rests(clock.now_s())
        return RecorderFacts(
            recording=self.settings.record,
            since_ns=self.since_ns,
            maps=len(recorded),
            left_out=tuple(
                (naming.title(each.series.of), each.why_not or each.fault)
                for each in list(self.maps.values())
                if each.why_not or each.fault
            ),
            cpu_share=self.cpu.used_share,
            cpu_budget=self.cpu.share,
            used_bytes=self.disk.used_bytes,
            budget_bytes=self.disk.budget_bytes,
            stretched=tuple(
                Stretch(naming.title(each.series.of), each.pace.interval_s, each.actual_s)
                for each in recorded
                if each.is_stretched
            ),
            retention=f"rests: {resting}" if resting and self.upkeep.thinned == NOT_YET else self.upkeep.thinned,
            problem=self.problem,
            rules=self.rules.told,
            taken=self.taken,
            failed=self.failed,
            scrub=self.upkeep.scrubbed,
            damaged=self.upkeep.damaged(),
        )

    def _list(self, now_s: float) -> None:
        self._listed_s = now_s
        self.rules = _rules(self.settings, self.writer, self.host)
        found: Listing = listing(self.client)
        live = tuple(naming.live_map(row) for row in found.rows)
        if live != self._named or now_s - self._assigned_s >= ASSIGN_S:
            self._series = naming.assign(
                self.writer, self.host, self.boot_id, live, found.taken_at_ns, checked=self._checked
            )
            self._named, self._assigned_s = live, now_s
            self._checked.clear()
        now_there: dict[int, Recorded] = {}
        for row in found.rows:
            map_id = row.facts.id
            pace = self.rules.pace(row.facts.name, [pin.path for pin in row.pins], row.kind.name)
            known = self.maps.get(map_id)
            if known is None or not _same_map(known.row, row):
                known = Recorded(row, self._series[map_id], pace, now_s)
            now_there[map_id] = known
            if pace.interval_s != known.pace.interval_s:
                # A quicker one holds at once, not when the old one comes round.
                known.due_s = min(known.due_s, known.looked_s + pace.interval_s * self.disk.stretch)
                known.paced_s, known.actual_s = now_s, 0.0
            known.row, known.series, known.pace = row, self._series[map_id], pace
            known.why_not = why_not(row, pace)
        self.maps = now_there
        self.upkeep.live = frozenset(each.series.id for each in now_there.values())
        if self.problem == self._passing:
            self.problem = self._said = ""  # whoever did not answer has answered

    def look_again(self) -> None:
        """Read the list of maps, and the rules, with the next step."""
        self._listed_s = 0.0

    def _next(self, now_s: float) -> Recorded | None:
        """The map that has waited longest for its interval."""
        due = [each for each in self.maps.values() if not each.why_not and not each.settled and each.due_s <= now_s]
        return max(due, key=lambda each: (now_s - each.due_s) / each.pace.interval_s, default=None)

    def _record(self, one: Recorded, now_s: float) -> None:
        slept_s = clock.slept_s()
        if one.looked_s:
            gap_s = max(now_s - max(one.looked_s, one.paced_s) - (slept_s - one.slept_s), 0.0)
            one.actual_s = gap_s if not one.actual_s else 0.7 * one.actual_s + 0.3 * gap_s
        one.looked_s, one.slept_s = now_s, slept_s
        # From when it was due, so that a little lateness does not add up; from now where it is much too late.
        interval_s = one.pace.interval_s * self.disk.stretch
        one.due_s = one.due_s + interval_s if now_s - one.due_s < interval_s / 2 else now_s + interval_s
        try:
            with open_map(self.client, self.types(), one.row.facts.id) as opened:
                request = Request(trigger="schedule", limit=one.pace.entries, limit_bytes=self.limit_bytes)
                kept = taking.take(self.writer, opened, one.series, self.boot_id, request)
                one.settled = cannot_change(opened.facts, opened.kind)
        except TooLarge as large:
            one.why_not = str(large)
            return
        except TooHeavy as heavy:
            one.fault, one.due_s = str(heavy), now_s + FAULT_S
            return
        except NotKept as cannot:
            one.why_not = str(cannot)
            return
        except (NoSuchMap, KernelError) as gone:
            log.info("#%s: %s", one.row.facts.id, gone)
            one.due_s = now_s + one.pace.interval_s
            return
        except DatabaseUnusable:
            self.failed += 1
            raise
        except Damaged as damage:  # what is stored of this map; that of others may be whole
            if one.fault != str(damage):
                log.warning("map #%s: %s", one.row.facts.id, damage)
            one.fault = str(damage)
            self.failed += 1
            return
        except AppError:
            raise
        except Exception as bug:  # one met at a single map must not end the record of all others; it is logged whole
            log.exception("map #%s", one.row.facts.id)
            one.fault = (
                f"the recorder failed at it ({type(bug).__name__}), and tries again in an hour; its log says how"
            )
            one.due_s = now_s + FAULT_S
            self.failed += 1
            return
        self.problem = one.fault = ""
        if kept is not None:
            self.taken += 1
        self._checked[one.series.id] = time.time_ns() if kept is None else kept.taken_ns

    @property
    def limit_bytes(self) -> int:
        """What is read at once of one map."""
        return self.settings.record_memory_mib * MIB

    def types(self) -> Btfs:
        """Types of live maps."""
        if self._btfs is None:
            self._btfs = Btfs(self.client)
        return self._btfs

    def _say(self, problem: str) -> None:
        self.problem = problem
        if problem != self._said:
            self._said = problem
            log.warning("%s", problem)


def why_not(row: MapRow, pace: Pace) -> str:
    """Why a map is not recorded; empty where it is."""
    if pace.interval_s == NEVER_S:
        return f"{pace.by} says never"
    if row.kind.enumerate in {Enumerate.NOTHING, Enumerate.RING}:
        return "its entries cannot be listed" if row.kind.enumerate is Enumerate.NOTHING else "its records pass through"
    entries = row.entries
    if entries is None and row.kind.counter is not Counter.UNKNOWN and row.facts.max_entries <= pace.entries:
        entries = 0
    if entries is not None and entries > pace.entries:
        return f"it has {entries:,} entries, more than the {pace.entries:,} that are recorded without a rule"
    return ""


def _rules(settings: Settings, writer: Writer, host: str) -> Rules:
    """As they are now; a damaged note counts as none, and is told."""
    try:
        return rules.load(settings, writer.fact(rules.note_of(host)))
    except Damaged as damage:
        return replace(rules.load(settings), told=str(damage))


def _same_map(one: MapRow, other: MapRow) -> bool:
    """Two rows of one id are about one map: an id is not enough, and neither is the rest alone."""
    return identity(one.facts) == identity(other.facts)
