"""What is asked for, as the edit that goes to the broker; and what the broker and the kernel make of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.broker.local import client as local_client
from app.columns.errors import BadValue, ColumnsError, NoSuchField
from app.maps import actions, edit
from app.maps.errors import CannotEdit, NoSuchEntry, NothingToChange
from app.maps.layouts import Btfs
from app.maps.opening import OpenMap, open_map
from app.settings import Settings
from app.uapi import objects
from app.uapi.cpus import possible_cpus
from app.uapi.enums import BpfMapType
from app.uapi.syscall import MapSpec, map_lookup, map_update
from app.wire.accounts import Credential
from app.wire.ask import Client
from app.wire.edits import ALL_CPUS, Edit
from tests.columns import kernel_maps
from tests.livemaps import live_map, u32, u64

pytestmark = pytest.mark.kernel

SOURCE = """
enum state { NEW, ESTABLISHED, CLOSING = 9 };
struct rule {
    __u64 packets;
    __u32 limit;
    enum state state;
    __be16 dport;
    __u8 kind;
    __be32 addr;
    char name[8];
    __u32 slots[4];
    union { __u32 word; __u8 octets[4]; } either;
    unsigned low:4, high:12;
    __u8 source_addr6[16];
};
struct locked { __u32 a; struct { __u32 x, y; } inner; };
"""


@pytest.fixture(scope="module")
def types(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, dict[str, int], dict[str, int]]:
    folder: Path = tmp_path_factory.mktemp("btf")
    keep = "int use_0(struct rule *p) { return 0; } int use_1(struct locked *p) { return 0; }\n"
    blob = kernel_maps.compile_btf(SOURCE + keep, folder)
    btf = kernel_maps.parse(blob)
    ids = {name: btf.find(name)[0] for name in ("rule", "locked", "__u32")}
    return blob, ids, {name: btf.size_bytes(type_id) for name, type_id in ids.items()}


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    with local_client(Settings(data=tmp_path, allow_edits=True)) as found:
        yield found


@contextlib.contextmanager
def rules(types: Any, client: Client, **spec: Any) -> Iterator[tuple[int, OpenMap]]:
    blob, ids, sizes = types
    spec = {"type": BpfMapType.HASH, "key_size": 4, "max_entries": 4, "name": b"rules"} | spec
    with kernel_maps.created(blob, ids["__u32"], ids["rule"], value_size=sizes["rule"], **spec) as (fd, map_id):
        if spec["type"] in {BpfMapType.HASH, BpfMapType.LRU_HASH}:
            map_update(fd, u32(1), bytes(range(sizes["rule"])))
        with open_map(client, Btfs(client), map_id) as opened:
            yield fd, opened


def value_of(fd: int, key: bytes, size: int) -> bytes:
    value = bytearray(size)
    assert map_lookup(fd, key, value)
    return bytes(value)


def do(client: Client, wanted: Edit) -> Any:
    return client.edit(Credential(source="cli"), wanted, "a test", dry_run=False)


@pytest.mark.parametrize(("path", "given", "offset", "new"), [
    ("value.limit", "128", 8, "80000000"),
    ("value.limit", 128, 8, "80000000"),
    ("value.state", "CLOSING", 12, "09000000"),
    ("value.dport", "443", 16, "01bb"),
    ("value.dport", 443, 16, "bb01"),
    ("value.kind", "255", 18, "ff"),
    ("value.addr", "10.0.0.1", 20, "0a000001"),
    ("value.name", "eth0", 24, "6574683000000000"),
    ("value.slots[3]", "7", 44, "07000000"),
    ("value.slots", "[1, 2, 3, 4]", 32, "01000000020000000300000004000000"),
    ("value.slots", [1, 2, 3, 4], 32, "01000000020000000300000004000000"),
    ("value.either.word", "1", 48, "01000000"),
    ("value.either", {"word": 1, "octets": [1, 0, 0, 0]}, 48, "01000000"),
    ("value.source_addr6", "fe80::1", 54, "fe80" + "00" * 13 + "01"),
])  # fmt: skip
def test_a_field_changes_and_nothing_beside_it(
    types: Any, client: Client, path: str, given: Any, offset: int, new: str
) -> None:
    with rules(types, client) as (fd, opened):
        seen = edit.read_entry(opened, u32(1))
        wanted = edit.set_fields(opened, u32(1), {path: given}, seen)
        assert wanted.action == "set"
        report = do(client, wanted)
        assert report.result == "done", report
        now = value_of(fd, u32(1), len(seen or b""))
        expected = bytearray(seen or b"")
        expected[offset : offset + len(new) // 2] = bytes.fromhex(new)
        assert now == expected


def test_bit_fields_leave_their_neighbours(types: Any, client: Client) -> None:
    with rules(types, client) as (fd, opened):
        seen = edit.read_entry(opened, u32(1)) or b""
        assert (
            do(client, edit.set_fields(opened, u32(1), {"value.high": "4095", "value.limit": 1}, seen)).result == "done"
        )
        now = value_of(fd, u32(1), len(seen))
        assert now[52:54] == bytes([seen[52] & 0x0F | 0xF0, 0xFF])
        assert now[8:12] == u32(1)
        assert now[:8] == seen[:8]


def test_only_what_differs_in_a_list_is_changed(types: Any, client: Client) -> None:
    with rules(types, client) as (_fd, opened):
        seen = edit.read_entry(opened, u32(1)) or b""
        held = [int.from_bytes(seen[32 + 4 * at : 36 + 4 * at], "little") for at in range(4)]
        wanted = edit.set_fields(opened, u32(1), {"value.slots": [*held[:2], 5, held[3]]}, seen)
        assert [change.path for change in wanted.changes] == ["value.slots[2]"]
        assert wanted.changes[0].expected == held[2]
        with pytest.raises(NothingToChange):
            edit.set_fields(opened, u32(1), {"value.slots": held}, seen)


def test_the_whole_value_is_replaced_only_as_it_was_seen(types: Any, client: Client) -> None:
    with rules(types, client) as (fd, opened):
        seen = edit.read_entry(opened, u32(1)) or b""
        wanted = edit.set_fields(opened, u32(1), {"value": {"limit": 7}}, seen)
        assert (wanted.action, wanted.seen) == ("replace", seen)
        assert wanted.value == seen[:8] + u32(7) + seen[12:]
        map_update(fd, u32(1), bytes(len(seen)))
        assert do(client, wanted).result == "conflict"
        assert value_of(fd, u32(1), len(seen)) == bytes(len(seen))
        seen = edit.read_entry(opened, u32(1)) or b""
        assert do(client, edit.set_fields(opened, u32(1), {"value": "hex:" + "11" * len(seen)}, seen)).result == "done"
        assert value_of(fd, u32(1), len(seen)) == b"\x11" * len(seen)


def test_a_stale_field_is_a_conflict(types: Any, client: Client) -> None:
    with rules(types, client) as (fd, opened):
        seen = edit.read_entry(opened, u32(1)) or b""
        wanted = edit.set_fields(opened, u32(1), {"value.limit": "7"}, seen)
        moved = seen[:8] + u32(99) + seen[12:]
        map_update(fd, u32(1), moved)
        assert do(client, wanted).result == "conflict"
        assert value_of(fd, u32(1), len(seen)) == moved


def test_expectations_are_held_against_the_entry(types: Any, client: Client) -> None:
    with rules(types, client) as (_fd, opened):
        seen = edit.read_entry(opened, u32(1)) or b""
        wanted = edit.set_fields(opened, u32(1), {"value.limit": 7}, seen, expected={"value.limit": 64})
        assert wanted.changes[0].expected == 64
        assert do(client, wanted).result == "conflict"
        with pytest.raises(CannotEdit, match=r"value\.kind holds 18, not what was expected"):
            edit.set_fields(opened, u32(1), {"value.limit": 7}, seen, expected={"value.kind": 3})
        held = {"value.kind": seen[18]}
        assert do(client, edit.set_fields(opened, u32(1), {"value.limit": 7}, seen, expected=held)).result == "done"


@pytest.mark.parametrize(("fields", "error", "told"), [
    ({"value.limit": "4294967296"}, BadValue, "value.limit: __u32 from 0 to 4294967295 was wanted, found 4294967296"),
    ({"value.nothing": "1"}, NoSuchField, "no field value.nothing"),
    ({"key": "1"}, CannotEdit, "key belongs to the key, which no edit changes"),
    ({"value.slots[4]": "1"}, NoSuchField, r"no field value.slots\[4\]"),
    ({"value.slots": [1, 2, 3]}, BadValue, "value.slots: a list of 4 was wanted"),
    ({"value.slots": "[1, 2"}, BadValue, "value.slots: JSON as `dump` prints it was wanted"),
    ({"value.either.word": 1, "value.either.octets": [0, 0, 0, 2]}, BadValue, "shares its bytes with value.either.word"),
    ({"value": {"limit": 1}, "value.limit": 2}, BadValue, "the whole value or single fields of it, not both"),
    ({"value": {"limt": 1}}, BadValue, "value has no field limt"),
    ({"value@cpu0.limit": 1}, NoSuchField, "no field value@cpu0.limit"),
    ({"value.name": "nine chars"}, BadValue, "value.name: at most 8 bytes of text was wanted, found 10"),
])  # fmt: skip
def test_what_is_no_edit_is_told(types: Any, client: Client, fields: dict[str, Any], error: type, told: str) -> None:
    with rules(types, client) as (fd, opened):
        seen = edit.read_entry(opened, u32(1)) or b""
        with pytest.raises(error, match=told):
            edit.set_fields(opened, u32(1), fields, seen)
        assert value_of(fd, u32(1), len(seen)) == seen


def test_no_entry_no_change(types: Any, client: Client) -> None:
    with rules(types, client) as (_fd, opened):
        assert edit.read_entry(opened, u32(2)) is None
        with pytest.raises(NoSuchEntry):
            edit.set_fields(opened, u32(2), {"value.limit": 1}, None)


def test_create_and_delete(types: Any, client: Client) -> None:
    with rules(types, client) as (fd, opened):
        fields = {"value.limit": "64", "value.state": "ESTABLISHED", "value.name": "new"}
        wanted = edit.create_entry(opened, edit.key_of(opened, "2"), fields=fields)
        report = do(client, wanted)
        assert report.result == "done", report
        made = value_of(fd, u32(2), opened.facts.value_size)
        assert made[8:16] == u32(64) + u32(1)
        assert made[:8] == bytes(8)
        assert do(client, wanted).result == "conflict"
        assert do(client, edit.create_entry(opened, u32(3), {"limit": 3})).result == "done"
        for key in (4, 5):
            last = do(client, edit.create_entry(opened, u32(key), {"limit": 3}))
        assert last.result == "refused"
        assert "full" in last.sentence
        seen = edit.read_entry(opened, u32(2))
        map_update(fd, u32(2), bytes(opened.facts.value_size))
        assert do(client, edit.delete_entry(opened, u32(2), seen)).result == "conflict"
        assert do(client, edit.delete_entry(opened, u32(2), edit.read_entry(opened, u32(2)))).result == "done"
        assert edit.read_entry(opened, u32(2)) is None


@pytest.mark.parametrize("kind", [BpfMapType.PERCPU_ARRAY, BpfMapType.PERCPU_HASH])
def test_one_cpu_or_all(types: Any, client: Client, kind: BpfMapType) -> None:
    blob, ids, sizes = types
    n_cpus, room = possible_cpus(), (sizes["rule"] + 7) // 8 * 8
    spec = {"type": kind, "key_size": 4, "max_entries": 1, "name": b"per_cpu", "value_size": sizes["rule"]}
    with kernel_maps.created(blob, ids["__u32"], ids["rule"], **spec) as (fd, map_id):
        map_update(fd, u32(0), b"".join(bytes([cpu]) * room for cpu in range(n_cpus)))
        with open_map(client, Btfs(client), map_id) as opened:
            seen = edit.read_entry(opened, u32(0))
            with pytest.raises(CannotEdit, match=f"say whose, 0 to {n_cpus - 1}, or all"):
                edit.set_fields(opened, u32(0), {"value.limit": 5}, seen)
            assert (
                do(client, edit.set_fields(opened, u32(0), {"value.limit": 5}, seen, cpu=n_cpus - 1)).result == "done"
            )
            now = value_of(fd, u32(0), room * n_cpus)
            assert now[8:12] == bytes(4)
            assert now[room * (n_cpus - 1) + 8 :][:4] == u32(5)
            seen = edit.read_entry(opened, u32(0))
            wanted = edit.set_fields(opened, u32(0), {"value@cpu0.limit": 6}, seen)
            assert (wanted.changes[0].cpu, wanted.changes[0].path) == (0, "value.limit")
            assert do(client, wanted).result == "done"
            seen = edit.read_entry(opened, u32(0))
            assert (
                do(
                    client, edit.set_fields(opened, u32(0), {"value.limit": 9, "value.name": "all"}, seen, cpu=ALL_CPUS)
                ).result
                == "done"
            )
            now = value_of(fd, u32(0), room * n_cpus)
            for cpu in range(n_cpus):
                assert now[room * cpu + 8 :][:4] == u32(9)
                assert now[room * cpu + 24 :][:8] == b"all\0\0\0\0\0"
                assert now[room * cpu] == cpu


def test_values_without_a_type(client: Client) -> None:
    spec = MapSpec(type=BpfMapType.HASH, key_size=4, value_size=16, max_entries=4, name=b"bare")
    entries = [(u32(1), u64(1) + u64(2))]
    with live_map(spec, entries) as fd, open_map(client, Btfs(client), objects.map_info(fd).id) as opened:
        seen = edit.read_entry(opened, u32(1))
        assert do(client, edit.set_fields(opened, u32(1), {"value.u32[3]": "7"}, seen)).result == "done"
        assert value_of(fd, u32(1), 16) == u64(1) + u32(2) + u32(7)
        seen = edit.read_entry(opened, u32(1))
        whole = edit.set_fields(opened, u32(1), {"value": "hex:" + "aa" * 16}, seen)
        report = do(client, whole)
        assert report.result == "done", report
        assert value_of(fd, u32(1), 16) == b"\xaa" * 16


def test_a_number_alone_is_swapped(client: Client) -> None:
    spec = MapSpec(type=BpfMapType.HASH, key_size=4, value_size=8, max_entries=4, name=b"number")
    with live_map(spec, [(u32(1), u64(5))]) as fd, open_map(client, Btfs(client), objects.map_info(fd).id) as opened:
        wanted = edit.set_fields(opened, u32(1), {"value": "6"}, edit.read_entry(opened, u32(1)))
        assert (wanted.action, wanted.changes[0].path) == ("set", "value.u64")
        report = do(client, wanted)
        assert (report.result, report.method) == ("done", "kernel_swap")
        assert value_of(fd, u32(1), 8) == u64(6)


def test_queues_are_pushed_to_and_popped(client: Client) -> None:
    spec = MapSpec(type=BpfMapType.QUEUE, key_size=0, value_size=4, max_entries=2, name=b"queue")
    with live_map(spec) as fd, open_map(client, Btfs(client), objects.map_info(fd).id) as opened:
        for number in (1, 2):
            assert do(client, actions.push(opened, str(number))).result == "done"
        assert do(client, actions.push(opened, "3")).result == "refused"
        seen = edit.read_entry(opened, b"")
        assert seen == u32(1)
        assert do(client, actions.pop(opened, u32(2))).result == "conflict"
        assert do(client, actions.pop(opened, seen)).result == "done"
        assert edit.read_entry(opened, b"") == u32(2)


def test_slots_take_things_by_id(client: Client) -> None:
    inner = MapSpec(type=BpfMapType.ARRAY, key_size=4, value_size=4, max_entries=1, name=b"inner")
    with live_map(inner) as template, live_map(inner) as other:
        outer = MapSpec(
            type=BpfMapType.ARRAY_OF_MAPS, key_size=4, value_size=4, max_entries=2, name=b"outer", inner_map_fd=template
        )
        other_id = objects.map_info(other).id
        with live_map(outer) as fd, open_map(client, Btfs(client), objects.map_info(fd).id) as opened:
            form = actions.thing_form(client, opened.kind, 4)
            assert f"map:{other_id}" in [value for value, _ in form.options]
            wanted = actions.put_thing(opened, u32(1), f"map:{other_id}", edit.read_entry(opened, u32(1)))
            assert do(client, wanted).result == "done"
            assert edit.read_entry(opened, u32(1)) == u32(other_id)
            assert do(client, edit.delete_entry(opened, u32(1), u32(other_id))).result == "done"
            assert edit.read_entry(opened, u32(1)) is None
            with pytest.raises(CannotEdit, match="say what the slot gets: map:ID or pin:/path"):
                actions.put_thing(opened, u32(1), "", None)


def test_a_map_that_came_back_is_another_one(types: Any, client: Client) -> None:
    with rules(types, client) as (_fd, opened):
        wanted = edit.set_fields(opened, u32(1), {"value.limit": 1}, edit.read_entry(opened, u32(1)))
    with pytest.raises(Exception, match=r"gone|another"):
        do(client, wanted)


def test_errors_of_asking_are_ours(types: Any, client: Client) -> None:
    with rules(types, client) as (_fd, opened):
        with pytest.raises(ColumnsError, match="say which entry: a key of 4 bytes is wanted"):
            edit.key_of(opened, None)
        assert edit.key_of(opened, 7) == u32(7)
        assert edit.key_of(opened, "hex:07000000") == u32(7)


def test_values_of_all_cpus_are_taken_as_dump_prints_them(client: Client) -> None:
    n_cpus = possible_cpus()
    spec = MapSpec(type=BpfMapType.PERCPU_HASH, key_size=4, value_size=4, max_entries=4, name=b"by_cpu")
    with (
        live_map(spec, [(u32(1), (u32(5) + bytes(4)) * n_cpus)]) as fd,
        open_map(client, Btfs(client), objects.map_info(fd).id) as opened,
    ):
        seen = edit.read_entry(opened, u32(1))
        last = [{"cpu": n_cpus - 1, "value": ["0x09", "0x00", "0x00", "0x00"]}]
        assert do(client, edit.set_fields(opened, u32(1), {"value": last}, seen)).result == "done"
        wanted = (u32(5) + bytes(4)) * (n_cpus - 1) + u32(9) + bytes(4)
        assert value_of(fd, u32(1), 8 * n_cpus) == wanted
        every = [{"cpu": cpu, "value": [f"0x{cpu:02x}", "0x00", "0x00", "0x00"]} for cpu in range(n_cpus)]
        assert do(client, edit.create_entry(opened, u32(2), every)).result == "done"
        assert value_of(fd, u32(2), 8 * n_cpus) == b"".join(u32(cpu) + bytes(4) for cpu in range(n_cpus))
        for bad in ([{"cpu": n_cpus, "value": 1}], [{"cpu": True, "value": 1}], [last[0], last[0]]):
            with pytest.raises(BadValue, match="once at most"):
                edit.set_fields(opened, u32(1), {"value": bad}, edit.read_entry(opened, u32(1)))
