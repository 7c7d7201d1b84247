"""What others ask of the recorder: snapshots now, labels, deletions, imports. Work waits in a line for the one thread that writes."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import msgspec

from app.errors import AppError
from app.history.errors import NoSuchSnapshot
from app.maps.opening import open_map
from app.recorder import schedule
from app.recorder.clock import now_s
from app.recorder.record import Recorder
from app.recorder.vouching import By, author
from app.timeline import changes, strangers, taking
from app.timeline.series_settings import settings_of
from app.timeline.taking import Request
from app.wire import recorder as wire
from app.wire.accounts import Credential
from app.wire.errors import Declined, NotThere, WireError
from app.wire.recorder import JobFacts

log = logging.getLogger("bpf_atlas.recorder")

KEPT_JOBS = 200
Answer = TypeVar("Answer")
MOST_WAITING = 1000


@dataclass(slots=True)
class Job:
    """Work that takes a while, as its asker sees it."""

    number: int
    total: int
    work: Callable[[Job], None]
    state: str = "waiting"
    done: int = 0
    doing: str = ""
    refs: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    finished: threading.Event = field(default_factory=threading.Event)

    def facts(self) -> JobFacts:
        """As it is now."""
        return JobFacts(
            id=self.number, state=self.state, done=self.done, total=self.total, doing=self.doing, refs=tuple(self.refs),
            problems=tuple(self.problems),
        )  # fmt: skip


@dataclass(slots=True)
class Jobs:
    """The line, and what came of the last ones."""

    recorder: Recorder
    folder: Path
    """Where files to be imported are put."""
    _line: deque[Job] = field(default_factory=deque)
    _known: OrderedDict[int, Job] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _next: int = 1
    arrived: threading.Event = field(default_factory=threading.Event)

    def work(self) -> bool:
        """Do the first of the line; False where it is empty."""
        with self._lock:
            if not self._line:
                return False
            job = self._line.popleft()
        job.state = "running"
        try:
            job.work(job)
        except AppError as problem:
            job.problems.append(str(problem))
        except Exception as problem:  # (a bug in one job must not end the recorder; it is logged whole)
            log.exception("a job failed")
            job.problems.append(f"the recorder failed at this ({type(problem).__name__}); its log says how")
        job.state, job.doing = "done", ""
        job.finished.set()
        return True

    def take(self, asked: wire.AskTake, by: By) -> JobFacts:
        """Snapshots of some maps."""
        if asked.trigger not in {"manual", "pre-edit"}:
            raise Declined(f"a snapshot that is asked for is manual or pre-edit, not {asked.trigger[:20]!r}")
        request = Request(
            trigger=asked.trigger,
            author=self._author(by, asked.credential, "take"),
            label=asked.label[:200],
            limit_bytes=self.recorder.limit_bytes,
        )

        def work(job: Job) -> None:
            for map_id in asked.map_ids:
                try:
                    self._take_one(job, map_id, request)
                except AppError as problem:
                    job.problems.append(f"#{map_id}: {problem}")
                job.done += 1

        return self._begin(len(asked.map_ids), work)

    def import_file(self, asked: wire.AskImport, by: By) -> JobFacts:
        """Take in a file of this folder."""
        if "/" in asked.name or asked.name.startswith("."):
            raise Declined("a file to be imported is named without a path")
        path = self.folder / asked.name

        def work(job: Job) -> None:
            try:
                source = strangers.opened(path, self.recorder.limit_bytes)
                try:
                    kept, problems = strangers.listed(source)
                    job.total = len(kept)
                    self._author(by, asked.credential, "import", changes.taken_in(source, kept))

                    def progress(done: int, _of: int) -> None:
                        job.done = done

                    made, left_out = strangers.take_in(
                        source, self.recorder.writer, kept, progress, most_bytes=self.recorder.limit_bytes
                    )
                    job.refs += [each.ref for each in made]
                    job.problems += [*problems, *left_out]
                    job.done = len(kept)
                finally:
                    source.close()
            finally:
                path.unlink(missing_ok=True)

        return self._begin(1, work)

    def tidy(self, _asked: object, _by: By) -> JobFacts:
        """Thin and collect now."""

        def work(job: Job) -> None:
            job.doing = "thinning"
            resting = self.recorder.clock.rests(now_s())
            if resting and "clock was set" in resting:
                job.problems.append(resting)
                return
            job.doing = self.recorder.upkeep.thin(now_s(), time.time_ns())
            job.done = 1

        return self._begin(1, work)

    def label(self, asked: wire.AskLabel, by: By) -> wire.Done:
        """Label one, or take the label away."""

        def work() -> None:
            writer = self.recorder.writer
            self._author(by, asked.credential, "label", changes.labelled(writer, asked.ref, asked.label))
            writer.label(asked.ref, asked.label)

        self._now(work)
        return wire.Done(1)

    def forget(self, asked: wire.AskForget, by: By) -> wire.Done:
        """Delete some."""

        def work() -> int:
            writer = self.recorder.writer
            self._author(by, asked.credential, "forget", changes.named(writer, asked.refs))
            return writer.forget(list(asked.refs))

        return wire.Done(self._now(work))

    def ignore(self, asked: wire.AskIgnore, by: By) -> wire.Done:
        """Set what comparisons of a map leave out."""

        def work() -> None:
            facts = self.recorder.writer.one_series(asked.series_id)
            self._author(by, asked.credential, "ignore", changes.left_out(facts, asked.patterns))
            changed = msgspec.structs.replace(settings_of(facts), ignore=asked.patterns)
            self.recorder.writer.touch(replace(facts, settings=msgspec.msgpack.encode(changed)))

        self._now(work)
        return wire.Done(len(asked.patterns))

    def schedule(self, asked: wire.AskSchedule, _by: By) -> wire.ScheduleFacts:
        """Which map is recorded how often."""
        return schedule.schedule(self.recorder, asked)

    def rules(self, asked: wire.AskRules, by: By) -> wire.Done:
        """Other rules from now on."""
        return self._now(lambda: schedule.set_rules(self.recorder, asked, by))

    def job(self, asked: wire.AskJob, _by: By) -> JobFacts:
        """How far one is. raises NotThere"""
        with self._lock:
            found = self._known.get(asked.id)
        if found is None:
            raise NotThere(f"there is no job {asked.id} any more")
        return found.facts()

    def state(self, _asked: object, _by: By) -> wire.RecorderFacts:
        """How the recorder is."""
        return self.recorder.facts()

    def _author(self, by: By, credential: Credential, change: str, detail: str = "") -> str:
        return author(self.recorder.client, by, credential, change, detail)

    def _take_one(self, job: Job, map_id: int, request: Request) -> None:
        recorder = self.recorder
        series = recorder.series_of(map_id)
        with open_map(recorder.client, recorder.types(), map_id) as opened:
            name = opened.facts.name or f"#{map_id}"

            def progress(entries: int) -> None:
                job.doing = f"{name}: {entries:,} entries read"

            kept = taking.take(recorder.writer, opened, series, recorder.boot_id, request, progress=progress)
        if kept is not None:
            recorder.taken += 1
            job.refs.append(kept.ref)

    def _now(self, work: Callable[[], Answer]) -> Answer:
        """Short work, done by the writing thread while the asker waits. raises NotThere, Declined, and what the broker refuses with"""
        found: list[Answer] = []
        problems: list[AppError] = []

        def run(_job: Job) -> None:
            try:
                found.append(work())
            except AppError as problem:
                problems.append(problem)

        job = self._enqueue(1, run)
        job.finished.wait()
        if problems and isinstance(problems[0], WireError):
            raise problems[0]
        if problems:
            missing = isinstance(problems[0], NoSuchSnapshot)
            raise (NotThere if missing else Declined)(str(problems[0])) from problems[0]
        if not found:
            raise Declined(job.problems[0] if job.problems else "it was not done")
        return found[0]

    def _begin(self, total: int, work: Callable[[Job], None]) -> JobFacts:
        return self._enqueue(total, work).facts()

    def _enqueue(self, total: int, work: Callable[[Job], None]) -> Job:
        with self._lock:
            if len(self._line) >= MOST_WAITING:
                raise Declined(f"{MOST_WAITING} jobs wait already: try again later")
            job = Job(self._next, total, work)
            self._next += 1
            self._line.append(job)
            self._known[job.number] = job
            while len(self._known) > KEPT_JOBS + MOST_WAITING:
                self._known.popitem(last=False)
        self.arrived.set()
        return job
