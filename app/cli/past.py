"""The history as commands reach it: read from its database; written by the recorder of a running service, or by root itself."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import click

from app.cli.errors import HistoryAlone, HistoryClosed, NoSnapshotFirst, NotRoot
from app.cli.layout import harmless
from app.cli.progress import Progress
from app.cli.service import CLI, connect, listens
from app.errors import AppError
from app.settings import Settings
from app.uapi.errors import ObjectGone
from app.wire.errors import RecorderAbsent

if TYPE_CHECKING:  # most commands have no use for the history, and its database library takes longer than they do
    from app.history.series import SeriesFacts
    from app.history.snapshots import Kept
    from app.history.writer import Writer
    from app.maps.layouts import Btfs
    from app.maps.opening import OpenMap
    from app.timeline.timeline import Timeline
    from app.wire.ask import Client
    from app.wire.recorder import JobFacts, RecorderClient

SNAPSHOT = re.compile(r"s[1-9][0-9]{0,17}")
AUTHOR = "root"
"""Commands are the host's root, as the audit log calls them, too."""
AT_ONCE = 4000
"""Maps in one question to the recorder."""
PATIENCE_S = 5.0
"""A recorder that is just being started answers after so long at the latest."""
POLL_S = (0.02, 0.2)
NOT_KEPT = "no snapshot can be taken of this"
"""How the sentence about a map begins whose type cannot be kept; see app.timeline.errors.NotKept."""


def is_past(reference: str) -> bool:
    """A reference names a snapshot, or a map at a time, rather than a map now."""
    if SNAPSHOT.fullmatch(reference):
        return True
    return "@" in reference and not (reference.startswith("/") and os.path.lexists(reference))  # a pin with an @ in it


class Past:
    """One command's ways to live maps and to their history, each opened when it is first asked for.

    See app.timeline.sides.Looker: whoever may run commands sees every value.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._client: Client | None = None
        self._btfs: Btfs | None = None
        self._timeline: Timeline | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timeline is not None:
            self._timeline.close()
        if self._client is not None:
            self._client.close()

    @property
    def is_alone(self) -> bool:
        """A history that was opened by itself: there are no live maps."""
        return self.settings.is_alone

    @property
    def client(self) -> Client:
        """The broker, or its code in this process. raises NotRoot, ServiceClosed"""
        if self._client is None:
            self._client = connect(self.settings)
        return self._client

    @property
    def timeline(self) -> Timeline:
        """The history. raises NoHistory, HistoryClosed, DatabaseUnusable, TooNew, TooOld"""
        if self._timeline is None:
            from app.timeline import place
            from app.timeline.timeline import Timeline

            try:
                self._timeline = Timeline(place.reader(self.settings))
            except PermissionError as refused:
                raise HistoryClosed(str(self.settings.history_folder)) from refused
        return self._timeline

    def timeline_or_none(self) -> Timeline | None:
        """The history; None where there is none yet."""
        from app.history.errors import NoHistory

        try:
            return self.timeline
        except NoHistory:
            return None

    def kept(self, reference: str) -> Kept:
        """The snapshot of `s12`, or of `MAP@WHEN`. raises BadSide, BadWhen, and what snapshots raise"""
        from app.timeline import sides
        from app.timeline.errors import BadSide
        from app.timeline.timeline import when_ns

        text = reference.strip()
        if SNAPSHOT.fullmatch(text):
            return self.timeline.history.snapshot(text)
        name, when = sides.parse(text)
        if not name or not when:
            raise BadSide(text, "a snapshot (s12) or a map at a time (42@10m) was wanted")
        series = sides.series_of(name, self.timeline, self)
        return self.timeline.history.at(series.id, when_ns(when, time.time_ns()))

    def series(self, reference: str) -> SeriesFacts:
        """The series of a map that lives or once did. raises NoSuchSeries, ManySeries, BadReference"""
        from app.timeline import sides

        return sides.series_of(reference, self.timeline, self)

    # ---- as app.timeline.sides.Looker --------------------------------------------------------------------------------

    def resolve(self, reference: str) -> int:
        """Id of a live map. raises NoSuchMap, AmbiguousName, BadReference"""
        from app.maps.catalog import resolve
        from app.maps.errors import NoSuchMap

        if self.is_alone:
            raise NoSuchMap(reference)
        return resolve(self.client, reference)

    def open_map(self, map_id: int) -> AbstractContextManager[OpenMap]:
        """Open one. raises NoSuchMap"""
        from app.maps.layouts import Btfs
        from app.maps.opening import open_map

        if self._btfs is None:
            self._btfs = Btfs(self.client)
        return open_map(self.client, self._btfs, map_id)

    def hidden(self, of: SeriesFacts) -> tuple[str, ...]:
        """Nothing is."""
        del of
        return ()


# ---- writing ---------------------------------------------------------------------------------------------------------


def is_recorded(settings: Settings) -> bool:
    """A service runs, whose recorder is the one that writes. raises ServiceClosed"""
    return listens(settings.socket) or listens(settings.recorder_socket)


@contextmanager
def recorder(settings: Settings) -> Iterator[RecorderClient]:
    """The recorder of the running service, waited for while it starts. raises RecorderAbsent"""
    from app.wire.recorder import connect as connect_to

    until_s = time.monotonic() + PATIENCE_S
    with connect_to(settings.recorder_socket) as client:
        while not listens(settings.recorder_socket):
            if time.monotonic() > until_s:
                raise RecorderAbsent
            time.sleep(0.1)
        yield client


@contextmanager
def writing(past: Past) -> Iterator[Writer]:
    """The history, written by this very command: only where no service runs.

    raises  NotRoot, HistoryAlone, OtherRecorder, TooNew, DatabaseUnusable
    """
    from app.timeline import place

    settings = past.settings
    if past.is_alone:
        raise HistoryAlone(Path(settings.history_file))
    if os.geteuid() != 0:
        raise NotRoot(settings.socket)
    place.prepare(settings)
    writer = place.writer(settings, os.uname().nodename)
    try:
        place.prepare(settings)  # what the database made beside it is the recorder's, too
        yield writer
    finally:
        writer.close()


def told(past: Past, change: str, detail: str) -> None:
    """Have the audit log say what this command is about to do to the history by itself. raises CannotRecord"""
    from app.wire.records import AskHistory

    past.client.history(AskHistory(CLI, change, detail))


def wait(client: RecorderClient, facts: JobFacts, what: str) -> JobFacts:
    """Wait until the recorder has done something; on a terminal it is said how far it is."""
    progress = Progress(what, None)
    pause_s = POLL_S[0]
    try:
        while facts.state != "done":
            of = f"{facts.done:,} of {facts.total:,}"
            progress.say(harmless(f"{of}, {facts.doing}" if facts.doing else of))
            time.sleep(pause_s)
            pause_s = min(pause_s * 1.5, POLL_S[1])
            facts = client.job(facts.id)
    except KeyboardInterrupt:
        progress.done()
        click.echo("bpf-atlas: the recorder goes on with it; `bpf-atlas snapshots` lists what it took", err=True)
        raise
    progress.done()
    return facts


@dataclass(slots=True)
class Taken:
    """Snapshots that were taken, and why others were not."""

    facts: list[dict[str, Any]] = field(default_factory=list)
    """See app.timeline.told.snapshot_facts."""
    problems: list[str] = field(default_factory=list)
    """A sentence each, with the map's number before it."""


def take(past: Past, map_ids: Sequence[int], *, trigger: str = "manual", label: str = "") -> Taken:
    """A snapshot of each map, by the recorder of the running service, or by this command.

    raises  what `recorder` and `writing` raise
    """
    if not past.is_alone and is_recorded(past.settings):
        return _asked_for(past, map_ids, trigger, label)
    return _taken_here(past, map_ids, trigger, label)


def _asked_for(past: Past, map_ids: Sequence[int], trigger: str, label: str) -> Taken:
    from app.timeline.told import snapshots_told

    taken = Taken()
    refs: list[str] = []
    with recorder(past.settings) as client:
        for start in range(0, len(map_ids), AT_ONCE):
            some = tuple(map_ids[start : start + AT_ONCE])
            begun = client.take(CLI, some, trigger=trigger, label=label)
            done = wait(client, begun, "taking snapshots")
            refs += done.refs
            taken.problems += done.problems
    if refs:
        history = past.timeline.history
        taken.facts = snapshots_told(history, [history.snapshot(ref) for ref in refs])
    return taken


def _taken_here(past: Past, map_ids: Sequence[int], trigger: str, label: str) -> Taken:
    from app.maps.catalog import listing
    from app.maps.errors import NoSuchMap
    from app.maps.host_names import boot_id
    from app.timeline import naming, taking
    from app.timeline.told import snapshots_told

    taken = Taken()
    request = taking.Request(trigger=trigger, author=AUTHOR, label=label)
    with writing(past) as writer:
        found = listing(past.client)
        boot = boot_id()
        # Here only this process is a stranger to the maps: its parent may be the very loader, or a shell of one.
        live = [naming.live_map(row, ours=lambda pid: pid == os.getpid()) for row in found.rows]
        series = naming.assign(writer, os.uname().nodename, boot, live, found.taken_at_ns)
        kept: list[Kept] = []
        for map_id in map_ids:
            try:
                if map_id not in series:
                    raise NoSuchMap(f"#{map_id}")
                with past.open_map(map_id) as opened:
                    progress = Progress(f"reading map {map_id}", opened.entries)
                    try:
                        one = taking.take(writer, opened, series[map_id], boot, request, progress=progress)
                    finally:
                        progress.done()
            except AppError as problem:
                taken.problems.append(f"#{map_id}: {problem}")
            else:
                kept += [one] if one is not None else []
        taken.facts = snapshots_told(writer, kept)
    return taken


def before_edit(past: Past, map_id: int) -> str:
    """Take a snapshot of a map to which a plan is about to be applied: its reference, empty where there is none to take.

    raises  NoSnapshotFirst
    """
    try:
        if not past.client.may(CLI, map_id).edits:
            return ""  # the plan will be refused, with the reason
    except ObjectGone:
        return ""  # the same
    try:
        taken = take(past, [map_id], trigger="pre-edit")
    except AppError as problem:
        raise NoSnapshotFirst(str(problem)) from problem
    if taken.facts:
        facts = taken.facts[0]
        click.echo(f"bpf-atlas: {facts['ref']} is what {harmless(facts['name']) or 'the map'} held before", err=True)
        return str(facts["ref"])
    for sentence in taken.problems:
        if NOT_KEPT not in sentence:
            raise NoSnapshotFirst(sentence)
        click.echo(f"bpf-atlas: {harmless(sentence)}; the plan is applied without one", err=True)
    return ""


def new_file(path: Path) -> Path:
    """A file that is to be made. raises AlreadyThere, CannotWrite"""
    from app.cli.errors import AlreadyThere, CannotWrite

    if os.path.lexists(path):
        raise AlreadyThere(path)
    if not path.absolute().parent.is_dir():
        raise CannotWrite(path, "there is no such directory")
    return path


@contextmanager
def private() -> Iterator[None]:
    """Files that are made meanwhile are their owner's alone: they hold what maps held."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)
