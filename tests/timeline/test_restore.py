"""A snapshot brought back by audited edits: the map holds then what it held, and nothing else was touched."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.broker.local import client as local_client
from app.cli.service import CLI
from app.history.writer import Writer
from app.maps.bulk import edits_from, edits_of
from app.settings import Settings
from app.timeline.differ import compare
from app.timeline.errors import CannotRestore
from app.timeline.restore import only, patch, plan_rows
from app.timeline.sides import side
from app.uapi import syscall
from app.uapi.cpus import possible_cpus
from app.uapi.enums import BpfMapType
from app.uapi.objects import map_info
from app.uapi.syscall import MapSpec
from tests.columns.kernel_maps import created
from tests.livemaps import live_map, u32, u64
from tests.timeline.conftest import Past
from tests.timeline.test_differ import SOURCE, flow, types

pytestmark = pytest.mark.kernel


@pytest.fixture
def past(writer: Writer, tmp_path: Path) -> Iterator[Past]:
    with local_client(Settings(data=tmp_path, allow_edits=True)) as client:
        yield Past(writer, client)


def restored(past: Past, map_id: int, ref: str, where: str = "") -> int:
    """Bring a snapshot back; how many edits it took."""
    made = compare(side(str(map_id), past.timeline, past), side(ref, past.timeline, past), past.timeline)
    with past.open_map(map_id) as opened:
        edits = edits_from(opened, plan_rows(only(made, where)))
        for edit in edits:
            report = past.client.edit(CLI, edit, "back as it was", dry_run=False)
            assert report.result == "done", report
    return len(edits)


def left(past: Past, map_id: int, ref: str) -> int:
    """Entries that still differ."""
    made = compare(side(str(map_id), past.timeline, past), side(ref, past.timeline, past), past.timeline)
    return len(made.added) + len(made.removed) + len(made.old)


def test_entries_that_changed_came_or_went_are_as_they_were(past: Past, tmp_path: Path) -> None:
    btf, (key_id, value_id) = types(SOURCE, tmp_path, "key", "flow")
    with created(btf, key_id, value_id, key_size=4, value_size=40, max_entries=16, name=b"flows") as (fd, map_id):
        for number in range(5):
            syscall.map_update(fd, u32(number), flow(number, state=number, slots=(1, 2, 3, 4)))
        kept = past.take(map_id)
        syscall.map_update(fd, u32(1), flow(11, state=5, last_ns=9, slots=(0, 7, 0, 0)))
        syscall.map_delete(fd, u32(2))
        syscall.map_update(fd, u32(9), flow(9))
        assert left(past, map_id, kept.ref) == 3
        assert restored(past, map_id, kept.ref) == 3
        assert left(past, map_id, kept.ref) == 0


def test_only_what_a_filter_selects_is_brought_back(past: Past, tmp_path: Path) -> None:
    btf, (key_id, value_id) = types(SOURCE, tmp_path, "key", "flow")
    with created(btf, key_id, value_id, key_size=4, value_size=40, max_entries=16, name=b"flows") as (fd, map_id):
        for number in range(4):
            syscall.map_update(fd, u32(number), flow(number))
        kept = past.take(map_id)
        for number in range(4):
            syscall.map_update(fd, u32(number), flow(100 + number))
        syscall.map_update(fd, u32(9), flow(9))
        assert restored(past, map_id, kept.ref, "value.packets in (1, 2)") == 2
        assert left(past, map_id, kept.ref) == 3


def test_only_fields_that_differ_are_written(past: Past, tmp_path: Path) -> None:
    btf, (key_id, value_id) = types(SOURCE, tmp_path, "key", "flow")
    with created(btf, key_id, value_id, key_size=4, value_size=40, max_entries=16, name=b"flows") as (fd, map_id):
        syscall.map_update(fd, u32(1), flow(1, drops=1))
        kept = past.take(map_id)
        syscall.map_update(fd, u32(1), flow(7, drops=2))
        made = compare(
            side(str(map_id), past.timeline, past),
            side(kept.ref, past.timeline, past),
            past.timeline,
            ignore=("value.packets",),
        )
        assert list(plan_rows(made)) == [{"key": "hex:01000000", "set": {"value.drops": 1}}]


def test_values_of_each_cpu_and_of_maps_without_types(past: Past) -> None:
    n_cpus = possible_cpus()
    percpu = MapSpec(type=BpfMapType.PERCPU_HASH, key_size=4, value_size=8, max_entries=4, name=b"cpus")
    bare = MapSpec(type=BpfMapType.ARRAY, key_size=4, value_size=12, max_entries=4, name=b"bare")
    with live_map(percpu, [(u32(1), u64(3) * n_cpus)]) as one, live_map(bare) as other:
        for fd, changed in ((one, u64(4) * n_cpus), (other, b"x" * 12)):
            map_id = map_info(fd).id
            kept = past.take(map_id)
            syscall.map_update(fd, u32(1), changed)
            assert left(past, map_id, kept.ref) == 1
            restored(past, map_id, kept.ref)
            assert left(past, map_id, kept.ref) == 0


def test_a_patch_is_a_plan_that_leads_from_one_to_the_other(past: Past, tmp_path: Path) -> None:
    btf, (key_id, value_id) = types(SOURCE, tmp_path, "key", "flow")
    with created(btf, key_id, value_id, key_size=4, value_size=40, max_entries=16, name=b"flows") as (fd, map_id):
        syscall.map_update(fd, u32(1), flow(1))
        first = past.take(map_id)
        syscall.map_update(fd, u32(1), flow(2, slots=(0, 0, 0, 3)))
        syscall.map_update(fd, u32(2), flow(5))
        second = past.take(map_id)
        made = compare(side(second.ref, past.timeline, past), side(first.ref, past.timeline, past), past.timeline)
        text = b"".join(patch(made)).decode()
        assert [sorted(json.loads(line)) for line in text.splitlines()] == [["key", "set"], ["delete", "key"]]
        with past.open_map(map_id) as opened:
            for edit in edits_of(opened, text):
                past.client.edit(CLI, edit, "as a patch", dry_run=False)
        assert left(past, map_id, first.ref) == 0


def test_what_a_capped_snapshot_lacks_is_not_deleted(past: Past) -> None:
    from dataclasses import replace

    spec = MapSpec(type=BpfMapType.HASH, key_size=4, value_size=8, max_entries=4, name=b"capped")
    with live_map(spec, [(u32(1), u64(1))]) as fd:
        map_id = map_info(fd).id
        kept = past.take(map_id)
        syscall.map_update(fd, u32(2), u64(2))
        made = compare(side(str(map_id), past.timeline, past), side(kept.ref, past.timeline, past), past.timeline)
        assert [sorted(row) for row in plan_rows(made)] == [["delete", "key"]]
        capped = replace(made, b=replace(made.b, completeness="capped"))
        assert list(plan_rows(capped)) == []


@pytest.mark.parametrize("kind", [BpfMapType.QUEUE, BpfMapType.DEVMAP])
def test_types_that_cannot_be_put_back_say_so(past: Past, kind: BpfMapType) -> None:
    spec = MapSpec(type=kind, key_size=0 if kind is BpfMapType.QUEUE else 4, value_size=4, max_entries=4, name=b"refs")
    with live_map(spec) as fd:
        if kind is BpfMapType.QUEUE:
            syscall.map_update(fd, None, struct.pack("<I", 1))
        map_id = map_info(fd).id
        kept = past.take(map_id)
        made = compare(side(kept.ref, past.timeline, past), side(kept.ref, past.timeline, past), past.timeline)
        with pytest.raises(CannotRestore, match=r"put (them )?back"):
            list(plan_rows(made))
