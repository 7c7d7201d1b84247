"""JSON equals bpftool 7.1's ``formatted``, entry by entry, but for the differences that docs name.

Found on the way, with bpftool 7.1.0 (Debian 12): a backslash in text is printed as a line feed (ours is the backslash);
a float ends the dump in the middle of the document; an enum of one byte with a value over 127 prints a negative number;
``char`` of BTF's own CHAR encoding prints a quote unescaped, which is no JSON.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.columns.plan import Plan, plan_raw, plan_type
from app.columns.rows import json_chunks, python_rows
from app.columns.table import Layout, Table
from app.uapi.cpus import possible_cpus
from app.uapi.enums import BpfMapType
from tests.btfs import Writer
from tests.columns import kernel_maps

pytestmark = pytest.mark.kernel

N_ENTRIES = 40

TYPES = [
    pytest.param("struct v { __u8 a; __u16 b; __u32 c; __u64 d; __s8 e; __s16 f; __s32 g; __s64 h; };", id="integers"),
    pytest.param("struct v { char a; signed char b; unsigned char c; _Bool d; };", id="chars and bool"),
    pytest.param("struct v { __u32 a:1, b:5, c:13, d:13; };", id="unsigned bit fields"),
    pytest.param("struct v { int a:3, b:7, c:22; long long d:33, e:31; };", id="signed bit fields"),
    pytest.param(
        "struct v { __u64 a:1; __u64 b:63; __s64 c:64; } __attribute__((packed));", id="bit fields of 63 and 64"
    ),
    pytest.param(
        "struct v { __u8 a:3; __u64 b:59; __u8 c:2; } __attribute__((packed));", id="bit field over nine bytes"
    ),
    pytest.param("struct v { __u8 x; __u32 a; __u64 b; __u16 c[2]; } __attribute__((packed));", id="packed, unaligned"),
    pytest.param("enum e { A, B = 5, C = 200 }; struct v { enum e x; enum e y[3]; };", id="enum"),
    pytest.param("enum e { A = -1, B = -100, C = 3 }; struct v { enum e x; };", id="negative enum"),
    pytest.param(
        "enum e { A = 1, B = 100 } __attribute__((packed)); struct v { enum e x[4]; };", id="enum of one byte"
    ),
    pytest.param("enum e { A = 1, B = 0x80000000u }; struct v { enum e x; };", id="enum with the top bit"),
    pytest.param("enum e { A = 1, B = 2, C = 1 }; struct v { enum e x; };", id="enum with two names for one number"),
    pytest.param(
        "struct in { __u16 a; __s8 b; }; struct v { struct in x; struct in y[3]; struct in z[2][2]; };", id="nested"
    ),
    pytest.param("struct v { __u32 a[3]; __s16 b[2][3]; __u8 c[2][2][2]; _Bool d[3]; };", id="arrays of arrays"),
    pytest.param("struct v { char a[8]; char b[1]; char c[2][4]; const char d[4]; };", id="text"),
    pytest.param(
        "typedef char letter; struct v { letter a[4]; unsigned char b[4]; signed char c[4]; };", id="not text"
    ),
    pytest.param(
        "struct v { union { __u32 a; __u8 b[4]; }; union { __u64 c; struct { __u32 d, e; }; } f; };", id="unions"
    ),
    pytest.param("struct v { struct { __u8 a; struct { __u16 b:3, c:13; }; }; int d; };", id="nameless structs"),
    pytest.param("union v { __u32 a; struct { __u16 b, c; } d; __u64 e; };", id="a union as the value"),
    pytest.param("struct v { void *a; int (*b)(int); struct v *c; const char *d; };", id="pointers"),
    pytest.param("struct v { __int128 a; unsigned __int128 b; __u32 c; };", id="128 bits"),
    pytest.param("struct v { struct { } a; __u32 b; __u32 c[]; };", id="empty and flexible"),
    pytest.param("typedef __u32 v; ", id="a typedef of a number as the value"),
    pytest.param("typedef struct { __be32 a; __be16 b; volatile __u64 c; } v;", id="a typedef of a nameless struct"),
]
WORDS = [b"", b"a", b"abc", b"a\"b'", b"/<>{", b"\x7f", b"a\tb", b"~~~", b"\xc3\xa4", b"ok\0x", b"%b%s"]


def value_name(source: str) -> str:
    return (
        "v" if "typedef" in source and "struct v " not in source else "union v" if "union v" in source else "struct v"
    )


def random_values(plan: Plan, n_entries: int, *, seed: int = 1) -> np.ndarray:
    """Random bytes, with small numbers, zeros and text among them so that names and strings are met."""
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 256, (n_entries, plan.size_bytes), dtype=np.uint8)
    for row in range(0, n_entries, 2):
        values[row] = rng.integers(0, 6, plan.size_bytes) * (rng.random(plan.size_bytes) < 0.3)
    for leaf in plan.leaves(array_limit=1000):
        here = values[:, leaf.offset_bytes : leaf.end_bytes]
        if leaf.kind.name == "BOOL":
            here &= 1
        if leaf.kind.name == "TEXT":
            for row in range(n_entries):
                word = WORDS[rng.integers(len(WORDS))][: leaf.size_bytes]
                here[row, : len(word)] = np.frombuffer(word, np.uint8)
                if rng.random() < 0.5:
                    here[row, len(word) : len(word) + 1] = 0
            here[here == ord("\\")] = ord("/")  # bpftool prints a line feed for it
        if leaf.enum:
            for row in range(0, n_entries, 3):
                number = leaf.enum[row % len(leaf.enum)].value & ((1 << leaf.size_bits) - 1)
                here[row] = np.frombuffer(number.to_bytes(leaf.size_bytes, "little"), np.uint8)
    return values


def folded(document: Any, plan_json: Any) -> Any:
    """bpftool's reading with the named differences applied: nameless members folded, hex strings of bit fields and 128-bit
    numbers as integers modulo their width (``plan_json`` is ours, which says where an integer was meant).
    """
    if isinstance(document, dict):
        out: dict[str, Any] = {}
        for name, value in document.items():
            if name == "":
                out |= folded(value, plan_json)
            else:
                out[name] = folded(value, plan_json[name])
        return out
    if isinstance(document, list) and isinstance(plan_json, list):
        assert len(document) == len(plan_json)
        return [folded(one, other) for one, other in zip(document, plan_json, strict=True)]
    if isinstance(document, str) and document.startswith("0x") and isinstance(plan_json, int):
        number, ours = int(document, 16), plan_json
        if ours < 0:  # sign-extend by the narrowest width that holds the number
            for bits in range(max(number.bit_length(), 1), 129):
                if number - (1 << bits) == ours:
                    return ours
        return number
    return document


def same(ours: list[Any], theirs: list[Any]) -> None:
    assert len(ours) == len(theirs)
    for mine, their in zip(ours, theirs, strict=True):
        assert mine == folded(their, mine)


@pytest.mark.parametrize("source", TYPES)
def test_every_type_prints_as_bpftool_prints_it(source: str, tmp_path: Path) -> None:
    btf, (value_id, key_id) = kernel_maps.types_of(source, tmp_path, value_name(source), "__u32")
    plan, key_plan = plan_type(btf, value_id, btf.size_bytes(value_id)), plan_type(btf, key_id, 4)
    assert plan.typed, plan.note
    values = random_values(plan, N_ENTRIES)
    keys = np.arange(N_ENTRIES, dtype="<u4").view(np.uint8).reshape(-1, 4)
    spec = {"key_size": 4, "value_size": plan.size_bytes, "max_entries": N_ENTRIES}
    with kernel_maps.created((tmp_path / "types.btf").read_bytes(), key_id, value_id, **spec) as (map_fd, map_id):
        kernel_maps.fill(map_fd, keys, values)
        theirs = kernel_maps.formatted(map_id)
    order = [entry["key"] for entry in theirs]
    same(python_rows(Table(Layout(key_plan, plan), keys[order], values[order])), theirs)


def test_per_cpu_values_print_as_bpftool_prints_them(tmp_path: Path) -> None:
    source = "struct v { __u32 a; char b[3]; __u8 c; __u32 d; };"
    btf, (value_id, key_id) = kernel_maps.types_of(source, tmp_path, "struct v", "__u32")
    plan = plan_type(btf, value_id, 12)
    n_cpus = possible_cpus()
    kernel_rows = np.zeros((N_ENTRIES, n_cpus, 16), np.uint8)
    kernel_rows[:, :, :12] = random_values(plan, N_ENTRIES * n_cpus).reshape(N_ENTRIES, n_cpus, 12)
    keys = np.arange(N_ENTRIES, dtype="<u4").view(np.uint8).reshape(-1, 4)
    spec = {"type": BpfMapType.PERCPU_HASH, "key_size": 4, "value_size": 12, "max_entries": N_ENTRIES}
    with kernel_maps.created((tmp_path / "types.btf").read_bytes(), key_id, value_id, **spec) as (map_fd, map_id):
        kernel_maps.fill(map_fd, keys, kernel_rows.reshape(N_ENTRIES, -1))
        theirs = kernel_maps.formatted(map_id)
    order = [entry["key"] for entry in theirs]
    layout = Layout(plan_type(btf, key_id, 4), plan, n_cpus)
    same(python_rows(Table(layout, keys[order], kernel_rows[order][:, :, :12])), theirs)


def test_a_section_of_variables_prints_as_bpftool_prints_it(tmp_path: Path) -> None:
    writer = Writer()
    u32, u64 = writer.integer("unsigned int"), writer.integer("unsigned long long", 8)
    small, counter = writer.add(14, "small", u32, 1), writer.add(14, "counter", u64, 1)
    section = writer.add(15, ".data", 16, small, 0, 4, counter, 8, 8, vlen=2)
    plan = plan_type(writer.parse(), section, 16)
    values = np.frombuffer(bytes(range(16)), np.uint8).reshape(1, 16)
    spec = {"type": BpfMapType.ARRAY, "key_size": 4, "value_size": 16, "max_entries": 1}
    with kernel_maps.created(writer.blob(), 0, section, **spec) as (map_fd, map_id):
        kernel_maps.fill(map_fd, np.zeros((1, 4), np.uint8), values)
        theirs = kernel_maps.formatted(map_id)
    ours = python_rows(Table(Layout(None, plan, datasec=True), np.zeros((1, 4), np.uint8), values))
    assert ours == theirs
    assert ours == [{"value": {".data": [{"small": 0x03020100}, {"counter": 0x0F0E0D0C0B0A0908}]}}]


def test_wide_enumerators_print_as_bpftool_prints_them() -> None:
    writer = Writer()
    u32 = writer.integer("unsigned int")
    words = [writer.string("HUGE"), 1, 1, writer.string("ONE"), 1, 0, writer.string("TOP"), 0, 0x80000000]
    wide = writer.add(19, "wide", 8, *words, vlen=3)
    plan = plan_type(writer.parse(), wide, 8)
    numbers = [1, 1 << 32 | 1, 1 << 63, 2, (1 << 64) - 1, 0]
    values = np.array(numbers, "<u8").view(np.uint8).reshape(-1, 8)
    keys = np.arange(len(numbers), dtype="<u4").view(np.uint8).reshape(-1, 4)
    with kernel_maps.created(writer.blob(), u32, wide, key_size=4, value_size=8, max_entries=9) as (map_fd, map_id):
        kernel_maps.fill(map_fd, keys, values)
        theirs = kernel_maps.formatted(map_id)
    order = [entry["key"] for entry in theirs]
    layout = Layout(plan_type(writer.parse(), u32, 4), plan)
    same(python_rows(Table(layout, keys[order], values[order])), theirs)
    assert {entry["value"] for entry in theirs} == {"ONE", "HUGE", "TOP", 2, -1, 0}


def test_the_old_encoding_of_bit_fields_prints_as_bpftool_prints_it() -> None:
    writer = Writer()
    u32 = writer.integer("unsigned int")
    narrow, signed = writer.integer("unsigned int", bits=5), writer.integer("int", encoding=1, bits=7)
    value = writer.struct("v", 4, ("a", narrow, 0), ("b", signed, 5), ("c", narrow, 12))
    plan = plan_type(writer.parse(), value, 4)
    values = random_values(plan, N_ENTRIES)
    keys = np.arange(N_ENTRIES, dtype="<u4").view(np.uint8).reshape(-1, 4)
    with kernel_maps.created(writer.blob(), u32, value, key_size=4, value_size=4, max_entries=64) as (map_fd, map_id):
        kernel_maps.fill(map_fd, keys, values)
        theirs = kernel_maps.formatted(map_id)
    order = [entry["key"] for entry in theirs]
    layout = Layout(plan_type(writer.parse(), u32, 4), plan)
    same(python_rows(Table(layout, keys[order], values[order])), theirs)


def test_btfs_own_characters_print_as_bpftool_prints_them() -> None:
    writer = Writer()
    u32, char = writer.integer("unsigned int"), writer.integer("letter", 1, encoding=2)
    text = writer.add(3, "", 0, char, u32, 3)
    value = writer.struct("v", 4, ("one", char, 0), ("text", text, 8))
    plan = plan_type(writer.parse(), value, 4)
    values = np.array([[65, 66, 67, 0], [1, 1, 65, 66], [255, 200, 0, 0], [32, 0, 1, 2]], np.uint8)
    keys = np.arange(4, dtype="<u4").view(np.uint8).reshape(-1, 4)
    with kernel_maps.created(writer.blob(), u32, value, key_size=4, value_size=4, max_entries=4) as (map_fd, map_id):
        kernel_maps.fill(map_fd, keys, values)
        theirs = kernel_maps.formatted(map_id)
    order = [entry["key"] for entry in theirs]
    layout = Layout(plan_type(writer.parse(), u32, 4), plan)
    same(python_rows(Table(layout, keys[order], values[order])), theirs)


def test_bytes_without_a_type_print_as_bpftool_prints_them(tmp_path: Path) -> None:
    keys = np.arange(8, dtype="<u4").view(np.uint8).reshape(-1, 4)
    values = np.random.default_rng(5).integers(0, 256, (8, 9), dtype=np.uint8)
    pin = Path("/sys/fs/bpf/columns_bare_test")
    pin.unlink(missing_ok=True)
    make = [
        "bpftool",
        "map",
        "create",
        str(pin),
        "type",
        "hash",
        "key",
        "4",
        "value",
        "9",
        "entries",
        "8",
        "name",
        "bare",
    ]
    subprocess.run(make, check=True)
    try:
        for key, value in zip(keys, values, strict=True):
            words = ["key", *(f"{byte:#x}" for byte in key), "value", *(f"{byte:#x}" for byte in value)]
            subprocess.run(["bpftool", "map", "update", "pinned", str(pin), *words], check=True)
        dump = subprocess.run(["bpftool", "-j", "map", "dump", "pinned", str(pin)], check=True, capture_output=True)
    finally:
        pin.unlink()
    theirs = json.loads(dump.stdout)
    order = [int(entry["key"][0], 16) for entry in theirs]
    table = Table(Layout(plan_raw(4), plan_raw(9)), keys[order], values[order])
    assert json.loads(b"".join(json_chunks(table))) == theirs


def test_bpftool_breaks_off_at_a_float_and_ours_goes_on(tmp_path: Path) -> None:
    source = "struct v { double a; float b; __u32 c; };"
    btf, (value_id, key_id) = kernel_maps.types_of(source, tmp_path, "struct v", "__u32")
    values = np.zeros((1, 16), np.uint8)
    values[0, :8] = np.frombuffer(np.float64(1.1).tobytes(), np.uint8)
    values[0, 8:12] = np.frombuffer(np.float32(0.5).tobytes(), np.uint8)
    blob = (tmp_path / "types.btf").read_bytes()
    with kernel_maps.created(blob, key_id, value_id, key_size=4, value_size=16, max_entries=1) as (map_fd, map_id):
        kernel_maps.fill(map_fd, np.zeros((1, 4), np.uint8), values)
        done = subprocess.run(["bpftool", "-j", "map", "dump", "id", str(map_id)], check=False, capture_output=True)
    with pytest.raises(ValueError):
        json.loads(done.stdout)
    layout = Layout(plan_type(btf, key_id, 4), plan_type(btf, value_id, 16))
    rows = python_rows(Table(layout, np.zeros((1, 4), np.uint8), values))
    assert rows == [{"key": 0, "value": {"a": 1.1, "b": 0.5, "c": 0}}]
