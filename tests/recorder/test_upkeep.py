"""What keeps a history in shape: how much goes for room, and what stays whatever happens."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select, update

from app.history import retention, shortage
from app.history.database import open_writing, sqlite_url
from app.history.retention import DAY_NS
from app.history.tables import Chunk
from app.history.writer import Writer
from app.recorder.budget import DiskBudget
from app.recorder.upkeep import Upkeep
from tests.history.made import SECOND_NS, Bytes2d, snapshot, table


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Writer]:
    writer = Writer(open_writing(sqlite_url(tmp_path / "history.db"), host="here"))
    yield writer
    writer.close()


def noise(seed: int, rows: int = 500) -> tuple[Bytes2d, Bytes2d]:
    """Entries that share nothing with others and cannot be packed: some 10 KiB."""
    rng = np.random.default_rng(seed)
    keys, values = (rng.integers(0, 256, (rows, width), np.uint8) for width in (4, 16))
    return keys, values


def test_a_little_too_much_on_disk_costs_a_little_of_the_history(writer: Writer) -> None:
    for turn in range(200):
        snapshot(writer, *noise(turn), name=f"m{turn % 4}", at_ns=(turn + 1) * SECOND_NS)
    disk = DiskBudget(retention.used_bytes(writer.database) - 4096)
    assert Upkeep(writer, disk).look_at_disk(1000.0) == ""
    left = writer.snapshots(limit=1000)
    assert 170 <= len(left) < 185  # it makes a tenth of the budget free
    assert left[-1].id == 201 - len(left)  # the oldest went
    assert retention.used_bytes(writer.database) <= disk.target_bytes
    assert disk.stretch == 2  # one shortage, however many steps it took


def test_room_is_made_in_few_steps_though_what_goes_is_mostly_needed_by_what_stays(
    writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for turn in range(100):  # each map has a large first snapshot, and a second one that needs nearly all of it
        keys, values = noise(turn)
        for number in range(2):
            values[number] ^= 1
            snapshot(writer, keys, values, name=f"m{turn}", at_ns=(100 * number + turn + 1) * SECOND_NS)
    monkeypatch.setattr(DiskBudget, "ROOMY", 1.0)
    disk = DiskBudget(retention.used_bytes(writer.database) - 4096)
    asked = []
    oldest = shortage.oldest

    def counted(*given: Any, **named: Any) -> list[int]:
        asked.append(given[2])
        return oldest(*given, **named)

    monkeypatch.setattr(shortage, "oldest", counted)
    Upkeep(writer, disk).look_at_disk(1000.0)
    assert min(asked) >= disk.budget_bytes // 100
    assert len(asked) < 100


def test_a_chunk_that_cannot_be_read_does_not_keep_the_disk_from_being_freed_and_is_told_of(writer: Writer) -> None:
    keys, values = table(2000)
    first = snapshot(writer, keys, values, at_ns=SECOND_NS)
    values[5] ^= 1
    kept = snapshot(writer, keys, values, at_ns=2 * SECOND_NS)
    with writer.database.writing() as connection:
        hurt = connection.execute(select(Chunk.id).where(Chunk.base_id.is_not(None))).scalar_one()
        connection.execute(update(Chunk).where(Chunk.id == hurt).values(data=b"nothing of it"))
    writer.forget([first.ref])
    disk = DiskBudget(1 << 20)
    upkeep = Upkeep(writer, disk)
    for turn in range(200):
        snapshot(writer, *noise(turn), name=f"m{turn % 4}", at_ns=(turn + 3) * SECOND_NS)
    assert upkeep.look_at_disk(1000.0) == ""
    assert disk.used_bytes <= disk.target_bytes
    ((told),) = upkeep.damaged()
    assert told.startswith(f"chunk {hurt} is damaged")
    assert f"which {kept.ref} cannot be read without" in told


YEAR_NS = 365 * DAY_NS


def test_maps_that_are_gone_for_a_year_do_not_fill_the_history_for_good(writer: Writer) -> None:
    for turn in range(150):
        snapshot(writer, *noise(turn), name=f"run_{turn}", at_ns=YEAR_NS + turn)
    snapshot(writer, *noise(1000), name="yesterday", at_ns=2 * YEAR_NS - DAY_NS)
    disk = DiskBudget(1 << 20)
    upkeep = Upkeep(writer, disk, live=frozenset({1}))
    assert "all that is left is labelled or the newest of a map of the last 30 days" in upkeep.look_at_disk(900.0)
    assert disk.full  # nobody knows yet whether the clock is right
    assert upkeep.look_at_disk(1000.0, 2 * YEAR_NS) == ""
    assert not disk.full
    assert disk.used_bytes <= disk.target_bytes
    left = [each.id for each in writer.snapshots(limit=1000)]
    assert (left[0], left[-1]) == (151, 1)
    upkeep.thin(1000.0, 2 * YEAR_NS)
    assert len(writer.series()) == len(left)
