"""What a month will take, by what the last day took."""

from __future__ import annotations

import pytest

from app.history.retention import DAY_NS, HOUR_NS
from app.history.volume import ROW_BYTES, Volume, volumes
from app.history.writer import Writer
from tests.history.made import SECOND_NS, snapshot, table

MINUTE_NS = 60 * SECOND_NS
NOW = 1_790_000_000 * SECOND_NS // HOUR_NS * HOUR_NS


def test_a_day_is_counted_by_the_hour_without_the_first_whole_snapshot(writer: Writer) -> None:
    keys, values = table(300, 8, 16)
    first = snapshot(writer, keys, values, at_ns=NOW - 3 * HOUR_NS)
    later = []
    for minutes in (100, 90, 30):
        values[:5, 0] ^= minutes
        later.append(snapshot(writer, keys, values, at_ns=NOW - minutes * MINUTE_NS))
    snapshot(writer, keys[:3], values[:3], name="other", at_ns=NOW - MINUTE_NS)
    with writer.reading() as connection:
        found = volumes(connection, NOW)
    flows, other = found[first.series_id], found[first.series_id + 1]
    assert (flows.snapshots, flows.span_ns, flows.whole_bytes) == (3, 3 * HOUR_NS, first.bytes_added)
    assert flows.bytes == sum(each.bytes_added for each in later)
    assert sorted(flows.hours) == sorted([later[0].bytes_added + later[1].bytes_added, later[2].bytes_added])
    assert flows.is_known
    assert not other.is_known


WHOLE, A_DAY, AN_HOUR = 5000, 1440 * (10 + ROW_BYTES), 600 + ROW_BYTES


@pytest.mark.parametrize(
    ("faster", "interval_s", "day", "month"),
    [
        pytest.param(1.0, 60.0, A_DAY, WHOLE + A_DAY + 29 * AN_HOUR * 24, id="as it is"),
        pytest.param(2.0, 30.0, 2 * A_DAY, WHOLE + 2 * A_DAY + 29 * AN_HOUR * 24, id="twice as often"),
        pytest.param(0.2, 300.0, A_DAY / 5, WHOLE + A_DAY / 5 + 29 * AN_HOUR * 24, id="every five minutes"),
        pytest.param(1 / 120, 7200.0, A_DAY / 120, WHOLE + A_DAY / 120 + 29 * AN_HOUR * 12, id="every two hours"),
    ],
)
def test_what_other_intervals_would_take(faster: float, interval_s: float, day: float, month: float) -> None:
    volume = Volume(snapshots=1440, bytes=14_400, whole_bytes=WHOLE, span_ns=DAY_NS, hours=[600] * 24)
    assert volume.day_bytes(faster) == int(day)
    assert volume.month_bytes(faster, interval_s) == pytest.approx(month, rel=0.01)


def test_an_hour_keeps_no_more_than_all_entries_and_half_a_day_counts_twice() -> None:
    volume = Volume(snapshots=12, bytes=12_000, whole_bytes=100, span_ns=DAY_NS // 2, hours=[1000] * 12)
    assert volume.day_bytes() == 24_000 + 24 * ROW_BYTES
    assert volume.month_bytes() == 100 + volume.day_bytes() + 29 * 24 * (100 + ROW_BYTES)
