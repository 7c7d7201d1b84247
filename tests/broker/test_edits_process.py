"""Edits by a real broker process: what the web's account cannot do, what a kill leaves behind, what a full disk stops."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import msgspec
import pytest

from app.settings import Settings
from app.uapi import objects
from app.uapi.enums import BpfMapType
from app.uapi.syscall import MapSpec, map_delete, map_freeze, map_lookup, map_update
from app.wire.accounts import Credential
from app.wire.ask import Client
from app.wire.connection import connect
from app.wire.edits import Change, Edit
from app.wire.errors import CannotRecord, WireError
from app.wire.records import AskRecords, MapIdentity, NumberedRecord
from tests.broker.conftest import RECORDER_UID, WEB_UID, Running, as_account, id_of, open_folder
from tests.broker.swapping import KEY, busy, counting
from tests.broker.test_edits_types import a_program
from tests.forking import Forking, end, forking
from tests.livemaps import live_map

pytestmark = pytest.mark.kernel

ROOT = Credential(source="test")
WHY = "a test wants it so"


def settings_of(data: Path, bpffs: Path) -> Settings:
    return Settings(data=data, bpffs=bpffs, web_user=str(WEB_UID), recorder_user=str(RECORDER_UID), allow_edits=True)


def environment_of(settings: Settings) -> dict[str, str]:
    return {
        **os.environ,
        "BPF_ATLAS_BPFFS": str(settings.bpffs),
        "BPF_ATLAS_WEB_USER": settings.web_user,
        "BPF_ATLAS_RECORDER_USER": settings.recorder_user,
        "BPF_ATLAS_ALLOW_EDITS": "1",
    }


def start(data: Path, bpffs: Path, **more: str) -> Running:
    """A broker that edits."""
    data.chmod(0o755)
    settings = settings_of(data, bpffs)
    environment = {**environment_of(settings), **more}
    log = data / "log"
    offset = log.stat().st_size if log.exists() else 0
    with log.open("ab") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "app.broker", "--data", str(data)], stderr=file, env=environment
        )
    running = Running(process, settings, log)
    while b'"ready"' not in log.read_bytes()[offset:]:
        assert process.poll() is None, log.read_text()
        time.sleep(0.002)
    return running


@pytest.fixture
def editing(bpffs: Path) -> Iterator[Running]:
    with open_folder() as data:
        running = start(data, bpffs)
        yield running
        running.process.terminate()
        assert running.process.wait(30) == 0
        assert [event for event in running.events() if event["event"] == "failed"] == []


def identity(client: Client, map_fd: int) -> MapIdentity:
    from app.broker.edits.identity import identity_of

    opened, descriptor = client.map_open(id_of(map_fd))
    os.close(descriptor or -1)
    return identity_of(opened.facts)


def swap(of: MapIdentity, old: int, new: int) -> Edit:
    return Edit(of, "set", key=KEY, changes=(Change("value.u32[2]", 64, 32, new=new, expected=old),))


def test_a_confined_broker_opens_what_slots_are_given(editing: Running) -> None:
    """It may open neither sockets nor files to be written: names are looked up by other ways."""
    inner = MapSpec(type=BpfMapType.ARRAY, key_size=4, value_size=8, max_entries=1)
    with live_map(inner) as inner_fd, connect(editing.settings.socket) as client:
        prog_fd = a_program()
        things = {
            BpfMapType.DEVMAP: "dev:lo",
            BpfMapType.CPUMAP: "cpu:64",
            BpfMapType.ARRAY_OF_MAPS: f"map:{id_of(inner_fd)}",
            BpfMapType.PROG_ARRAY: f"prog:{objects.prog_info(prog_fd).id}",
        }
        for kind, thing in things.items():
            of_maps = inner_fd if kind == BpfMapType.ARRAY_OF_MAPS else 0
            spec = MapSpec(type=kind, key_size=4, value_size=4, max_entries=1, name=b"given", inner_map_fd=of_maps)
            with live_map(spec) as fd:
                edit = Edit(identity(client, fd), "put", key=bytes(4), thing=thing)
                report = client.edit(ROOT, edit, WHY, dry_run=False)
                assert report.result == "done", (thing, report)
                if kind == BpfMapType.DEVMAP:
                    gone = client.edit(ROOT, Edit(edit.map, "delete", key=bytes(4)), WHY, dry_run=False)
                    assert client.record(ROOT, gone.audit).intent.record.detail == "dev:lo"
        os.close(prog_fd)


def field(map_fd: int) -> int:
    value = bytearray(24)
    assert map_lookup(map_fd, KEY, value)
    return int.from_bytes(value[8:12], "little")


@pytest.fixture
def map_fd() -> Iterator[int]:
    spec = MapSpec(type=BpfMapType.HASH, key_size=4, value_size=24, max_entries=16, name=b"atlas_edit")
    with live_map(spec, [(KEY, bytes(24))]) as fd:
        yield fd


def test_a_confined_broker_edits(editing: Running, map_fd: int) -> None:
    with connect(editing.settings.socket) as client:
        of = identity(client, map_fd)
        report = client.edit(ROOT, swap(of, 0, 7), WHY, dry_run=False)
        assert (report.result, report.method) == ("done", "kernel_swap")
        assert field(map_fd) == 7
        assert client.undo(ROOT, report.audit, WHY, dry_run=False).result == "done"
        assert client.verify(ROOT).ok
    assert editing.status()["CapEff"] == "000000c000200000"
    assert editing.status()["Seccomp"] == "2"


def test_t10_the_webs_account_cannot_write_by_itself_nor_through_the_broker(editing: Running, map_fd: int) -> None:
    with connect(editing.settings.socket) as client:
        of = identity(client, map_fd)
    path = editing.settings.socket

    def by_itself() -> list[str]:
        """bpf(2) on a descriptor that the broker passed, and by id."""
        with connect(path) as client:
            _, fd = client.map_open(of.id)
            assert fd is not None
            return [
                outcome(lambda: map_update(fd, KEY, bytes(24))),
                outcome(lambda: map_delete(fd, KEY)),
                outcome(lambda: map_freeze(fd)),
                outcome(lambda: objects.map_get_fd_by_id(of.id)),
            ]

    def through_the_broker() -> list[str]:
        """A raw message for an edit, with no session and with one that is made up."""
        with connect(path) as client:
            return [
                outcome(partial(client.edit, credential, swap(of, 0, 66), WHY, dry_run=False))
                for credential in (Credential(), Credential("a" * 43, "b" * 43), Credential("bpa_" + "c" * 43))
            ]

    assert as_account(WEB_UID, by_itself) == ["NotPermitted"] * 4
    assert as_account(WEB_UID, through_the_broker) == ["SessionOver"] * 3
    assert as_account(RECORDER_UID, through_the_broker) == ["BrokerClosed"] * 3
    assert field(map_fd) == 0
    with connect(editing.settings.socket) as client:
        refused = client.records(AskRecords(ROOT, code="edit.refused")).records
        assert [each.record.actor.uid for each in refused] == [WEB_UID] * 3
        assert {each.record.map.id for each in refused} == {of.id}


def outcome(work: Callable[[], object]) -> str:
    try:
        work()
    except Exception as error:
        return type(error).__name__
    return "done"


@pytest.mark.slow
def test_ten_thousand_edits_through_the_broker_beside_a_counter_on_all_cpus(editing: Running, map_fd: int) -> None:
    """A plan of 10,000 rows, each checked, recorded, synced, swapped and read again, while programs count beside it."""
    count_fd = counting(map_fd, KEY, 0)
    edits_made, stale = 10_000, 0
    with connect(editing.settings.socket, timeout_s=60) as client:
        of = identity(client, map_fd)
        plan = client.plan_make(ROOT, of, label="race", reason=WHY).id
        rows = [swap(of, number, number + 1) for number in range(edits_made)]
        for at in range(0, edits_made, 200):
            client.plan_rows(ROOT, plan, tuple(rows[at : at + 200]))
        with busy(count_fd, os.cpu_count() or 1, repeat=5_000) as counts:
            facts = client.plan_step(ROOT, plan, "start")
            while facts.state == "running":
                report = client.edit(ROOT, swap(of, 0xFFFFFFFF, 1), WHY, dry_run=False)
                assert report.result == "conflict"
                stale += 1
                time.sleep(0.2)
                facts = client.plan(ROOT, plan).facts
        assert (facts.state, facts.done, facts.failed) == ("done", edits_made, 0), facts.sentence
        assert client.verify(ROOT).ok
    os.close(count_fd)
    value = bytearray(24)
    map_lookup(map_fd, KEY, value)
    assert int.from_bytes(value[:8], "little") == sum(counts) > edits_made
    assert field(map_fd) == edits_made
    assert stale > 3


KILLS = 200


def begun(brokers: Forking) -> int:
    """One more broker, once it answers: its pid."""
    offset = brokers.log.stat().st_size
    child = brokers.begin()
    with brokers.log.open("rb") as file:
        file.seek(offset)
        said = b""
        while b'"ready"' not in said:
            assert Path(f"/proc/{child}").exists(), said
            time.sleep(0.002)
            said += file.read()
    return child


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_broker_killed_at_any_point_leaves_no_write_without_a_record(
    tmp_path: Path, bpffs: Path, map_fd: int
) -> None:
    chance = random.Random(20_261_124)
    unknown = complete = 0
    life_s = 0.012
    settings = settings_of(tmp_path, bpffs)
    tmp_path.chmod(0o755)
    with forking("broker", tmp_path, environment_of(settings)) as brokers:
        for _ in range(KILLS):
            broker = begun(brokers)
            tried: list[int] = []
            stop = threading.Event()

            def edit_on(tried: list[int] = tried, stop: threading.Event = stop) -> None:
                with connect(settings.socket) as client:
                    of = identity(client, map_fd)
                    now = field(map_fd)
                    while not stop.is_set():
                        tried.append(now + 1)
                        try:
                            if client.edit(ROOT, swap(of, now, now + 1), WHY, dry_run=False).result != "done":
                                return
                        except (WireError, OSError):
                            return
                        now += 1

            before = field(map_fd)
            editor = threading.Thread(target=edit_on)
            editor.start()
            while not tried:
                time.sleep(0.001)
            time.sleep(chance.random() * life_s)
            end(broker)
            stop.set()
            editor.join()
            recovered = begun(brokers)
            with connect(settings.socket) as client:
                found = list(everything(client))
                verdict = client.verify(ROOT)
                assert verdict.ok, verdict.sentence
                assert verdict.unfinished == ()
            intents = {each.number: each.record for each in found if each.record.code == "map.set.intent"}
            outcomes = {each.record.intent: each.record for each in found if each.record.intent}
            assert intents.keys() == outcomes.keys()
            after = field(map_fd)
            end(recovered)
            if not any(record.result == "done" for record in outcomes.values()):
                life_s *= 1.1  # so that some of them live long enough, however slow this host is
            if not intents:  # the first kill may come before the first record; then nothing was written either
                assert after == before
                continue
            last = max(intents)
            written = [int.from_bytes(record.fields[0].new or b"", "little") for record in intents.values()]
            assert after == 0 or after in written, "a write without a record"
            assert after in {
                int.from_bytes(intents[last].fields[0].new or b"", "little"),
                int.from_bytes(intents[last].fields[0].old or b"", "little"),
            }
            assert after >= before
            for number, record in outcomes.items():
                if record.result == "unknown":
                    assert "outcome unknown, now value.u32[2] is" in record.detail
                    unknown += number == last
                else:
                    complete += number == last
                    assert record.result == "done"
    assert unknown > 0, "no kill ever came between an intent and its outcome"
    assert complete > 0


def everything(client: Client) -> Iterator[NumberedRecord]:
    """The newest page is enough: each round looks at what it and the one before it left."""
    yield from client.records(AskRecords(ROOT, code="map.", limit=500)).records


def test_t17_a_full_disk_refuses_edits_and_nothing_is_written(tmp_path: Path, bpffs: Path, map_fd: int) -> None:
    data = tmp_path / "small"
    data.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m,mode=755", "tmpfs", str(data)], check=True)
    try:
        broker = start(data, bpffs)
        with connect(broker.settings.socket) as client:
            of = identity(client, map_fd)
            assert client.edit(ROOT, swap(of, 0, 1), WHY, dry_run=False).result == "done"
            filler = data / "filler"
            with filler.open("wb") as file:
                try:
                    while True:
                        file.write(bytes(1 << 16))
                        file.flush()
                except OSError:
                    pass
            refused = 0
            for _ in range(200):
                now = field(map_fd)
                try:
                    client.edit(ROOT, swap(of, now, now + 1), WHY, dry_run=False)
                except CannotRecord:
                    assert field(map_fd) == now
                    refused += 1
                    if refused == 5:
                        break
            assert refused == 5
            filler.unlink()
            now = field(map_fd)
            assert client.edit(ROOT, swap(of, now, now + 1), WHY, dry_run=False).result == "done"
            verdict = client.verify(ROOT)
            assert verdict.ok, verdict.sentence
        broker.process.terminate()
        assert broker.process.wait(30) == 0
    finally:
        subprocess.run(["umount", str(data)], check=True)


FRAMES = 1_000_000


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_t12_a_million_random_frames_neither_stop_nor_swell_the_broker_nor_edit(editing: Running, map_fd: int) -> None:
    """As root, whom the broker lets ask everything: frames of noise, and good ones with some bytes turned."""
    before, began_s = field(map_fd), time.monotonic()
    with connect(editing.settings.socket) as client:
        of = identity(client, map_fd)
    senders = [
        subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tests.broker.frames",
                str(editing.settings.socket),
                str(count),
                str(seed),
                msgspec.msgpack.encode(of).hex(),
            ]
        )
        for seed, count in ((1, 20_000), (2, 20_000))
    ]
    assert [each.wait(600) for each in senders] == [0, 0]
    settled_kib = int(editing.status()["VmRSS"].split()[0])
    senders = [
        subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tests.broker.frames",
                str(editing.settings.socket),
                str(FRAMES // 2),
                str(seed),
                msgspec.msgpack.encode(of).hex(),
            ]
        )
        for seed in (3, 4)
    ]
    assert [each.wait(1700) for each in senders] == [0, 0]
    grown_kib = int(editing.status()["VmRSS"].split()[0]) - settled_kib
    assert editing.process.poll() is None
    assert (
        grown_kib < 20 << 10
    )  # one object kept of each frame is 50 MiB; the counts that slow guessers down are at most 20,000
    assert field(map_fd) == before
    with connect(editing.settings.socket) as client:
        assert client.hello().pid == editing.pid
        assert client.verify(ROOT).ok
        assert client.records(AskRecords(ROOT, code="map.")).records == ()
    minutes = (time.monotonic() - began_s) / 60
    assert editing.log.stat().st_size < (minutes + 2) * (400 << 10), "strangers can fill the log"
