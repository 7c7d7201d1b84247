"""A difference is what a comparison entry by entry would give, and opens only what is not the same chunk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from app.history import diff
from app.history.chunks import Decoder
from app.history.codec import Codec
from app.history.content import Entries
from app.history.database import open_writing, sqlite_url
from app.history.diff import Difference
from app.history.errors import Unlike
from app.history.tables import Chunk
from app.history.writer import Writer
from tests.history.made import SECOND_NS, Bytes2d, as_dict, snapshot, table

SHAPES = [(1, 1), (4, 8), (4, 7), (8, 3), (16, 48), (40, 24), (4, 300), (8, 0), (3, 257)]


@dataclass(frozen=True, slots=True)
class Side:
    """Entries, as a test makes them."""

    keys: Bytes2d
    values: Bytes2d

    def as_dict(self) -> dict[bytes, bytes]:
        return as_dict(self.keys, self.values)


def by_hand(old: dict[bytes, bytes], new: dict[bytes, bytes]) -> dict[str, dict[bytes, object]]:
    return {
        "added": {key: value for key, value in new.items() if key not in old},
        "removed": {key: value for key, value in old.items() if key not in new},
        "changed": {key: (old[key], value) for key, value in new.items() if key in old and old[key] != value},
    }


def told(found: Difference) -> dict[str, dict[bytes, object]]:
    changed = found.changed
    return {
        "added": dict(as_dict(found.added.keys, found.added.values)),
        "removed": dict(as_dict(found.removed.keys, found.removed.values)),
        "changed": {
            key.tobytes(): (old.tobytes(), new.tobytes())
            for key, old, new in zip(changed.keys, changed.old, changed.new, strict=True)
        },
    }


def in_order(keys: Bytes2d) -> bool:
    rows = [row.tobytes() for row in keys]
    return rows == sorted(rows)


def moved(rng: np.random.Generator, side: Side, *, changed: int, gone: int, come: int) -> Side:
    """The same a while later."""
    stay = np.ones(len(side.keys), bool)
    if len(stay):
        stay[rng.integers(0, len(stay), gone)] = False
    keys, values = side.keys[stay], side.values[stay].copy()
    if values.size:
        values[rng.integers(0, len(values), changed), rng.integers(0, values.shape[1], changed)] ^= 1
    new = rng.integers(0, 256, (come, keys.shape[1]), np.uint8)
    there = {key.tobytes() for key in keys}
    fresh = [row for row in np.unique(new, axis=0) if row.tobytes() not in there]
    if fresh:
        keys = np.concatenate([keys, np.array(fresh)])
        values = np.concatenate([values, rng.integers(0, 256, (len(fresh), values.shape[1]), np.uint8)])
    shuffled = rng.permutation(len(keys))
    return Side(keys[shuffled], values[shuffled])


def sides(rng: np.random.Generator, n: int, key_width: int, value_width: int) -> Side:
    keys = np.unique(rng.integers(0, 256, (n, key_width), np.uint8), axis=0)
    return Side(keys, rng.integers(0, 3, (len(keys), value_width), np.uint8))


def check(writer: Writer, old_side: Side, new_side: Side, name: str) -> None:
    """Both ways, and of each with itself, against a comparison of dictionaries."""
    old = snapshot(writer, old_side.keys, old_side.values, name=name)
    new = snapshot(writer, new_side.keys, new_side.values, name=name, at_ns=2 * SECOND_NS)
    before, after = old_side.as_dict(), new_side.as_dict()
    forth, back = writer.compare(old, new), writer.compare(new, old)
    assert told(forth) == by_hand(before, after)
    assert told(back) == by_hand(after, before)
    assert forth.unchanged == back.unchanged == sum(after.get(key) == value for key, value in before.items())
    assert all(in_order(keys) for keys in (forth.added.keys, forth.removed.keys, forth.changed.keys))
    # Applied to one side it gives the other.
    removed = told(forth)["removed"]
    patched = {key: value for key, value in before.items() if key not in removed}
    patched |= as_dict(forth.added.keys, forth.added.values) | as_dict(forth.changed.keys, forth.changed.new)
    assert patched == after
    same = writer.compare(new, new)
    assert told(same) == {"added": {}, "removed": {}, "changed": {}}
    assert (same.opened, same.unchanged) == (0, len(after))


@pytest.fixture
def once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Writer]:
    """One database for all examples of a test."""
    writer = Writer(open_writing(sqlite_url(tmp_path_factory.mktemp("diff") / "history.db")))
    yield writer
    writer.close()


@given(
    seed=st.integers(0, 1 << 32), n=st.sampled_from([0, 1, 30, 700, 3000]), shape=st.sampled_from(SHAPES),
    changed=st.sampled_from([0, 1, 40]), gone=st.sampled_from([0, 1, 30]), come=st.sampled_from([0, 1, 30]),
)  # fmt: skip
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_a_difference_is_what_dictionaries_say(
    once: Writer, seed: int, n: int, shape: tuple[int, int], changed: int, gone: int, come: int
) -> None:
    rng = np.random.default_rng(seed)
    old = sides(rng, n, *shape)
    check(once, old, moved(rng, old, changed=changed, gone=gone, come=come), f"{seed}-{n}-{shape}-{changed}-{come}")


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_difference_is_the_same_on_both_databases(writer: Writer, shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(shape[0])
    old = sides(rng, 5000, *shape)
    for turn in range(3):
        new = moved(rng, old, changed=25, gone=3 * turn, come=5 * turn)
        check(writer, old, new, "flows")
        old = new


def test_two_maps_of_nothing_alike_differ_in_everything(writer: Writer) -> None:
    rng = np.random.default_rng(4)
    check(writer, sides(rng, 9000, 16, 8), sides(rng, 200, 16, 8), "flows")


@pytest.mark.parametrize(
    ("old_rows", "new_rows"),
    [(0, 3), (3, 0), (3, 3), (2000, 2000), (2000, 1400), (1400, 2000), (600, 1024), (512, 512)],
)
def test_without_keys_rows_are_compared_by_their_places(writer: Writer, old_rows: int, new_rows: int) -> None:
    values = np.random.default_rng(9).integers(0, 2, (max(old_rows, new_rows), 3), np.uint8)
    none = np.zeros((len(values), 0), np.uint8)
    old, new = values[:old_rows].copy(), values[:new_rows].copy()
    new[::700] ^= 1
    one = snapshot(writer, none[:old_rows], old)
    other = snapshot(writer, none[:new_rows], new, at_ns=2 * SECOND_NS)
    found = writer.compare(one, other)
    both = min(old_rows, new_rows)
    differs = (old[:both] != new[:both]).any(axis=1)
    assert (found.changed.old == old[:both][differs]).all()
    assert (found.changed.new == new[:both][differs]).all()
    assert len(found.changed) == differs.sum()
    assert found.unchanged == both - differs.sum()
    assert found.added.values.tolist() == new[both:].tolist()
    assert found.removed.values.tolist() == old[both:].tolist()


def test_without_keys_alike_pieces_that_change_places_are_a_change(writer: Writer) -> None:
    one = np.zeros((1024, 8), np.uint8)
    one[512:] = 1
    none = np.zeros((1024, 0), np.uint8)
    old = snapshot(writer, none, one)
    found = writer.compare(old, snapshot(writer, none, one[::-1], at_ns=2 * SECOND_NS))
    assert (len(found.changed), found.unchanged) == (1024, 0)
    twice = snapshot(writer, none, np.zeros((1024, 8), np.uint8), at_ns=3 * SECOND_NS)
    assert len(writer.compare(old, twice).changed) == 512


def test_chunks_that_are_the_same_are_not_opened(writer: Writer) -> None:
    keys, values = table(60_000, 16, 48)
    old = snapshot(writer, keys, values)
    first = writer.pieces(old.root_id)
    ordered = writer.entries(old)
    changed = ordered.values.copy()
    changed[0] ^= 1
    new = snapshot(writer, ordered.keys, changed, at_ns=2 * SECOND_NS)
    assert len(first) > 8
    found = writer.compare(old, new)
    assert (len(found.changed), found.opened) == (1, 3)  # its keys, its values before, its values after
    assert writer.compare(old, old).opened == 0
    opened = [number for number in first.chunk_ids if number in writer.pieces(new.root_id).chunk_ids]
    assert len(opened) == 2 * len(first) - 1


@pytest.mark.parametrize("value_width", [8, 48, 5, 300])
def test_by_deltas_and_by_rows_give_the_same(writer: Writer, value_width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    keys, values = table(12_000, 8, value_width)
    rng = np.random.default_rng(value_width)
    taken = []
    for minute in range(6):
        taken.append(snapshot(writer, keys, values, at_ns=(minute + 1) * SECOND_NS))
        values = values.copy()
        values[rng.integers(0, len(values), 60)] = rng.integers(0, 4, (60, value_width), np.uint8)
    with writer.reading() as connection:
        assert Codec.DELTA in set(connection.execute(Chunk.__table__.select()).scalars("codec"))
    pairs = [(taken[one], taken[other]) for one, other in ((0, 1), (0, 5), (5, 2), (3, 4))]
    by_deltas = [told(writer.compare(*pair)) for pair in pairs]
    monkeypatch.setattr(diff, "_by_deltas", lambda *_: None)
    writer.decoder = Decoder()
    assert [told(writer.compare(*pair)) for pair in pairs] == by_deltas
    contents = [{each.id: writer.entries(each) for each in pair} for pair in pairs]
    for pair, content, found in zip(pairs, contents, by_deltas, strict=True):
        one, other = (content[each.id] for each in pair)
        assert found == by_hand(as_dict(one.keys, one.values), as_dict(other.keys, other.values))


def test_a_value_that_came_back_is_no_change(writer: Writer) -> None:
    keys, values = table(5000, 8, 16)
    first = snapshot(writer, keys, values)
    other = values.copy()
    other[:40] ^= 7
    snapshot(writer, keys, other, at_ns=2 * SECOND_NS)
    values[40:50] ^= 7
    third = snapshot(writer, keys, values, at_ns=3 * SECOND_NS)
    assert len(writer.compare(first, third).changed) == 10


@pytest.mark.parametrize(
    ("key_width", "value_width", "why"),
    [
        (8, 8, "keys of 4 bytes on one side, of 8 on the other"),
        (4, 9, "values of 8 bytes on one side, of 9 on the other"),
    ],
)
def test_other_widths_are_nothing_to_compare(writer: Writer, key_width: int, value_width: int, why: str) -> None:
    old = snapshot(writer, *table(10, 4, 8))
    new = snapshot(writer, *table(10, key_width, value_width), at_ns=2 * SECOND_NS)
    with pytest.raises(Unlike) as refused:
        writer.compare(old, new)
    assert str(refused.value) == f"these two cannot be compared: {why}"


def test_entries_in_memory_are_compared_the_same_way() -> None:
    rng = np.random.default_rng(2)
    old = sides(rng, 400, 9, 5)
    new = moved(rng, old, changed=9, gone=4, come=6)
    order = np.lexsort(new.keys.T[::-1])
    found = diff.compare_entries(Entries(old.keys, old.values), Entries(new.keys[order], new.values[order]))
    assert told(found) == by_hand(old.as_dict(), new.as_dict())
