"""What was acknowledged is there after its writer was killed; after a power cut the history is whole, up to some moment."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np
import pytest

from app.history import snapshots
from app.history.chunks import check_content
from app.history.database import PAGE_BYTES, open_reading, open_writing, sqlite_url
from app.history.history import History
from app.history.retention import collect
from app.history.snapshots import About
from app.history.verify import verify
from app.history.writer import Writer
from tests.history.made import SECOND_NS, Bytes2d, as_dict, snapshot


def entries_at(number: int) -> tuple[Bytes2d, Bytes2d]:
    """What the map holds at a turn, made from nothing but its number; label and moment say which that is."""
    rng = np.random.default_rng(0)
    keys = np.arange(600, dtype=">u8").view(np.uint8).reshape(-1, 8)
    values = rng.integers(0, 4, (600, 24), np.uint8)
    values[:, :4] ^= np.frombuffer(np.array([number], "<u4").tobytes(), np.uint8)
    values[number % 600] ^= 0xFF
    stay = (np.arange(600) + number) % 97 != 0
    return keys[stay], values[stay]


def write(url: str, first: int) -> None:
    """Snapshots without end; each is acknowledged by its number, once it was kept."""
    writer = Writer(open_writing(url))
    with writer.reading() as connection:
        problems = list(verify(connection))
    print("open", problems, flush=True)
    for number in range(first, first + 100_000):
        kept = snapshot(writer, *entries_at(number), name=f"map {number % 2}", at_ns=number * SECOND_NS)
        print("kept", kept.ref, number, flush=True)
        if number % 9 == 0:
            gone = [each.ref for each in writer.snapshots(limit=100)[12:]]
            print("forgets", *gone, flush=True)
            writer.forget(gone)
            collect(writer.database)
            writer.database.shrink()
        if number % 23 == 0:
            writer.database.checkpoint()


def check(history: History) -> dict[str, int]:
    """The turn of every snapshot that is listed; each reads back as it was taken, and nothing is wrong."""
    with history.reading() as connection:
        assert list(verify(connection)) == []
    found = {}
    for kept in history.snapshots(limit=1000):
        number = kept.taken_ns // SECOND_NS
        there = history.entries(kept, check=check_content)
        assert as_dict(there.keys, there.values) == as_dict(*entries_at(number))
        found[kept.ref] = number
    return found


@dataclass(frozen=True, slots=True)
class Child:
    """A process that writes."""

    pid: int
    said: TextIO

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)


@contextlib.contextmanager
def writing(url: str, first: int) -> Iterator[Child]:
    """One, forked: it starts in no time."""
    reading, telling = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.dup2(telling, 1)
            sys.stdout = os.fdopen(1, "w")
            write(url, first)
        finally:
            os._exit(1)
    os.close(telling)
    with os.fdopen(reading) as said:
        child = Child(pid, said)
        try:
            yield child
        finally:
            child.kill()
            os.waitpid(pid, 0)


def killed_at_random(url: str, times: int, rng: np.random.Generator, *, least: int) -> None:
    """What is acknowledged is there until its writer said that it would delete it: so many writers, and snapshots at least."""
    acknowledged: dict[str, int] = {}
    first, total, turns = 1, 0, 0
    while turns < times or total < least:
        turns += 1
        assert turns < 100 + 10 * times, "hardly a writer gets to its first snapshot"
        with writing(url, first) as process:
            assert process.said.readline() == "open []\n"
            timer = threading.Timer(float(rng.uniform(0, 0.12)), process.kill)
            timer.start()
            for line in process.said:
                word, *rest = line.split()
                if not line.endswith("\n"):
                    continue  # cut short: nobody was told
                if word == "kept":
                    acknowledged[rest[0]] = int(rest[1])
                    first, total = int(rest[1]) + 1, total + 1
                elif word == "forgets":
                    for ref in rest:
                        acknowledged.pop(ref, None)
            timer.join()
        with closing(History(open_reading(url))) as history:
            found = check(history)
        missing = {ref: number for ref, number in acknowledged.items() if found.get(ref) != number}
        assert not missing
        first = max([first, *(number + 1 for number in found.values())])


def test_what_was_acknowledged_survives_its_writer(tmp_path: Path) -> None:
    killed_at_random(sqlite_url(tmp_path / "history.db"), 3, np.random.default_rng(1), least=5)


@pytest.mark.slow
def test_what_was_acknowledged_survives_200_writers(tmp_path: Path) -> None:
    killed_at_random(sqlite_url(tmp_path / "history.db"), 200, np.random.default_rng(2), least=201)


def torn_copies(folder: Path, rng: np.random.Generator, turns: int) -> Iterator[tuple[str, Path]]:
    """Copies of a database that is being written, the end of its log as a power cut may leave it."""
    live = folder / "live" / "history.db"
    open_writing(sqlite_url(live)).close()  # its tables are synced
    with writing(sqlite_url(live), 1) as process:
        assert process.said.readline() == "open []\n"
        drain = threading.Thread(target=lambda: [None for _ in process.said])
        drain.start()
        for turn in range(turns):
            time.sleep(float(rng.uniform(0.005, 0.03)))
            copy = folder / f"copy{turn}" / "history.db"
            copy.parent.mkdir()
            # Stopped, so that both files are of one moment.
            os.kill(process.pid, signal.SIGSTOP)
            os.waitpid(process.pid, os.WUNTRACED)
            copy.write_bytes(live.read_bytes())
            log = bytearray(live.with_name("history.db-wal").read_bytes())
            synced = synced_bytes(live)
            os.kill(process.pid, signal.SIGCONT)
            yield f"{turn} whole", _with_log(copy, log)
            how = ("cut", "zeros", "noise", "cut and noise")[turn % 4]
            at = int(rng.integers(synced, len(log) + 1))
            if how == "cut":
                log = log[:at]
            elif how == "zeros":
                log[at:] = bytes(len(log) - at)
            elif how == "noise":
                log[at:] = rng.bytes(len(log) - at)
            else:
                log = log[:at] + bytearray(rng.bytes(5000))
            yield f"{turn} {how}", _with_log(copy, log)
        process.kill()
        drain.join()


def synced_bytes(live: Path) -> int:
    """How much of the log was synced, because a checkpoint has begun to bring it into the database; the rest may be torn.

    https://www.sqlite.org/walformat.html: nBackfillAttempted, at byte 128 of the shared memory
    """
    frames = int.from_bytes(live.with_name("history.db-shm").read_bytes()[128:132], sys.byteorder)
    return 32 + frames * (24 + PAGE_BYTES) if frames else 0


def _with_log(copy: Path, log: bytearray) -> Path:
    copy.with_name("history.db-shm").unlink(missing_ok=True)
    copy.with_name("history.db-wal").write_bytes(log)
    return copy


@pytest.mark.parametrize("turns", [4, pytest.param(25, marks=pytest.mark.slow)])
def test_a_torn_log_leaves_a_whole_history(tmp_path: Path, turns: int) -> None:
    seen = 0
    for what, path in torn_copies(tmp_path, np.random.default_rng(turns), turns):
        try:
            original = path.read_bytes()
            with closing(History(open_reading(sqlite_url(path)))) as history:
                found = check(history)
            path.write_bytes(original)
            # The next recorder takes it up, and goes on where it ended.
            with closing(Writer(open_writing(sqlite_url(path)))) as writer:
                assert check(writer) == found
                snapshot(writer, *entries_at(7), name="map 1", at_ns=7 * SECOND_NS)
                assert len(check(writer)) == len(found) + 1
            path.write_bytes(original)
        except BaseException as problem:
            problem.add_note(what)
            raise
        seen += len(found)
    assert seen > turns


def test_an_uncommitted_snapshot_is_not_there(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "history.db")
    with closing(Writer(open_writing(url))) as writer:
        kept = snapshot(writer, *entries_at(1), at_ns=SECOND_NS)
        about = About(**{name: getattr(kept, name) for name in About.__slots__})
        with writer.database.engine.connect() as connection:
            snapshots.commit(connection, writer.draft(*entries_at(2), previous=kept.root_id), about)
            # The connection is closed without a commit.
        assert [each.id for each in writer.snapshots()] == [kept.id]
        with writer.reading() as connection:
            assert list(verify(connection)) == []
