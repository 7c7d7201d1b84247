"""Where fields are: C on the left, the plan on the right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from app.btf.errors import BtfError
from app.btf.parse import parse
from app.columns.decode import column
from app.columns.errors import ColumnsError, NoSuchField, NotOneColumn, TableShape
from app.columns.plan import plan_made, plan_raw, plan_type
from app.columns.rows import python_rows
from app.columns.table import Layout, Table
from tests.btfs import Writer, vmlinux
from tests.columns import kernel_maps
from tests.columns.made import table_of

SPECIAL = """
struct bpf_spin_lock { __u32 val; };
struct bpf_timer { __u64 __opaque[2]; } __attribute__((aligned(8)));
struct bpf_list_head { __u64 __opaque[2]; } __attribute__((aligned(8)));
struct bpf_rb_root { __u64 __opaque[2]; } __attribute__((aligned(8)));
struct bpf_wq { __u64 __opaque[2]; } __attribute__((aligned(8)));
struct task;
struct v { struct bpf_spin_lock lock; struct bpf_timer timer; struct bpf_list_head list; struct bpf_rb_root tree;
           struct bpf_wq work; struct task *plain; int count; };
"""


def test_the_kernels_own_fields_are_one_leaf_with_its_name_and_json_as_bpftools(tmp_path: Path) -> None:
    btf, (value_id,) = kernel_maps.types_of(SPECIAL, tmp_path, "struct v")
    plan = plan_type(btf, value_id, btf.size_bytes(value_id))
    special = {leaf.path: leaf.special for leaf in plan.leaves()}
    assert special == {
        "lock": "bpf_spin_lock", "timer": "bpf_timer", "list": "bpf_list_head", "tree": "bpf_rb_root",
        "work": "bpf_wq", "plain": "", "count": "",
    }  # fmt: skip
    value = python_rows(table_of(plan, np.ones((1, plan.size_bytes), np.uint8)))[0]["value"]
    assert value["list"] == {"__opaque": [0x0101010101010101] * 2}
    assert value["lock"] == {"val": 0x01010101}


def test_a_pointer_with_a_kptr_tag_is_the_kernels() -> None:
    writer = Writer()
    task = writer.add(7, "task_struct")
    tagged = writer.add(18, "kptr", task)
    pointer = writer.add(2, "", tagged)
    value = writer.struct("v", 8, ("task", pointer, 0))
    assert plan_type(writer.parse(), value, 8).find("task").special == "kptr"


@pytest.mark.parametrize(("size_bytes", "count"), [(4, 0), (8, 1), (16, 3), (17, 3)])
def test_a_flexible_array_takes_what_is_left(size_bytes: int, count: int, tmp_path: Path) -> None:
    btf, (value_id,) = kernel_maps.types_of("struct v { __u32 n; __u32 rest[]; };", tmp_path, "struct v")
    plan = plan_type(btf, value_id, size_bytes)
    assert plan.typed
    assert plan.find("rest").count == count
    assert len(python_rows(table_of(plan, np.zeros((1, size_bytes), np.uint8)))[0]["value"]["rest"]) == count


@pytest.mark.parametrize("size_bytes", [3, 5, 400])
def test_a_type_of_another_size_is_shown_as_bytes_with_a_note(size_bytes: int, tmp_path: Path) -> None:
    btf, (value_id,) = kernel_maps.types_of("struct v { __u32 a; };", tmp_path, "struct v")
    plan = plan_type(btf, value_id, size_bytes)
    assert not plan.typed
    assert plan.note == f"Shown as bytes: struct v has 4 bytes by its BTF, the map has {size_bytes}"
    assert python_rows(table_of(plan, np.zeros((1, size_bytes), np.uint8)))[0]["value"] == ["0x00"] * size_bytes


def test_padding_is_known(tmp_path: Path) -> None:
    source = "struct v { __u8 a; __u32 b; __u8 c:3; struct { __u16 x; __u8 y; } d[2]; __u64 e; };"
    btf, (value_id,) = kernel_maps.types_of(source, tmp_path, "struct v")
    assert plan_type(btf, value_id, 32).padding == ((1, 4), (9, 10), (13, 14), (17, 24))


def test_hostile_types_become_bytes_and_soon() -> None:
    def chain(writer: Writer) -> int:
        inner = writer.struct("empty", 0)
        for depth in range(40):  # 2**40 fields, none of which takes a byte
            inner = writer.struct(f"s{depth}", 0, ("a", inner, 0), ("b", inner, 0))
        return writer.struct("v", 4, ("a", inner, 0))

    def outside(writer: Writer) -> int:
        return writer.struct("v", 4, ("a", writer.integer("u32", 4), 16))

    def circle(writer: Writer) -> int:
        return writer.struct("v", 4, ("again", 1, 0))

    def many_empties(writer: Writer) -> int:
        empty, index = writer.struct("empty", 0), writer.integer("index")
        return writer.struct("v", 4, ("a", writer.add(3, "", 0, empty, index, 1 << 31), 0))

    def function(writer: Writer) -> int:
        return writer.struct("v", 4, ("a", writer.add(13, "", 0), 0))

    def far_bits(writer: Writer) -> int:
        return writer.add(4, "v", 4, writer.string("a"), writer.integer("u32", 4), 20 << 24 | 30, vlen=1, kind_flag=1)

    for build in (chain, outside, circle, many_empties, function, far_bits):
        writer = Writer()
        value = build(writer)
        try:
            btf = writer.parse()
        except BtfError:  # the parser may refuse it first
            continue
        plan = plan_type(btf, value, 4)
        assert not plan.typed, build.__name__
        assert plan.note.startswith("Shown as bytes: "), build.__name__


def test_paths_find_what_they_name_and_suggest_what_they_do_not() -> None:
    writer = Writer()
    u32, index = writer.integer("unsigned int"), writer.integer("index")
    inner = writer.struct("in", 8, ("x", u32, 0), ("y", writer.add(3, "", 0, u32, index, 1), 32))
    value = writer.struct("v", 20, ("packets", u32, 0), ("in", writer.add(3, "", 0, inner, index, 2), 32))
    plan = plan_type(writer.parse(), value, 20)
    assert plan.find("in[1].y[0]").offset_bits == 32 + 64 + 32
    assert plan.find("in[1].y[0]").path == "in[1].y[0]"
    assert plan.find("").path == ""
    table = table_of(plan, np.zeros((1, 20), np.uint8))
    for path, told in [
        ("value.packts", "no field value.packts; did you mean value.packets?"),
        ("packets", "no field packets; did you mean value.packets?"),
        ("key.x", "no field key.x; did you mean value.in[0].x?"),
        ("value.in[2].x", "no field value.in[2].x; did you mean value.in[0].x?"),
        ("value@sum.packets", "no field value@sum.packets; did you mean value.packets?"),
    ]:
        with pytest.raises(NoSuchField) as caught:
            column(table, path)
        assert str(caught.value) == told
    for path in (
        "value.",
        "value..packets",
        "value.in[",
        "value.in[]",
        "value.in[99999999999]",
        "value.in[-1]",
        "values",
        "",
    ):
        with pytest.raises(NoSuchField):
            column(table, path)


def test_bytes_without_a_type_can_be_read_as_numbers() -> None:
    values = np.frombuffer(bytes(range(1, 17)) + b"\xff" * 16, np.uint8).reshape(2, 16)
    table = table_of(plan_raw(16), values)
    assert column(table, "value.u32[1]").tolist() == [0x08070605, 0xFFFFFFFF]
    assert column(table, "value.i64[0]").tolist() == [0x0807060504030201, -1]
    assert column(table, "value.u16").shape == (2, 8)
    assert column(table, "value").shape == (2, 16)
    with pytest.raises(NoSuchField):
        column(table, "value.u64[2]")


def test_made_plans_lay_fields_one_after_the_other() -> None:
    plan = plan_made([("tid", "u32", 4), ("comm", "text", 16), ("inode", "u64", 8), ("raw", "bytes", 2)])
    assert plan.size_bytes == 30
    data = (7).to_bytes(4, "little") + "ä b".encode().ljust(16, b"\0") + (9).to_bytes(8, "little") + b"\1\2"
    row = python_rows(table_of(plan, np.frombuffer(data, np.uint8).reshape(1, 30)))[0]
    assert row == {"value": {"tid": 7, "comm": "ä b", "inode": 9, "raw": [1, 2]}}
    assert plan_made([("", "u32", 4)]).root.scalar
    with pytest.raises(ColumnsError):
        plan_made([("x", "u32", 8)])


def test_columns_of_a_million_rows_are_views_of_the_bytes() -> None:
    writer = Writer()
    u64 = writer.integer("unsigned long long", 8)
    value = writer.struct("v", 24, ("a", u64, 0), ("b", u64, 64), ("c", writer.integer("u16", 2), 136))
    values = np.zeros((1000, 24), np.uint8)
    table = table_of(plan_type(writer.parse(), value, 24), values)
    for path in ("value.a", "value.b", "value.c"):
        assert np.shares_memory(column(table, path), values)


def test_a_table_refuses_arrays_of_another_shape() -> None:
    with pytest.raises(TableShape):
        Table(Layout(plan_raw(4), plan_raw(8)), np.zeros((3, 4), np.uint8), np.zeros((3, 9), np.uint8))
    with pytest.raises(TableShape):
        Table(Layout(plan_raw(4), plan_raw(8), 2), np.zeros((3, 4), np.uint8), np.zeros((3, 8), np.uint8))


def test_what_cannot_be_added_up_says_so() -> None:
    plan = plan_made([("comm", "text", 16), ("n", "u64", 8)])
    table = table_of(plan, np.zeros((1, 2, 24), np.uint8))
    assert column(table, "value.comm").tolist() == [b""]
    for path in ("value@sum.comm", "value@max.comm", "value@cpu2.n", "value@mean.n"):
        with pytest.raises(NotOneColumn):
            column(table, path)


@pytest.mark.kernel
def test_struct_ops_values_decode_with_the_kernels_own_types() -> None:
    btf = vmlinux()
    (type_id,) = btf.find("bpf_struct_ops_tcp_congestion_ops")[:1]
    plan = plan_type(btf, type_id, btf.size_bytes(type_id))
    assert plan.typed, plan.note
    value = python_rows(table_of(plan, np.zeros((1, plan.size_bytes), np.uint8)))[0]["value"]
    assert value["data"]["name"] == ""
    assert value["data"]["ssthresh"] == 0


def test_big_endian_objects_are_read_on_this_machine(tmp_path: Path) -> None:
    source = "struct v { __u32 a; __u16 b:3, c:13; int d:5, e:27; __u64 f; enum { ONE = 1 } g; char h[4]; };"
    blob = kernel_maps.compile_btf(source + "int use(struct v *p) { return 0; }", tmp_path, big_endian=True)
    btf = parse(blob)
    plan = plan_type(btf, btf.find("v")[0], 32)
    b_and_c = (0b101 << 13 | 0x1234).to_bytes(2, "big")
    d = bytes([0b10001 << 3, 0])  # in the int that b and c began
    e = (0x7FFFFFF << 5).to_bytes(4, "big")
    data = b"\x01\x02\x03\x04" + b_and_c + d + e + bytes(4) + bytes(range(8)) + b"\0\0\0\1" + b"be\0\0"
    row = python_rows(table_of(plan, np.frombuffer(data, np.uint8).reshape(1, 32)))[0]["value"]
    assert row == {
        "a": 0x01020304, "b": 0b101, "c": 0x1234, "d": -15, "e": -1, "f": 0x0001020304050607, "g": "ONE", "h": "be",
    }  # fmt: skip


def test_bytes_that_hold_one_number_need_no_index():
    plan = plan_raw(8)
    assert plan.find("u64").scalar
    assert plan.find("u64[0]").scalar
    assert plan.find("u32").count == 2
