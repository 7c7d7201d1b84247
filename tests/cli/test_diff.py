"""`diff` of snapshots, live maps and moments, without a service."""

from __future__ import annotations

import functools
import json
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from app.history.snapshots import Kept
from app.maps.catalog import listing
from app.maps.host_names import boot_id
from app.settings import Settings
from app.timeline import naming, place, taking
from app.uapi import syscall
from app.uapi.enums import BpfMapType
from tests.cli import made
from tests.cli.made import FLOWS, flow, flow_key, typed_map
from tests.cli.within import ON, Within, within
from tests.livemaps import u32, u64

__all__ = ["within"]
pytestmark = pytest.mark.kernel

NAME, BARE = f"diffs_{os.getpid()}", f"diffb_{os.getpid()}"
bare_map = functools.partial(made.bare_map, name=BARE.encode())
KEYS = [flow_key(f"10.0.0.{n}", 80) for n in range(1, 9)]


@dataclass
class Changed:
    """A map with the snapshot s1 of before and s2 of after some changes, which it has now, too."""

    map_id: int
    fd: int
    within: Within


@pytest.fixture
def changed(within: Within) -> Iterator[Changed]:
    entries = [(key, flow(10, b"nginx", 0, -5)) for key in KEYS]
    with typed_map(FLOWS, "flow_key", "flow", entries, key_size=8, value_size=56, name=NAME.encode()) as (fd, map_id):
        within.snapshot(map_id)
        syscall.map_update(fd, KEYS[0], flow(15, b"nginx", 1, -5))
        syscall.map_update(fd, KEYS[1], flow(12, b"nginx", 0, -5))
        syscall.map_delete(fd, KEYS[2])
        syscall.map_update(fd, flow_key("10.9.0.1", 53), flow(1, b"dns"))
        within.snapshot(map_id)
        yield Changed(map_id, fd, within)


def fields_of(document: dict) -> dict[int, dict[str, tuple[object, object]]]:
    """By the last byte of the source address."""
    return {
        each["key"]["saddr"] >> 24: {field["path"]: (field["old"], field["new"]) for field in each["fields"]}
        for each in document["changed"]
    }


def test_the_document_says_what_came_went_and_changed(changed: Changed) -> None:
    sides = (("s1", "s2"), ("s1", changed.map_id), ("s1", f"name:{NAME}"), ("s1", f"{changed.map_id}@0s"))
    for a, b in sides:
        document = changed.within.done("diff", a, b, "--json").document
        assert {"a", "b", "exact", "added", "removed", "changed", "counts"} <= set(document)
        assert {name: document["counts"][name] for name in ("added", "removed", "changed", "unchanged")} == {
            "added": 1, "removed": 1, "changed": 2, "unchanged": 5,
        }  # fmt: skip
        assert document["a"]["ref"] == "s1"
        assert document["exact"] is False
        assert [each["value"]["comm"] for each in document["added"]] == ["dns"]
        assert [each["key"]["saddr"] >> 24 for each in document["removed"]] == [3]
        assert fields_of(document) == {
            1: {"value.packets": (10, 15), "value.verdict": ("PASS", "DROP")},
            2: {"value.packets": (10, 12)},
        }
    same = changed.within.done("diff", "s2", changed.map_id, "--json").document
    assert (same["added"], same["removed"], same["changed"], same["counts"]["unchanged"]) == ([], [], [], 8)


def test_the_text_is_for_people(changed: Changed) -> None:
    lines = changed.within.done("diff", "s1", "s2").text.splitlines()
    assert "1 added, 1 removed, 2 changed, 5 unchanged" in lines
    assert any(line.startswith("a  s1  ") for line in lines)
    (total,) = [line.split() for line in lines if line.startswith("value.packets ")]
    assert total[1:3] == ["2", "+7"]
    entries = lines[lines.index(next(line for line in lines if line.startswith("+ "))) :]
    assert entries[0].startswith("+ 10.9.0.1, 53, 0  packets=1  balance=0  comm=dns  verdict=PASS")
    assert entries[1].startswith("- 10.0.0.3, 80, 0  packets=10")
    assert entries[2] == "~ 10.0.0.1, 80, 0"
    assert entries[3].startswith("    value.packets  10 → 15  (+5, +")
    assert entries[3].endswith(" a second)")
    assert entries[4] == "    value.verdict  PASS → DROP"
    live = changed.within.done("diff", "s1", changed.map_id).text
    assert f"b  live  {NAME} #{changed.map_id}" in live


def test_sums_are_told_beyond_64_bits(within: Within) -> None:
    entries = [(key, flow(0)) for key in KEYS]
    with typed_map(FLOWS, "flow_key", "flow", entries, key_size=8, value_size=56, name=NAME.encode()) as (fd, map_id):
        within.snapshot(map_id)
        for key in KEYS:
            syscall.map_update(fd, key, flow(3 << 61))
        for words in (("--json",), ("--json", "--summary")):
            (field,) = within.done("diff", "s1", map_id, *words).document["fields"]
            assert field["delta"] == len(KEYS) * 3 << 61
        assert f"{len(KEYS) * 3 << 61:+,}" in within.done("diff", "s1", map_id, "--summary").text


def test_a_summary_has_the_counts_and_the_fields_alone(changed: Changed) -> None:
    text = changed.within.done("diff", "s1", "s2", "--summary").text
    assert "2 changed" in text
    assert "value.verdict" in text
    assert "10.0.0.1" not in text
    document = changed.within.done("diff", "s1", "s2", "--summary", "--json").document
    assert set(document).isdisjoint({"added", "removed", "changed"})
    assert [(each["path"], each["changed"]) for each in document["fields"]] == [
        ("value.packets", 2), ("value.verdict", 1),
    ]  # fmt: skip


LISTED: list[tuple[tuple[str, ...], tuple[int, int, int]]] = [
    (("--only", "added"), (1, 0, 0)),
    (("--only", "removed"), (0, 1, 0)),
    (("--only", "changed"), (0, 0, 2)),
    (("--where", "key.saddr in 10.0.0.0/30"), (0, 1, 2)),
    (("--where", "value.packets > 12"), (0, 0, 1)),
    (("--where", "value.packets < 12"), (1, 1, 2)),
    (("--where", "value.packets == 10"), (0, 1, 2)),
    (("--where", "key.dport == 53", "--only", "added"), (1, 0, 0)),
]


def marks(text: str) -> str:
    """The first letters of the lines that are about an entry."""
    return "".join(line[0] for line in text.splitlines() if line[:2] in {"+ ", "- ", "? ", "~ "})


def test_what_is_listed_can_be_chosen_and_the_counts_stay(changed: Changed) -> None:
    for options, listed in LISTED:
        document = changed.within.done("diff", "s1", "s2", "--json", *options).document
        assert tuple(len(document[name]) for name in ("added", "removed", "changed")) == listed, options
        assert document["counts"]["changed"] == 2
        added, removed, changes = listed
        assert (
            marks(changed.within.done("diff", "s1", "s2", *options).text) == "+" * added + "-" * removed + "~" * changes
        )


def test_a_filter_goes_by_the_paths_that_people_see(within: Within) -> None:
    # In the form of `dump --json` these values are bytes.
    queues = {"type": BpfMapType.CPUMAP, "value_size": 4, "max_entries": 2}
    with bare_map([(u32(0), u32(100))], **queues) as one, bare_map([(u32(0), u32(200))], **queues) as other:
        (changed,) = within.done("diff", one, other, "--json", "--where", "key == 0 and value.qsize > 150").document[
            "changed"
        ]
        assert changed["fields"][0]["new"] == ["0xc8", "0x00", "0x00", "0x00"]
        assert within.done("diff", one, other, "--json", "--where", "value.qsize < 50").document["changed"] == []


RANKS = [0, 1, 255, 256, 2050, 6400, 12800, 44800, 65536]


def test_entries_stand_in_the_order_of_their_keys_as_numbers(within: Within) -> None:
    source = (
        "typedef unsigned int __u32; struct held { __u32 hits; }; int use(__u32 *key, struct held *value) { return 0; }"
    )
    spec = {"key_size": 4, "value_size": 4, "name": NAME.encode()}
    with typed_map(source, "__u32", "held", [(u32(rank), u32(1)) for rank in RANKS], **spec) as (fd, map_id):
        first = within.snapshot(map_id)
        for rank in RANKS:
            syscall.map_update(fd, u32(rank), u32(2))
            syscall.map_update(fd, u32(rank + 3), u32(2))
        told = within.done("diff", first, map_id).text
        for mark, numbers in (("+", [rank + 3 for rank in RANKS]), ("~", RANKS)):
            keys = re.findall(rf"^[{mark}] ([\d\s]*?)(?:  .*)?$", told, re.MULTILINE)
            assert [int(re.sub(r"\D", "", key)) for key in keys] == numbers
        assert "hits  1 → 2" in told
        restored = within.done("restore", first, "--dry-run").text
        assert [int(re.sub(r"\D", "", key)) for key in re.findall("^~ (.*)$", restored, re.MULTILINE)] == RANKS


def test_text_stops_after_some_entries_and_says_so(changed: Changed) -> None:
    done = changed.within.done("diff", "s1", "s2", "--limit", 3)
    assert "… 1 more entries" in done.complaint
    assert marks(done.text) == "+-~"
    assert changed.within.done("diff", "s1", "s2", "--limit", 0).complaint == ""


def test_patterns_are_left_out_as_asked_and_as_kept(changed: Changed) -> None:
    within = changed.within
    asked = within.done("diff", "s1", "s2", "--json", "--ignore", "value.packets").document
    assert fields_of(asked) == {1: {"value.verdict": ("PASS", "DROP")}}
    assert (asked["counts"]["unchanged"], asked["counts"]["ignored"]) == (6, 1)
    assert (
        within.done("history", "ignore", f"name:{NAME}", "value.pack*", "value.comm").text
        == "value.pack*\nvalue.comm\n"
    )
    assert within.done("history", "ignore", "name:" + NAME, "--json").document == ["value.pack*", "value.comm"]
    for b in ("s2", changed.map_id):
        assert fields_of(within.done("diff", "s1", b, "--json").document) == {1: {"value.verdict": ("PASS", "DROP")}}
    assert set(fields_of(within.done("diff", "s1", "s2", "--json", "--no-ignore").document)) == {1, 2}
    assert "leave out nothing" in within.done("history", "ignore", f"name:{NAME}", "--clear").complaint
    assert set(fields_of(within.done("diff", "s1", "s2", "--json").document)) == {1, 2}
    assert "no pattern of paths" in within.refused(2, "history", "ignore", f"name:{NAME}", "packets")


def test_a_patch_leads_from_the_first_side_to_the_second(changed: Changed) -> None:
    within = changed.within
    rows = within.data.parent / "rows.json"
    rows.write_bytes(within.done("diff", changed.map_id, "s1", "--patch").raw)
    kinds = [(set(json.loads(line)) - {"key"}).pop() for line in rows.read_text().splitlines()]
    assert sorted(kinds) == ["delete", "set", "set", "value"]
    made_plan = within.done("plan", "make", changed.map_id, rows, "--reason", "back", "--apply", env=ON)
    assert "4 of 4 rows done" in made_plan.text
    counts = within.done("diff", changed.map_id, "s1", "--json").document["counts"]
    assert (counts["added"], counts["removed"], counts["changed"], counts["unchanged"]) == (0, 0, 0, 8)
    assert within.done("diff", changed.map_id, "s1", "--patch").raw == b""


def test_two_live_maps_need_no_history(within: Within) -> None:
    with (
        bare_map([(u32(n), u64(n)) for n in range(3)]) as one,
        bare_map([(u32(n), u64(n * 2)) for n in range(4)]) as other,
    ):
        document = within.done("diff", one, other, "--json").document
        assert {name: document["counts"][name] for name in ("added", "removed", "changed", "unchanged")} == {
            "added": 1, "removed": 0, "changed": 2, "unchanged": 1,
        }  # fmt: skip
        assert not within.data.joinpath("history").exists()


def capped(within: Within, map_id: int, limit: int) -> Kept:
    """A snapshot that ends after some entries."""
    from app.broker.local import client as local_client
    from app.maps.layouts import Btfs
    from app.maps.opening import open_map

    settings = Settings(data=within.data)
    place.prepare(settings)
    writer = place.writer(settings, "here")
    try:
        with local_client(settings) as client:
            live = [naming.live_map(row) for row in listing(client).rows]
            series = naming.assign(writer, "here", boot_id(), live, time.time_ns())
            with open_map(client, Btfs(client), map_id) as opened:
                kept = taking.take(writer, opened, series[map_id], boot_id(), taking.Request(limit=limit))
    finally:
        writer.close()
    assert kept is not None
    return kept


def test_what_a_side_does_not_hold_is_not_called_removed(within: Within) -> None:
    with bare_map([(u32(n), u64(n)) for n in range(1000)], max_entries=1000) as map_id:
        ref = capped(within, map_id, 10).ref
        (facts,) = within.done("snapshots", "--json").document
        assert (facts["ref"], facts["completeness"], facts["entries"] < 500) == (ref, "capped", True)
        lacking = 1000 - facts["entries"]
        done = within.done("diff", map_id, ref)
        assert f"{lacking:,} not seen" in done.text
        assert "not seen there, which is not to say removed" in done.text
        assert marks(done.text) == "?" * lacking
        patch = within.done("diff", map_id, ref, "--patch")
        assert patch.raw == b""
        assert f"{lacking} entries are not seen in {ref}, which does not hold all; they stay" in patch.complaint
        assert "which does not hold all entries" in within.done("dump", ref).complaint


REFUSED = [
    (1, "diff s1 s9", "there is no snapshot s9"),
    (1, "diff s1 name:nobody_here", "no map named nobody_here"),
    (1, "diff s1 {id}@3d", "at or before"),
    (2, "diff s1 {id}@tomorrow", "is no time"),
    (2, "diff s1 flows", "name:NAME"),
    (2, "diff s1 s1 --json --patch", "one form at a time"),
    (2, "diff s1 s1 --summary --only added", "--summary counts all"),
    (2, "diff s1 s1 --where value.x>", "found the end"),
    (2, "diff s1 s1 --where value.nope>1", "no field value.nope"),
    (2, "diff s1 s1 --only some", "--only"),
    (2, "diff s1", "Missing argument"),
    (2, "diff s1 {other}", "cannot be compared"),
]


def test_what_cannot_be_compared_is_said_in_one_line(within: Within) -> None:
    with bare_map([(u32(1), u64(1))]) as map_id, bare_map(key_size=8) as other:
        within.snapshot(map_id)
        for status, words, says in REFUSED:
            assert says in within.refused(status, *words.format(id=map_id, other=other).split()), words


def test_without_any_history_a_snapshot_is_not_there(within: Within) -> None:
    assert "there is no history" in within.refused(1, "diff", "s1", "s2")


def test_an_address_has_no_difference(within: Within) -> None:
    source = """
    typedef unsigned int __u32; typedef __u32 __be32;
    struct peer { __be32 addr; __u32 hits; }; int use(struct peer *value, __u32 *key) { return 0; }
    """
    with typed_map(
        source, "__u32", "peer", [(u32(1), bytes([10, 0, 0, 1]) + u32(4))], key_size=4, value_size=8, name=b"cli_peers"
    ) as (fd, map_id):
        within.snapshot(map_id)
        syscall.map_update(fd, u32(1), bytes([10, 0, 0, 9]) + u32(6))
        lines = within.done("diff", "s1", map_id).text.splitlines()
    assert "    value.addr  10.0.0.1 → 10.0.0.9" in lines
    assert any(line.startswith("    value.hits  4 → 6  (+2, ") for line in lines)
    (total,) = [line.split() for line in lines if line.startswith("value.addr ")]
    assert total == ["value.addr", "1", "-", "-"]


def test_padding_that_differs_is_shown_as_bytes(within: Within) -> None:
    entries = [(KEYS[0], flow(1)[:-4] + b"\0\0\0\0")]
    with typed_map(FLOWS, "flow_key", "flow", entries, key_size=8, value_size=56, name=NAME.encode()) as (fd, map_id):
        within.snapshot(map_id)
        syscall.map_update(fd, KEYS[0], flow(1)[:-4] + b"\1\2\3\4")
        text = within.done("diff", "s1", map_id).text
        (line,) = [line for line in text.splitlines() if line.startswith("    value  ")]
        assert line.endswith(" 0000000001020304")


def test_each_cpu_is_a_field(within: Within) -> None:
    from app.uapi.cpus import possible_cpus

    n_cpus = possible_cpus()
    with bare_map(type=BpfMapType.PERCPU_ARRAY, max_entries=1) as map_id:
        from app.uapi import objects

        fd = objects.map_get_fd_by_id(map_id)
        within.snapshot(map_id)
        syscall.map_update(fd, u32(0), u64(7) + bytes(8 * (n_cpus - 1)))
        os.close(fd)
        assert any(line.startswith("    value@cpu0") for line in within.done("diff", "s1", map_id).text.splitlines())
        (one,) = within.done("diff", "s1", map_id, "--json").document["changed"]
        assert [each["path"] for each in one["fields"]] == ["value@cpu0"]
