"""`edit` and `undo` as users run them: what they print, what they change, and how they end."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from app.uapi import objects
from app.uapi.cpus import possible_cpus
from app.uapi.enums import BpfMapFlag, BpfMapType
from app.uapi.syscall import MapSpec, map_lookup, map_update
from tests.cli.conftest import Run
from tests.cli.made import bare_map
from tests.columns import kernel_maps
from tests.livemaps import live_map, u32, u64

pytestmark = pytest.mark.kernel

ON = {"BPF_ATLAS_ALLOW_EDITS": "1"}
SOURCE = """
enum state { NEW, ESTABLISHED };
struct rule { __u64 packets; __u32 limit; enum state state; __be16 dport; char name[8]; };
int use_0(struct rule *p) { return 0; }
"""
SIZE = 32


@pytest.fixture(scope="module")
def blob(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return kernel_maps.compile_btf(SOURCE, tmp_path_factory.mktemp("btf"))


@contextlib.contextmanager
def rules(blob: bytes, **spec: Any) -> Iterator[tuple[int, int]]:
    btf = kernel_maps.parse(blob)
    spec = {"type": BpfMapType.HASH, "key_size": 4, "value_size": SIZE, "max_entries": 2, "name": b"cli_rules"} | spec
    with kernel_maps.created(blob, btf.find("__u32")[0], btf.find("rule")[0], **spec) as (fd, map_id):
        map_update(fd, u32(1), u64(1000) + u32(64) + u32(0) + b"\x01\xbb" + b"old\0\0\0\0\0" + bytes(6))
        yield fd, map_id


def value_of(fd: int, key: bytes = u32(1), size: int = SIZE) -> bytes | None:
    value = bytearray(size)
    return bytes(value) if map_lookup(fd, key, value) else None


@pytest.fixture
def edits(run: Run) -> Run:
    """Root without a service, where edits are allowed."""

    def edits(*words: object, **options: Any) -> Any:
        return run(*words, env=ON, **options)

    return edits


def test_a_field_is_previewed_changed_and_taken_back(blob: bytes, edits: Run, run: Run) -> None:
    with rules(blob) as (fd, map_id):
        before = value_of(fd)
        planned = edits("edit", map_id, "--key", "1", "--set", "value.limit=128", "--dry-run")
        assert planned.status == 0, planned
        assert "value.limit  64 → 128" in planned.text
        assert "compare-and-swap in the kernel" in planned.text
        assert "nothing was written" in planned.text
        assert value_of(fd) == before
        done = edits(
            "edit",
            map_id,
            "--key",
            "1",
            "--set",
            "value.limit=128",
            "--set",
            "value.state=ESTABLISHED",
            "--reason",
            "test",
        )
        assert done.status == 0, done
        number = int(next(line.split()[1] for line in done.text.splitlines() if line.strip().startswith("audit")))
        assert value_of(fd) == u64(1000) + u32(128) + u32(1) + before[16:]
        shown = edits("undo", number, "--dry-run")
        assert "value.limit  128 → 64" in shown.text
        map_update(fd, u32(1), u64(2000) + u32(128) + u32(1) + before[16:])
        undone = edits("undo", number, "--reason", "not this one")
        assert undone.status == 0, undone
        assert value_of(fd) == u64(2000) + before[8:]
        again = edits("undo", number, "--reason", "twice")
        assert again.status == 1
        assert again.complaint.startswith("bpf-atlas: ")


def test_json_is_one_document(blob: bytes, edits: Run) -> None:
    with rules(blob) as (fd, map_id):
        done = edits("edit", map_id, "--key", "hex:01000000", "--set", 'value.name="new"', "--reason", "test", "--json")
        assert done.status == 0, done
        found = done.document
        assert (found["result"], found["action"], found["key"]) == ("done", "set", "01000000")
        assert found["audit"] > 0
        assert [(one["path"], one["old_text"], one["new_text"]) for one in found["fields"]] == [
            ("value.name", "old", "new")
        ]
        assert value_of(fd)[18:26] == b"new\0\0\0\0\0"
        stale = edits(
            "edit",
            map_id,
            "--key",
            "1",
            "--set",
            "value.limit=9",
            "--expect",
            "value.limit=7",
            "--reason",
            "test",
            "--json",
        )
        assert stale.status == 1
        assert stale.document["result"] == "conflict"
        assert value_of(fd)[8:12] == u32(64)


def test_numbers_are_as_dump_prints_them_and_text_as_people_write_it(blob: bytes, edits: Run) -> None:
    with rules(blob) as (fd, map_id):
        assert edits("edit", map_id, "--key", "1", "--set", "value.dport=20480", "--reason", "t").status == 0
        assert value_of(fd)[16:18] == b"\0\x50"
        assert edits("edit", map_id, "--key", "1", "--set", 'value.dport="8080"', "--reason", "t").status == 0
        assert value_of(fd)[16:18] == (8080).to_bytes(2, "big")
        dumped = json.loads(edits("dump", map_id, "--json").raw)[0]["value"]
        dumped["limit"] = 5
        assert edits("edit", map_id, "--key", "1", "--set", f"value={json.dumps(dumped)}", "--reason", "t").status == 0
        assert value_of(fd)[8:12] == u32(5)


def test_create_and_delete(blob: bytes, edits: Run) -> None:
    with rules(blob) as (fd, map_id):
        made = edits("edit", map_id, "--key", "2", "--create", "--set", "value.limit=7", "--reason", "t")
        assert made.status == 0, made
        assert value_of(fd, u32(2)) == u64(0) + u32(7) + bytes(20)
        twice = edits("edit", map_id, "--key", "2", "--create", "--set", "value.limit=8", "--reason", "t")
        assert (twice.status, value_of(fd, u32(2))[8:12]) == (1, u32(7))
        full = edits("edit", map_id, "--key", "3", "--create", "--reason", "t")
        assert full.status == 3
        assert "full" in full.complaint
        gone = edits("edit", map_id, "--key", "2", "--delete", "--reason", "t", "--json")
        assert gone.status == 0, gone
        assert value_of(fd, u32(2)) is None
        number = gone.document["audit"]
        assert edits("undo", number, "--reason", "t").status == 0
        assert value_of(fd, u32(2)) == u64(0) + u32(7) + bytes(20)


def test_one_cpu_or_all(edits: Run) -> None:
    n_cpus = possible_cpus()
    spec = MapSpec(type=BpfMapType.PERCPU_ARRAY, key_size=4, value_size=8, max_entries=1, name=b"cli_percpu")
    with live_map(spec) as fd:
        map_id = objects.map_info(fd).id
        refused = edits("edit", map_id, "--key", "0", "--set", "value=5", "--reason", "t")
        assert refused.status == 2
        assert f"say whose, 0 to {n_cpus - 1}, or all" in refused.complaint
        assert edits("edit", map_id, "--key", "0", "--set", "value=5", "--cpu", "0", "--reason", "t").status == 0
        assert value_of(fd, u32(0), 8 * n_cpus) == u64(5) + bytes(8 * (n_cpus - 1))
        assert edits("edit", map_id, "--key", "0", "--set", "value=6", "--cpu", "all", "--reason", "t").status == 0
        assert value_of(fd, u32(0), 8 * n_cpus) == u64(6) * n_cpus


def test_queues_are_pushed_to_and_popped(edits: Run) -> None:
    with bare_map(type=BpfMapType.QUEUE, key_size=0, value_size=4, name=b"cli_queue") as map_id:
        assert edits("edit", map_id, "--push", "--value", "7", "--reason", "t").status == 0
        popped = edits("edit", map_id, "--pop", "--reason", "t", "--json")
        assert (popped.status, popped.document["after"]) == (0, "07000000")
        assert edits("edit", map_id, "--pop", "--reason", "t").status == 1


def test_pins_come_and_go(edits: Run, run: Run, bpffs: Path) -> None:
    here = {**ON, "BPF_ATLAS_BPFFS": str(bpffs)}
    pin = bpffs / "cli_pin"
    with bare_map() as map_id:
        made = run("edit", map_id, "--pin", pin, "--reason", "t", "--json", env=here)
        assert made.status == 0, made
        assert pin.exists()
        assert run("edit", map_id, "--pin", pin, "--reason", "t", env=here).status == 1
        assert run("undo", made.document["audit"], "--reason", "t", env=here).status == 0
        assert not pin.exists()
        assert run("edit", map_id, "--pin", "/etc/cli_pin", "--reason", "t", env=here).status == 2
        assert not Path("/etc/cli_pin").exists()


def test_a_frozen_map_is_frozen(edits: Run) -> None:
    with bare_map() as map_id:
        assert edits("edit", map_id, "--freeze", "--reason", "t").status == 0
        frozen = edits("edit", map_id, "--key", "1", "--create", "--reason", "t")
        assert frozen.status == 2
        assert "frozen" in frozen.complaint


@pytest.mark.parametrize(("words", "status", "told"), [
    (("--key", "1", "--set", "value.limit=4294967296"), 2, "value.limit: __u32 from 0 to 4294967295 was wanted, found 4294967296"),
    (("--key", "1", "--set", "value.limit=many"), 2, "value.limit: __u32 from 0 to 4294967295 was wanted, found many"),
    (("--key", "1", "--set", "value.nothing=1"), 2, "no field value.nothing"),
    (("--key", "1", "--set", "value.name=nine chars"), 2, "value.name: at most 8 bytes of text was wanted, found 10"),
    (("--key", "1", "--set", "limit"), 2, "--set wants PATH=VALUE, such as value.limit=128, found 'limit'"),
    (("--key", "9", "--set", "value.limit=1"), 1, "has no entry under hex:09000000 now"),
    (("--key", "nine", "--set", "value.limit=1"), 2, "the key: __u32 from 0 to 4294967295 was wanted, found nine"),
    (("--set", "value.limit=1"), 2, "say which entry: a key of 4 bytes is wanted"),
    (("--key", "1"), 2, "say one thing to do"),
    (("--key", "1", "--delete", "--create"), 2, "say one thing to do"),
    (("--key", "1", "--delete", "--set", "value.limit=1"), 2, "--set and --value do not go with --delete"),
    (("--key", "1", "--set", "value.limit=1", "--cpu", "0"), 2, "one value for all CPUs: leave the CPU out"),
    (("--key", "1", "--set", "value.limit=1", "--cpu", "x"), 2, "--cpu wants a number or all, found 'x'"),
    (("--key", "1", "--thing", "prog:1"), 2, "no such operation"),
    (("--key", "1", "--set", "value.limit=1", "--expect", "value.state=1"), 2, "value.state holds NEW, not what was expected"),
])  # fmt: skip
def test_what_cannot_be_is_one_line(
    blob: bytes, refuses: Callable[..., str], words: tuple[str, ...], status: int, told: str
) -> None:
    with rules(blob) as (fd, map_id):
        before = value_of(fd)
        assert told in refuses(status, "edit", map_id, *words, "--reason", "t", env=ON)
        assert value_of(fd) == before


def test_t13_without_allow_edits_nothing_is_written(blob: bytes, refuses: Callable[..., str]) -> None:
    with rules(blob) as (fd, map_id):
        before = value_of(fd)
        told = refuses(3, "edit", map_id, "--key", "1", "--set", "value.limit=1", "--reason", "t")
        assert "edits are off: start the service with --allow-edits, or BPF_ATLAS_ALLOW_EDITS=1" in told
        assert value_of(fd) == before


def test_no_reason_no_edit(blob: bytes, refuses: Callable[..., str]) -> None:
    with rules(blob) as (fd, map_id):
        before = value_of(fd)
        assert "say why with --reason" in refuses(2, "edit", map_id, "--key", "1", "--set", "value.limit=1", env=ON)
        assert "say why with --reason" in refuses(
            2, "edit", map_id, "--key", "1", "--set", "value.limit=1", "--reason", " ", env=ON
        )
        assert value_of(fd) == before


def test_an_edit_that_is_not_there(refuses: Callable[..., str]) -> None:
    refuses(1, "undo", "4000000000", "--reason", "t", env=ON)
    assert "Invalid value for 'AUDIT_ID'" in refuses(2, "undo", "0", "--reason", "t", env=ON)


def test_slots_take_things(edits: Run) -> None:
    inner = MapSpec(type=BpfMapType.ARRAY, key_size=4, value_size=4, max_entries=1, name=b"cli_inner")
    with live_map(inner) as template:
        outer = MapSpec(
            type=BpfMapType.ARRAY_OF_MAPS,
            key_size=4,
            value_size=4,
            max_entries=2,
            name=b"cli_outer",
            inner_map_fd=template,
        )
        with live_map(outer) as fd:
            inner_id, outer_id = objects.map_info(template).id, objects.map_info(fd).id
            done = edits("edit", outer_id, "--key", "1", "--thing", f"map:{inner_id}", "--reason", "t")
            assert done.status == 0, done
            assert value_of(fd, u32(1), 4) == u32(inner_id)
            assert edits("edit", outer_id, "--key", "1", "--delete", "--reason", "t").status == 0
            assert value_of(fd, u32(1), 4) is None


@pytest.mark.parametrize("kind", [BpfMapType.ARRAY, BpfMapType.HASH])
def test_a_key_without_a_type_is_taken_as_dump_prints_it(kind: BpfMapType, edits: Run, run: Run) -> None:
    with bare_map([(u32(0), u64(1)), (u32(3), u64(4))], type=kind, max_entries=4) as map_id:
        rows = run("dump", map_id, "--json").document
        key = next(row["key"] for row in rows if row["value"][0] == "0x04")
        assert key == ["0x03", "0x00", "0x00", "0x00"]
        done = edits("edit", map_id, "--key", json.dumps(key), "--set", "value.u64[0]=9", "--reason", "test")
        assert done.status == 0, done
        value = ["0x09", *["0x00"] * 7]
        assert {"key": key, "value": value} in run("dump", map_id, "--json").document
        short = edits("edit", map_id, "--key", json.dumps(key[:3]), "--set", "value.u64[0]=9", "--reason", "test")
        assert short.status == 2


def test_an_element_is_named_as_dump_prints_it(edits: Run, run: Run, blob: bytes) -> None:
    btf = kernel_maps.parse(blob)
    types = (btf.find("int")[0], btf.find("rule")[0])
    spec = {"value_size": SIZE, "max_entries": 0, "flags": BpfMapFlag.NO_PREALLOC, "name": b"cli_tasks"}
    with kernel_maps.created(blob, *types, type=BpfMapType.TASK_STORAGE, key_size=4, **spec) as (_fd, map_id):
        owner = f"task:{os.getpid()}"
        made = edits("edit", map_id, "--owner", owner, "--create", "--set", "value.limit=5", "--reason", "test")
        assert made.status == 0, made
        (row,) = run("dump", map_id, "--json").document
        assert row["key"]["tid"] == os.getpid()
        done = edits("edit", map_id, "--key", json.dumps(row["key"]), "--set", "value.limit=6", "--reason", "test")
        assert done.status == 0, done
        assert run("dump", map_id, "--json").document[0]["value"]["limit"] == 6
        lost = edits("edit", map_id, "--key", "1", "--set", "value.limit=6", "--reason", "test")
        assert (lost.status, "task:PID" in lost.complaint) == (2, True), lost
