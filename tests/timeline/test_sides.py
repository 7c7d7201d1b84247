"""What a text names: the series of a map that lives, or that once did, and the snapshot of a moment."""

from __future__ import annotations

import os

import numpy as np
import pytest

from app.history.errors import NoSuchSeries
from app.history.series import Identity
from app.history.snapshots import About
from app.history.writer import Writer
from app.timeline.errors import ManySeries
from app.timeline.kept_layout import boot_id
from app.timeline.naming import LiveMap, assign
from app.timeline.sides import series_now, series_of
from app.timeline.timeline import Timeline
from app.uapi.enums import BpfMapType
from app.uapi.objects import map_info
from app.uapi.syscall import MapSpec
from tests.livemaps import live_map
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
