"""Hidden values: which bytes are zeroed, which fields say so, for patterns over real layouts."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from app.columns import where
from app.columns.cell import cells, heads
from app.columns.csv_text import csv_chunks
from app.columns.errors import ColumnsError
from app.columns.node import REDACTED
from app.columns.order import order
from app.columns.plan import plan_raw, plan_type
from app.columns.rows import ndjson_chunks, python_rows
from app.columns.table import Layout, Table
from app.maps.hiding import HidingReader, cleared, hide
from app.maps.walk import Completeness, Reading
from tests.btfs import compile_type

TYPES = """
typedef unsigned char u8; typedef unsigned int u32; typedef unsigned long long u64;
struct in6_addr { union { u8 a[16]; u32 w[4]; } u; };
struct slot { u32 port; u32 key; };
struct value {
    u64 packets;
    u32 secret;
    u32 a : 3, b : 5, c : 24;
    char name[8];
    u8 mac[6];
    struct slot slots[2];
    struct { u64 left; struct slot deep; } peer;
    union { u64 whole; u32 half[2]; u8 first; } u;
    struct in6_addr address;
};
"""
VALUE_BYTES = 88

CASES: list[tuple[str, list[str], set[str]]] = [
    ("a number", ["value.secret"], {"value.secret"}),
    ("a part of a byte hides the whole byte", ["value.a"], {"value.a", "value.b"}),
    ("a bit field of whole bytes", ["value.c"], {"value.c"}),
    ("text", ["value.name"], {"value.name"}),
    ("one letter hides the text", ["value.name[3]"], {"value.name"}),
    ("one octet hides the address", ["value.mac[0]"], {"value.mac"}),
    ("a field of each element", ["value.slots[*].key"], {"value.slots[0].key", "value.slots[1].key"}),
    ("a field of one element hides it in each", ["value.slots[1].key"], {"value.slots[0].key", "value.slots[1].key"}),
    ("elements", ["value.slots"], {"value.slots"}),
    ("by a pattern", ["value.*.key"], set()),
    ("in a struct", ["value.peer.deep"], {"value.peer.deep"}),
    ("a struct", ["value.peer"], {"value.peer"}),
    ("by a pattern, deeper", ["value.peer.*.p*"], {"value.peer.deep.port"}),
    ("a member of a union hides what lies there", ["value.u.first"], {"value.u.whole", "value.u.half", "value.u.first"}),
    ("an address", ["value.address.u.w[2]"], {"value.address"}),
    ("everything", ["value"], {"value"}),
    ("several", ["value.secret", "value.packets", "value.nothing"], {"value.secret", "value.packets"}),
    ("nothing of that name", ["value.nowhere.at.all"], set()),
]  # fmt: skip


def layout_of_value() -> Layout:
    btf, number = compile_type(TYPES, "struct value")
    return Layout(plan_raw(4), plan_type(btf, number, VALUE_BYTES))


def hidden_paths(layout: Layout) -> set[str]:
    found = {one.path for one in heads(layout) if one.special == REDACTED}
    return {path.removesuffix("[0]").removesuffix("[1]") if path.startswith("value.u.half") else path for path in found}


@pytest.mark.parametrize(("patterns", "expected"), [row[1:] for row in CASES], ids=[row[0] for row in CASES])
def test_fields_that_say_so(patterns: list[str], expected: set[str]) -> None:
    layout, mask = hide(layout_of_value(), tuple(patterns))
    assert hidden_paths(layout) == expected
    assert mask.any() == bool(expected)


@pytest.mark.parametrize("patterns", [row[1] for row in CASES if row[2]], ids=[row[0] for row in CASES if row[2]])
def test_t18_what_is_shown_does_not_depend_on_what_is_hidden(patterns: list[str]) -> None:
    layout, mask = hide(layout_of_value(), tuple(patterns))
    random = np.random.default_rng(7)
    first = random.integers(0, 256, (20, VALUE_BYTES), np.uint8)
    second = np.where(mask, random.integers(0, 256, first.shape, np.uint8), first)
    assert (first != second).any()
    assert shown(layout, mask, first) == shown(layout, mask, second)


def shown(layout: Layout, mask: np.ndarray, values: np.ndarray) -> list[object]:
    keys = np.arange(20, dtype=np.uint32).view(np.uint8).reshape(20, 4)
    reading = Reading(
        keys=keys, values=values.copy(), completeness=Completeness.EXACT, started_at_ns=0, ended_at_ns=0, notes=()
    )
    table = Table(layout, reading.keys, cleared(reading, mask).values)
    told: list[object] = [
        [[(cell.text, cell.title, cell.raw) for cell in row] for row in cells(table, heads(layout))],
        b"".join(ndjson_chunks(table, lens=True)),
        b"".join(csv_chunks(table)),
        table.values.tobytes(),
    ]
    for one in heads(layout):
        if one.special == REDACTED:
            with pytest.raises(ColumnsError, match="hidden from your role"):
                order(table, one.path)
            with pytest.raises(ColumnsError, match="hidden from your role"):
                where.parse(f"{one.path} == 0").mask(table)
        else:
            told.append(order(table, one.path).tolist())
    return told


def test_json_has_null_there() -> None:
    layout, mask = hide(layout_of_value(), ("value.secret", "value.slots[*].key", "value.peer"))
    table = Table(layout, np.zeros((1, 4), np.uint8), np.zeros((1, VALUE_BYTES), np.uint8))
    value = python_rows(table)[0]["value"]
    assert value["secret"] is None
    assert value["peer"] is None
    assert value["slots"] == [{"port": 0, "key": None}, {"port": 0, "key": None}]
    assert value["packets"] == 0
    assert mask.sum() == 4 + 8 + 16


@pytest.mark.parametrize(
    ("patterns", "hidden"), [(("value.u32[1]",), True), (("value",), True), (("value.secret",), False), ((), False)]
)
def test_bytes_without_a_type_are_hidden_whole(patterns: tuple[str, ...], hidden: bool) -> None:
    layout, mask = hide(Layout(plan_raw(4), plan_raw(16)), patterns)
    assert mask.all() == hidden
    assert bool(hidden_paths(layout)) == hidden


@pytest.mark.parametrize("stride", [88, 176, 880, 100])
def test_the_reader_gives_zeros_whatever_the_stride(stride: int) -> None:
    _, mask = hide(layout_of_value(), ("value.secret",))

    def lookup(key: bytes | None, value: bytearray | memoryview) -> bool:
        memoryview(value)[:] = b"\xaa" * len(value)
        return True

    def lookup_batch(token: object, token_out: object, keys: object, values: memoryview, count: int) -> None:
        values[:] = b"\xaa" * len(values)

    under = SimpleNamespace(key_size=4, value_stride=stride, next_key=None, lookup=lookup, lookup_batch=lookup_batch)
    reader = HidingReader(under, lambda: mask)  # type: ignore[arg-type]
    value = bytearray(stride)
    assert reader.lookup(b"", value)
    many = bytearray(stride * 3)
    reader.lookup_batch(None, bytearray(), memoryview(b""), memoryview(many), 3)
    for at in range(0, stride, 88):
        assert bytes(value[at + 8 : at + 12]) == bytes(min(4, stride - at - 8))
    assert many == value * 3
    assert value.count(0xAA) == (0 if stride % 88 else stride - 4 * (stride // 88))
