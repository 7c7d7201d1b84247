"""Bytes that mean harm: BtfError and nothing else, soon, and without much memory."""

from __future__ import annotations

import re
import struct
import tracemalloc
from collections.abc import Callable
from time import process_time

import pytest

from app.btf import declare, errors
from app.btf.errors import BtfError
from app.btf.header import MAGIC
from app.btf.parse import parse
from app.btf.types import Kind
from tests.btfs import Writer, survive

MANY = 20_000


# Whole blobs that are refused

_GOOD = Writer()
_GOOD.integer()
_BLOB = _GOOD.blob()


def _header(**changed: int) -> bytes:
    fields = {
        "magic": MAGIC, "version": 1, "flags": 0, "header_bytes": 24, "type_at": 0, "type_bytes": 16, "string_at": 16,
        "string_bytes": len(_GOOD.strings),
    }  # fmt: skip
    return struct.pack("<HBBIIIII", *(fields | changed).values()) + _BLOB[24:]


@pytest.mark.parametrize(
    ("blob", "error"),
    [
        pytest.param(b"", errors.NotBtf, id="empty"),
        pytest.param(b"\x9f", errors.NotBtf, id="half a magic"),
        pytest.param(b"\x9f\xeb\x01", errors.SectionEndsEarly, id="header cut"),
        pytest.param(b"\x00" * 64, errors.NotBtf, id="zeros"),
        pytest.param(_header(version=2), errors.NotBtf, id="version 2"),
        pytest.param(_header(header_bytes=8), errors.BadHeader, id="header too short"),
        pytest.param(_header(header_bytes=1 << 31), errors.BadHeader, id="header past the end"),
        pytest.param(_header(type_bytes=0xFFFFFFFC), errors.SectionEndsEarly, id="types past the end"),
        pytest.param(_header(string_at=0xFFFFFFFF), errors.SectionEndsEarly, id="strings past the end"),
        pytest.param(_header(type_bytes=14), errors.BadHeader, id="types not whole words"),
        pytest.param(_header(type_at=2, type_bytes=12), errors.BadHeader, id="types not aligned"),
        pytest.param(_header(string_at=8, string_bytes=4), errors.BadHeader, id="sections overlap"),
        pytest.param(_header(string_bytes=0), errors.BadHeader, id="no strings"),
        pytest.param(_BLOB[:-1] + b"x", errors.BadHeader, id="strings without NUL at the end"),
        pytest.param(_header(type_bytes=12), errors.SectionEndsEarly, id="record cut"),
        pytest.param(_header(type_bytes=4), errors.SectionEndsEarly, id="head of a record cut"),
    ],
)
def test_blob_is_refused(blob: bytes, error: type[BtfError]) -> None:
    with pytest.raises(error):
        parse(blob)


@pytest.mark.parametrize("kind", [0, 20, 63, 127])
def test_unknown_kind_is_refused(kind: int) -> None:
    writer = Writer()
    writer.add(kind)
    with pytest.raises(errors.BadRecord, match=f"BTF type 1: kind {kind} is not known"):
        writer.parse()


@pytest.mark.parametrize("kind", [Kind.STRUCT, Kind.UNION, Kind.ENUM, Kind.ENUM64, Kind.FUNC_PROTO, Kind.DATASEC])
def test_more_members_than_there_are_bytes_is_refused(kind: Kind) -> None:
    writer = Writer()
    writer.add(kind, "s", 4, vlen=0xFFFF)
    with pytest.raises(errors.SectionEndsEarly):
        writer.parse()


# Single records that are refused when they are looked at


@pytest.mark.parametrize(
    ("kind", "third", "extra", "vlen"),
    [
        pytest.param(Kind.INT, 0, (32,), 0, id="int of no bytes"),
        pytest.param(Kind.INT, 4, (64,), 0, id="int wider than itself"),
        pytest.param(Kind.INT, 0xFFFFFFFF, (32,), 0, id="huge int"),
        pytest.param(Kind.FLOAT, 5, (), 0, id="float of 5 bytes"),
        pytest.param(Kind.ENUM, 3, (), 0, id="enum of 3 bytes"),
        pytest.param(Kind.ENUM64, 0xFFFFFFFF, (), 0, id="huge enum"),
        pytest.param(Kind.STRUCT, 4, (0, 1, 64), 1, id="member outside"),
        pytest.param(Kind.FUNC, 1, (), 9, id="function linkage"),
        pytest.param(Kind.VAR, 1, (9,), 0, id="variable linkage"),
        pytest.param(Kind.STRUCT, 4, (0x7FFFFFFF, 1, 0), 1, id="member's name outside"),
    ],
)
def test_record_is_refused_when_asked_for(kind: Kind, third: int, extra: tuple[int, ...], vlen: int) -> None:
    writer = Writer()
    one = writer.add(kind, "x", third, *extra, vlen=vlen)
    btf = writer.parse()
    with pytest.raises(BtfError):
        btf.type(one)
    assert survive(btf, one) > 0


@pytest.mark.parametrize("type_id", [-1, 2, 1 << 40])
def test_numbers_outside_are_refused(type_id: int) -> None:
    btf = parse(_BLOB)
    with pytest.raises(errors.NoSuchType):
        btf.type(type_id)
    with pytest.raises(errors.NoSuchType):
        btf.kind(type_id)


# Types that nest without end, or grow


def _deep_pointers(w: Writer) -> int:
    for n in range(1, MANY):
        w.add(Kind.PTR, "", n + 1)
    return 1


def _deep_arrays(w: Writer) -> int:
    for n in range(1, MANY):
        w.add(Kind.ARRAY, "", 0, n + 1, 1, 2)
    w.integer()
    return 1


def _empty_arrays(w: Writer) -> int:
    for n in range(1, MANY):
        w.add(Kind.ARRAY, "", 0, n + 1, 1, 0)
    w.integer()
    return 1


def _struct_in_itself(w: Writer) -> int:
    return w.struct("s", 0xFFFFFFFF, *[(f"m{n}", 1, n * 8) for n in range(100)])


def _structs_in_a_circle(w: Writer) -> int:
    w.struct("a", 8, ("b", 2, 0))
    w.struct("", 8, ("c", 3, 0))
    w.add(Kind.TYPEDEF, "t", 1)
    return 1


def _anonymous_circle_through_pointer(w: Writer) -> int:
    w.struct("", 8, ("p", 2, 0))
    w.add(Kind.PTR, "", 1)
    return 1


def _deep_structs(w: Writer) -> int:
    for n in range(1, MANY):
        w.struct("" if n % 2 else f"s{n}", 4, ("m", n + 1, 0))
    w.integer()
    return 1


def _doubling_structs(w: Writer) -> int:
    for n in range(1, 31):
        w.struct("", 1 << (31 - n), ("a", n + 1, 0), ("b", n + 1, 8 << (30 - n)))
    w.integer("char", 1)
    return 1


def _doubling_unions(w: Writer) -> int:
    for n in range(1, 31):
        w.struct("", 1, ("a", n + 1, 0), ("b", n + 1, 0), kind=Kind.UNION)
    w.integer("char", 1)
    return 1


def _functions_of_functions(w: Writer) -> int:
    for n in range(1, 40, 2):
        w.add(Kind.PTR, "", n + 1)
        w.add(Kind.FUNC_PROTO, "", n + 2, *[0, n + 2] * 50, vlen=50)
    w.integer()
    return 1


def _function_that_takes_itself(w: Writer) -> int:
    w.add(Kind.PTR, "", 2)
    w.add(Kind.FUNC_PROTO, "", 1, *[0, 1] * 8, vlen=8)
    return 1


def _typedefs_in_a_circle(w: Writer) -> int:
    w.add(Kind.TYPEDEF, "a", 2)
    w.add(Kind.TYPEDEF, "b", 1)
    return 1


def _deep_typedef_pointers(w: Writer) -> int:
    for n in range(1, MANY, 2):
        w.add(Kind.TYPEDEF, f"t{n}", n + 1)
        w.add(Kind.PTR, "", n + 2)
    w.integer()
    return 1


def _huge_array(w: Writer) -> int:
    w.integer()
    w.add(Kind.ARRAY, "", 0, 1, 1, 0xFFFFFFFF)
    return w.add(Kind.ARRAY, "", 0, 2, 1, 0xFFFFFFFF)


def _overlapping_names(w: Writer) -> int:
    w.integer()
    start = w.string("x" * MANY)
    return w.add(Kind.STRUCT, "s", 4, *[word for n in range(MANY - 1) for word in (start + n, 1, 0)], vlen=MANY - 1)


def _many_members(w: Writer) -> int:
    w.integer()
    return w.struct("s", MANY, *[("m", 1, n * 32) for n in range(MANY // 4)])


def _section_of_itself(w: Writer) -> int:
    return w.add(Kind.DATASEC, ".bss", 0xFFFFFFFF, 1, 0, 8, 99, 1 << 31, 1 << 31, vlen=2)


def _variable_of_itself(w: Writer) -> int:
    return w.add(Kind.VAR, "v", 1, 0)


def _tag_of_itself(w: Writer) -> int:
    w.add(Kind.PTR, "", 2)
    return w.add(Kind.TYPE_TAG, "kptr", 2) - 1


def _zero_sized(w: Writer) -> int:
    w.struct("e", 0)
    w.add(Kind.ARRAY, "", 0, 1, 1, 0xFFFFFFFF)
    return w.struct("s", 0, ("a", 2, 0), ("b", 2, 0))


def _equal_enumerators(w: Writer) -> int:
    name = w.string("A")
    return w.add(Kind.ENUM, "e", 4, *[word for n in range(MANY) for word in (name, n)], vlen=MANY)


def _long_name_everywhere(w: Writer) -> int:
    number = w.integer("n" * 500_000)
    name = w.string("x" * 500_000)
    return w.add(Kind.STRUCT, "s" * 1000, 4, *[word for _ in range(2000) for word in (name, number, 0)], vlen=2000)


def _function_of_long_names(w: Writer) -> int:
    number = w.integer("n" * 500_000)
    w.add(Kind.FUNC_PROTO, "", number, *[0, number] * 4000, vlen=4000)
    return w.add(Kind.PTR, "", 2)


def _many_pointers_to_a_wide_function(w: Writer) -> int:
    w.integer()
    w.add(Kind.FUNC_PROTO, "", 1, *[0, 1] * 4000, vlen=4000)
    pointers = [w.add(Kind.PTR, "", 2) for _ in range(1000)]
    return w.struct("s", 8_000, *[(f"m{n}", pointer, n * 64) for n, pointer in enumerate(pointers)])


def _equal_structs(w: Writer) -> int:
    w.integer()
    same = [w.struct("same", 4, ("a", 1, 0)) for _ in range(2000)]
    return w.struct("s", 8_000, *[(f"m{n}", one, n * 32) for n, one in enumerate(same)])


@pytest.mark.parametrize(
    "build",
    [
        _deep_pointers, _deep_arrays, _empty_arrays, _struct_in_itself, _structs_in_a_circle, _deep_structs,
        _anonymous_circle_through_pointer, _doubling_structs, _doubling_unions, _functions_of_functions,
        _function_that_takes_itself, _typedefs_in_a_circle, _deep_typedef_pointers, _huge_array, _overlapping_names,
        _equal_enumerators, _long_name_everywhere, _function_of_long_names, _many_pointers_to_a_wide_function, _equal_structs,
        _many_members, _section_of_itself, _variable_of_itself, _tag_of_itself, _zero_sized,
    ],
)  # fmt: skip
def test_types_without_end_are_answered_soon_and_in_little_memory(build: Callable[[Writer], int]) -> None:
    writer = Writer()
    type_id = build(writer)
    blob = writer.blob()
    start = process_time()
    survive(parse(blob), type_id)
    assert process_time() - start < 8  # under 1 s on two quiet cores
    tracemalloc.start()
    try:
        survive(parse(blob), type_id)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 60 << 20


def test_names_cannot_leave_their_place_in_the_text() -> None:
    writer = Writer()
    number = writer.integer()
    evil = 'x; } int main() { system("id"); /* */ \n#include "a"'
    tagged = writer.add(Kind.TYPE_TAG, '")) evil __attribute__((x("', number)
    pointer = writer.add(Kind.PTR, "", tagged)
    one = writer.struct(evil, 16, (evil, number, 0), ("p", pointer, 64))
    writer.add(Kind.DECL_TAG, evil, one, 0)
    section = writer.add(Kind.DATASEC, ".bss*/ evil(); /*", 16, writer.add(Kind.VAR, evil, one, 1), 0, 16, vlen=1)
    btf = writer.parse()
    for type_id in (one, section):
        for declaration, comment_or_string in (
            (declare.c(btf, type_id, comments=True), r'"(\\.|[^"\\\n])*"|/\*[^\n]*?\*/'),
            (declare.rust(btf, type_id), r"//[^\n]*"),
            (declare.go(btf, type_id), r"//[^\n]*"),
            (declare.python(btf, type_id), r"#[^\n]*"),
        ):
            code = re.sub(comment_or_string, "", declaration.text)
            assert "x____int_main" in code or "X" in code
            assert not re.search(r"system\(|#include|evil\(|evil __attribute__", code)
        compile(declare.python(btf, type_id).text, "declared", "exec")
    assert "x____int_main" in declare.c(btf, one).text
