"""Maps of different sizes that hold the same bytes share chunks, and each reads them by its own width."""

from __future__ import annotations

import itertools
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import update

from app.history import archive, retention
from app.history.chunks import Decoder
from app.history.database import open_reading, sqlite_url
from app.history.history import History
from app.history.snapshots import Kept
from app.history.tables import Chunk
from app.history.verify import verify
from app.history.writer import Writer
from tests.history.made import SECOND_NS, Bytes2d, as_dict, snapshot, table

SHAPES = [(32, 4, 8), (8, 4, 32), (64, 4, 4), (16, 16, 16), (32, 8, 8), (256, 4, 1), (32, 0, 8), (8, 0, 32), (1, 4, 256), (256, 1, 1)]  # fmt: skip
"""(entries, bytes of a key, bytes of a value): all with 256 bytes of values, and 128 of keys in some."""


def zeros(n: int, key_width: int, value_width: int) -> tuple[Bytes2d, Bytes2d]:
    keys = np.zeros((n, key_width), np.uint8)
    if key_width == 1:
        keys[:, 0] = np.arange(n)
    elif key_width:
        keys, _ = table(n, key_width)
    return keys, np.zeros((n, value_width), np.uint8)


def held(history: History, kept: Kept) -> dict[bytes, bytes] | list[bytes]:
    found = history.entries(kept)
    return as_dict(found.keys, found.values) if found.keys.shape[1] else [row.tobytes() for row in found.values]


@pytest.mark.parametrize("order", [1, -1])
def test_maps_of_zeros_read_back_each_by_its_own_width(writer: Writer, tmp_path: Path, order: int) -> None:
    then: list[tuple[Kept, dict[bytes, bytes] | list[bytes], Bytes2d, Bytes2d]] = []
    for turn in range(4):
        for number, (n, key_width, value_width) in enumerate(SHAPES[::order]):
            keys, values = zeros(n, key_width, value_width)
            if turn % 2:
                values[n // 2] = turn
            kept = snapshot(writer, keys, values, name=f"map{number}", at_ns=(turn * 100 + number + 1) * SECOND_NS)
            then.append((kept, held(writer, kept), keys, values))

    def holds(history: History) -> None:
        for kept, were, keys, values in then:
            if keys.shape[1]:
                assert were == as_dict(keys, values)
                assert [history.value(kept, key.tobytes()) for key in keys[:: n // 3 + 1]] == [
                    value.tobytes() for value in values[:: n // 3 + 1]
                ]
            else:
                assert were == [row.tobytes() for row in values]
            assert held(history, kept) == were
        by_series: dict[int, list[Kept]] = {}
        for kept, *_ in then:
            by_series.setdefault(kept.series_id, []).append(kept)
        for turns in by_series.values():
            for one, other in itertools.pairwise(turns):
                found = history.compare(one, other)
                assert (len(found.added), len(found.removed), len(found.changed)) == (0, 0, 1)
            assert len(history.compare(turns[0], turns[2]).changed) == 0
            assert len(history.compare(turns[1], turns[3]).changed) == 1

    holds(writer)
    for cache_bytes in (0, 1 << 20):
        holds(History(writer.database, Decoder(cache_bytes=cache_bytes)))
    archive.export(writer, writer.snapshots(limit=1000), tmp_path / "report.atlas")
    with closing(History(open_reading(sqlite_url(tmp_path / "report.atlas")))) as report:
        holds(report)
    gone = then[: len(SHAPES)]  # the first ones, which all others are deltas of
    writer.forget([kept.ref for kept, *_ in gone])
    retention.collect(writer.database)
    with writer.reading() as connection:
        assert list(verify(connection)) == []
    for kept, were, *_ in then[len(gone) :]:
        assert held(History(writer.database, Decoder(cache_bytes=0)), kept) == were


def test_a_mended_chunk_may_have_another_width_than_before(writer: Writer) -> None:
    """What is a delta of it still is one; what else stands on it is read as before."""
    keys, values = table(64, 4, 64)
    values[:] = 0
    first = snapshot(writer, keys, values, name="wide")
    values[5] = np.arange(64)
    second = snapshot(writer, keys, values, name="wide", at_ns=2 * SECOND_NS)
    chunk = int(writer.pieces(first.root_id).value_ids[0])
    with writer.database.writing() as connection:
        connection.execute(update(Chunk).where(Chunk.id == chunk).values(data=b"spoilt"))
    with writer.reading() as connection:
        writer.scrub.note(connection, [chunk])
    assert writer.scrub.damaged
    narrow = snapshot(writer, table(1024, 4)[0], np.zeros((1024, 4), np.uint8), name="narrow", at_ns=3 * SECOND_NS)
    assert not writer.scrub.damaged
    fresh = History(writer.database, Decoder(cache_bytes=0))
    assert held(fresh, second) == as_dict(keys, values)
    assert set(held(fresh, narrow).values()) == {bytes(4)}  # type: ignore[union-attr]
    assert [(len(each.added), len(each.removed), len(each.changed)) for each in (fresh.compare(first, second),)] == [
        (0, 0, 1)
    ]
    with writer.reading() as connection:
        assert list(verify(connection)) == []
