"""The history that the first release wrote opens with this one, and holds what it held."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import select

from app.history import codec
from app.history.chunks import check_content
from app.history.codec import Codec
from app.history.database import open_reading, open_writing, sqlite_url
from app.history.history import History
from app.history.tables import Chunk, Root
from app.history.verify import verify
from app.history.writer import Writer
from tests.history.golden.make import NOTES, PATH, SETTINGS, moments

MOMENTS = list(moments())
# Of the roots in the order of MOMENTS. They follow from the entries and from nothing else: what makes one of them another
# makes every history twice as large that was begun before.
ADDRESSES = """
8defcc212346200001017dd4a58fa60c81e6db5e6295815723cdf8c2587aba43
e0085eed3ffcbdc10c28c1c3b9a5c6736e7df84d5cb8b7357995c0783988d533
6fb2b415d9db74dcf80275fdbf9c1524641f9a396c2f4fac670aecb12e7964b8
97690e4174f726970cef36bf3be55f8601c76b1e69957b20d2bb6e2b6abe5f86
5b30b0b54b07d0e85aef8851c69f96ddc373e114166e32f056f21203d91b40cd
08ae13df2078d5e2f207cd4b7c7458addac80665675504ffa93411e088c93823
2848d26f88f10023b73acdc0857ed2e6fc1835de3065c5237d744f4ebf13640e
9fa6c5f2ef7bb60163bfef15306561a8c26cb1949f10616874a3495838b547b7
74468ae57b5dd345aa98f9aae9b1c671a7eec518db3402fd1c5196add0b97a03
897a8611b8faf7f274f3ef5a5d56677e05d91fb6bea8c972efe19247f8f7a72c
da93fded63f8d47259f3c0344aee070f263434007214b16fedaa67d6e45e4515
544d388ee683531124c5ff2c4e35647b2ba62bdc61c8aa948eddf9142681b21e
2f3be0325cbfbc2bf7b55e89afb19062d4959404158e6fb343adf8c4d20943be
efc20bc6991c2e68b8c7678e8e669589d84cc920c9788dc7e7514a6ae5687bfd
22035c564863b15c04bf6b3944dd2ed708fcd0a4c1e47ff4af8269d139676302
134ccf8730800a32b9b9ef3a2879416724709d5447822810e853cfe742a58e07
0bb7b04a6a94bb4d32ed5a3865b72a290f4b9dbca6e9d9f8018df3d16291ca10
16cbc108b9f195f57304b1ccfb175e2e16772650720785b99298633765f567f0
"""


@pytest.fixture(scope="module")
def golden(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Writer]:
    """A copy, brought up to date."""
    path = tmp_path_factory.mktemp("golden") / "history.db"
    shutil.copy(PATH, path)
    writer = Writer(open_writing(sqlite_url(path)))
    yield writer
    writer.close()


def test_it_is_sound(golden: Writer) -> None:
    with golden.reading() as connection:
        assert list(verify(connection)) == []


def test_it_is_small_and_read_where_nobody_may_write(tmp_path: Path) -> None:
    assert PATH.stat().st_size < 200 << 10
    path = tmp_path / "history.db"
    shutil.copy(PATH, path)
    path.chmod(0o444)
    with closing(History(open_reading(sqlite_url(path)))) as history:
        assert len(history.snapshots(limit=1000)) == len(MOMENTS)


def test_every_way_to_store_a_chunk_is_in_it(golden: Writer) -> None:
    with golden.reading() as connection:
        rows = connection.execute(select(Chunk.codec, Chunk.data, Chunk.width, Chunk.raw_bytes)).all()
    assert {row.codec for row in rows} == set(Codec)
    deltas = [codec.unpack(row.data, row.width, row.raw_bytes) for row in rows if row.codec == Codec.DELTA]
    assert {(each.source is None, each.units > 1) for each in deltas} >= {(True, False), (False, False), (True, True)}


@pytest.mark.parametrize("number", range(1, len(MOMENTS) + 1))
def test_what_went_in_is_there(golden: Writer, number: int) -> None:
    moment = MOMENTS[number - 1]
    kept = golden.snapshot(f"s{number}")
    found = golden.entries(kept, check=check_content)
    order = sorted(range(len(moment.keys)), key=lambda row: moment.keys[row].tobytes()) if moment.keys.size else ...
    assert (found.keys == moment.keys[order]).all()
    assert (found.values == moment.values[order]).all()
    assert found.keys.shape == moment.keys.shape
    assert found.values.shape == moment.values.shape
    said = ("taken_ns", "label", "trigger", "author", "notes", "completeness")
    assert {name: getattr(kept, name) for name in said} == {name: getattr(moment, name) for name in said}
    assert (kept.took_ns, kept.map_id, kept.boot_id) == (1_500_000, 41, "9f1c")
    series = golden.one_series(kept.series_id)
    assert series.of == moment.of
    assert series.settings == (SETTINGS if moment.of.name == "flows" else b"")
    layout = golden.layout(kept.layout_id)
    types = tuple(number and golden.btf(number) for number in (layout.btf_id, layout.base_btf_id))
    assert (layout.body, *types) == moment.layout


def test_notes_are_there(golden: Writer) -> None:
    assert {name: golden.fact(name) for name in NOTES} == NOTES


def test_addresses_of_its_entries_never_change(golden: Writer) -> None:
    with golden.reading() as connection:
        roots = {number: name.hex() for number, name in connection.execute(select(Root.id, Root.address))}
    stored = [roots[golden.snapshot(f"s{number}").root_id] for number in range(1, len(MOMENTS) + 1)]
    assert stored == ADDRESSES.split()
    assert [golden.draft(each.keys, each.values).address.hex() for each in MOMENTS] == ADDRESSES.split()


def test_it_can_be_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    shutil.copy(PATH, path)
    with closing(Writer(open_writing(sqlite_url(path)))) as writer:
        before = writer.snapshot("s6")
        last = MOMENTS[5]
        values = last.values.copy()
        values[5] ^= 1
        from app.history.snapshots import About

        about = {name: getattr(before, name) for name in About.__slots__}
        draft = writer.draft(last.keys, values, previous=before.root_id)
        kept = writer.keep(draft, About(**{**about, "taken_ns": before.taken_ns + 1}))
        assert len(writer.compare(before, kept).changed) == 1
        with writer.reading() as connection:
            assert list(verify(connection)) == []
