"""What a text names: the series of a map that lives, or that once did, and the snapshot of a moment."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest

from app.history import archive, retention
from app.history.database import open_reading, sqlite_url
from app.history.errors import NoSuchSeries, NoSuchSnapshot, NothingThen
from app.history.history import History, moment
from app.history.series import Identity
from app.history.snapshots import About
from app.history.writer import Writer
from app.maps.host_names import boot_id
from app.timeline.errors import ManySeries
from app.timeline.naming import LiveMap, assign
from app.timeline.sides import series_now, series_of
from app.timeline.story import Story
from app.timeline.timeline import Timeline, when_ns
from app.uapi import syscall
from app.uapi.enums import BpfMapType
from app.uapi.objects import map_info
from app.uapi.syscall import MapSpec
from tests.livemaps import live_map, u32, u64
from tests.timeline.conftest import Past

HASH = 1
HERE = os.uname().nodename


def kept(writer: Writer, map_id: int, *, host: str = HERE, boot: str = "a-boot-before", **of: str | int) -> int:
    """Id of a series with one snapshot."""
    series = writer.series_of(Identity(host=host, **of), at_ns=1, map_id=map_id, boot_id=boot)  # type: ignore[arg-type]
    draft = writer.draft(np.zeros((1, 4), np.uint8), np.zeros((1, 8), np.uint8))
    about = About(
        series_id=series.id, layout_id=writer.layout_of(b"layout", None, None), taken_ns=1, took_ns=1, map_id=map_id,
        boot_id=boot, completeness="exact", trigger="manual",
    )  # fmt: skip
    writer.keep(draft, about)
    return series.id


def test_a_map_is_in_the_series_that_it_was_last_seen_in(writer: Writer) -> None:
    assigned = assign(writer, "here", boot_id(), [LiveMap(7, "flows", HASH, "/sys/fs/bpf/a", "")], 1)
    later = assign(writer, "here", boot_id(), [LiveMap(7, "flows", HASH, "/sys/fs/bpf/b", "")], 2)
    # As releases before this one left it: the number leads to both.
    writer.touch(assigned[7])
    now = series_now(7, "flows", HASH, Timeline(writer))
    assert now is not None
    assert now.id == later[7].id
    assert series_now(7, "flows", 2, Timeline(writer)) is None
    assert series_now(8, "flows", HASH, Timeline(writer)) is None


@pytest.mark.kernel
def test_the_number_of_a_map_that_lives_does_not_lead_to_what_had_it_before(past: Past, writer: Writer) -> None:
    spec = MapSpec(type=BpfMapType.HASH, key_size=4, value_size=8, max_entries=4, name=b"fresh")
    with live_map(spec) as fd:
        map_id = map_info(fd).id
        kept(writer, map_id, name="other", type=HASH)
        kept(writer, map_id, name="fresh", type=2)
        kept(writer, map_id, name="fresh", type=HASH, host="another-host")
        for reference in (str(map_id), "name:fresh"):
            with pytest.raises(NoSuchSeries):
                series_of(reference, past.timeline, past)
        before = kept(writer, 5, name="fresh", type=HASH)
        for reference in (str(map_id), "name:fresh"):
            assert series_of(reference, past.timeline, past).id == before
        kept(writer, 6, name="fresh", type=HASH, pin="/sys/fs/bpf/fresh")
        with pytest.raises(ManySeries):
            series_of(str(map_id), past.timeline, past)
    # Once the map is gone its number names what was last known under it.
    gone = kept(writer, map_id + 100_000, name="other", type=HASH, owner="somebody")
    assert series_of(str(map_id + 100_000), past.timeline, past).id == gone


@pytest.mark.kernel
def test_maps_without_a_name_are_not_taken_for_each_other(past: Past, writer: Writer) -> None:
    kept(writer, 5, name="", type=HASH)
    spec = MapSpec(type=BpfMapType.HASH, key_size=4, value_size=8, max_entries=4)
    with live_map(spec) as fd, pytest.raises(NoSuchSeries):
        series_of(str(map_info(fd).id), past.timeline, past)


@pytest.mark.kernel
def test_no_map_has_the_number_that_is_noted_where_one_went_away(past: Past, writer: Writer) -> None:
    kept(writer, 0, name="left", type=HASH, boot="")
    with pytest.raises(NoSuchSeries):
        series_of("0", past.timeline, past)


def test_a_time_as_it_is_printed_names_the_snapshot_that_it_is_of(writer: Writer) -> None:
    series = writer.series_of(Identity(host=HERE, name="flows", type=HASH), at_ns=1, map_id=1, boot_id="b")
    layout_id, second_ns = writer.layout_of(b"layout", None, None), 1_000_000_000
    refs = {}
    for at_ns in (1_795_500_000 * second_ns + 41_000_007, 1_795_500_000 * second_ns + 42_999_999):
        draft = writer.draft(np.zeros((1, 4), np.uint8), np.zeros((1, 8), np.uint8))
        about = About(
            series_id=series.id, layout_id=layout_id, taken_ns=at_ns, took_ns=1, map_id=1, boot_id="b",
            completeness="exact", trigger="schedule",
        )  # fmt: skip
        refs[moment(at_ns)] = writer.keep(draft, about).ref
    for printed, ref in refs.items():
        for text in (printed, printed.removesuffix("Z").replace("T", " "), printed.replace("Z", "+00:00")):
            assert writer.at(series.id, when_ns(text, 0)).ref == ref
    with pytest.raises(NothingThen):
        writer.at(series.id, when_ns("2026-11-24T06:00:00.041000Z", 0))  # somebody who says more means just that
    assert when_ns("10m", 700 * second_ns + 5) == 100 * second_ns + 5


@pytest.mark.kernel
def test_a_change_back_to_what_was_taken_in_is_kept(past: Past, writer: Writer, tmp_path: Path) -> None:
    spec = MapSpec(type=BpfMapType.ARRAY, key_size=4, value_size=8, max_entries=1, name=b"back")
    with live_map(spec, [(u32(0), u64(1))]) as fd:
        map_id = map_info(fd).id
        first = past.take(map_id)
        archive.export(writer, [first], tmp_path / "one.atlas")
        syscall.map_update(fd, u32(0), u64(2))
        past.take(map_id, trigger="schedule")
        writer.forget([first.ref])
        source = History(open_reading(sqlite_url(tmp_path / "one.atlas")))
        (old,) = archive.copy(source, writer, source.snapshots(), trigger="import")
        source.close()
        syscall.map_update(fd, u32(0), u64(1))
        newest = past.take(map_id, trigger="schedule")
        assert writer.at(first.series_id, time.time_ns()) == newest
        told = [
            (span.at.ref, span.value)
            for span in Story(past.timeline, writer.one_series(first.series_id), u32(0)).spans()
        ]
        assert [ref for ref, _ in told] == [old.ref, f"s{old.id - 1}", newest.ref]
        assert [value for _, value in told] == [u64(1), u64(2), u64(1)]


def test_a_snapshot_whose_meaning_was_collected_meanwhile_is_gone(writer: Writer) -> None:
    first = writer.newest(kept(writer, 7, name="flows", type=HASH))
    assert first is not None
    writer.forget([first.ref])
    retention.collect(writer.database)
    with pytest.raises(NoSuchSnapshot):
        Timeline(writer).moment(first)
