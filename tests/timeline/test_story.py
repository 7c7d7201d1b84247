"""One key of a real map through several snapshots."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import update

from app.history import retention
from app.history.chunks import Decoder
from app.history.errors import Damaged
from app.history.tables import Root
from app.history.writer import Writer
from app.timeline.story import Story, thinned
from app.uapi import syscall
from app.web.stories import over_time
from tests.columns.kernel_maps import created
from tests.livemaps import u32
from tests.timeline.conftest import Past
from tests.timeline.test_differ import SOURCE, flow, types

pytestmark = pytest.mark.kernel


@pytest.fixture
def told(past: Past, tmp_path: Path) -> tuple[Story, list[str]]:
    """Key 5 through seven snapshots: absent, 1, 1, 2, 2 (another field), absent, 3."""
    btf, (key_id, value_id) = types(SOURCE, tmp_path, "key", "flow")
    refs = []
    with created(btf, key_id, value_id, key_size=4, value_size=40, max_entries=16, name=b"flows") as (fd, map_id):
        syscall.map_update(fd, u32(1), flow(1))
        for value in (None, flow(1), flow(1), flow(2), flow(2, drops=4), None, flow(3)):
            if value is not None:
                syscall.map_update(fd, u32(5), value)
            elif refs:
                syscall.map_delete(fd, u32(5))
            refs.append(past.take(map_id).ref)
    series = past.writer.one_series(past.writer.snapshot(refs[0]).series_id)
    return Story(past.timeline, series, u32(5)), refs


def test_it_says_when_a_key_came_changed_and_went(told: tuple[Story, list[str]]) -> None:
    story, refs = told
    spans = story.spans()
    assert [(span.at.ref, span.until.ref if span.until else "", span.value is not None) for span in spans] == [
        (refs[0], refs[0], False), (refs[1], refs[2], True), (refs[3], refs[3], True), (refs[4], refs[4], True),
        (refs[5], refs[5], False), (refs[6], refs[6], True),
    ]  # fmt: skip
    found = story.summary(spans)
    assert found.first_seen is not None
    assert found.first_seen.ref == refs[1]
    assert found.before_first is not None
    assert found.before_first.ref == refs[0]
    assert found.last_seen is not None
    assert found.last_seen.ref == refs[6]
    assert found.gone is None
    assert found.changes == 5
    table = story.table(spans[1])
    assert table is not None
    assert int.from_bytes(table.values[0][:8].tobytes(), "little") == 1


def test_it_steps_to_the_next_and_the_last_change(told: tuple[Story, list[str]]) -> None:
    story, refs = told
    after = story.change(refs[1])
    assert after is not None
    assert after.at.ref == refs[3]
    before = story.change(refs[4], back=True)
    assert before is not None
    assert before.at.ref == refs[3]  # what came with this very snapshot is no change before it
    assert story.change(refs[1], back=True) is None
    field = story.change(refs[3], path="value.packets")
    assert field is not None
    assert field.at.ref == refs[5]  # only drops changed in between
    assert story.change(refs[6]) is None


def test_a_field_over_time_has_gaps_where_the_key_was_not(told: tuple[Story, list[str]]) -> None:
    story, _refs = told
    assert story.field("value.packets").values == [None, 1, 1, 2, 2, None, 3]
    assert story.field("value.drops").values == [None, 0, 0, 0, 4, None, 0]
    hidden = Story(story.timeline, story.series, story.key, hidden=("value.drops",))
    assert len(hidden.spans()) == 5
    assert hidden.field("value.drops").values == [None] * 7


def test_what_a_capped_snapshot_lacks_is_not_seen_rather_than_gone(told: tuple[Story, list[str]]) -> None:
    story, refs = told
    story.points()[:] = [
        replace(point, completeness="capped") if point.ref in (refs[0], refs[5]) else point for point in story.points()
    ]
    spans = story.spans()
    assert [(span.at.ref, [point.ref for point in span.unseen]) for span in spans] == [
        (refs[1], []), (refs[3], []), (refs[4], [refs[5]]), (refs[6], []),
    ]  # fmt: skip
    found = story.summary(spans)
    assert (found.first_seen, found.before_first, found.unseen) == (story.points()[1], None, None)
    assert over_time(story, spans, "value.packets").values == [None, 1, 1, 2, 2, None, 3]
    back = story.change(refs[6], back=True)
    assert back is not None
    assert back.at.ref == refs[4]
    story.points().pop()  # so that the newest does not hold all entries
    last = story.summary(story.spans())
    assert last.last_seen is not None
    assert last.unseen is not None
    assert (last.last_seen.ref, last.gone, last.unseen.ref, last.changes) == (refs[4], None, refs[5], 2)
    assert story.vanished() is None


def test_it_vanished_between_the_last_that_has_it_and_the_first_that_has_it_no_more(
    told: tuple[Story, list[str]],
) -> None:
    story, refs = told
    story.points().pop()
    assert [point.ref for point in story.vanished() or ()] == [refs[4], refs[5]]


def test_snapshots_that_were_thinned_since_they_were_listed_are_no_damage(told: tuple[Story, list[str]]) -> None:
    story, refs = told
    writer = story.timeline.history
    assert isinstance(writer, Writer)
    every = len(story.points())
    writer.forget([refs[3]])
    retention.collect(writer.database)
    assert [span.at.ref for span in story.spans()] == [refs[0], refs[1], refs[4], refs[5], refs[6]]
    assert len(story.points()) == every - 1
    with writer.database.writing() as connection:
        connection.execute(update(Root).values(body=b"spoilt"))
    writer.decoder = Decoder()
    with pytest.raises(Damaged):
        story.spans()


def test_thinning_keeps_extremes() -> None:
    values: list[float | int | None] = [1] * 5000
    values[2500], values[3333] = 99, None
    chosen = thinned(values, 600)
    assert len(chosen) <= 620
    assert 2500 in chosen
    assert chosen[0] == 0
    assert chosen[-1] == 4999
