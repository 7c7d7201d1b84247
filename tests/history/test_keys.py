"""One key through time is what reading every snapshot would say, without reading every snapshot."""

from __future__ import annotations

import math
from dataclasses import replace

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from app.history.chunks import Decoder
from app.history.database import open_writing, sqlite_url
from app.history.keys import KeyHistory, Point, points_of
from app.history.writer import Writer
from tests.history.made import SECOND_NS, Bytes2d, as_dict, series, snapshot, table

History = list[dict[bytes, bytes]]


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory):
    writer = Writer(open_writing(sqlite_url(tmp_path_factory.mktemp("keys") / "history.db")))
    yield writer
    writer.close()


def grown(writer: Writer, name: str, rng: np.random.Generator, shape: tuple[int, int], turns: int) -> History:
    """Snapshots of a map whose entries change, come and go; what each held."""
    every, values = table(1500, *shape, seed=int(rng.integers(1 << 20)))
    some = every[:5]
    there = rng.random(len(every)) < 0.8
    then: History = []
    for turn in range(turns):
        values[rng.integers(0, len(values), 3)] ^= rng.integers(0, 2, (3, shape[1]), np.uint8)
        if rng.random() < 0.5:
            values[rng.integers(0, len(some))] ^= 1
        there[rng.integers(0, len(some) + 3)] ^= True
        snapshot(writer, every[there], values[there], name=name, at_ns=(turn + 1) * SECOND_NS)
        then.append(as_dict(every[there], values[there]))
    return then


def of(writer: Writer, name: str) -> list[Point]:
    with writer.reading() as connection:
        return points_of(connection, series(writer, name).id)


def by_hand(then: History, key: bytes) -> list[tuple[int, bytes | None]]:
    held = [each.get(key) for each in then]
    return [(at, value) for at, value in enumerate(held) if at == 0 or value != held[at - 1]]


@given(
    seed=st.integers(0, 1 << 32), turns=st.integers(1, 25), shape=st.sampled_from([(4, 8), (8, 3), (40, 16), (16, 0)])
)
@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_steps_and_changes_are_what_reading_all_says(
    once: Writer, seed: int, turns: int, shape: tuple[int, int]
) -> None:
    rng = np.random.default_rng(seed)
    name = f"{seed}-{turns}-{shape}"
    then = grown(once, name, rng, shape, turns)
    points = of(once, name)
    keys = sorted({key for each in then for key in each})
    chosen = [keys[at] for at in rng.integers(0, len(keys), 4)] + [bytes(shape[0]), b"\xff" * shape[0]]
    with once.reading() as connection:
        for key in chosen:
            history = KeyHistory(connection, Decoder(), key)
            steps = [(points.index(step.at), step.value) for step in history.steps(points)]
            assert steps == by_hand(then, key)
            start = int(rng.integers(0, turns))
            change = KeyHistory(connection, Decoder(), key).next_change(points[start:], lambda one, other: one == other)
            later = [at for at in range(start, turns) if then[at].get(key) != then[start].get(key)]
            assert (None if change is None else points.index(change.at)) == (later[0] if later else None)
            assert change is None or change.value == then[later[0]].get(key)


def test_a_key_of_another_size_was_never_there(once: Writer) -> None:
    snapshot(once, *table(10, 4, 4), name="sizes")
    with once.reading() as connection:
        points = points_of(connection, series(once, "sizes").id)
        assert [step.value for step in KeyHistory(connection, Decoder(), b"12345").steps(points)] == [None]


def test_without_keys_the_only_entry_has_a_history(once: Writer) -> None:
    for turn in range(4):
        snapshot(once, np.zeros((1, 0), np.uint8), np.full((1, 64), turn // 2, np.uint8), name="bss", at_ns=turn + 1)
    points = of(once, "bss")
    with once.reading() as connection:
        found = [(step.at.ref, step.value) for step in KeyHistory(connection, Decoder(), b"").steps(points)]
    assert found == [(points[0].ref, bytes(64)), (points[2].ref, b"\1" * 64)]


def test_no_snapshots_say_nothing(once: Writer) -> None:
    with once.reading() as connection:
        history = KeyHistory(connection, Decoder(), b"abcd")
        assert list(history.steps([])) == []
        assert history.next_change([], lambda one, other: one == other) is None
        assert history.halves([], lambda value: value is None) is None


@pytest.fixture(scope="module")
def counting(once: Writer) -> tuple[list[Point], bytes]:
    """A counter that goes up by one with each of 64 snapshots, among others that do not move."""
    keys, values = table(9000, 8, 8)
    for turn in range(64):
        values[4000, 0] = turn
        snapshot(once, keys, values, name="counter", at_ns=(turn + 1) * SECOND_NS)
    return of(once, "counter"), keys[4000].tobytes()


@pytest.mark.parametrize("wanted", [0, 1, 2, 31, 32, 33, 62, 63, 64, 200])
def test_halving_finds_the_first_and_opens_few(once: Writer, counting: tuple[list[Point], bytes], wanted: int) -> None:
    points, key = counting
    with once.reading() as connection:
        history = KeyHistory(connection, Decoder(), key)
        found = history.halves(points, lambda value: value is not None and value[0] >= wanted)
        assert found == (wanted if wanted < 64 else None)
        assert history.opened <= math.log2(len(points)) + 2


def test_a_snapshot_that_does_not_hold_all_entries_says_nothing_of_a_key_that_it_lacks(once: Writer) -> None:
    keys, values = table(8, 4, 4)
    key, other = keys[6].tobytes(), values.copy()
    other[6] ^= 1
    without = np.arange(8) != 6
    held: list[Bytes2d | None] = [None, values, None, values, None, other, None, None, None]
    for turn, each in enumerate(held):
        some = without if each is None else slice(None)
        snapshot(once, keys[some], values[some] if each is None else each, name="capped", at_ns=turn + 1)
    told = ["capped", "walked", "capped", "walked", "partial", "walked", "capped", "exact", "capped"]
    points = [replace(point, completeness=how) for point, how in zip(of(once, "capped"), told, strict=True)]
    with once.reading() as connection:
        history = KeyHistory(connection, Decoder(), key)
        steps = [(points.index(step.at), step.value is not None) for step in history.steps(points)]
        assert steps == [(1, True), (5, True), (7, False)]
        assert [points.index(point) for point in history.unseen] == [0, 2, 4, 6, 8]
        change = history.next_change(points[2:], lambda one, two: one == two)
        assert change is not None
        assert (change.at, change.before) == (points[5], points[3])
        assert history.next_change(points[7:], lambda one, two: one == two) is None
        for start in range(9):
            found = history.halves(points[start:], lambda value: value is None)
            assert found == (None if start == 8 else max(7 - start, 0)), start
        assert history.halves(points[:7], lambda value: value is None) is None


def test_the_entry_of_a_map_without_keys_is_gone_where_it_is_not_read_first(once: Writer) -> None:
    for turn, rows in enumerate((1, 0)):
        snapshot(once, np.zeros((rows, 0), np.uint8), np.ones((rows, 8), np.uint8), name="queue", at_ns=turn + 1)
    points = [replace(point, completeness="partial") for point in of(once, "queue")]
    with once.reading() as connection:
        assert [step.value for step in KeyHistory(connection, Decoder(), b"").steps(points)] == [b"\1" * 8, None]


def test_a_walk_opens_each_distinct_chunk_once(once: Writer, counting: tuple[list[Point], bytes]) -> None:
    points, _ = counting
    with once.reading() as connection:
        first, last = (once.pieces(points[at].root_id) for at in (0, -1))
        still = int(np.flatnonzero(first.value_ids == last.value_ids)[0])
        history = KeyHistory(connection, Decoder(), first.first[still].tobytes())
        assert len(list(history.steps(points))) == 1
        assert history.opened == 1
