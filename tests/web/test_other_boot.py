"""Entries of before the host was started, or of another host: nothing of them is read with what this boot knows."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.uapi.syscall import map_update
from tests.columns import kernel_maps
from tests.web import recorded as recording
from tests.web.recorded import Recorded, recorded

pytestmark = pytest.mark.kernel

SOURCE = """
struct who { __u32 pid; __u32 ifindex; };
struct seen { __u64 last_seen_ns; __u32 pid; __u32 ifindex; };
int use_0(struct who *k, struct seen *v) { return 0; }
"""
DATE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}")
COMM = Path("/proc/self/comm").read_text().strip()


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    with recorded(tmp_path_factory.mktemp("past")) as made:
        yield made


class Moments:
    """A map's snapshot of the boot before, one of this boot, and the map as it is."""

    def __init__(self, past: Recorded, fd: int, map_id: int) -> None:
        def take(seconds: int) -> str:
            value = (seconds * 10**9).to_bytes(8, "little") + who
            map_update(fd, who, value)
            return past.take(map_id)

        who = os.getpid().to_bytes(4, "little") + (1).to_bytes(4, "little")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(recording, "boot_id", lambda: "the boot before")
            self.before = take(25)
        self.now = take(35)
        self.map_id, self.key = map_id, who.hex()
        self.series = past.series(map_id).id


@pytest.fixture(scope="module")
def blob(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return kernel_maps.compile_btf(SOURCE, tmp_path_factory.mktemp("btf"))


def boots(blob: bytes, name: bytes) -> contextlib.AbstractContextManager[tuple[int, int]]:
    btf = kernel_maps.parse(blob)
    spec = {"key_size": 8, "value_size": 16, "max_entries": 8, "name": name}
    return kernel_maps.created(blob, btf.find("who")[0], btf.find("seen")[0], **spec)


@pytest.fixture(scope="module")
def moments(past: Recorded, blob: bytes) -> Iterator[Moments]:
    with boots(blob, b"web_boots") as (fd, map_id):
        yield Moments(past, fd, map_id)


def test_a_snapshot_of_this_boot_is_read_with_what_the_host_knows(past: Recorded, moments: Moments) -> None:
    for path in (
        f"/snapshots/{moments.now}",
        f"/snapshots/{moments.now}/entries/{moments.key}",
        f"/maps/{moments.map_id}",
    ):
        page = past.person().get(path).text
        assert DATE.search(page), path
        assert COMM in page, path
        assert "1 lo" in page, path


def test_a_snapshot_of_another_boot_is_not(past: Recorded, moments: Moments) -> None:
    for path in (f"/snapshots/{moments.before}", f"/snapshots/{moments.before}/entries/{moments.key}"):
        page = past.person().get(path).text
        assert "+25\N{THIN SPACE}s" in page, path
        assert not DATE.search(page), path
        assert f"{os.getpid()} {COMM}" not in page, path
        assert "1 lo" not in page, path


@pytest.mark.parametrize("layout", ["", "side"])
def test_each_side_of_a_comparison_is_read_by_its_own_boot(past: Recorded, moments: Moments, layout: str) -> None:
    where = (
        f"/diff?a={moments.before}&b={moments.now}&layout={layout}"
        if layout
        else f"/diff?a={moments.before}&b={moments.now}"
    )
    page = past.person().get(where).text
    assert "+25\N{THIN SPACE}s" in page
    assert len(DATE.findall(page)) == 1
    backwards = (
        past.person()
        .get(where.replace(moments.before, "x").replace(moments.now, moments.before).replace("x", moments.now))
        .text
    )
    assert "+25\N{THIN SPACE}s" in backwards
    assert len(DATE.findall(backwards)) == 1


def test_the_story_of_a_key_reads_each_span_by_its_boot(past: Recorded, moments: Moments) -> None:
    spans = past.person().get(f"/series/{moments.series}/entries/{moments.key}").text
    assert "+25\N{THIN SPACE}s" in spans
    assert len(DATE.findall(spans)) == 1
    chart = past.person().get(f"/series/{moments.series}/entries/{moments.key}?field=value.last_seen_ns").text
    assert len(DATE.findall(chart)) == 1  # the points are of two boots: none of them is made a date
    assert "+35\N{THIN SPACE}s" in chart


@pytest.mark.parametrize("layout", ["fields", "side"])
def test_moments_of_one_millisecond_are_told_apart(past: Recorded, blob: bytes, layout: str) -> None:
    with boots(blob, b"web_moments") as (fd, map_id):
        refs = []
        for ns in (25 * 10**9, 25 * 10**9 + 1):
            map_update(fd, bytes(8), ns.to_bytes(8, "little") + bytes(8))
            refs.append(past.take(map_id))
        page = past.person().get(f"/diff?a={refs[0]}&b={refs[1]}&layout={layout}").text
        story = past.person().get(f"/series/{past.series(map_id).id}/entries/{bytes(8).hex()}").text
    for shown in (page, story):
        assert re.search(r">25000000000<.*>25000000001<", shown, re.DOTALL)
