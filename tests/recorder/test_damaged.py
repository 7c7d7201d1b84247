"""What the recorder does about what is damaged, or does not answer: all else goes on, and it is told."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
from sqlalchemy import update

from app.history.tables import Series
from app.recorder import record
from app.uapi import syscall
from app.uapi.objects import map_info
from app.wire.errors import BrokerAbsent
from tests.livemaps import live_map, u32, u64
from tests.recorder.conftest import Bench
from tests.recorder.test_record import SPEC

pytestmark = pytest.mark.kernel

OTHER = replace(SPEC, name=b"rec_other")


def hurt_the_first(bench: Bench, fd: int, beside: int) -> tuple[int, int, int]:
    """Both are recorded, then the first's series is damaged, and both change: (the first map, the other, that series)."""
    bench.minute()
    hurt, whole = map_info(fd).id, map_info(beside).id
    number = bench.recorder.maps[hurt].series.id
    with bench.recorder.writer.database.writing() as connection:
        connection.execute(update(Series).where(Series.id == number).values(last_seen_ns=4711))
    for each in (fd, beside):
        syscall.map_update(each, u32(1), u64(2))
    return hurt, whole, number


def test_a_damaged_series_stops_the_record_of_no_map(bench: Bench) -> None:
    with live_map(SPEC, [(u32(1), u64(1))]) as fd, live_map(OTHER, [(u32(1), u64(1))]) as beside:
        hurt, whole, before = hurt_the_first(bench, fd, beside)
        bench.minute()
        assert len(bench.snapshots(whole)) == 2
        assert bench.recorder.maps[hurt].series.id != before
        assert len(bench.snapshots(hurt)) == 1  # it goes on in a series of its own
        assert len(bench.recorder.writer.snapshots(series_id=before)) == 1  # what there was stays


def test_until_a_series_is_looked_for_again_its_map_is_told_of_and_others_are_kept(bench: Bench) -> None:
    with live_map(SPEC, [(u32(1), u64(1))]) as fd, live_map(OTHER, [(u32(1), u64(1))]) as beside:
        hurt, whole, number = hurt_the_first(bench, fd, beside)
        for one in bench.recorder.maps.values():
            one.due_s = 0.0
        bench.minute(30)
        assert len(bench.snapshots(whole)) == 2
        ((_, why),) = bench.recorder.facts().left_out
        assert why.startswith(f"series {number} is damaged")
        assert bench.recorder.facts().failed == 1
        bench.minute()
        assert len(bench.snapshots(hurt)) == 1
        assert bench.recorder.facts().left_out == ()


def test_a_broker_that_does_not_answer_is_told_of_until_it_does(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    stop, whole = threading.Event(), record.listing

    def absent(_asked: object) -> object:
        stop.set()
        raise BrokerAbsent("/run/broker.sock", "connection refused")

    monkeypatch.setattr(record, "listing", absent)
    bench.recorder.run(stop, lambda: False, threading.Event())
    assert "no broker answers" in bench.recorder.facts().problem
    monkeypatch.setattr(record, "listing", whole)
    bench.recorder.look_again()
    bench.minute()
    assert bench.recorder.facts().problem == ""
