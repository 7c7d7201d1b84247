"""A history is read through bit by bit, and what is damaged is mended from a map that still holds it."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from app.history import retention, scrub
from app.history.chunks import Decoder
from app.history.snapshots import Kept
from app.history.tables import Chunk
from app.history.verify import verify
from app.history.writer import Writer
from tests.history.made import SECOND_NS, Bytes2d, as_dict, snapshot, table


def hurt(writer: Writer, *numbers: int) -> None:
    with writer.database.writing() as connection:
        connection.execute(update(Chunk).where(Chunk.id.in_(numbers)).values(data=b"nothing of it"))
    writer.decoder = Decoder()


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
    keys, values = table(900, 8, 24)
    first = snapshot(writer, keys, values)
    later = values.copy()
    later[::7, 3] ^= 1
    second = snapshot(writer, keys, later, at_ns=2 * SECOND_NS)
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
    keys, values = table(900, 8, 24)
    first = snapshot(writer, keys, values)
    later = values.copy()
    later[::7, 3] ^= 1
    second = snapshot(writer, keys, later, at_ns=2 * SECOND_NS)
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
