"""Which map is recorded how often, as it is and under other rules, and rules that the page sets."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.recorder import schedule
from app.recorder.rules import note_of
from app.uapi.enums import BpfMapType
from app.uapi.objects import map_info
from app.wire import recorder as wire
from app.wire.errors import Declined
from app.wire.recorder import Paced
from tests.livemaps import live_map, u32, u64
from tests.recorder.conftest import CLI, ROOT, Bench
from tests.recorder.test_record import SPEC

pytestmark = pytest.mark.kernel

SLOWER = '[[rule]]\nmaps = ["rec_flows"]\nevery = "5m"\n'


def told(bench: Bench, rules: str | None = None) -> dict[int, Paced]:
    found = bench.jobs.schedule(wire.AskSchedule(0, rules), ROOT)
    return {each.map_id: each for each in found.maps}


def set_rules(bench: Bench, text: str) -> None:
    """As the page does, by the thread that writes."""
    schedule.set_rules(bench.recorder, wire.AskRules(text, CLI), ROOT)


def test_rules_are_tried_without_effect_and_heeded_once_they_are_set(bench: Bench) -> None:
    with live_map(SPEC, [(u32(1), u64(1))]) as fd:
        map_id = map_info(fd).id
        bench.minute()
        assert (told(bench)[map_id].interval_s, told(bench)[map_id].by) == (60.0, "")
        tried = told(bench, SLOWER)[map_id]
        assert (tried.now_s, tried.interval_s, tried.by, tried.why_not) == (60.0, 300.0, "rule 1", "")
        assert bench.recorder.rules.rules == ()
        set_rules(bench, SLOWER)
        bench.minute()
        assert told(bench)[map_id].now_s == 300.0
        assert bench.recorder.facts().rules == "1 rule of the page What is recorded"
        never = told(bench, SLOWER.replace("5m", "never"))[map_id]
        assert (never.interval_s, never.why_not) == (0.0, "rule 1 says never")
        set_rules(bench, "")
        bench.minute()
        assert told(bench)[map_id].now_s == 60.0


def test_rules_of_the_page_outlive_the_recorder(bench: Bench) -> None:
    set_rules(bench, SLOWER)
    again = type(bench.recorder).begin(
        bench.recorder.writer, bench.recorder.client, bench.recorder.settings, "here", "b"
    )
    assert (again.rules.text, again.rules.source) == (SLOWER, "page")


def test_a_quicker_pace_holds_at_once_and_a_slower_one_from_the_next_look_on(bench: Bench) -> None:
    with live_map(SPEC, [(u32(1), u64(1))]) as fd:
        map_id = map_info(fd).id
        set_rules(bench, SLOWER.replace("5m", "30d"))
        bench.minute()
        first_s = bench.recorder.maps[map_id].looked_s
        bench.minute(1000)
        assert bench.recorder.maps[map_id].looked_s == first_s
        set_rules(bench, SLOWER.replace("5m", "20s"))
        bench.minute(20)
        assert bench.recorder.maps[map_id].looked_s == bench.now_s
        bench.minute(20)
        assert bench.recorder.maps[map_id].looked_s == bench.now_s
        assert not bench.recorder.maps[map_id].is_stretched  # what the old pace was is nothing that is late
        set_rules(bench, SLOWER.replace("5m", "1d"))
        bench.minute(20)
        last_s = bench.now_s
        bench.minute(20)
        assert bench.recorder.maps[map_id].looked_s == last_s


def test_a_file_counts_for_more(bench: Bench) -> None:
    set_rules(bench, SLOWER)
    file = bench.recorder.settings.within(bench.recorder.settings.record_rules)
    file.write_text('[[rule]]\nevery = "2m"\n')
    bench.minute()
    found = bench.jobs.schedule(wire.AskSchedule(0, None), ROOT)
    assert (found.source, found.told, found.rules) == ("file", f"1 rule of {file}", file.read_text())
    with pytest.raises(Declined, match="change that file"):
        set_rules(bench, "")
    file.unlink()
    bench.minute()
    assert bench.jobs.schedule(wire.AskSchedule(0, None), ROOT).rules == SLOWER


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param('[[rule]]\nevery = "soon"\n', 'rule 1: every is "30s"', id="a mistake"),
        pytest.param("#" * 16_001, "at most 16,000 characters", id="too long"),
    ],
)
def test_bad_rules_are_neither_tried_nor_set(bench: Bench, text: str, said: str) -> None:
    with pytest.raises(Declined, match=said):
        told(bench, text)
    with pytest.raises(Declined, match=said):
        set_rules(bench, text)
    assert bench.recorder.writer.fact(note_of("here")) is None


def test_who_set_rules_and_which_stands_in_the_audit_log(bench: Bench) -> None:
    set_rules(bench, SLOWER)
    with pytest.raises(Declined):
        set_rules(bench, "nonsense")
    assert bench.recorded() == [("history.rules", "root", f"1: {SLOWER}")]


def test_damaged_rules_count_as_none_and_are_told(bench: Bench) -> None:
    set_rules(bench, SLOWER)
    writer = bench.recorder.writer
    with writer.database.writing() as connection:
        connection.exec_driver_sql("UPDATE meta SET value = X'00' WHERE name = 'rules of here'")
    bench.minute()
    assert bench.recorder.rules.rules == ()
    assert bench.recorder.facts().rules.startswith("the note rules of here is damaged")


def test_many_maps_come_in_parts(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "PAGE_MAPS", 2)
    array = replace(SPEC, type=BpfMapType.ARRAY, max_entries=1)
    with live_map(array) as one, live_map(array) as two, live_map(array) as three:
        bench.minute()
        ids = sorted(map_info(fd).id for fd in (one, two, three))
        parts = [bench.jobs.schedule(wire.AskSchedule(first, None), ROOT) for first in (0, 2, 3)]
        assert [[each.map_id for each in part.maps] for part in parts] == [ids[:2], ids[2:], []]
        assert {part.total for part in parts} == {3}
