"""One flipped byte, anywhere in the file: it is named, or it held nothing; what is read is right, or an error says otherwise."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import update

from app.history import keys as key_history
from app.history.chunks import Decoder
from app.history.database import open_reading, open_writing, sqlite_url
from app.history.errors import Damaged, HistoryError, NoSuchSnapshot
from app.history.history import History
from app.history.seal import seal
from app.history.series import SeriesFacts
from app.history.snapshots import About, Kept
from app.history.tables import Chunk, Snapshot
from app.history.verify import Problem, verify
from app.history.writer import Writer
from tests.history.made import SECOND_NS, as_dict, series, snapshot, table

BTF = bytes(range(256)) * 8


@dataclass(frozen=True, slots=True)
class Known:
    """All that a small history holds."""

    file: bytes
    kept: dict[int, Kept]
    entries: dict[int, dict[bytes, bytes]]
    series: dict[int, SeriesFacts]


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Known:
    path = tmp_path_factory.mktemp("sound") / "history.db"
    writer = Writer(open_writing(sqlite_url(path)))
    rng = np.random.default_rng(3)
    shapes = {"flows": (8, 24, 500), "config": (0, 300, 1), "by cpu": (4, 264, 60), "names": (40, 1, 90)}
    state = {name: table(n, key, value) for name, (key, value, n) in shapes.items()}
    entries: dict[int, dict[bytes, bytes]] = {}
    for turn in range(4):
        for name in shapes:
            keys, values = state[name]
            values[rng.integers(0, len(values), 4), rng.integers(0, values.shape[1], 4)] ^= 1
            stay = rng.random(len(keys)) > (0.01 if len(keys) > 1 else 0)
            state[name] = keys, values = keys[stay], values[stay]
            facts = series(writer, name)
            last = writer.newest(facts.id)
            about = About(
                series_id=facts.id, layout_id=writer.layout_of(name.encode(), BTF, None), taken_ns=(turn + 1) * SECOND_NS,
                took_ns=5, map_id=7, boot_id="b", completeness="walked", trigger="schedule", author="näme",
                label="before the change" if turn == 2 else "", notes="one entry may be missing" if turn == 3 else "",
            )  # fmt: skip
            kept = writer.keep(writer.draft(keys, values, previous=last.root_id if last else 0), about)
            entries[kept.id] = as_dict(keys, values) if keys.shape[1] else {b"": values.tobytes()}
    writer.note("made by", b"a test")
    writer.touch(replace(series(writer), settings=b"ignore packets"))
    kept = {each.id: each for each in writer.snapshots(limit=1000)}
    facts = {each.id: each for each in writer.series()}
    writer.database.checkpoint()
    writer.close()
    assert not path.with_name("history.db-wal").exists()
    return Known(path.read_bytes(), kept, entries, facts)


@contextmanager
def in_time(seconds: int) -> Iterator[None]:
    """What takes longer hangs."""

    def over(*_: object) -> None:
        raise TimeoutError(f"it took more than {seconds} s")

    before = signal.signal(signal.SIGALRM, over)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def content(history: History, kept: Kept) -> dict[bytes, bytes]:
    found = history.entries(kept)
    return as_dict(found.keys, found.values) if found.keys.shape[1] else {b"": found.values.tobytes()}


def read(history: History, known: Known) -> set[int]:
    """Snapshots that read back right; anything that is neither right nor an error of ours fails the test."""
    right: set[int] = set()
    layouts: set[int] = set()
    for number, kept in known.kept.items():
        history.decoder = Decoder()
        try:
            found = history.snapshot(kept.ref)
            assert found == kept
            assert content(history, found) == known.entries[number]
            if found.layout_id not in layouts:
                layout = history.layout(found.layout_id)
                assert layout.body.decode() == known.series[kept.series_id].of.name
                assert history.btf(layout.btf_id or 0) == BTF
                layouts.add(found.layout_id)
            right.add(number)
        except (HistoryError, NoSuchSnapshot):
            pass
    return right


def check_lists(history: History, known: Known) -> set[int]:
    """Lists hold what is right and nothing else; those of snapshots that are in them."""
    listed: set[int] = set()
    damaged: list[Damaged] = []
    with suppress(HistoryError):
        for each in history.snapshots(limit=1000, damaged=damaged):
            assert each == known.kept[each.id]
            listed.add(each.id)
    with suppress(HistoryError):
        assert all(each == known.series[each.id] for each in history.series())
    for series_id in known.series:
        with suppress(HistoryError), history.reading() as connection:
            for point in key_history.points_of(connection, series_id):
                kept = known.kept[point.id]
                assert (point.root_id, point.taken_ns) == (kept.root_id, kept.taken_ns)
                assert point.layout_id == kept.layout_id
        with suppress(HistoryError):
            at = history.at(series_id, 3 * SECOND_NS)
            assert at == known.kept[at.id]
    with suppress(HistoryError):
        assert history.fact("made by") in {b"a test", None}
    return listed


def flip(path: Path, known: Known, place: int, bits: int) -> None:
    """Check what is to be after one byte has changed."""
    data = bytearray(known.file)
    data[place] ^= bits
    path.write_bytes(data)
    for leftover in path.parent.glob("history.db-*"):
        leftover.unlink()
    try:
        database = open_reading(sqlite_url(path))
    except HistoryError:
        return
    with closing(History(database)) as history:
        problems: list[Problem] = []
        with history.reading() as connection:
            problems.extend(verify(connection))
        right = read(history, known)
        listed = check_lists(history, known)
        if not problems:
            assert right == listed == set(known.kept), "damage that is not named"
            return
        assert all(problem.what and problem.why and "\n" not in problem.what for problem in problems)
        named = {int(ref[1:]) for problem in problems for ref in problem.snapshots}
        for number in set(known.kept) - named - right:
            # Its row is not to be found at all: then the file is named.
            with pytest.raises(HistoryError):
                history.snapshot(f"s{number}")
            assert any(problem.what == "the database file" for problem in problems)


def places(known: Known, rng: np.random.Generator, n: int) -> list[int]:
    """Half of them anywhere, half among the first and last bytes of pages, where rows are described."""
    size = len(known.file)
    anywhere = rng.integers(0, size, n // 2)
    pages = rng.integers(0, size // 4096, n - len(anywhere)) * 4096
    edges = np.where(
        rng.random(len(pages)) < 0.5, rng.integers(0, 140, len(pages)), rng.integers(3600, 4096, len(pages))
    )
    return [*anywhere.tolist(), *(pages + edges).tolist()]


@pytest.mark.parametrize(
    ("seed", "n"),
    [pytest.param(1, 45, id="some"), pytest.param(2, 600, id="many", marks=pytest.mark.slow)],
)
def test_a_flipped_byte_is_named_and_never_read_as_right(known: Known, tmp_path: Path, seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    for place in places(known, rng, n):
        bits = int(rng.integers(1, 256))
        try:
            with in_time(20):
                flip(tmp_path / "history.db", known, place, bits)
        except BaseException as problem:
            problem.add_note(f"byte {place} of {len(known.file)}, flipped by {bits:#x}")
            raise


def test_every_byte_of_the_header_may_be_wrong(known: Known, tmp_path: Path) -> None:
    for place in range(0, 100, 5):
        with in_time(20):
            flip(tmp_path / "history.db", known, place, 1 << place % 8)


def test_a_damaged_row_does_not_hide_the_others(writer: Writer) -> None:
    keys, values = table(10)
    for turn in range(6):
        snapshot(writer, keys, values, at_ns=(turn + 1) * SECOND_NS)
    with writer.database.writing() as connection:
        connection.execute(update(Snapshot).where(Snapshot.id.in_([2, 5])).values(label="forged"))
    damaged: list[Damaged] = []
    assert [each.id for each in writer.snapshots(limit=3, damaged=damaged)] == [6, 4, 3]
    assert [each.what for each in damaged] == ["snapshot s5"]
    assert [each.id for each in writer.snapshots(limit=100)] == [6, 4, 3, 1]
    with pytest.raises(Damaged, match="snapshot s5 is damaged in the database"):
        writer.snapshot("s5")
    with writer.reading() as connection:
        problems = list(verify(connection))
    assert [(each.what, each.snapshots) for each in problems] == [("snapshot s2", ("s2",)), ("snapshot s5", ("s5",))]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((b"abc",), ("abc",)),
        ((1,), (b"\1\0\0\0\0\0\0\0",)),
        ((None,), (b"",)),
        ((0,), (None,)),
        ((b"a", b"bc"), (b"ab", b"c")),
        ((1,), (1.0,)),
        (("\udcff",), ("\xff",)),
    ],
)
def test_values_of_other_kinds_have_other_seals(one: tuple[bytes], other: tuple[bytes]) -> None:
    assert seal(one) != seal(other)


def test_what_stands_on_a_damaged_chunk_is_stored_on_its_own(writer: Writer) -> None:
    keys, values = table(900, 8, 24)
    first = snapshot(writer, keys, values)
    with writer.database.writing() as connection:
        connection.execute(update(Chunk).where(Chunk.width == 24).values(data=b"nothing of it"))
    writer.decoder = Decoder()
    with pytest.raises(Damaged, match="chunk 2, which s1 needs, is damaged"):
        writer.entries(first)
    values[::7, 3] ^= 1
    second = snapshot(writer, keys, values, at_ns=2 * SECOND_NS)
    writer.decoder = Decoder()
    found = writer.entries(second)
    assert as_dict(found.keys, found.values) == as_dict(keys, values)
    with writer.reading() as connection:
        assert [each.snapshots for each in verify(connection)] == [("s1",)]
