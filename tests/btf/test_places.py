"""A path's place in a value, held against what clang says of the same C."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from app.btf.places import NoSuchPlace, Place, place_in_bytes, place_of
from app.btf.types import Kind
from app.columns.plan import plan_type
from tests.btfs import compile_btf, compile_type, vmlinux

SOURCE = """
typedef unsigned short __be16; typedef unsigned int u32; typedef u32 __be32;
enum mode { A, B = -1 };
struct pair { int x; unsigned char y; };
struct v {
    unsigned long long a; struct pair b[3]; union { u32 c; struct { unsigned short d, e; }; }; __be32 net; __be16 ports[2];
    enum mode m; char name[7]; unsigned char flag; const volatile struct pair *p; struct { struct { int deep; } in; };
    unsigned int grid[2][3];
};
"""
PATHS = [
    "a", "b", "b[0]", "b[2].x", "b[2].y", "c", "d", "e", "net", "ports", "ports[1]", "m", "name", "name[6]", "flag", "p",
    "in", "in.deep", "grid[1][2]", "grid[1]",
]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_a_place_is_where_clang_puts_it(path: str, tmp_path: Path) -> None:
    btf, type_id = compile_type(SOURCE, "struct v")
    found = place_of(btf, type_id, path, btf.size_bytes(type_id))
    source = tmp_path / "o.c"
    source.write_text(
        SOURCE + f"char offset[__builtin_offsetof(struct v, {path}) + 1]; char size[sizeof(((struct v *)0)->{path})];"
    )
    # $ clang -target bpf -S: `.size offset, N`
    text = subprocess.run(
        ["clang", "-target", "bpf", "-S", "-o", "-", str(source)], capture_output=True, text=True, check=True
    ).stdout
    sizes = dict(re.findall(r"\.size\s+(\w+), (\d+)", text))
    assert (found.offset_bits, found.size_bits) == ((int(sizes["offset"]) - 1) * 8, int(sizes["size"]) * 8)


def test_signs_orders_and_bit_fields() -> None:
    btf, type_id = compile_type(SOURCE, "struct v")
    size = btf.size_bytes(type_id)

    def place(path: str) -> Place:
        return place_of(btf, type_id, path, size)

    assert place("b[0].x").signed
    assert not place("c").signed
    assert place("net").network_order
    assert place("ports[0]").network_order
    assert not place("c").network_order
    assert place("a").scalar
    assert not place("name").scalar
    assert not place("b[1]").scalar
    btf, type_id = compile_type("struct s { unsigned int a:3, b:7; int c:5; unsigned long long d:40; };", "struct s")
    found = [place_of(btf, type_id, name, 16) for name in "abcd"]
    assert [(each.offset_bits, each.size_bits, each.signed) for each in found] == [
        (0, 3, False), (3, 7, False), (10, 5, True), (15, 40, False),
    ]  # fmt: skip


BAD = [
    "z",
    "a.b",
    "a[0]",
    "b[3]",
    "b[-1]",
    "b[0",
    "b.x",
    "b[0]x",
    "name[7]",
    "in.",
    ".a",
    "grid[2][0]",
    "b[0]..x",
    "a ",
    "[0]",
]


@pytest.mark.parametrize("path", BAD)
def test_what_is_no_path_names_nothing(path: str) -> None:
    btf, type_id = compile_type(SOURCE, "struct v")
    with pytest.raises(NoSuchPlace):
        place_of(btf, type_id, path, btf.size_bytes(type_id))


@pytest.mark.parametrize("name", ["task_struct", "sock", "sk_buff", "bpf_map", "net_device", "file"])
def test_the_kernels_own_structs_lie_as_the_pages_show_them(name: str) -> None:
    btf = vmlinux()
    (type_id,) = btf.find(name, Kind.STRUCT)
    size = btf.size_bytes(type_id)
    plan = plan_type(btf, type_id, size)
    compared = 0
    for node in plan.leaves():
        if node.path and node.size_bits:
            found = place_of(btf, type_id, node.path, size)
            assert (found.offset_bits, found.size_bits) == (node.offset_bits, node.size_bits), node.path
            compared += 1
    assert compared > 20


def test_special_parts_are_told_also_from_within() -> None:
    source = "struct bpf_timer { unsigned long o[2]; }; struct v { int a; struct bpf_timer t; };"
    btf, type_id = compile_type(source, "struct v")
    assert place_of(btf, type_id, "t", 24).special == "bpf_timer"
    assert place_of(btf, type_id, "t.o[1]", 24).special == "bpf_timer"
    assert place_of(btf, type_id, "a", 24).special == ""


def test_a_flexible_array_takes_what_is_left() -> None:
    btf, type_id = compile_type("struct v { int n; unsigned short rest[]; };", "struct v")
    assert place_of(btf, type_id, "rest", 12).size_bits == 64
    assert place_of(btf, type_id, "rest[3]", 12).offset_bits == 80
    with pytest.raises(NoSuchPlace):
        place_of(btf, type_id, "rest[4]", 12)


VIEWS = [("u8[7]", 56, 8, False), ("u16", 0, 16, False), ("i32[1]", 32, 32, True), ("u64[0]", 0, 64, False)]


@pytest.mark.parametrize(("path", "offset_bits", "size_bits", "signed"), VIEWS)
def test_bytes_are_seen_through_views(path: str, offset_bits: int, size_bits: int, signed: bool) -> None:
    assert place_in_bytes(path, 8) == Place(offset_bits, size_bits, signed, scalar=True)


@pytest.mark.parametrize("path", ["u8[8]", "u64[1]", "u24", "x", "", "u32[9999999999]", "f32[0]"])
def test_views_end_with_the_bytes(path: str) -> None:
    with pytest.raises(NoSuchPlace):
        place_in_bytes(path, 8)


def test_a_circle_of_types_ends() -> None:
    assert compile_btf("struct v { struct v *next; }; int f(struct v *p) { return 0; }").find("v")
