from __future__ import annotations

import os
import re

import pytest

from app.uapi import objects
from app.uapi.cpus import possible_cpus
from app.uapi.enums import BpfMapFlag, BpfMapType
from app.uapi.syscall import map_freeze
from tests.cli.conftest import Run
from tests.cli.made import bare_map, flow, flow_key, flows, section
from tests.livemaps import u32, u64

pytestmark = pytest.mark.kernel

FIELDS = {
    "id", "name", "type", "key_size", "value_size", "max_entries", "flags", "frozen", "memory_bytes", "entries", "pins",
    "progs", "pids", "btf",
}  # fmt: skip


def row_of(run: Run, map_id: int) -> dict:
    (row,) = [row for row in run("maps", "--json").document if row["id"] == map_id]
    return row


def test_a_map_in_the_list(run: Run, bpffs) -> None:
    entries = [(flow_key("10.0.0.1", 80), flow(1)), (flow_key("10.0.0.2", 80), flow(2))]
    pin = str(bpffs / "listed")
    with flows(entries, flags=BpfMapFlag.NO_PREALLOC) as map_id:
        fd = objects.map_get_fd_by_id(map_id)
        objects.obj_pin(pin, fd)
        try:
            (row,) = [
                row
                for row in run("maps", "--json", env={"BPF_ATLAS_BPFFS": str(bpffs)}).document
                if row["id"] == map_id
            ]
        finally:
            os.close(fd)
            (bpffs / "listed").unlink()
    assert row.keys() >= FIELDS
    assert (row["type"], row["name"], row["key_size"], row["value_size"]) == ("hash", "cli_flows", 8, 56)
    assert (row["max_entries"], row["entries"], row["flags"], row["flag_names"]) == (1024, 2, 1, ["NO_PREALLOC"])
    assert (row["frozen"], row["btf"], row["pins"]) == (False, True, [pin])
    assert row["memory_bytes"] > 0
    assert {"pid": os.getpid(), "comm": comm(), "fd": fd} in row["pids"]


def comm() -> str:
    with open("/proc/self/comm") as file:
        return file.read().rstrip("\n")


def test_frozen_and_bare(run: Run) -> None:
    with bare_map(type=BpfMapType.ARRAY, max_entries=3) as map_id:
        fd = objects.map_get_fd_by_id(map_id)
        map_freeze(fd)
        os.close(fd)
        row = row_of(run, map_id)
        text = next(line for line in run("maps").text.splitlines() if line.split()[0] == str(map_id))
    assert (row["frozen"], row["btf"], row["entries"]) == (True, False, 3)
    assert "frozen,no-btf" in text


@pytest.mark.parametrize(
    ("spec", "entries", "count"),
    [
        pytest.param({}, [(u32(1), u64(1))], 1, id="hash: the kernel's own counter"),
        pytest.param({"type": BpfMapType.LRU_HASH, "max_entries": 64}, [(u32(1), u64(1))], 1, id="LRU hash"),
        pytest.param(
            {"type": BpfMapType.PERCPU_HASH}, [(u32(n), u64(0) * possible_cpus()) for n in range(3)], 3, id="per-CPU"
        ),
        pytest.param(
            {"type": BpfMapType.LPM_TRIE, "key_size": 8, "flags": 1}, [(u32(8) + u32(10), u64(1))], 1, id="trie: a walk"
        ),
        pytest.param({"type": BpfMapType.ARRAY, "max_entries": 5}, [], 5, id="array: always all"),
        pytest.param({"type": BpfMapType.QUEUE, "key_size": 0}, [(None, u64(1))], None, id="queue: nobody knows"),
        pytest.param({"type": BpfMapType.STACK_TRACE}, [], 0, id="stack traces"),
    ],
)
def test_entries_are_counted_where_that_is_cheap(run: Run, spec: dict, entries: list, count: int | None) -> None:
    with bare_map(entries, **spec) as map_id:
        assert row_of(run, map_id)["entries"] == count
        assert run("show", map_id, "--json").document["entries"] == count


def test_many_entries_are_counted_without_reading_them(run: Run) -> None:
    # Far more than any walk within the list's budget would find.
    with bare_map([(u32(n), u64(n)) for n in range(20_000)], max_entries=20_000) as map_id:
        assert row_of(run, map_id)["entries"] == 20_000


def test_the_plain_list_has_the_same_maps(run: Run) -> None:
    with bare_map() as one, flows() as other:
        lines = run("maps").text.splitlines()
        assert lines[0].split()[:4] == ["ID", "TYPE", "NAME", "KEY"]
        assert {str(one), str(other)} <= {line.split()[0] for line in lines}


def test_show_has_all_of_the_list_and_the_schema(run: Run) -> None:
    with flows([(flow_key("10.0.0.1", 80), flow(1))]) as map_id:
        row = row_of(run, map_id)
        shown = run("show", map_id, "--json").document
        text = run("show", map_id).text
    assert {name: shown[name] for name in row} == row
    assert re.search(r"enum verdict verdict;\s+/\* ", shown["schema"]["value"]), "offsets stand beside the members"
    assert "\n    enum verdict verdict; " in text
    assert "\\t" not in text
    assert f"#{map_id} cli_flows" in text


def test_show_of_a_map_does_not_count_the_command_among_its_holders(run: Run) -> None:
    with flows() as map_id:
        assert {pid["pid"] for pid in run("show", map_id, "--json").document["pids"]} == {os.getpid()}


def test_inner_and_outer_maps_know_of_each_other(run: Run) -> None:
    with bare_map(name=b"cli_inner") as inner:
        fd = objects.map_get_fd_by_id(inner)
        spec = {"type": BpfMapType.ARRAY_OF_MAPS, "value_size": 4, "max_entries": 2, "inner_map_fd": fd}
        with bare_map([(u32(1), u32(fd))], **spec) as outer:
            assert run("show", outer, "--json").document["inner_maps"] == [
                {"key": "hex:01000000", "id": inner, "name": "cli_inner"}
            ]
            assert [one["id"] for one in run("show", inner, "--json").document["outer_maps"]] == [outer]
            assert run("dump", outer, "--json").document == [
                {"key": ["0x01", "0x00", "0x00", "0x00"], "value": [f"{byte:#04x}" for byte in u32(inner)]}
            ]
            assert str(inner) in run("dump", outer).text
        os.close(fd)


def test_global_variables_have_a_schema_and_rows(run: Run) -> None:
    with section() as map_id:
        assert "counter" in run("show", map_id).text
        (entry,) = run("dump", map_id, "--json").document
        text = run("dump", map_id).text
    assert entry == {"value": {".data": [{"counter": 7}, {"big": 2**64 - 1}]}}
    assert text.splitlines()[0].split() == ["variable", "type", "value"]
    assert "counter" in text
