"""Rust, Go and Python: Python is run and measured by ctypes, the others are read."""

from __future__ import annotations

import ctypes  # noqa: TID251 - measures what is declared with it
import keyword
import random
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest

from app.btf import declare
from app.btf.declare import Declaration
from app.btf.errors import NoSize, TooLarge
from app.btf.layout import bit_field
from app.btf.parse import Btf
from app.btf.types import Kind, Struct, Union
from tests.btfs import Writer, compile_type, vmlinux

SOURCE = """
enum mood { HAPPY = 1, SAD = 7 };
typedef struct { short lo, hi; } pair_t;
struct __attribute__((packed)) tight { char a; long long b; pair_t c; };
struct flow {
    struct task *task; _Bool ok; char comm[16]; union { int x; pair_t pair; }; pair_t pairs[2][3];
    unsigned a:3, b:9; enum mood mood; __int128 big; struct tight tight; double d; char rest[];
};
"""


def _run(declaration: Declaration) -> Any:
    """Execute a Python declaration, return the class or type that it declares."""
    scope: dict[str, Any] = {}
    exec(compile(declaration.text, "declared", "exec"), scope)
    return scope[declaration.type_text]


def _check_python(btf: Btf, type_id: int) -> None:
    found = btf.resolve(type_id)
    assert isinstance(found, Struct | Union)
    declared = _run(declare.python(btf, type_id))
    assert ctypes.sizeof(declared) == found.size_bytes
    for member in found.members:
        if member.name and not bit_field(btf, member)[1]:
            field = getattr(declared, member.name + "_" * keyword.iskeyword(member.name))
            assert (field.offset, field.size) == (member.offset_bits // 8, btf.size_bytes(member.type_id)), member.name


def test_python_is_measured_by_ctypes() -> None:
    btf, one = compile_type(SOURCE, "struct flow")
    _check_python(btf, one)


@pytest.mark.kernel
def test_python_of_kernel_structs_is_measured_by_ctypes() -> None:
    btf = vmlinux()
    named = [one for one in btf if btf.kind(one) in {Kind.STRUCT, Kind.UNION} and btf.type(one).name]
    overlapping = 0
    chosen = random.Random("python").sample(named, 400)
    for one in chosen:
        try:
            declare.python(btf, one)
        except TooLarge:  # a bit field that shares its byte with an ordinary member
            overlapping += 1
        else:
            _check_python(btf, one)
    assert overlapping < 4


def test_python_reads_big_endian_values() -> None:
    btf, one = compile_type("struct s { short a; int b; int c[2]; };", "struct s", target="bpfeb")
    declared = _run(declare.python(btf, one))
    value = declared.from_buffer_copy(struct.pack(">hxxiii", -2, 7, 8, 9))
    assert (value.a, value.b, list(value.c)) == (-2, 7, [8, 9])


def test_rust_text() -> None:
    btf, one = compile_type(SOURCE, "struct flow")
    declaration = declare.rust(btf, one)
    assert declaration.type_text == "flow"
    head, _, body = declaration.text.rpartition("pub struct flow {")
    assert "pub const HAPPY: u32 = 1;\npub const SAD: u32 = 7;\n" in head
    assert "#[repr(C, packed)]\n#[derive(Clone, Copy)]\n#[allow(non_camel_case_types)]\npub struct tight {" in head
    assert "pub union flow_anon3 { // 4 bytes\n    pub x: i32, // offset 0: int\n    pub pair: pair_t," in head
    assert body == (
        " // 112 bytes\n"
        "    pub task: u64, // offset 0: struct task *\n"
        "    pub ok: u8, // offset 8: _Bool\n"
        "    pub comm: [i8; 16], // offset 9: char[16]\n"
        "    pub _pad25: [u8; 3], // offset 25: padding\n"
        "    pub anon3: flow_anon3, // offset 28: union {...}\n"
        "    pub pairs: [[pair_t; 3]; 2], // offset 32: pair_t[2][3]\n"
        "    pub bits_56: [u8; 2], // offset 56: a = bits 0..2, b = bits 3..11 (lowest bit first)\n"
        "    pub _pad58: [u8; 2], // offset 58: padding\n"
        "    pub mood: u32, // offset 60: enum mood\n"
        "    pub big: i128, // offset 64: __int128\n"
        "    pub tight: tight, // offset 80: struct tight\n"
        "    pub _pad93: [u8; 3], // offset 93: padding\n"
        "    pub d: f64, // offset 96: double\n"
        "    pub rest: [i8; 0], // offset 104: char[]\n"
        "    pub _pad104: [u8; 8], // offset 104: padding\n"
        "}\n"
    )


def test_go_text() -> None:
    btf, one = compile_type(SOURCE, "struct flow")
    declaration = declare.go(btf, one)
    assert declaration.type_text == "Flow"
    assert declaration.text == (
        "const ( // enum mood\n\tHAPPY uint32 = 1\n\tSAD uint32 = 7\n)\n\n"
        "type PairT struct { // 4 bytes\n\tLo int16 // offset 0: short\n\tHi int16 // offset 2: short\n}\n\n"
        "// FlowAnon3 is a union of 4 bytes:\n//   x int32\n//   pair PairT\n\n"
        "type Tight struct { // 13 bytes\n"
        "\tA int8 // offset 0: char\n\tB [8]byte // offset 1: long long\n\tC [4]byte // offset 9: pair_t\n}\n\n"
        "type Flow struct { // 112 bytes\n"
        "\tTask uint64 // offset 0: struct task *\n"
        "\tOk uint8 // offset 8: _Bool\n"
        "\tComm [16]int8 // offset 9: char[16]\n"
        "\t_ [3]byte // offset 25: padding\n"
        "\tAnon3 [4]byte // offset 28: union {...}\n"
        "\tPairs [2][3]PairT // offset 32: pair_t[2][3]\n"
        "\tBits56 [2]byte // offset 56: a = bits 0..2, b = bits 3..11 (lowest bit first)\n"
        "\t_ [2]byte // offset 58: padding\n"
        "\tMood uint32 // offset 60: enum mood\n"
        "\tBig [2]uint64 // offset 64: __int128\n"
        "\tTight Tight // offset 80: struct tight\n"
        "\t_ [3]byte // offset 93: padding\n"
        "\tD float64 // offset 96: double\n"
        "\t// Rest [0]int8 offset 104: char[]\n"
        "\t_ [8]byte // offset 104: padding\n"
        "}\n"
    )


WARNINGS = [
    ("struct { int a:3; }", "Bit fields stand as the bytes"),
    ("union { int a; float b; }", "is a union"),
    ("struct __attribute__((packed)) { char a; int b; }", "is packed"),
    ("struct { int n; char rest[]; }", "is a flexible or empty array"),
    ("struct { __int128 a; }", "__int128 is aligned to 16 bytes"),
    ("struct { _Bool a; }", "bool is a byte here"),
    ("struct { enum { A } a; }", "An enumeration stands as a number"),
    ("struct { void *a; }", "Pointers stand as plain numbers"),
]


@pytest.mark.parametrize("language", ["rust", "go", "python"])
@pytest.mark.parametrize(("c", "warning"), WARNINGS)
def test_warns_where_the_language_differs(language: str, c: str, warning: str) -> None:
    btf, one = compile_type("", c)
    warnings = getattr(declare, language)(btf, one).warnings
    assert any(warning in sentence for sentence in warnings)
    assert all(sentence.endswith(".") for sentence in warnings)


@pytest.mark.parametrize("language", ["c", "rust", "go", "python"])
def test_plain_struct_has_no_warnings(language: str) -> None:
    btf, one = compile_type("", "struct { char a; int b; unsigned long long c[3]; }")
    assert getattr(declare, language)(btf, one).warnings == ()


@pytest.mark.parametrize("language", ["rust", "go"])
def test_big_endian_values_come_with_a_warning(language: str) -> None:
    btf, one = compile_type("", "struct { int b; }", target="bpfeb")
    assert any("big-endian" in sentence for sentence in getattr(declare, language)(btf, one).warnings)


@pytest.mark.parametrize(
    ("c", "rust", "go", "python"),
    [
        ("int", "pub type value = i32; // int\n", "type Value int32 // int\n", "value = ctypes.c_int32  # int\n"),
        (
            "unsigned char[6]",
            "pub type value = [u8; 6]; // unsigned char[6]\n",
            "type Value [6]uint8 // unsigned char[6]\n",
            "value = (ctypes.c_uint8 * 6)  # unsigned char[6]\n",
        ),
    ],
)
def test_type_without_a_name_becomes_an_alias(c: str, rust: str, go: str, python: str) -> None:
    btf, one = compile_type("", c)
    assert declare.rust(btf, one).text == rust
    assert declare.go(btf, one).text == go
    assert declare.python(btf, one).text.endswith(python)


def test_section_becomes_one_struct() -> None:
    writer = Writer()
    number = writer.integer("int", 4, encoding=1)
    first, second = writer.add(Kind.VAR, "seen", number, 1), writer.add(Kind.VAR, "late", number, 0)
    section = writer.add(Kind.DATASEC, ".bss", 16, first, 0, 4, second, 8, 4, vlen=2)
    declared = _run(declare.python(writer.parse(), section, name="bss"))
    assert (ctypes.sizeof(declared), declared.seen.offset, declared.late.offset) == (16, 0, 8)


@pytest.mark.parametrize("language", ["rust", "go", "python"])
def test_what_has_no_size_is_refused(language: str) -> None:
    writer = Writer()
    one = writer.add(Kind.FWD, "task")
    with pytest.raises(NoSize, match="FWD 'task' has no size"):
        getattr(declare, language)(writer.parse(), one)


def test_keywords_of_the_language_are_renamed() -> None:
    writer = Writer()
    number = writer.integer("int", 4, encoding=1)
    one = writer.struct("s", 12, ("type", number, 0), ("class", number, 32), ("_", number, 64))
    btf = writer.parse()
    assert "pub type_: i32" in declare.rust(btf, one).text
    assert hasattr(_run(declare.python(btf, one)), "class_")


RUSTC = shutil.which("rustc")
if RUSTC:  # an extra where a compiler happens to be: no test of ours needs one

    def test_rust_compiles_to_the_same_offsets(tmp_path: Path) -> None:
        btf, one = compile_type(SOURCE, "struct flow")
        found = btf.type(one)
        assert isinstance(found, Struct)
        lines = [
            declare.rust(btf, one).text,
            f"const _: () = assert!(core::mem::size_of::<flow>() == {found.size_bytes});",
        ]
        for member in found.members:
            if member.name and not member.bits:
                at = member.offset_bits // 8
                lines.append(f"const _: () = assert!(core::mem::offset_of!(flow, {member.name}) == {at});")
        file = tmp_path / "declared.rs"
        file.write_text("\n".join(lines))
        run = [RUSTC or "", "--crate-type=lib", "--emit=metadata", "-o", str(tmp_path / "out"), str(file)]
        done = subprocess.run(run, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
