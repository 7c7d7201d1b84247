"""What goes in comes out; what does not change costs nothing; the order of reading does not matter."""

from __future__ import annotations

import hashlib

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from app.history import codec
from app.history.seal import address
from app.history.snapshots import About
from app.history.splitter import cuts, order_of
from app.history.verify import verify
from app.history.writer import Writer
from tests.history.made import SECOND_NS, as_dict, snapshot, table


def test_address_of_known_bytes_never_changes() -> None:
    # $ printf abc | b2sum -l 256
    assert address(b"abc").hex() == "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319"
    assert address(b"abc") == hashlib.blake2b(b"abc", digest_size=32).digest()


@pytest.mark.parametrize(
    ("n", "key_width", "value_width"),
    [
        pytest.param(0, 4, 8, id="no entries"),
        pytest.param(1, 4, 8, id="one entry"),
        pytest.param(1, 0, 4096, id="no key: a section of variables"),
        pytest.param(3, 0, 12, id="no key: a queue"),
        pytest.param(40_000, 16, 48, id="several chunks"),
        pytest.param(9_000, 3, 5, id="odd sizes"),
        pytest.param(700, 8, 3000, id="wide values"),
        pytest.param(5, 4, 1 << 20, id="a MiB a value"),
        pytest.param(300, 264, 16, id="keys longer than a list's prefix"),
        pytest.param(100, 4, 0, id="keys alone"),
    ],
)  # fmt: skip
def test_entries_read_back_are_those_that_went_in(writer: Writer, n: int, key_width: int, value_width: int) -> None:
    keys, values = table(n, key_width, value_width)
    kept = snapshot(writer, keys, values)
    found = writer.entries(kept)
    assert as_dict(found.keys, found.values) == as_dict(keys, values) if key_width else (found.values == values).all()
    assert len(found) == n
    order = order_of(found.keys)
    assert order is None or (found.keys[order] == found.keys).all()


def test_an_unchanged_map_adds_nothing(writer: Writer) -> None:
    keys, values = table(20_000)
    first = snapshot(writer, keys, values)
    again = snapshot(writer, keys[::-1], values[::-1], at_ns=2 * SECOND_NS)
    assert again.root_id == first.root_id
    assert again.bytes_added == 0


def test_changed_values_cost_what_changed(writer: Writer) -> None:
    keys, values = table(40_000, 16, 48)
    first = snapshot(writer, keys, values)
    values[:2000, 3] += 1
    second = snapshot(writer, keys, values, at_ns=2 * SECOND_NS)
    assert second.bytes_added < first.bytes_added / 20
    found = writer.entries(second)
    assert as_dict(found.keys, found.values) == as_dict(keys, values)


def test_entries_that_come_and_go_cost_what_changed(writer: Writer) -> None:
    keys, values = table(40_000, 16, 48)
    first = snapshot(writer, keys[:-20], values[:-20])
    second = snapshot(writer, keys[20:], values[20:], at_ns=2 * SECOND_NS)
    assert second.bytes_added < first.bytes_added / 20
    found = writer.entries(second)
    assert as_dict(found.keys, found.values) == as_dict(keys[20:], values[20:])


def test_two_drafts_of_the_same_may_both_be_kept(writer: Writer) -> None:
    """As two hosts do that share a server, or a schedule and somebody by hand."""
    keys, values = table(20_000, 8, 16)
    first = snapshot(writer, keys, values)
    values[:50, 0] ^= 1
    about = About(**{name: getattr(first, name) for name in About.__slots__})
    drafts = [writer.draft(keys, values, previous=root_id) for root_id in (first.root_id, 0)]
    other = writer.draft(keys[1:], values[1:], previous=first.root_id)
    kept = [writer.keep(draft, about) for draft in drafts]
    assert kept[0].root_id == kept[1].root_id
    found = writer.entries(writer.keep(other, about))
    assert as_dict(found.keys, found.values) == as_dict(keys[1:], values[1:])
    with writer.reading() as connection:
        assert list(verify(connection)) == []


def test_a_long_chain_reads_back(writer: Writer) -> None:
    keys, values = table(6000, 8, 24)
    rng = np.random.default_rng(5)
    wanted = []
    for minute in range(70):
        values[rng.integers(0, len(values), 50), rng.integers(0, 24, 50)] += 1
        chosen = rng.random(len(keys)) > 0.001
        wanted.append(
            (snapshot(writer, keys[chosen], values[chosen], at_ns=(minute + 1) * SECOND_NS), chosen, values.copy())
        )
    for kept, chosen, then in wanted:
        found = writer.entries(kept)
        assert as_dict(found.keys, found.values) == as_dict(keys[chosen], then[chosen])


@given(seed=st.integers(0, 1 << 32), n=st.integers(1, 3000), width=st.integers(1, 20), wide=st.booleans())
@settings(max_examples=40, deadline=None)
def test_order_of_insertion_does_not_change_a_chunk(seed: int, n: int, width: int, wide: bool) -> None:
    rng = np.random.default_rng(seed)
    keys = np.unique(rng.integers(0, 4, (n, width), np.uint8), axis=0)
    other = keys[rng.permutation(len(keys))]
    order, again = order_of(keys), order_of(other)
    one = keys if order is None else keys[order]
    two = other if again is None else other[again]
    assert (one == two).all()
    row_bytes = 100_000 if wide else 64
    assert cuts(one, row_bytes) == cuts(two, row_bytes)
    assert [row.tobytes() for row in one] == sorted(row.tobytes() for row in keys)


def test_one_more_key_moves_only_its_own_boundary() -> None:
    keys, _ = table(200_000, 16)
    ordered = keys[order_of(keys)]
    ends = set(map(bytes, ordered[np.array(cuts(ordered, 64)[:-1]) - 1]))
    more = np.delete(ordered, 100_000, axis=0)
    fewer = set(map(bytes, more[np.array(cuts(more, 64)[:-1]) - 1]))
    assert len(ends) > 20
    assert len(ends ^ fewer) <= 2


@given(
    data=st.data(),
    n=st.integers(0, 60),
    m=st.integers(0, 60),
    width=st.sampled_from([0, 1, 4, 7, 8, 24, 256, 257, 1000]),
)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_delta_gives_back_its_rows(data: st.DataObject, n: int, m: int, width: int) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 1 << 32)))
    base = rng.integers(0, 2, (m, width), np.uint8)
    source = rng.integers(-1, m, n) if m else np.full(n, -1)
    if n == m and data.draw(st.booleans()):
        source = None
    rows = base.copy() if source is None else np.zeros((n, width), np.uint8)
    if source is not None:
        rows[source >= 0] = base[source[source >= 0]]
    if rows.size:
        rows.reshape(-1)[rng.integers(0, rows.size, 5)] ^= 255
    packed = codec.pack(codec.delta(rows, base, source))
    change = codec.unpack(packed.data, width, rows.nbytes) if width else codec.delta(rows, base, source)
    assert (codec.apply(base, change) == rows).all()
    plain = codec.encode(rows)
    if width:
        assert (codec.decode(plain.codec, plain.data, width, rows.nbytes) == rows).all()


def test_keys_that_begin_alike_beyond_a_list_s_prefix(writer: Writer) -> None:
    keys, values = table(30_000, 4, 24)
    keys = np.concatenate([np.full((len(keys), 36), ord("/"), np.uint8), keys], axis=1)
    snapshot(writer, keys, values)
    values[::50, 3] += 1
    second = snapshot(writer, keys, values, at_ns=2 * SECOND_NS)
    found = writer.entries(second)
    assert as_dict(found.keys, found.values) == as_dict(keys, values)
    assert writer.value(second, keys[17].tobytes()) == values[17].tobytes()
    stay = np.arange(len(keys)) % 1000 != 5
    third = snapshot(writer, keys[stay], values[stay], at_ns=3 * SECOND_NS)
    found = writer.entries(third)
    assert as_dict(found.keys, found.values) == as_dict(keys[stay], values[stay])
