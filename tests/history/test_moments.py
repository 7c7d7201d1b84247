"""Which snapshot is the one of a moment, which the newest, and which stand beside each other, when numbers and times disagree."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from app.history import retention
from app.history.database import open_writing, sqlite_url
from app.history.errors import NoSuchSnapshot, NothingThen
from app.history.keys import IMPORTED, in_order, points_of
from app.history.snapshots import Kept
from app.history.writer import Writer
from app.timeline.told import snapshots_told
from tests.history.made import SECOND_NS, series, snapshot, table

HOUR_NS = 3600 * SECOND_NS


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Writer]:
    writer = Writer(open_writing(sqlite_url(tmp_path / "history.db")))
    yield writer
    writer.close()


def kept(writer: Writer, at_ns: int, *, trigger: str = "schedule") -> Kept:
    keys, values = table(4, 4, 8)
    values[0, :4] = np.frombuffer(np.uint32(len(writer.snapshots())).tobytes(), np.uint8)
    return snapshot(writer, keys, values, at_ns=at_ns, trigger=trigger)


def at(writer: Writer, when_ns: int) -> str:
    return writer.at(series(writer).id, when_ns).ref


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        pytest.param([], [], id="none"),
        pytest.param([(1, 10, ""), (2, 20, "")], [1, 2], id="as they were taken"),
        pytest.param([(1, 10, ""), (2, 5, ""), (3, 7, "")], [1, 2, 3], id="the clock was set back"),
        pytest.param([(1, 10, ""), (2, 20, ""), (3, 15, IMPORTED)], [1, 3, 2], id="one taken in between"),
        pytest.param([(1, 10, ""), (2, 9, IMPORTED), (3, 8, IMPORTED)], [3, 2, 1], id="older ones, the newer first"),
        pytest.param(
            [(1, 10, ""), (2, 5, ""), (3, 30, ""), (4, 8, IMPORTED)], [1, 2, 4, 3], id="behind the last older"
        ),
        pytest.param([(1, 10, ""), (2, 10, IMPORTED), (3, 99, IMPORTED)], [2, 1, 3], id="of one time, and later"),
        pytest.param([(2, 9, IMPORTED), (1, 3, IMPORTED)], [1, 2], id="nothing else"),
    ],
)
def test_what_was_taken_in_stands_by_its_time_and_all_else_by_its_number(
    rows: list[tuple[int, int, str]], expected: list[int]
) -> None:
    assert in_order(rows) == expected


def test_the_newest_is_what_was_taken_here_last(writer: Writer) -> None:
    first, second = kept(writer, 1 * HOUR_NS, trigger=IMPORTED), kept(writer, 2 * HOUR_NS, trigger=IMPORTED)
    of = first.series_id
    assert writer.newest(of) == second
    own = kept(writer, 3 * HOUR_NS)
    kept(writer, HOUR_NS // 2, trigger=IMPORTED)
    assert writer.newest(of) == own


def test_what_was_taken_in_is_found_at_its_time_and_between_its_neighbours(writer: Writer) -> None:
    first, last = kept(writer, 1 * HOUR_NS), kept(writer, 3 * HOUR_NS)
    middle, late = kept(writer, 2 * HOUR_NS, trigger=IMPORTED), kept(writer, 4 * HOUR_NS, trigger=IMPORTED)
    found = {hour: at(writer, hour * HOUR_NS) for hour in (1, 2, 3, 4, 9)}
    assert found == {1: first.ref, 2: middle.ref, 3: last.ref, 4: late.ref, 9: late.ref}
    order: list[Kept | None] = [None, first, middle, last, late, None]
    for place in range(1, 5):
        this = order[place]
        assert this is not None
        assert writer.beside(this) == (order[place - 1], order[place + 1])
    with writer.reading() as connection:
        assert [point.ref for point in points_of(connection, first.series_id)] == [
            each.ref for each in order if each is not None
        ]
    with pytest.raises(NothingThen):
        at(writer, HOUR_NS - 1)


def test_after_the_clock_was_set_back_now_is_what_was_taken_since(writer: Writer) -> None:
    start = 400_000 * HOUR_NS
    ahead = [kept(writer, start + minute * 60 * SECOND_NS) for minute in range(0, 60, 10)]
    since = [kept(writer, start + minute * 60 * SECOND_NS) for minute in (5, 25)]
    assert at(writer, start + 26 * 60 * SECOND_NS) == since[1].ref
    assert at(writer, start + 24 * 60 * SECOND_NS) == since[0].ref
    assert at(writer, start + 4 * 60 * SECOND_NS) == ahead[0].ref
    assert writer.newest(since[0].series_id) == since[1]


def test_what_was_taken_before_the_clock_was_set_at_a_start_is_not_the_newest_of_all_times(writer: Writer) -> None:
    start = 400_000 * HOUR_NS
    before = kept(writer, start)
    unset = kept(writer, 20 * SECOND_NS)
    after = kept(writer, start + 10 * HOUR_NS)
    assert at(writer, start + HOUR_NS) == before.ref
    assert at(writer, start + 11 * HOUR_NS) == after.ref
    assert at(writer, HOUR_NS) == unset.ref


def test_a_snapshot_that_was_thinned_meanwhile_is_gone_rather_than_damaged(writer: Writer) -> None:
    keys, values = table(4, 4, 8)
    old, new = snapshot(writer, keys, values), snapshot(writer, keys, values + 1, at_ns=2 * SECOND_NS)
    listed = writer.snapshots()
    writer.forget([old.ref])
    retention.collect(writer.database)
    for ask in (
        lambda: writer.entries(old),
        lambda: writer.value(old, keys[0].tobytes()),
        lambda: writer.compare(old, new),
        lambda: writer.pieces_of(old),
        lambda: writer.count(old),
        lambda: writer.check_there(old),
    ):
        with pytest.raises(NoSuchSnapshot, match=f"there is no snapshot {old.ref}"):
            ask()
    assert [each["ref"] for each in snapshots_told(writer, listed)] == [new.ref]
    assert writer.count(new) == 4
