"""One field of one entry, by name: what is written, what stays, what is refused."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from app.broker.swap.run import Editor
from app.uapi.cpus import possible_cpus
from app.uapi.enums import BpfMapFlag, BpfMapType
from app.uapi.syscall import MapSpec, map_create, map_delete, map_freeze, map_lookup, map_update
from app.wire.edits import ALL_CPUS, NO_CPU, Change, Edit
from app.wire.errors import BadField, Declined, EditsOff, MapChanged
from tests.broker.editing import ROOT, WHY, Bench, bench, value_of
from tests.broker.swapping import KEY, copying_update, typed_map
from tests.livemaps import live_map

pytestmark = pytest.mark.kernel

C = """
enum state { IDLE, BUSY = 7 };
struct inner { unsigned short port; unsigned char flags; };
struct v {
    unsigned long long packets; int limit; unsigned short weight; unsigned char low:3, high:5; enum state state;
    struct inner pair[2]; char name[20]; union { unsigned int ip; unsigned char octets[4]; }; unsigned long long tail;
};
"""
SIZE = 72
# $ pahole v: packets 0, limit 8, weight 12, low 14:0, high 14:3, state 16, pair 20 (4 each), name 28, ip 48, tail 56
VALUE = bytes(range(1, 1 + 64))


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Bench]:
    with bench(tmp_path / "data") as made:
        yield made


@pytest.fixture
def map_fd() -> Iterator[int]:
    with typed_map(C) as fd:
        map_update(fd, KEY, VALUE)
        yield fd


FIELDS = [
    pytest.param("value.packets", 0, 64, 0x0807060504030201, 5, id="u64"),
    pytest.param("value.limit", 64, 32, 0x0C0B0A09, -5, id="negative int"),
    pytest.param("value.limit", 64, 32, 0x0C0B0A09, 0xFFFFFFFB, id="the same, as unsigned"),
    pytest.param("value.weight", 96, 16, 0x0E0D, 9, id="u16 within a word of 4"),
    pytest.param("value.low", 112, 3, 0x0F & 7, 2, id="bit field"),
    pytest.param("value.high", 115, 5, 0x0F >> 3, 30, id="bit field beside it"),
    pytest.param("value.state", 128, 32, 0x14131211, 7, id="enum"),
    pytest.param("value.pair[1].port", 192, 16, 0x1A19, 443, id="member of an element"),
    pytest.param("value.pair[0].flags", 176, 8, 0x17, 255, id="u8"),
    pytest.param("value.ip", 384, 32, 0x34333231, 1, id="member of a nameless union"),
    pytest.param("value.octets[2]", 400, 8, 0x33, 1, id="octet"),
    pytest.param("value.tail", 448, 64, 0x403F3E3D3C3B3A39, 1 << 63, id="u64 with its highest bit"),
]


def packed(value: bytes, offset_bits: int, size_bits: int, number: int) -> bytes:
    whole = int.from_bytes(value, "little")
    mask = ((1 << size_bits) - 1) << offset_bits
    return (whole & ~mask | (number << offset_bits) & mask).to_bytes(len(value), "little")


@pytest.mark.parametrize(("path", "offset_bits", "size_bits", "old", "new"), FIELDS)
def test_a_field_is_swapped_and_nothing_beside_it(
    desk: Bench, map_fd: int, path: str, offset_bits: int, size_bits: int, old: int, new: int
) -> None:
    change = Change(path, offset_bits, size_bits, new=new, expected=old)
    planned = desk.plan(map_fd, "set", KEY, changes=(change,))
    assert (planned.result, planned.audit, planned.method) == ("planned", 0, "kernel_swap")
    assert value_of(map_fd, KEY, 64) == VALUE
    report = desk.set(map_fd, KEY, change)
    assert report.result == "done"
    wanted = packed(VALUE, offset_bits, size_bits, new)
    assert value_of(map_fd, KEY, 64) == wanted == report.after == planned.after
    assert desk.undo(report).result == "done"
    assert value_of(map_fd, KEY, 64) == VALUE
    assert [each.code for each in desk.records()] == ["map.set.intent", "map.set.ok"] * 2


def test_a_wide_field_is_swapped_word_by_word_and_only_where_it_changes(desk: Bench, map_fd: int) -> None:
    old = VALUE[28:48]
    new = old[:12] + b"NEW!" + old[16:]
    change = Change("value.name", 224, 160, new=new, expected=old)
    planned = desk.plan(map_fd, "set", KEY, changes=(change,))
    assert planned.method == "kernel_swap"
    assert "wider than one atomic instruction" in planned.promise
    assert desk.set(map_fd, KEY, change).result == "done"
    assert value_of(map_fd, KEY, 64) == VALUE[:28] + new + VALUE[48:]
    (record,) = desk.records("map.set.ok")
    assert (record.fields[0].old, record.fields[0].new) == (old, new)


def test_a_stale_expectation_is_a_conflict_and_says_what_is_there(desk: Bench, map_fd: int) -> None:
    change = Change("value.limit", 64, 32, new=1, expected=2)
    planned = desk.plan(map_fd, "set", KEY, changes=(change,))
    assert planned.warnings[0].startswith("The entry has changed since it was shown")
    report = desk.set(map_fd, KEY, change)
    assert (report.result, report.fields[0].after) == ("conflict", 0x0C0B0A09)
    assert value_of(map_fd, KEY, 64) == VALUE
    (record,) = desk.records("map.set.fail")
    assert record.result == "conflict"
    with pytest.raises(Declined, match="wrote nothing"):
        desk.undo(report)


def test_of_several_fields_those_before_a_conflict_are_put_back(desk: Bench, map_fd: int) -> None:
    report = desk.set(
        map_fd,
        KEY,
        Change("value.limit", 64, 32, new=1, expected=0x0C0B0A09),
        Change("value.low", 112, 3, new=1, expected=7),
        Change("value.tail", 448, 64, new=1, expected=2),
    )
    assert report.result == "conflict"
    assert "2 fields were written before it and put back" in report.sentence
    assert value_of(map_fd, KEY, 64) == VALUE


def test_several_fields_are_one_edit_and_one_undo(desk: Bench, map_fd: int) -> None:
    report = desk.set(
        map_fd,
        KEY,
        Change("value.limit", 64, 32, new=1, expected=0x0C0B0A09),
        Change("value.high", 115, 5, new=1, expected=1),
        Change("value.name", 224, 160, new=bytes(20), expected=VALUE[28:48]),
    )
    assert report.result == "done"
    assert desk.undo(report).result == "done"
    assert value_of(map_fd, KEY, 64) == VALUE


OPERATIONS = [
    pytest.param("add", 10, 0x0C0B0A09 + 10, id="add"),
    pytest.param("add", (1 << 32) - 9, 0x0C0B0A00, id="add wraps, so it subtracts"),
    pytest.param("and", 0xFF, 0x09, id="and"),
    pytest.param("or", 0xFF, 0x0C0B0AFF, id="or"),
    pytest.param("exchange", 77, 77, id="exchange"),
]


@pytest.mark.parametrize(("operation", "operand", "wanted"), OPERATIONS)
def test_operations_and_their_undo(desk: Bench, map_fd: int, operation: str, operand: int, wanted: int) -> None:
    report = desk.set(map_fd, KEY, Change("value.limit", 64, 32, operation=operation, new=operand))
    assert (report.result, report.fields[0].after) == ("done", wanted)
    assert desk.undo(report).result == "done"
    assert value_of(map_fd, KEY, 64) == VALUE


BAD = [
    pytest.param(Change("value.nothing", 0, 32, new=1, expected=1), "no field", id="unknown field"),
    pytest.param(Change("key.x", 0, 32, new=1, expected=1), "no field", id="not in the value"),
    pytest.param(Change("value.limit", 96, 16, new=1, expected=1), "lies elsewhere", id="a name with another's place"),
    pytest.param(Change("value.limit", 64, 64, new=1, expected=1), "lies elsewhere", id="a name with another's size"),
    pytest.param(Change("value.limit", 64, 32, new=1 << 32, expected=1), "takes 32 bits", id="out of range"),
    pytest.param(Change("value.low", 112, 3, new=8, expected=1), "takes 3 bits", id="out of a bit field's range"),
    pytest.param(Change("value.limit", 64, 32, new=b"abc", expected=1), "takes 4 bytes", id="bytes of another size"),
    pytest.param(Change("value.name", 224, 160, new=b"abc", expected=bytes(20)), "takes 20 bytes", id="short text"),
    pytest.param(Change("value.name", 224, 160, operation="add", new=1), "can be swapped", id="added to text"),
    pytest.param(Change("value.limit", 64, 32, new=1), "say what that is", id="no expectation"),
    pytest.param(Change("value.limit", 64, 32, operation="mul", new=1), "is none of", id="unknown operation"),
    pytest.param(Change("value.limit", 64, 32, new=1, expected=1, cpu=0), "one value for all CPUs", id="a CPU"),
]


@pytest.mark.parametrize(("change", "says"), BAD)
def test_bad_input_names_its_field_and_nothing_is_written(desk: Bench, map_fd: int, change: Change, says: str) -> None:
    with pytest.raises(BadField, match=says) as error:
        desk.set(map_fd, KEY, change)
    assert error.value.field
    assert value_of(map_fd, KEY, 64) == VALUE
    assert desk.records("map.") == []


def test_a_missing_entry_is_said_to_be_missing(desk: Bench, map_fd: int) -> None:
    change = Change("value.limit", 64, 32, new=1, expected=1)
    assert "no such entry" in desk.plan(map_fd, "set", bytes(4), changes=(change,)).warnings[-1]
    assert desk.set(map_fd, bytes(4), change).result == "no_entry"
    with pytest.raises(BadField, match="has 4 bytes, not 3"):
        desk.set(map_fd, bytes(3), change)


def test_an_element_that_a_program_replaced_is_never_called_done(desk: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    with typed_map("struct v { unsigned long long a, b, c, d; };") as fd:
        map_update(fd, KEY, bytes(32))
        real = Editor.__init__

        def replacing(self: Editor, map_fd: int, *rest: object) -> None:
            real(self, map_fd, *rest, meanwhile=copying_update(map_fd))  # type: ignore[arg-type]

        monkeypatch.setattr(Editor, "__init__", replacing)
        report = desk.set(fd, KEY, Change("value.b", 64, 64, new=5, expected=0))
        assert report.result == "replaced"
        assert "replaced or deleted" in report.sentence
        (record,) = desk.records("map.set.fail")
        assert record.result == "replaced"


@pytest.mark.parametrize("type_", [BpfMapType.PERCPU_HASH, BpfMapType.PERCPU_ARRAY, BpfMapType.LRU_PERCPU_HASH])
def test_one_cpu_or_all_of_them(desk: Bench, type_: BpfMapType) -> None:
    n_cpus = possible_cpus()
    with typed_map("struct v { unsigned long long a; unsigned int b; };", type_) as fd:
        key = (0).to_bytes(4, "little")
        map_update(fd, key, b"".join(bytes([cpu + 1]) * 16 for cpu in range(n_cpus)))
        size = 16 * n_cpus
        b = [int.from_bytes(bytes([cpu + 1]) * 4, "little") for cpu in range(n_cpus)]
        before = value_of(fd, key, size)
        report = desk.set(fd, key, Change("value.b", 64, 32, new=9, expected=b[1], cpu=1))
        assert (report.result, report.method) == ("done", "kernel_swap")
        found = value_of(fd, key, size)
        assert found is not None
        assert before is not None
        assert found[24:28] == (9).to_bytes(4, "little")
        assert found[:24] + found[28:] == before[:24] + before[28:]
        assert desk.undo(report).result == "done"
        everywhere = Change("value.b", 64, 32, new=9, cpu=ALL_CPUS, expected_each=tuple(b))
        report = desk.set(fd, key, everywhere)
        assert report.result == "done"
        found = value_of(fd, key, size)
        assert found is not None
        assert [found[at + 8 : at + 12] for at in range(0, size, 16)] == [(9).to_bytes(4, "little")] * n_cpus
        assert desk.set(fd, key, everywhere).result == "conflict"
        assert desk.undo(report).result == "done"
        assert value_of(fd, key, size) == before
        for cpu in (NO_CPU, n_cpus, -7):
            with pytest.raises(BadField):
                desk.set(fd, key, Change("value.b", 64, 32, new=9, expected=1, cpu=cpu))


def test_a_map_without_types_is_edited_by_views(desk: Bench, make_map: Callable[..., int]) -> None:
    fd = make_map(value_size=20)
    map_update(fd, KEY, VALUE[:20])
    report = desk.set(fd, KEY, Change("value.u32[2]", 64, 32, new=5, expected=0x0C0B0A09))
    assert report.result == "done"
    assert value_of(fd, KEY, 20) == VALUE[:8] + b"\5\0\0\0" + VALUE[12:20]
    with pytest.raises(BadField, match="no field"):
        desk.set(fd, KEY, Change("value.u32[5]", 160, 32, new=5, expected=0))


def test_the_kernels_own_fields_are_never_written(desk: Bench) -> None:
    declared = "struct bpf_spin_lock { unsigned int val; }; struct v { unsigned long long a; struct bpf_spin_lock lock; unsigned int b; };"
    with typed_map(declared) as fd:
        map_update(fd, KEY, bytes(16))
        with pytest.raises(BadField, match="bpf_spin_lock"):
            desk.set(fd, KEY, Change("value.lock.val", 64, 32, new=1, expected=0))
        report = desk.set(fd, KEY, Change("value.b", 96, 32, new=1, expected=0))
        assert (report.result, report.method) == ("done", "kernel_swap")


def test_ways_that_are_left_where_no_program_may_write(desk: Bench) -> None:
    with typed_map("struct v { unsigned long long a, b; };", flags=BpfMapFlag.RDONLY_PROG) as fd:
        map_update(fd, KEY, bytes(16))
        change = Change("value.b", 64, 64, new=1, expected=0)
        planned = desk.plan(fd, "set", KEY, changes=(change,))
        assert planned.method == "update"
        assert "programs may not both read and write" in planned.why
        assert any("BPF_F_RDONLY_PROG" in warning for warning in planned.warnings)
        assert desk.set(fd, KEY, change, seen=bytes(16)).result == "done"
        assert desk.set(fd, KEY, change, seen=bytes(16)).result == "conflict"


def test_a_frozen_map_is_not_written(desk: Bench, map_fd: int) -> None:
    map_freeze(map_fd)
    with pytest.raises(BadField, match="frozen"):
        desk.set(map_fd, KEY, Change("value.limit", 64, 32, new=1, expected=0x0C0B0A09))


def test_t14_an_edit_is_bound_to_the_map_that_was_shown(desk: Bench) -> None:
    spec = MapSpec(type=BpfMapType.HASH, key_size=4, value_size=8, max_entries=4, name=b"reborn")
    first = map_create(spec)
    shown = desk.identity(first)
    os.close(first)
    with live_map(spec, [(KEY, bytes(8))]) as second:
        change = Change("value.u32[0]", 0, 32, new=1, expected=0)
        with pytest.raises(MapChanged):  # the id is gone
            desk.client.edit(ROOT, Edit(shown, "set", key=KEY, changes=(change,)), WHY, dry_run=False)
        now = desk.identity(second)
        for name, other in (("name", "other"), ("value_size", 16), ("max_entries", 5), ("btf_id", 7), ("type", 2)):
            wrong = msgspec.structs.replace(now, **{name: other})
            with pytest.raises(MapChanged, match=name):
                desk.client.edit(ROOT, Edit(wrong, "set", key=KEY, changes=(change,)), WHY, dry_run=False)
        assert value_of(second, KEY, 8) == bytes(8)
        assert desk.records("map.") == []


def test_no_reason_no_edit(desk: Bench, map_fd: int) -> None:
    change = Change("value.limit", 64, 32, new=1, expected=0x0C0B0A09)
    for reason in ("", "   ", "x" * 1001):
        with pytest.raises(BadField) as error:
            desk.client.edit(
                ROOT, Edit(desk.identity(map_fd), "set", key=KEY, changes=(change,)), reason, dry_run=False
            )
        assert error.value.field == "reason"
    assert value_of(map_fd, KEY, 64) == VALUE


def test_t13_a_service_without_edits_refuses_and_writes_that_down(tmp_path: Path, map_fd: int) -> None:
    with bench(tmp_path / "off", allow_edits=False) as off:
        with pytest.raises(EditsOff, match="--allow-edits"):
            off.set(map_fd, KEY, Change("value.limit", 64, 32, new=1, expected=0x0C0B0A09))
        (record,) = off.records("edit.refused")
        assert "--allow-edits" in record.detail
    assert value_of(map_fd, KEY, 64) == VALUE


def test_an_entry_deleted_meanwhile_stays_deleted(desk: Bench, map_fd: int) -> None:
    assert map_delete(map_fd, KEY)
    assert desk.set(map_fd, KEY, Change("value.limit", 64, 32, operation="exchange", new=1)).result == "no_entry"
    assert not map_lookup(map_fd, KEY, bytearray(64))


def test_nothing_is_left_open(desk: Bench, map_fd: int) -> None:
    desk.set(map_fd, KEY, Change("value.limit", 64, 32, operation="add", new=1))
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(50):
        desk.set(map_fd, KEY, Change("value.limit", 64, 32, operation="add", new=1))
        desk.set(map_fd, KEY, Change("value.limit", 64, 32, new=1, expected=0))
    assert len(os.listdir("/proc/self/fd")) == before
