"""A full disk: what does not fit is told, what was there stays, and the next one fits when there is room again."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
import pytest

from app.history import archive
from app.history.database import open_reading, open_writing, sqlite_url
from app.history.errors import DatabaseUnusable
from app.history.history import History
from app.history.retention import collect
from app.history.verify import verify
from app.history.writer import Writer
from tests.history.made import SECOND_NS, as_dict, snapshot, table

pytestmark = pytest.mark.kernel  # mounting a small disk takes root


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """4 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def check(history: History, wanted: dict[int, dict[bytes, bytes]]) -> None:
    assert {each.id for each in history.snapshots(limit=1000)} == set(wanted)
    for kept in history.snapshots(limit=1000):
        found = history.entries(kept)
        assert as_dict(found.keys, found.values) == wanted[kept.id]
    with history.reading() as connection:
        assert list(verify(connection)) == []


def test_what_others_need_is_left_free(small_disk: Path) -> None:
    rng = np.random.default_rng(1)
    keys, _ = table(4000, 8)
    with closing(Writer(open_writing(sqlite_url(small_disk / "history.db")))) as writer:

        def fill() -> None:
            for turn in range(1, 900):
                snapshot(writer, keys, rng.integers(0, 256, (len(keys), 32), np.uint8), at_ns=turn * SECOND_NS)

        with pytest.raises(DatabaseUnusable, match=r"its disk is nearly full: .* stay free for the audit log"):
            fill()
        free = os.statvfs(small_disk)
        assert free.f_bavail * free.f_frsize >= (4 << 20) // 8
        kept = writer.snapshots(limit=1)[0]
        assert len(writer.entries(kept)) == 4000


def test_a_full_disk_loses_nothing(small_disk: Path) -> None:
    filler = small_disk / "somebody else's"
    filler.write_bytes(bytes(1 << 20))
    url = sqlite_url(small_disk / "history.db")
    rng = np.random.default_rng(1)
    keys, _ = table(4000, 8)
    wanted: dict[int, dict[bytes, bytes]] = {}
    with closing(Writer(open_writing(url))) as writer:

        def take(turn: int) -> None:
            values = rng.integers(0, 256, (len(keys), 32), np.uint8)
            kept = snapshot(writer, keys, values, at_ns=turn * SECOND_NS)
            wanted[kept.id] = as_dict(keys, values)

        def fill(first: int) -> None:
            for turn in range(first, first + 900):
                take(turn)

        with pytest.raises(DatabaseUnusable) as refused:
            fill(1)
        assert "full" in str(refused.value)
        assert "\n" not in str(refused.value)
        assert len(wanted) >= 5
        check(writer, wanted)
        with pytest.raises(DatabaseUnusable):
            take(1001)
        check(writer, wanted)
        with closing(History(open_reading(url))) as reader:
            check(reader, wanted)
        filler.unlink()
        take(1002)
        check(writer, wanted)
        with pytest.raises(DatabaseUnusable):
            fill(1003)
        # What needs room fails, and says so; deleting needs some, too.
        gone = sorted(wanted)[:-2]
        for step in (writer.database.checkpoint, lambda: collect(writer.database), writer.database.shrink):
            with suppress(DatabaseUnusable):
                step()
        check(writer, wanted)
        subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
        writer.forget([f"s{number}" for number in gone])
        for number in gone:
            del wanted[number]
        collect(writer.database)
        take(2001)
        check(writer, wanted)
    with closing(Writer(open_writing(url))) as writer:
        check(writer, wanted)


def test_an_export_that_does_not_fit_leaves_nothing(small_disk: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    keys, _ = table(9000, 8)
    with closing(Writer(open_writing(sqlite_url(tmp_path / "history.db")))) as writer:
        for turn in range(12):
            snapshot(writer, keys, rng.integers(0, 256, (len(keys), 64), np.uint8), at_ns=turn + 1)
        kept = writer.snapshots(limit=1000)
        with pytest.raises(DatabaseUnusable) as refused:
            archive.export(writer, kept, small_disk / "report.atlas")
        assert "full" in str(refused.value)
    assert os.listdir(small_disk) == []
