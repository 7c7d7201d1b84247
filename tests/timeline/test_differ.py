"""Comparisons of real maps at two moments: by bytes, by names across layouts, with rules and with hidden fields."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.btf.parse import parse
from app.history.errors import NoSuchSeries, NothingThen, Unlike
from app.timeline.differ import compare, plain_path
from app.timeline.errors import BadSide, BadWhen
from app.timeline.sides import side
from app.timeline.told import diff_json, sum_of
from app.uapi import syscall
from app.uapi.cpus import possible_cpus
from app.uapi.enums import BpfMapType
from app.uapi.objects import map_info
from app.uapi.syscall import MapSpec
from tests.columns.kernel_maps import compile_btf, created
from tests.livemaps import live_map, u32, u64
from tests.timeline.conftest import Past

pytestmark = pytest.mark.kernel

SOURCE = """
struct key { __u32 addr; };
struct flow { __u64 packets; __u32 drops; __u32 state:3, mark:29; __u64 last_ns; __u16 slots[4]; __u8 pad_before; };
"""


def flow(
    packets: int, drops: int = 0, state: int = 0, last_ns: int = 0, slots: tuple[int, ...] = (0, 0, 0, 0)
) -> bytes:
    return struct.pack("<QIIQ4H8x", packets, drops, state, last_ns, *slots)


def types(source: str, folder: Path, *names: str) -> tuple[bytes, list[int]]:
    keep = "".join(f"int use_{index}(struct {name} *p) {{ return 0; }}\n" for index, name in enumerate(names))
    data = compile_btf(source + keep, folder)
    return data, [parse(data).find(name)[0] for name in names]


def compared(past: Past, a: str, b: str, **options: Any) -> Any:
    timeline = past.timeline
    made = compare(side(a, timeline, past), side(b, timeline, past), timeline, **options)
    return json.loads(b"".join(diff_json(made)))


@pytest.mark.parametrize(
    ("deltas", "expected"),
    [
        pytest.param(np.full(200_000, 86_400 * 10**9, np.int64), 200_000 * 86_400 * 10**9, id="more than 64 bits"),
        pytest.param(np.full(3, -(1 << 63), np.int64), -3 << 63, id="less than 64 bits"),
        pytest.param(np.array([-1, 1 << 40, -5], np.int64), (1 << 40) - 6, id="both signs"),
        pytest.param(np.zeros(0, np.int64), 0, id="none"),
        pytest.param(np.array([0.5, 0.25]), 0.75, id="floats"),
        pytest.param(np.array([0.5, np.nan]), None, id="no number"),
        pytest.param(np.array([1e308, 1e308]), None, id="beyond all floats"),
    ],
)
def test_differences_add_up_to_what_they_are(deltas: Any, expected: float | None) -> None:
    assert sum_of(deltas) == expected


def test_sums_and_what_is_no_number_are_json(past: Past, tmp_path: Path) -> None:
    source = "struct key { __u32 addr; }; struct both { __u64 packets; double rate; float share; };"
    btf, (key_id, value_id) = types(source, tmp_path, "key", "both")
    with created(btf, key_id, value_id, key_size=4, value_size=24, max_entries=4, name=b"both") as (fd, map_id):
        for number in range(3):
            syscall.map_update(fd, u32(number), struct.pack("<Qdfxxxx", 0, 1.5, 2.0))
        first = past.take(map_id)
        for number in range(3):
            syscall.map_update(fd, u32(number), struct.pack("<Qdfxxxx", 3 << 61, math.nan, math.inf))
        made = compare(side(first.ref, past.timeline, past), side(str(map_id), past.timeline, past), past.timeline)
        text = b"".join(diff_json(made))
        fields = {each["path"]: each for each in json.loads(text, parse_constant=pytest.fail)["fields"]}
        assert fields["value.packets"]["delta"] == 9 << 61
        assert {(each["delta"], each["per_second"]) for path, each in fields.items() if path != "value.packets"} == {
            (None, None)
        }


def test_fields_that_changed_are_named_with_what_they_held(past: Past, tmp_path: Path) -> None:
    btf, (key_id, value_id) = types(SOURCE, tmp_path, "key", "flow")
    with created(btf, key_id, value_id, key_size=4, value_size=40, max_entries=16, name=b"flows") as (fd, map_id):
        for number in range(4):
            syscall.map_update(fd, u32(number), flow(number))
        first = past.take(map_id)
        syscall.map_update(fd, u32(1), flow(11, state=5, slots=(0, 7, 0, 0)))
        syscall.map_delete(fd, u32(2))
        syscall.map_update(fd, u32(9), flow(9))
        second = past.take(map_id)
        told = compared(past, first.ref, second.ref)
        assert told["counts"] == {"added": 1, "removed": 1, "changed": 1, "unchanged": 2, "ignored": 0, "fields": 3}
        assert [entry["key"] for entry in told["added"]] == [{"addr": 9}]
        assert [entry["key"] for entry in told["removed"]] == [{"addr": 2}]
        assert told["changed"] == [
            {
                "key": {"addr": 1},
                "fields": [
                    {"path": "value.packets", "old": 1, "new": 11},
                    {"path": "value.state", "old": 0, "new": 5},
                    {"path": "value.slots[1]", "old": 0, "new": 7},
                ],
            }
        ]
        packets = next(each for each in told["fields"] if each["path"] == "value.packets")
        assert packets["delta"] == 10
        assert packets["per_second"] == pytest.approx(10 / told["seconds"])
        assert compared(past, first.ref, str(map_id))["counts"] == told["counts"]
        assert compared(past, second.ref, str(map_id))["counts"]["changed"] == 0
        backwards = compared(past, second.ref, first.ref)
        assert (backwards["counts"]["added"], backwards["counts"]["removed"]) == (1, 1)


def test_rules_leave_out_what_does_not_matter(past: Past, tmp_path: Path) -> None:
    btf, (key_id, value_id) = types(SOURCE, tmp_path, "key", "flow")
    with created(btf, key_id, value_id, key_size=4, value_size=40, max_entries=16, name=b"flows") as (fd, map_id):
        for number in range(3):
            syscall.map_update(fd, u32(number), flow(number))
        first = past.take(map_id)
        syscall.map_update(fd, u32(0), flow(99, last_ns=5))
        syscall.map_update(fd, u32(1), flow(99, drops=1, last_ns=5))
        second = past.take(map_id)
        told = compared(past, first.ref, second.ref, ignore=("value.packets", "value.*_ns"))
        assert told["counts"] == {"added": 0, "removed": 0, "changed": 1, "unchanged": 2, "ignored": 1, "fields": 1}
        assert told["changed"][0]["fields"] == [{"path": "value.drops", "old": 0, "new": 1}]


def test_what_the_policy_hides_does_not_show_through_a_comparison(past: Past, tmp_path: Path) -> None:
    btf, (key_id, value_id) = types(SOURCE, tmp_path, "key", "flow")
    with created(btf, key_id, value_id, key_size=4, value_size=40, max_entries=16, name=b"flows") as (fd, map_id):
        syscall.map_update(fd, u32(0), flow(0))
        syscall.map_update(fd, u32(1), flow(0))
        first = past.take(map_id)
        syscall.map_update(fd, u32(0), flow(4242))
        syscall.map_update(fd, u32(1), flow(4242, drops=3))
        second = past.take(map_id)
        past.hiding = ("value.packets",)
        for b in (second.ref, str(map_id)):
            told = compared(past, first.ref, b)
            assert told["counts"]["changed"] == 1
            assert "4242" not in json.dumps(told)
            assert told["changed"][0]["fields"] == [{"path": "value.drops", "old": 0, "new": 3}]


def test_layouts_that_differ_are_compared_by_the_names_of_fields(past: Past, tmp_path: Path) -> None:
    older = "struct key { __u32 addr; }; struct flow { __u32 packets; __u32 gone; };"
    newer = "struct key { __u32 addr; }; struct flow { __u64 packets; __u64 come; };"
    refs = []
    for source, packed in ((older, "<II"), (newer, "<QQ")):
        btf, (key_id, value_id) = types(source, tmp_path, "key", "flow")
        size = struct.calcsize(packed)
        with created(btf, key_id, value_id, key_size=4, value_size=size, max_entries=4, name=b"layout") as (
            fd,
            map_id,
        ):
            syscall.map_update(fd, u32(1), struct.pack(packed, 5, 1))
            syscall.map_update(fd, u32(2), struct.pack(packed, 6 + (packed == "<QQ"), 1))
            refs.append(past.take(map_id))
    assert refs[0].series_id == refs[1].series_id  # the successor goes on with the series
    told = compared(past, refs[0].ref, refs[1].ref)
    assert told["counts"] == {"added": 0, "removed": 0, "changed": 1, "unchanged": 1, "ignored": 0, "fields": 1}
    assert told["changed"] == [{"key": {"addr": 2}, "fields": [{"path": "value.packets", "old": 6, "new": 7}]}]
    said = " ".join(told["schema_changes"])
    assert "value.gone is only in the first" in said
    assert "value.come is only in the second" in said
    assert "value.packets was" in said
    assert "made anew" in said


def test_every_cpu_has_its_own_field(past: Past, tmp_path: Path) -> None:
    source = "struct key { __u32 addr; }; struct count { __u32 seen; };"
    btf, (key_id, value_id) = types(source, tmp_path, "key", "count")
    n_cpus = possible_cpus()
    spec = {"type": BpfMapType.PERCPU_HASH, "key_size": 4, "value_size": 4, "max_entries": 4, "name": b"percpu"}
    with created(btf, key_id, value_id, **spec) as (fd, map_id):
        syscall.map_update(fd, u32(1), u64(1) * n_cpus)
        first = past.take(map_id)
        syscall.map_update(fd, u32(1), u64(1) * (n_cpus - 1) + u64(8))
        told = compared(past, first.ref, str(map_id))
        last = n_cpus - 1
        assert told["changed"][0]["fields"] == [{"path": f"value@cpu{last}.seen", "old": 1, "new": 8}]


def test_maps_without_types_are_compared_as_bytes(past: Past) -> None:
    spec = MapSpec(type=BpfMapType.HASH, key_size=4, value_size=8, max_entries=4, name=b"bare")
    with live_map(spec, [(u32(1), u64(1)), (u32(2), u64(2))]) as fd:
        map_id = map_info(fd).id
        first = past.take(map_id)
        syscall.map_update(fd, u32(1), u64(256))
        told = compared(past, first.ref, str(map_id))
        assert told["changed"] == [
            {
                "key": ["0x01", "0x00", "0x00", "0x00"],
                "fields": [
                    {
                        "path": "value",
                        "old": ["0x01", *["0x00"] * 7],
                        "new": ["0x00", "0x01", *["0x00"] * 6],
                    }
                ],
            }
        ]


def test_two_maps_of_different_programs(past: Past) -> None:
    spec = MapSpec(type=BpfMapType.HASH, key_size=4, value_size=8, max_entries=4, name=b"one")
    other = MapSpec(type=BpfMapType.ARRAY, key_size=4, value_size=8, max_entries=2, name=b"other")
    wide = MapSpec(type=BpfMapType.HASH, key_size=8, value_size=8, max_entries=2, name=b"wide")
    with live_map(spec, [(u32(1), u64(1))]) as one, live_map(other) as two, live_map(wide) as three:
        ids = [str(map_info(fd).id) for fd in (one, two, three)]
        told = compared(past, ids[0], ids[1])
        assert told["counts"]["changed"] == 1
        assert told["counts"]["added"] == 1
        assert "type was 1, and is 2" in told["schema_changes"]
        with pytest.raises(Unlike, match=r"keys of 4 bytes.*8"):
            compared(past, ids[0], ids[2])


def test_a_time_names_the_newest_snapshot_before_it(past: Past) -> None:
    spec = MapSpec(type=BpfMapType.HASH, key_size=4, value_size=8, max_entries=4, name=b"when_one")
    with live_map(spec, [(u32(1), u64(1))]) as fd:
        map_id = map_info(fd).id
        kept = past.take(map_id)
        for reference in (f"{map_id}@0s", "name:when_one@0s", f"{map_id}@2999-01-01"):
            assert side(reference, past.timeline, past).ref == kept.ref
        with pytest.raises(NothingThen, match=r"no snapshot of when_one at or before .*first is of 20"):
            side(f"{map_id}@2001-01-01", past.timeline, past)
    # The map is gone, its past is not.
    assert side("name:when_one@0s", past.timeline, past).ref == kept.ref
    assert side(f"{map_id}@0s", past.timeline, past).ref == kept.ref


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        pytest.param("name:x@yesterday", BadWhen, "is no time", id="bad WHEN"),
        pytest.param("@10m", BadSide, "a snapshot", id="no map"),
        pytest.param("name:never_was@10m", NoSuchSeries, "no snapshot of such a map was ever taken", id="no history"),
        pytest.param("4000000000@10m", NoSuchSeries, "no snapshot", id="no such id"),
    ],
)
def test_a_side_that_is_none_is_told_in_one_sentence(past: Past, text: str, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        side(text, past.timeline, past)


@pytest.mark.parametrize(
    ("path", "plain"),
    [("value@cpu3.x", "value.x"), ("value@cpu12[3].y", "value[3].y"), ("value@cpu0", "value"), ("value.x", "value.x")],
)
def test_a_path_without_its_cpu(path: str, plain: str) -> None:
    assert plain_path(path) == plain
