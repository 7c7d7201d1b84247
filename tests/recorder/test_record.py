"""What the recorder keeps of real maps, and what it leaves be."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest
from sqlalchemy import update

from app.history import retention
from app.history.chunks import Decoder
from app.history.errors import Damaged
from app.history.tables import Chunk
from app.history.verify import verify
from app.maps.catalog import MapRow
from app.maps.opening import OpenMap
from app.recorder import record, upkeep
from app.recorder.rules import Pace, Rules
from app.timeline.series_settings import settings_of
from app.uapi import syscall
from app.uapi.enums import BpfMapFlag, BpfMapType
from app.uapi.objects import map_info
from app.uapi.syscall import MapSpec
from app.wire import recorder as wire
from app.wire.errors import CannotRecord, Declined, NotThere
from tests.livemaps import HUGE_TRIE, live_map, u32, u64
from tests.recorder.conftest import CLI, ROOT, Bench

pytestmark = pytest.mark.kernel

SPEC = MapSpec(type=BpfMapType.HASH, key_size=4, value_size=8, max_entries=1024, name=b"rec_flows")


def test_a_map_is_kept_when_it_changed_and_only_then(bench: Bench) -> None:
    with live_map(SPEC, [(u32(1), u64(1))]) as fd:
        map_id = map_info(fd).id
        bench.minute()
        bench.minute()
        bench.minute()
        assert len(bench.snapshots(map_id)) == 1
        compared = bench.recorder.writer.one_series(bench.recorder.maps[map_id].series.id).checked_ns
        assert compared > bench.snapshots(map_id)[0].taken_ns  # it is known to have held until then
        syscall.map_update(fd, u32(1), u64(2))
        bench.minute()
        kept = bench.snapshots(map_id)
        assert [each.trigger for each in kept] == ["schedule"] * 2
        assert bench.recorder.writer.value(kept[0], u32(1)) == u64(1)
        assert bench.recorder.writer.value(kept[1], u32(1)) == u64(2)


def test_a_frozen_map_that_programs_only_read_is_read_once(bench: Bench) -> None:
    spec = replace(SPEC, type=BpfMapType.ARRAY, max_entries=2, name=b"rec_const", flags=BpfMapFlag.RDONLY_PROG)
    with live_map(spec, [(u32(0), u64(1))]) as fd:
        syscall.map_freeze(fd)
        bench.minute()
        map_id = map_info(fd).id
        assert bench.recorder.maps[map_id].settled
        assert bench.snapshots(map_id)[0].completeness == "exact"
        looked_s = bench.recorder.maps[map_id].looked_s
        bench.minute()
        assert bench.recorder.maps[map_id].looked_s == looked_s


def test_a_frozen_map_that_programs_may_write_is_looked_at_again(bench: Bench) -> None:
    """BPF_MAP_FREEZE stops user space alone."""
    spec = replace(SPEC, type=BpfMapType.ARRAY, max_entries=2, name=b"rec_state")
    with live_map(spec, [(u32(0), u64(1))]) as fd:
        syscall.map_freeze(fd)
        bench.minute()
        map_id = map_info(fd).id
        looked_s = bench.recorder.maps[map_id].looked_s
        bench.minute()
        assert bench.recorder.maps[map_id].looked_s == looked_s + 60


def test_large_maps_wait_for_a_rule(bench: Bench) -> None:
    large = replace(SPEC, type=BpfMapType.ARRAY, max_entries=70_000, name=b"rec_large")
    with live_map(large) as fd:
        map_id = map_info(fd).id
        bench.minute()
        assert "it has 70,000 entries, more than the 65,536" in bench.recorder.maps[map_id].why_not
        assert bench.snapshots(map_id) == []
        path = bench.recorder.settings.within(bench.recorder.settings.record_rules)
        path.write_text('[[rule]]\nmaps = ["rec_large"]\nentries = 100_000\n')
        bench.minute()
        assert len(bench.snapshots(map_id)) == 1


HUGE = replace(HUGE_TRIE, name=b"rec_huge")


def huge_entries(count: int) -> list[tuple[bytes, bytes]]:
    return [(u32(32) + u32(number + 1), bytes([number + 1]) * HUGE.value_size) for number in range(count)]


def test_a_map_that_might_hold_hundreds_of_gigabytes_is_kept_when_it_does_not(bench: Bench) -> None:
    with live_map(HUGE, huge_entries(2)) as fd:
        map_id = map_info(fd).id
        bench.minute()
        assert bench.recorder.maps[map_id].fault == ""
        (kept,) = bench.snapshots(map_id)
        assert bench.recorder.writer.counts([kept.root_id])[kept.root_id] == 2


def test_what_is_read_at_once_of_one_map_is_bounded_and_told(bench: Bench) -> None:
    bench.recorder.settings = replace(bench.recorder.settings, record_memory_mib=16)
    with live_map(HUGE, huge_entries(8)) as fd:
        map_id = map_info(fd).id
        bench.minute()
        assert bench.snapshots(map_id) == []
        ((_, why),) = bench.recorder.facts().left_out
        assert "it holds more than 16 MiB now: BPF_ATLAS_RECORD_MEMORY_MIB" in why
        looked_s = bench.recorder.maps[map_id].looked_s
        bench.minute()
        assert bench.recorder.maps[map_id].looked_s == looked_s  # not 16 MiB every minute for nothing
        bench.jobs.take(wire.AskTake((map_id,), "manual", "", CLI), ROOT)
        bench.minute()
        (kept,) = bench.snapshots(map_id)
        assert (kept.completeness, bench.recorder.writer.counts([kept.root_id])[kept.root_id]) == ("capped", 4)
        assert "it holds more than 16 MiB now" in kept.notes


def test_a_map_that_grows_under_it_is_left_for_a_rule_and_told_of(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    with live_map(SPEC, [(u32(number), u64(number)) for number in range(8)]) as fd:
        map_id = map_info(fd).id
        small = Rules(default=Pace(interval_s=60, entries=10))
        monkeypatch.setattr(record.rules, "load", lambda *_: small)
        bench.recorder.rules = small
        # It is listed with eight entries, and has twenty by the time that it is read.
        whole = record.why_not

        def grown(row: MapRow, pace: Pace) -> str:
            answer = whole(row, pace)
            for number in range(20):
                syscall.map_update(fd, u32(number), u64(number))
            return answer

        monkeypatch.setattr(record, "why_not", grown)
        bench.minute(1)
        assert "it has more than 10 entries now" in bench.recorder.maps[map_id].why_not
        assert bench.snapshots(map_id) == []


def test_a_map_that_goes_away_meanwhile_is_no_problem(bench: Bench) -> None:
    with live_map(SPEC, [(u32(1), u64(1))]) as fd:
        map_id = map_info(fd).id
        bench.recorder.step(bench.now_s, 1_800_000_000.0 + bench.now_s)  # it is listed, and not read yet
    bench.minute()
    assert map_id not in bench.recorder.maps
    assert bench.recorder.problem == ""


def test_a_bug_met_at_one_map_leaves_the_others_alone(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    other = replace(SPEC, name=b"rec_other")
    with live_map(SPEC, [(u32(1), u64(1))]) as fd, live_map(other, [(u32(1), u64(1))]) as beside:
        bad, good = map_info(fd).id, map_info(beside).id
        whole = record.taking.take

        def failing(writer: object, opened: OpenMap, *more: object, **options: object) -> object:
            if opened.facts.id == bad:
                raise ValueError("a bug")
            return whole(writer, opened, *more, **options)  # type: ignore[arg-type]

        monkeypatch.setattr(record.taking, "take", failing)
        bench.minute()
        bench.minute()
        assert len(bench.snapshots(good)) == 1
        assert [why for _, why in bench.recorder.facts().left_out if "failed at it (ValueError)" in why]
        assert len([each for each in caplog.records if each.exc_info]) == 1  # not once a minute
        monkeypatch.setattr(record.taking, "take", whole)
        bench.minute(3700)
        assert len(bench.snapshots(bad)) == 1
        assert bench.recorder.maps[bad].fault == ""


def test_what_is_damaged_is_found_told_and_mended_from_the_map_that_holds_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "SCRUB_S", 60.0)
    other = replace(SPEC, name=b"rec_other")
    with live_map(SPEC, [(u32(1), u64(1))]) as fd, live_map(other, [(u32(2), u64(7))]):
        map_id = map_info(fd).id
        bench.minute()
        (kept,) = bench.snapshots(map_id)
        syscall.map_update(fd, u32(1), u64(2))
        bench.minute()
        writer = bench.recorder.writer
        with writer.database.writing() as connection:
            connection.execute(update(Chunk).values(data=b"nothing of it"))
        writer.decoder = Decoder()
        bench.minute()
        assert bench.recorder.facts().scrub.startswith("all 5 chunks by 20")  # keys and values of two maps, and of then
        ((told),) = bench.recorder.facts().damaged
        assert told.endswith(f"which {kept.ref} cannot be read without")  # the maps hold all others
        with pytest.raises(Damaged):
            writer.entries(kept)
        syscall.map_update(fd, u32(1), u64(1))
        bench.minute()
        assert bench.recorder.facts().damaged == ()
        with writer.reading() as connection:
            assert list(verify(connection)) == []


def test_intervals_stretch_when_the_budget_is_short_and_it_says_so(bench: Bench) -> None:
    with live_map(SPEC, [(u32(1), u64(1))]) as fd:
        map_id = map_info(fd).id
        bench.minute()
        recorder = bench.recorder
        for _ in range(12):  # each look costs more than five minutes bring in
            bench.now_s += 60
            recorder.cpu.advance(bench.now_s)
            while recorder.step(bench.now_s, 1_800_000_000.0 + bench.now_s):
                if recorder.maps[map_id].looked_s == bench.now_s and recorder.cpu.left_s > 0:
                    recorder.cpu.spend(recorder.cpu.left_s + 3.0)
        assert recorder.maps[map_id].actual_s > 120
        assert [each.wanted_s for each in recorder.facts().stretched] == [60.0]


def test_the_oldest_go_when_the_disk_budget_is_short(bench: Bench) -> None:
    with live_map(SPEC) as fd:
        map_id = map_info(fd).id
        for number in range(40):
            for key in range(200):
                syscall.map_update(fd, u32(key), u64(hash((number, key)) & (1 << 63) - 1))
            bench.minute()
        assert len(bench.snapshots(map_id)) == 40
        before = retention.used_bytes(bench.recorder.writer.database)
        bench.recorder.disk.budget_bytes = before - 4096
        upkeep.OLDEST, kept = 5, upkeep.OLDEST
        try:
            bench.minute()
        finally:
            upkeep.OLDEST = kept
        left = bench.snapshots(map_id)
        assert 0 < len(left) < 40
        assert retention.used_bytes(bench.recorder.writer.database) <= bench.recorder.disk.budget_bytes
        assert bench.recorder.disk.stretch > 1
        with bench.recorder.writer.reading() as connection:
            assert list(verify(connection)) == []


def test_when_all_that_is_left_is_labelled_it_stops_and_says_so(bench: Bench) -> None:
    with live_map(SPEC, [(u32(1), u64(1))]) as fd:
        map_id = map_info(fd).id
        bench.minute()
        bench.recorder.disk.budget_bytes = 1000
        bench.minute()
        assert bench.recorder.disk.full
        assert "raise BPF_ATLAS_HISTORY_MIB" in bench.recorder.facts().problem
        syscall.map_update(fd, u32(1), u64(2))
        bench.minute()
        assert len(bench.snapshots(map_id)) == 1
        bench.recorder.disk.budget_bytes = 1 << 30
        bench.minute()
        bench.minute()
        assert len(bench.snapshots(map_id)) == 2


def test_a_clock_set_back_loses_nothing_and_is_noted(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    with live_map(SPEC, [(u32(1), u64(1))]) as fd:
        map_id = map_info(fd).id
        bench.minute()
        real = time.time_ns
        monkeypatch.setattr("app.maps.walk.time.time_ns", lambda: real() - 7_200_000_000_000)
        syscall.map_update(fd, u32(1), u64(2))
        bench.minute()
        first, second = bench.snapshots(map_id)
        assert second.taken_ns < first.taken_ns
        assert "the clock was set back" in second.notes
        assert bench.recorder.writer.value(second, u32(1)) == u64(2)


def test_jobs_take_label_ignore_and_delete(bench: Bench) -> None:
    jobs = bench.jobs
    with live_map(SPEC, [(u32(1), u64(1))]) as fd:
        map_id = map_info(fd).id
        asked = jobs.take(wire.AskTake((map_id, 4_000_000_000), "manual", "before the deploy", CLI), ROOT)
        assert asked.state == "waiting"
        bench.minute()
        done = jobs.job(wire.AskJob(asked.id), ROOT)
        assert (done.state, done.done, done.total, len(done.refs)) == ("done", 2, 2, 1)
        assert "no map #4000000000" in done.problems[0]
        kept = bench.recorder.writer.snapshot(done.refs[0])
        assert (kept.author, kept.label, kept.trigger) == ("root", "before the deploy", "manual")
    with pytest.raises(NotThere):
        jobs.job(wire.AskJob(999), ROOT)
    with pytest.raises(Declined, match="manual or pre-edit"):
        jobs.take(wire.AskTake((1,), "schedule", "", CLI), ROOT)


def test_nothing_is_deleted_that_cannot_be_recorded(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    with live_map(SPEC, [(u32(1), u64(1))]) as fd:
        bench.minute()
        kept = bench.snapshots(map_info(fd).id)[0]

    def full(_question: object) -> str:
        raise CannotRecord("the audit log cannot be written (disk full)")

    monkeypatch.setattr(bench.recorder.client, "history", full)
    thread = threading.Thread(target=lambda: [bench.jobs.arrived.wait(10), bench.jobs.work()])
    thread.start()
    with pytest.raises(CannotRecord):
        bench.jobs.forget(wire.AskForget((kept.ref,), CLI), ROOT)
    thread.join()
    assert bench.recorder.writer.snapshot(kept.ref).ref == kept.ref


def test_answers_that_wait_for_the_writing_thread(bench: Bench) -> None:
    jobs, writer = bench.jobs, bench.recorder.writer
    with live_map(SPEC, [(u32(1), u64(1))]) as fd:
        bench.minute()
        kept = bench.snapshots(map_info(fd).id)[0]
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            if not jobs.work():
                stop.wait(0.01)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        jobs.label(wire.AskLabel(kept.ref, "keep", CLI), ROOT)
        assert writer.snapshot(kept.ref).label == "keep"
        jobs.ignore(wire.AskIgnore(kept.series_id, ("value.packets",), CLI), ROOT)
        assert settings_of(writer.one_series(kept.series_id)).ignore == ("value.packets",)
        with pytest.raises(NotThere, match="there is no snapshot s99999"):
            jobs.label(wire.AskLabel("s99999", "x", CLI), ROOT)
        assert jobs.forget(wire.AskForget((kept.ref,), CLI), ROOT).count == 1
        assert writer.snapshots() == []
        assert bench.recorded() == [
            ("history.label", "root", f"{kept.ref} of rec_flows (hash): keep"),
            ("history.ignore", "root", "rec_flows (hash): value.packets"),
            ("history.forget", "root", f"{kept.ref} of rec_flows (hash)"),
        ]
    finally:
        stop.set()
        thread.join()
