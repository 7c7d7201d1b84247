"""What a text names: the series of a map that lives, or that once did, and the snapshot of a moment."""

from __future__ import annotations

from app.history.writer import Writer
from app.timeline.kept_layout import boot_id
from app.timeline.naming import LiveMap, assign
from app.timeline.sides import series_now
from app.timeline.timeline import Timeline

HASH = 1


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
