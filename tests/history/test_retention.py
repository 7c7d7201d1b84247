"""What goes in time is what the table says; what stays reads back as it was, and only what it needs stays with it."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from sqlalchemy import delete, func, select, update
from sqlalchemy.exc import IntegrityError

from app.history import retention, roots, shortage
from app.history.chunks import check_content
from app.history.codec import Codec
from app.history.content import Entries
from app.history.database import open_writing, sqlite_url
from app.history.retention import BEFORE_EDIT_NS, DAY_NS, HOUR_NS, Taken, surplus
from app.history.seal import address
from app.history.snapshots import Kept
from app.history.splitter import cuts
from app.history.tables import Chunk, Layout, Root, Series, Snapshot, Use
from app.history.verify import verify
from app.history.writer import Writer
from tests.history.made import SECOND_NS, as_dict, series, snapshot, table

MINUTE_NS = 60 * SECOND_NS
NOW = 1_000 * DAY_NS + HOUR_NS // 2
"""Half past midnight."""


def taken(number: int, age_ns: int, *, label: bool = False, before_edit: bool = False) -> Taken:
    return Taken(number, 1, NOW - age_ns, kept=label, before_edit=before_edit)


@pytest.mark.parametrize(
    ("given_taken", "gone"),
    [
        pytest.param([], [], id="nothing"),
        pytest.param(
            [taken(n, 23 * HOUR_NS + 59 * MINUTE_NS - n * SECOND_NS) for n in range(5)], [], id="all of the last day"
        ),
        pytest.param([taken(1, DAY_NS + 2 * MINUTE_NS), taken(2, DAY_NS + MINUTE_NS), taken(3, 0)], [1], id="hourly"),
        pytest.param(
            [taken(n, 3 * DAY_NS - n * 20 * MINUTE_NS) for n in range(7)], [0, 2, 3, 5], id="the last of each hour"
        ),
        pytest.param(
            [taken(n, 29 * DAY_NS - n * HOUR_NS) for n in range(5)], [], id="one an hour up to the 30th day"
        ),
        pytest.param(
            [taken(n, 40 * DAY_NS - n * 6 * HOUR_NS) for n in range(6)], [0, 1, 2, 4], id="one a day after 30 days"
        ),
        pytest.param(
            [taken(1, 40 * DAY_NS, label=True), taken(2, 40 * DAY_NS - HOUR_NS), taken(3, 40 * DAY_NS - 2 * HOUR_NS)],
            [2], id="a label stays",
        ),
        pytest.param([taken(8, 40 * DAY_NS), taken(9, 40 * DAY_NS - HOUR_NS, label=True)], [8], id="one with a label counts"),
        pytest.param(
            [taken(1, 20 * DAY_NS, before_edit=True), taken(2, 20 * DAY_NS - SECOND_NS)], [], id="before an edit: 30 days"
        ),
        pytest.param(
            [taken(1, BEFORE_EDIT_NS + MINUTE_NS, before_edit=True), taken(2, BEFORE_EDIT_NS + SECOND_NS)],
            [1], id="before an edit: no longer",
        ),
        pytest.param(
            [taken(1, 2 * DAY_NS), taken(2, -DAY_NS), taken(3, -DAY_NS), taken(4, -400 * DAY_NS)], [], id="of the future"
        ),
        pytest.param([taken(99, 500 * DAY_NS), taken(2, 500 * DAY_NS - MINUTE_NS)], [], id="the newest stays, however old"),
    ],
)  # fmt: skip
def test_surplus_is_what_the_table_says(given_taken: list[Taken], gone: list[int]) -> None:
    assert surplus(given_taken, NOW, 99 if any(each.id == 99 for each in given_taken) else 10**6) == gone


@given(st.lists(st.integers(-2 * DAY_NS, 60 * DAY_NS), max_size=60), st.data())
def test_thinning_again_takes_nothing_more(ages: list[int], data: st.DataObject) -> None:
    all_taken = [taken(number, age) for number, age in enumerate(sorted(ages, reverse=True))]
    newest = max((each.id for each in all_taken), default=0)
    gone = set(surplus(all_taken, NOW, newest))
    left = [each for each in all_taken if each.id not in gone]
    assert surplus(left, NOW, newest) == []
    # No hour of the last 30 days and no day before loses its last one.
    kept = {each.id for each in left}
    for unit_ns, oldest, youngest in ((HOUR_NS, 30 * DAY_NS, DAY_NS), (DAY_NS, 10**30, 30 * DAY_NS)):
        spans: dict[int, int] = {}
        for each in all_taken:
            if youngest <= NOW - each.taken_ns < oldest:
                spans[each.taken_ns // unit_ns] = each.id
        assert kept.issuperset(spans.values())


def root_address(found: Entries) -> bytes:
    """Of a root with these entries, made from nothing but them."""
    ends = cuts(found.keys, found.keys.shape[1] + found.values.shape[1])
    spans = list(zip([0, *ends], ends, strict=False))
    names = [
        [address(side[start:end]) if side.shape[1] else roots.NONE for start, end in spans]
        for side in (found.keys, found.values)
    ]
    first = b"".join(found.keys[start, : roots.PREFIX_BYTES].tobytes() for start, _ in spans)
    return roots.name_of(
        len(found), found.keys.shape[1], found.values.shape[1], [end - start for start, end in spans], first,
        names[0] + names[1],
    )  # fmt: skip


def check_all(writer: Writer, wanted: dict[int, dict[bytes, bytes]]) -> None:
    """Every snapshot in `wanted` and no other is there, as it was; every chunk there is needed."""
    assert {each.id for each in writer.snapshots(limit=10_000)} == set(wanted)
    for number, then in wanted.items():
        kept = writer.snapshot(f"s{number}")
        found = writer.entries(kept, check=check_content)
        assert as_dict(found.keys, found.values) == then
        with writer.reading() as connection:
            named = connection.execute(select(Root.address).where(Root.id == kept.root_id)).scalar_one()
        assert named == root_address(found)
    with writer.reading() as connection:
        needed = set(connection.execute(select(Use.chunk_id)).scalars())
        for column in (Layout.btf_id, Layout.base_btf_id):
            needed |= set(connection.execute(select(column).where(column.is_not(None))).scalars())
        listed = set(connection.execute(select(Snapshot.root_id)).scalars())
        used = {number for pieces in roots.load_many(connection, list(listed)).values() for number in pieces.chunk_ids}
        assert used <= needed
        assert set(connection.execute(select(Chunk.id)).scalars()) == needed
        assert set(connection.execute(select(Root.id)).scalars()) == listed
        assert list(verify(connection)) == []


def grown(writer: Writer, n: int, step_ns: int, *, first_ns: int, name: str = "flows") -> dict[int, dict[bytes, bytes]]:
    """A history of a map whose entries change, come and go: entries by snapshot."""
    rng = np.random.default_rng(n)
    keys, values = table(3000, 8, 16)
    there = {}
    for turn in range(n):
        values[rng.integers(0, len(values), 40), rng.integers(0, 16, 40)] ^= 1
        stay = rng.random(len(keys)) > 0.002 * (turn % 3)
        kept = snapshot(writer, keys[stay], values[stay], name=name, at_ns=first_ns + turn * step_ns)
        there[kept.id] = as_dict(keys[stay], values[stay])
    return there


def test_what_stays_reads_back_and_the_rest_is_gone(writer: Writer) -> None:
    there = grown(writer, 60, 20 * MINUTE_NS, first_ns=NOW - 5 * DAY_NS)
    labelled = writer.label(f"s{min(there)}", "before the upgrade")
    newest = max(there)
    before = retention.used_bytes(writer.database)
    gone = retention.thin(writer.database, NOW)
    assert gone == 60 - 20 - 2  # they lie in 21 hours, and one has a label
    collected = retention.collect(writer.database)
    left = {each.id for each in writer.snapshots(limit=1000)}
    assert {labelled.id, newest} <= left
    check_all(writer, {number: there[number] for number in left})
    assert collected.roots == gone
    assert collected.rebased > 0
    assert retention.used_bytes(writer.database) < before
    assert retention.collect(writer.database) == retention.Collected(0, 0, 0, 0)


def test_the_file_shrinks(tmp_path) -> None:
    with closing(Writer(open_writing(sqlite_url(tmp_path / "history.db")))) as writer:
        shrink(writer)


def shrink(writer: Writer) -> None:
    rng = np.random.default_rng(0)
    keys, _ = table(20_000, 8)
    for turn in range(5):
        snapshot(writer, keys, rng.integers(0, 256, (len(keys), 16), np.uint8), at_ns=(turn + 1) * SECOND_NS)
    writer.database.checkpoint()
    before = writer.database.path.stat().st_size
    writer.forget(["s1", "s2", "s3"])
    retention.collect(writer.database)
    writer.database.shrink()
    writer.database.checkpoint()
    assert writer.database.path.stat().st_size < before * 0.6
    with writer.reading() as connection:
        assert list(verify(connection)) == []


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param(lambda: delete(Chunk).where(Chunk.id.in_(select(Use.chunk_id))), id="a chunk in a list"),
        pytest.param(lambda: delete(Chunk).where(Chunk.id.in_(select(Chunk.base_id))), id="a base"),
        pytest.param(lambda: delete(Chunk).where(Chunk.id.in_(select(Layout.btf_id))), id="BTF"),
        pytest.param(lambda: delete(Root), id="a list"),
        pytest.param(lambda: delete(Layout), id="a layout"),
    ],
)
def test_the_database_itself_refuses_to_delete_what_is_needed(writer: Writer, statement) -> None:
    grown(writer, 3, MINUTE_NS, first_ns=SECOND_NS)
    writer.layout_of(b"with types", b"\x9f\xeb" * 40, None)
    with writer.database.engine.connect() as connection, pytest.raises(IntegrityError):
        connection.execute(statement())


def test_a_damaged_row_is_not_thinned_away(writer: Writer) -> None:
    there = grown(writer, 4, MINUTE_NS, first_ns=NOW - 5 * DAY_NS)
    number = writer.label(f"s{min(there)}", "of the incident").id
    with writer.database.writing() as connection:
        connection.execute(update(Snapshot).where(Snapshot.id == number).values(label=""))
    assert retention.thin(writer.database, NOW) == 2
    with writer.reading() as connection:
        assert number in set(connection.execute(select(Snapshot.id)).scalars())
    assert number not in shortage.oldest(writer.database, 10)
    more = grown(writer, 2, MINUTE_NS, first_ns=NOW)
    assert shortage.oldest(writer.database, 1) == [max(there)] or shortage.oldest(writer.database, 1) == [min(more)]


def test_a_chunk_that_cannot_be_read_stays_with_what_it_stands_on_and_the_rest_goes(writer: Writer) -> None:
    there = grown(writer, 6, MINUTE_NS, first_ns=SECOND_NS)
    conns = grown(writer, 4, MINUTE_NS, first_ns=SECOND_NS, name="conns")
    with writer.database.writing() as connection:
        number, data = connection.execute(
            select(Chunk.id, Chunk.data)
            .where(Chunk.codec == Codec.DELTA, Chunk.width == 16)
            .order_by(Chunk.id)
            .limit(1)
        ).one()
        connection.execute(update(Chunk).where(Chunk.id == number).values(data=data[:-1] + bytes([data[-1] ^ 1])))
    writer.forget([f"s{each}" for each in [*sorted(there)[:3], *sorted(conns)[:2]]])
    collected = retention.collect(writer.database)
    # Later ones are deltas of it, and so on: they stay as they are.
    assert collected.unread
    assert collected.rebased > 0
    assert collected.chunks > 0
    with writer.reading() as connection:
        stay = set(connection.execute(select(Use.chunk_id)).scalars())
        below = retention._below(writer.database, collected.unread)
        assert set(connection.execute(select(Chunk.id)).scalars()) == stay | below
        assert number in below
        assert not below & stay
    left = {each: conns[each] for each in sorted(conns)[2:]}
    for each, then in left.items():
        found = writer.entries(writer.snapshot(f"s{each}"), check=check_content)
        assert as_dict(found.keys, found.values) == then
    assert retention.collect(writer.database) == retention.Collected(0, 0, 0, 0, collected.unread)
    # Once it can be read again, all goes that nothing needs.
    with writer.database.writing() as connection:
        connection.execute(update(Chunk).where(Chunk.id == number).values(data=data))
    assert retention.collect(writer.database).rebased == len(collected.unread)
    check_all(writer, left | {each: there[each] for each in sorted(there)[3:]})


def test_many_chunks_that_cannot_be_read_do_not_keep_a_collection_going(
    writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "SLICE", 1)
    there = [sorted(grown(writer, count, MINUTE_NS, first_ns=SECOND_NS, name=f"m{count}")) for count in (4, 5, 6)]
    with writer.database.writing() as connection:
        deltas = connection.execute(select(Chunk.id).where(Chunk.codec == Codec.DELTA)).scalars().all()
        connection.execute(update(Chunk).where(Chunk.codec == Codec.DELTA).values(data=b"nothing of it"))
        counted = connection.execute(select(func.count()).select_from(Chunk)).scalar_one()
    writer.forget([f"s{number}" for each in there for number in each[:3]])
    collected = retention.collect(writer.database)
    assert len(collected.unread) > 1
    assert set(collected.unread) <= set(deltas)
    with writer.reading() as connection:
        assert connection.execute(select(func.count()).select_from(Chunk)).scalar_one() == counted - collected.chunks


def test_the_oldest_are_named_first_and_never_the_newest(writer: Writer) -> None:
    flows = grown(writer, 4, MINUTE_NS, first_ns=10 * SECOND_NS)
    conns = grown(writer, 3, MINUTE_NS, first_ns=SECOND_NS, name="conns")
    labelled = writer.label(f"s{min(conns)}", "kept")
    wanted = [min(flows), sorted(conns)[1], sorted(flows)[1], sorted(flows)[2]]
    ages = {each.id: each.taken_ns for each in writer.snapshots(limit=100)}
    assert shortage.oldest(writer.database, 100) == sorted(wanted, key=ages.__getitem__)
    assert labelled.id not in wanted
    assert shortage.oldest(writer.database, 2) == sorted(wanted, key=ages.__getitem__)[:2]


def test_of_the_oldest_only_as_many_are_named_as_bytes_are_wanted(writer: Writer) -> None:
    grown(writer, 6, MINUTE_NS, first_ns=SECOND_NS)
    added = [each.bytes_added for each in writer.snapshots(limit=100)[::-1]]
    named = [f"s{number}" for number in shortage.oldest(writer.database, 100)]
    assert len(named) == 5
    for wanted_bytes, count in ((0, 1), (1, 1), (added[0], 1), (added[0] + 1, 2), (sum(added[:3]), 3), (1 << 40, 5)):
        assert len(shortage.oldest(writer.database, 100, wanted_bytes)) == count
    assert len(shortage.oldest(writer.database, 2, 1 << 40)) == 2


def test_the_newest_goes_too_where_its_map_is_gone_for_long(writer: Writer) -> None:
    for turn, name in enumerate(("gone", "labelled", "live", "lately", "damaged")):
        grown(writer, 1, MINUTE_NS, first_ns=(turn + 1) * SECOND_NS, name=name)
    writer.label("s2", "of the incident")
    of = {each.of.name: each for each in writer.series()}
    writer.touch(replace(of["lately"], last_seen_ns=NOW - 29 * DAY_NS))
    with writer.database.writing() as connection:
        connection.execute(update(Series).where(Series.id == of["damaged"].id).values(last_seen_ns=17))
    assert shortage.oldest(writer.database, 10) == []
    lately_ns = NOW - shortage.LATELY_NS
    assert shortage.oldest(writer.database, 10, lately_ns=lately_ns, live={of["live"].id}) == [1]
    assert shortage.oldest(writer.database, 10, lately_ns=NOW, live={of["live"].id}) == [1, 4]


def test_what_was_taken_in_from_elsewhere_is_not_the_newest_of_a_map(writer: Writer) -> None:
    keys, values = table(20)
    for number, trigger in enumerate(("schedule", "schedule", "import")):
        values[number] ^= 1
        snapshot(writer, keys, values, at_ns=NOW - 5 * DAY_NS + number * SECOND_NS, trigger=trigger)
    snapshot(writer, keys, values, name="elsewhere", at_ns=SECOND_NS, trigger="import")
    assert shortage.oldest(writer.database, 10) == [1, 3]
    assert retention.thin(writer.database, NOW) == 1
    assert [each.id for each in writer.snapshots()] == [4, 3, 2]


def test_where_hosts_share_a_history_each_looks_after_its_own(writer: Writer) -> None:
    shared = not writer.database.is_sqlite
    keys, values = table(3000)
    for turn in range(3):
        for host, name in (("here", "flows"), ("there", "flows")):
            values[turn] ^= 1
            at_ns = NOW - 5 * DAY_NS + turn * SECOND_NS
            snapshot(writer, keys, values, name=name, at_ns=at_ns, host=host)
    empty = series(writer, "empty", host="there").id
    named = shortage.oldest(writer.database, 100, lately_ns=NOW)
    assert named == ([1, 3, 5] if shared else [1, 2, 3, 4, 5, 6])
    retention.thin(writer.database, NOW)
    assert [each.id for each in writer.snapshots()] == ([6, 5, 4, 2] if shared else [6, 5])
    shortage.forget_series(writer.database, NOW)
    assert (empty in {each.id for each in writer.series()}) is shared
    used = retention.used_bytes(writer.database)
    writer.forget(["s5"])
    retention.collect(writer.database)
    assert retention.used_bytes(writer.database) < used
    assert retention.used_bytes(writer.database) == 0 or not shared  # what is left is theirs
    with writer.reading() as connection:
        assert list(verify(connection)) == []


def test_a_series_of_which_nothing_is_left_goes_with_its_last_snapshot(writer: Writer) -> None:
    there = [grown(writer, 1, MINUTE_NS, first_ns=SECOND_NS, name=name) for name in ("kept", "gone", "chosen", "live")]
    of = {each.of.name: each for each in writer.series()}
    writer.touch(replace(of["chosen"], settings=b"\x80"))
    lately = series(writer, "lately", NOW)
    live = {of["live"].id}
    assert shortage.forget_series(writer.database, NOW, live) == 0
    writer.forget([f"s{number}" for each in there[1:] for number in each])
    assert shortage.forget_series(writer.database, NOW, live) == 1
    assert {each.of.name for each in writer.series()} == {"kept", "chosen", "live", "lately"}
    assert series(writer, "gone").id > lately.id  # the number is not given again


def test_types_stay_as_long_as_a_snapshot_needs_them(writer: Writer) -> None:
    btf = bytes(range(256)) * 30
    keys, values = table(20)
    facts = series(writer)
    layout_id = writer.layout_of(b"typed", btf, btf[:100])
    kept = snapshot(writer, keys, values)
    about = {
        name: getattr(kept, name) for name in Kept.__dataclass_fields__ if name not in {"id", "root_id", "bytes_added"}
    }
    from app.history.snapshots import About

    typed = writer.keep(writer.draft(keys, values), About(**{**about, "layout_id": layout_id, "series_id": facts.id}))
    retention.collect(writer.database)
    layout = writer.layout(layout_id)
    assert writer.btf(layout.btf_id) == btf
    assert writer.btf(layout.base_btf_id) == btf[:100]
    writer.forget([typed.ref])
    assert retention.collect(writer.database).chunks == 2
    check_all(writer, {kept.id: as_dict(keys, values)})


@given(seed=st.integers(0, 1 << 32), turns=st.integers(4, 40))
@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_whatever_is_deleted_the_rest_reads_back(
    tmp_path_factory: pytest.TempPathFactory, seed: int, turns: int
) -> None:
    with closing(Writer(open_writing(sqlite_url(tmp_path_factory.mktemp("random") / "history.db")))) as writer:
        grow_at_random(writer, np.random.default_rng(seed), turns)


def grow_at_random(writer: Writer, rng: np.random.Generator, turns: int) -> None:
    shapes = {"a": (4, 8), "b": (0, 300), "c": (16, 5)}
    state = {
        name: table(int(rng.integers(1, 1500)), *shape, seed=int(rng.integers(1000))) for name, shape in shapes.items()
    }
    there: dict[int, dict[bytes, bytes]] = {}
    for turn in range(turns):
        name = str(rng.choice(list(shapes)))
        keys, values = state[name]
        values = values.copy()
        values[rng.integers(0, len(values), 9), rng.integers(0, values.shape[1], 9)] ^= 1
        if len(keys) > 40 and keys.shape[1] and rng.random() < 0.4:
            stay = rng.random(len(keys)) > 0.01
            keys, values = keys[stay], values[stay]
        state[name] = keys, values
        kept = snapshot(writer, keys, values, name=name, at_ns=(turn + 1) * SECOND_NS)
        there[kept.id] = as_dict(*_numbered(keys, values))
        if rng.random() < 0.3 and len(there) > 2:
            gone = rng.choice(list(there), int(rng.integers(1, len(there))), replace=False)
            writer.forget([f"s{number}" for number in gone])
            for number in gone:
                del there[int(number)]
        if rng.random() < 0.4:
            retention.collect(writer.database)
    retention.collect(writer.database)
    with writer.reading() as connection:
        assert list(verify(connection)) == []
    for number, then in there.items():
        found = writer.entries(writer.snapshot(f"s{number}"), check=check_content)
        assert as_dict(*_numbered(found.keys, found.values)) == then


def _numbered(keys, values):
    """Rows without keys go by their places."""
    if keys.shape[1]:
        return keys, values
    return np.arange(len(values), dtype="<u4").view(np.uint8).reshape(-1, 4), values
