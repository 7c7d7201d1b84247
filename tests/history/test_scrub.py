"""A history is read through bit by bit, and what is damaged is mended from a map that still holds it."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from app.history import retention, scrub
from app.history.chunks import Decoder
from app.history.errors import DatabaseUnusable
from app.history.snapshots import About, Kept
from app.history.tables import Chunk
from app.history.verify import verify
from app.history.writer import Writer
from tests.history.made import SECOND_NS, Bytes2d, as_dict, series, snapshot, table


def hurt(writer: Writer, *numbers: int) -> None:
    with writer.database.writing() as connection:
        connection.execute(update(Chunk).where(Chunk.id.in_(numbers)).values(data=b"nothing of it"))
    writer.decoder = Decoder()


def grown(writer: Writer) -> tuple[Bytes2d, Bytes2d, Bytes2d, Kept, Kept]:
    """Keys, values of then, values of later, and a snapshot of each: the values of the second are a delta."""
    keys, values = table(900, 8, 24)
    first = snapshot(writer, keys, values)
    later = values.copy()
    later[::7, 3] ^= 1
    return keys, values, later, first, snapshot(writer, keys, later, at_ns=2 * SECOND_NS)


def about(series_id: int, layout_id: int) -> About:
    return About(
        series_id=series_id, layout_id=layout_id, taken_ns=SECOND_NS, took_ns=5, map_id=7, boot_id="b", completeness="exact",
        trigger="manual",
    )  # fmt: skip


def scrubbed(writer: Writer) -> dict[int, tuple[str, ...]]:
    while not writer.scrub.step():
        pass
    return {each.id: each.problem.snapshots for each in writer.scrub.damaged.values()}


def content_of(writer: Writer, kept: Kept) -> tuple[Bytes2d, Bytes2d]:
    writer.decoder = Decoder()
    found = writer.entries(kept)
    return found.keys, found.values


def test_a_scrub_finds_what_nobody_reads(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scrub, "STEP", 2)
    for turn in range(4):
        snapshot(writer, *table(50, 8, seed=turn), at_ns=(turn + 1) * SECOND_NS)
    assert scrubbed(writer) == {}
    assert writer.scrub.looked_at == 8
    hurt(writer, 4)
    assert scrubbed(writer) == {4: ("s2",)}


def test_a_damaged_chunk_is_whole_again_once_its_map_is_seen_to_hold_it(writer: Writer) -> None:
    keys, values, later, first, second = grown(writer)
    hurt(writer, 2)  # the values of the first, of which those of the second are a delta
    assert scrubbed(writer) == {2: ("s1",), 3: ("s2",)}
    writer.draft(keys, later, previous=second.root_id)
    assert scrubbed(writer) == {2: ("s1",)}
    assert as_dict(*content_of(writer, second)) == as_dict(keys, later)
    writer.draft(keys, values, previous=second.root_id)
    assert scrubbed(writer) == {}
    assert as_dict(*content_of(writer, first)) == as_dict(keys, values)
    with writer.reading() as connection:
        assert list(verify(connection)) == []


def test_mending_what_others_stand_on_mends_them_too(writer: Writer) -> None:
    keys, values, later, first, second = grown(writer)
    hurt(writer, 2)
    writer.draft(keys, values, previous=first.root_id)  # not known to be damaged: nothing of it was read
    assert scrubbed(writer) == {2: ("s1",), 3: ("s2",)}
    writer.draft(keys, values, previous=first.root_id)
    assert writer.scrub.damaged == {}
    assert as_dict(*content_of(writer, second)) == as_dict(keys, later)


def test_damage_met_while_drafting_is_mended_at_once(writer: Writer) -> None:
    keys, values = table(900, 8, 24)
    first = snapshot(writer, keys, values)
    hurt(writer, 1, 2)
    later = values.copy()
    later[::7, 3] ^= 1
    writer.draft(
        keys, later, previous=first.root_id
    )  # reads the values, which are another chunk now; the keys are the same
    assert scrubbed(writer) == {2: ("s1",)}


def test_a_chunk_that_is_gone_is_not_told_of_any_more(writer: Writer) -> None:
    snapshot(writer, *table(50, 8, seed=1))
    snapshot(writer, *table(50, 8, seed=2), at_ns=2 * SECOND_NS)
    hurt(writer, 2)
    assert scrubbed(writer) == {2: ("s1",)}
    writer.forget(["s1"])
    retention.collect(writer.database)
    assert scrubbed(writer) == {}


def test_types_are_mended_where_a_map_still_has_them(writer: Writer) -> None:
    btf = bytes(range(256)) * 40
    facts = series(writer)
    layout_id = writer.layout_of(b"layout", btf, None)
    kept = writer.keep(writer.draft(*table(5)), about(facts.id, layout_id))
    stored = writer.layout(layout_id)
    hurt(writer, stored.btf_id or 0)
    assert scrubbed(writer) == {stored.btf_id: (kept.ref,)}
    assert writer.layout_of(b"layout", btf, None) == layout_id
    assert scrubbed(writer) == {}
    assert writer.btf(stored.btf_id or 0) == btf


def test_what_cannot_be_written_is_left_and_snapshots_go_on(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    keys, values = table(50, 8)
    first = snapshot(writer, keys, values)
    hurt(writer, 1)
    assert scrubbed(writer) == {1: ("s1",)}
    tries = []

    def refused(*_: object) -> None:
        tries.append(1)
        raise DatabaseUnusable("here", "disk image is malformed")

    monkeypatch.setattr(scrub, "_write", refused)
    for turn in range(2):
        values[0, 0] += 100
        assert snapshot(writer, keys, values, at_ns=(turn + 2) * SECOND_NS).root_id != first.root_id
    assert len(tries) == 1
