"""Moments of the past as pages say them."""

from __future__ import annotations

import pytest

from app.web import freshness, times

SECOND_NS = 1_000_000_000
NOW_NS = 1_795_543_391 * SECOND_NS + 42_000_000  # $ date -u -d 2026-11-24T18:03:11 +%s


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(-5, "now"), (0, "now"), (1, "1 s"), (59, "59 s"), (60, "1 min"), (119, "1 min"), (3600, "60 min"), (7199, "119 min"),
     (7200, "2 h"), (172_799, "47 h"), (172_800, "2 d"), (86_400 * 400, "400 d")],
)  # fmt: skip
def test_how_long_ago(seconds: int, said: str) -> None:
    assert times.ago(NOW_NS - seconds * SECOND_NS, NOW_NS) == said


def test_times_and_days_are_utc() -> None:
    assert times.utc(NOW_NS) == "2026-11-24 18:03:11"
    assert times.day(NOW_NS) == "Tuesday 24 November 2026"


def test_what_is_polled_counts_minutes() -> None:
    assert freshness.coarse(NOW_NS - 59 * SECOND_NS, NOW_NS) == "< 1 min"
    assert freshness.coarse(NOW_NS - 61 * SECOND_NS, NOW_NS) == "1 min"
