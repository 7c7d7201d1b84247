"""What each map takes by what it took lately, and what it would under other rules."""

from __future__ import annotations

from app.history.volume import volumes
from app.history.writer import Writer
from app.timeline.forecast import forecasts
from app.timeline.timeline import Timeline
from app.wire.recorder import Paced
from tests.history.made import SECOND_NS, snapshot, table

HOUR_NS = 3600 * SECOND_NS
NOW = 1_790_000_000 * SECOND_NS


def paced(series_id: int, now_s: float = 60.0, interval_s: float = 60.0) -> Paced:
    return Paced(
        map_id=7, series_id=series_id, entries=None, now_s=now_s, interval_s=interval_s, lately_s=0.0, by="", why_not=""
    )


def test_a_map_is_foretold_by_its_series_and_not_before_that_says_something(writer: Writer) -> None:
    keys, values = table(300, 8, 16)
    for number in range(3):
        values[:5, 0] += number
        of = snapshot(writer, keys, values, at_ns=NOW - (3 - number) * HOUR_NS).series_id
    young = snapshot(writer, keys, values, name="young", at_ns=NOW - SECOND_NS).series_id
    with writer.reading() as connection:
        volume = volumes(connection, NOW)[of]
    asked = [
        paced(of), paced(of, interval_s=30.0), paced(of, now_s=0.0), paced(of, interval_s=0.0), paced(young), paced(99),
    ]  # fmt: skip
    found = forecasts(Timeline(writer), asked, NOW)
    assert [each.title for each in found] == ["flows (hash, loader)"] * 4 + ["young (hash, loader)", "#7"]
    assert [each.snapshots for each in found] == [2, 2, 2, 2, 0, 0]
    usual, twice = volume.day_bytes(), volume.day_bytes(2.0)
    assert [each.day_bytes for each in found] == [usual, twice, usual, None, None, None]
    assert found[1].month_bytes == volume.month_bytes(2.0, 30.0)


def test_without_a_history_nothing_is_known() -> None:
    (one,) = forecasts(None, [paced(3)], NOW)
    assert (one.title, one.of, one.month_bytes) == ("#7", None, None)
