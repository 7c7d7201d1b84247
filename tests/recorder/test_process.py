"""The recorder as a process without any right: it writes, others read; it dies at any moment, and nothing is lost."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.history.database import open_reading, sqlite_url
from app.history.errors import HistoryError, NoHistory
from app.history.history import History
from app.history.verify import verify
from app.timeline.preload import preload
from app.uapi import syscall
from app.uapi.enums import BpfMapType
from app.uapi.syscall import MapSpec
from app.wire.recorder import RecorderClient, connect
from tests.cli.conftest import ROOT, environment, folder
from tests.forking import Forking, end, forking
from tests.livemaps import live_map, u32, u64
from tests.waiting import eventually

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

KILLS = 200
RULES = '[[rule]]\nmaps = ["killed_*"]\n[[rule]]\nevery = "never"\n'
QUICK = {"BPF_ATLAS_RECORD_SECONDS": "1", "BPF_ATLAS_HISTORY_CPU_PERCENT": "100"}


@pytest.fixture
def data() -> Iterator[Path]:
    """A data directory whose broker runs, with maps that change all the time."""
    with folder() as path, contextlib.ExitStack() as ended:
        (path / "record.toml").write_text(RULES)
        broker = subprocess.Popen(
            [sys.executable, "-m", "app.broker", "--data", str(path)], cwd=ROOT, env=environment(path, QUICK),
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        ended.callback(broker.wait)
        ended.callback(broker.terminate)
        specs = [
            MapSpec(type=BpfMapType.HASH, key_size=4, value_size=8, max_entries=4096, name=b"killed_%d" % n)
            for n in range(4)
        ]
        fds = [ended.enter_context(live_map(spec, [(u32(n), u64(n)) for n in range(500)])) for spec in specs]
        stop = threading.Event()

        def change() -> None:
            chance = random.Random(4)
            while not stop.wait(0.002):
                fd = chance.choice(fds)
                syscall.map_update(fd, u32(chance.randrange(600)), u64(chance.randrange(1 << 40)))

        thread = threading.Thread(target=change)
        thread.start()
        ended.callback(thread.join)
        ended.callback(stop.set)
        assert eventually((path / "broker.sock").exists, 20)
        yield path


def seconds_to_a_snapshot(data: Path, recorders: Forking) -> float:
    """How long a recorder needs on this host from its start to the first snapshot it keeps, once a database is there."""
    for _turn in range(2):
        begun_ns = time.time_ns()
        child = recorders.begin()
        assert eventually(lambda since_ns=begun_ns: kept_since(data, since_ns), 60)  # type: ignore[misc]
        needed_s = (time.time_ns() - begun_ns) / 1e9
        end(child)
    return needed_s


def kept_since(data: Path, since_ns: int) -> bool:
    try:
        with contextlib.closing(opened(data)) as history:
            return bool(history.snapshots(limit=1, since_ns=since_ns))
    except NoHistory:
        return False


def opened(data: Path) -> History:
    return History(open_reading(sqlite_url(data / "history" / "history.db")))


def client(data: Path) -> RecorderClient:
    return connect(data / "recorder.sock")


def test_killed_at_two_hundred_points_it_loses_nothing(data: Path) -> None:
    chance = random.Random(20)
    known: dict[str, bytes] = {}
    with forking("recorder", data, environment(data, QUICK)) as recorders:
        life_s = 1.5 * seconds_to_a_snapshot(data, recorders)
        for kill in range(KILLS):
            child = recorders.begin()
            time.sleep(chance.uniform(0.0, life_s))
            end(child)
            if kill % 10 == 9:
                before = len(known)
                history = opened(data)
                for kept in history.snapshots(limit=10_000):
                    root = history.pieces(kept.root_id)
                    known.setdefault(kept.ref, root.rows.tobytes())
                history.close()
                if len(known) == before:
                    life_s *= 1.5  # other work came to this host: its recorders need longer until they write
        child = recorders.begin()
        with client(data) as asked:
            assert eventually(lambda: _answers(asked), 20)
            assert asked.state().problem == ""
        os.kill(child, signal.SIGTERM)
    history = opened(data)
    with history.reading() as connection:
        assert list(verify(connection)) == []
    kept = {each.ref: each for each in history.snapshots(limit=10_000)}
    assert set(known) <= set(kept)  # what was there once stays
    assert len(kept) > KILLS // 10
    for each in kept.values():
        assert len(history.entries(each)) >= 500
    assert "Traceback" not in (data / "log").read_text()


def _answers(asked: RecorderClient) -> bool:
    try:
        asked.state()
    except Exception:
        return False
    return True


def test_a_second_recorder_refuses_and_says_why(data: Path) -> None:
    env = environment(data, QUICK)
    command = [sys.executable, "-m", "app.recorder", "--data", str(data)]
    first = subprocess.Popen(command, cwd=ROOT, env=env)
    try:
        with client(data) as asked:
            assert eventually(lambda: _answers(asked), 20)
        second = subprocess.run(
            [sys.executable, "-c", "from app.recorder import __main__ as m; m.PATIENCE_S = 0.5; raise SystemExit(m.main())",
             "--data", str(data)],
            cwd=ROOT, env=env, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert second.returncode == 1
        assert "another recorder writes the history" in second.stderr
        assert "Traceback" not in second.stderr
    finally:
        first.terminate()
        assert first.wait(20) == 0


def test_the_web_s_account_may_read_the_history_and_not_write_it(data: Path) -> None:
    command = [sys.executable, "-m", "app.recorder", "--data", str(data)]
    recorder = subprocess.Popen(command, cwd=ROOT, env=environment(data, QUICK))
    try:
        with client(data) as asked:
            assert eventually(lambda: _answers(asked) and asked.state().taken > 0, 20)
        path = data / "history" / "history.db"
        for uid, reads in ((58470, True), (65534, False)):
            assert _in_a_child(uid, lambda: opened(data).snapshots()) is reads
            assert _in_a_child(uid, lambda: path.open("r+b").close()) is False
            assert _in_a_child(uid, (data / "history" / "new").touch) is False
    finally:
        recorder.kill()
        recorder.wait()
    # Also after it was killed, and nobody is there to tidy up.
    assert _in_a_child(58470, lambda: opened(data).snapshots()) is True


def _in_a_child(uid: int, what: object) -> bool:
    """Whether something can be done by an account."""
    preload("")  # the interpreter's own files may be closed to it
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            what()  # type: ignore[operator]
            status = 0
        except (OSError, HistoryError):
            status = 2
        finally:
            os._exit(status)
    _, ended = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(ended)
    assert code in {0, 2}, "something else went wrong"
    return code == 0
