"""Filter expressions: text on the left, the rows that hold (or the error) on the right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from app.columns.order import order
from app.columns.plan import plan_raw, plan_type
from app.columns.table import Layout, Table
from app.columns.where import MAX_TEXT, WhereError, parse
from tests.columns import kernel_maps

SOURCE = """
enum state { NEW, OPEN = 3, CLOSED = 7 };
struct k { __be32 saddr; __u32 daddr; __be16 dport; __u16 vlan; };
struct v { __u64 packets; __s32 delta; enum state state; char comm[8]; __u8 mac[6]; _Bool local; __u8 dst6[16];
           __u32 slots[4]; double load; };
"""


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Table:
    folder: Path = tmp_path_factory.mktemp("btf")
    btf, (key_id, value_id) = kernel_maps.types_of(SOURCE, folder, "struct k", "struct v")
    key, value = plan_type(btf, key_id, 12), plan_type(btf, value_id, btf.size_bytes(value_id))
    keys = np.zeros(4, [("saddr", ">u4"), ("daddr", ">u4"), ("dport", ">u2"), ("vlan", "<u2")])
    keys["saddr"] = [0x0A000001, 0x0A010203, 0xC0A80001, 0x7F000001]
    keys["daddr"] = [0x08080808, 0, 1, 2]
    keys["dport"] = [80, 443, 8080, 53]
    keys["vlan"] = [1, 2, 3, 4]
    layout = {
        name: value.find(name).offset_bytes
        for name in ("packets", "delta", "state", "comm", "mac", "local", "dst6", "slots", "load")
    }
    rows = np.zeros((4, value.size_bytes), np.uint8)

    def put(name: str, cells: list[bytes]) -> None:
        for row, cell in zip(rows, cells, strict=True):
            row[layout[name] : layout[name] + len(cell)] = np.frombuffer(cell, np.uint8)

    put("packets", [number.to_bytes(8, "little") for number in (0, 999, 1001, (1 << 64) - 1)])
    put("delta", [number.to_bytes(4, "little", signed=True) for number in (-1, 0, 5, -(1 << 31))])
    put("state", [number.to_bytes(4, "little") for number in (0, 3, 7, 9)])
    put("comm", [b"nginx\0zz", b"sshd", b'a"b', b"nginx-w\0"])
    put("mac", [bytes.fromhex("02005e000001"), bytes(6), b"\xff" * 6, bytes.fromhex("02005e000002")])
    put("local", [b"\0", b"\1", b"\0", b"\1"])
    put(
        "dst6",
        [bytes.fromhex("fe80" + "0" * 27 + "1"), bytes(10) + b"\xff\xff\x0a\0\0\1", bytes(16), bytes(15) + b"\1"],
    )
    put(
        "slots",
        [np.array(cells, "<u4").tobytes() for cells in ([0, 0, 0, 0], [1, 2, 3, 4], [4, 0, 0, 9], [7, 7, 7, 7])],
    )
    put("load", [np.float64(number).tobytes() for number in (0.5, 1.0, float("nan"), -2.25)])
    return Table(Layout(key, value), keys.view(np.uint8).reshape(4, 12), rows)


@pytest.mark.parametrize(("text", "expected"), [
    ("value.packets > 1000", [2, 3]),
    ("value.packets > 1000 and key.saddr in 10.0.0.0/8", []),
    ("value.packets >= 999 and key.saddr in 10.0.0.0/8", [1]),
    ("value.packets == 0xffffffffffffffff", [3]),
    ("value.packets == 1_001 or value.delta < 0", [0, 2, 3]),
    ("not value.packets > 1000", [0, 1]),
    ("!(value.packets > 1000) && value.local", [1]),
    ("value.packets in (0, 1001)", [0, 2]),
    ("value.packets in 1..1001", [1, 2]),
    ("value.packets not in 1..1001", [0, 3]),
    ("value.delta in -1..0", [0, 1]),
    ("1000 < value.packets", [2, 3]),
    ("value.packets > value.delta", [0, 1, 2, 3]),
    ("value.packets > 998.5", [1, 2, 3]),
    ("value.packets == 998.5", []),
    ("value.packets == 999.0", [1]),
    ("value.packets < 100000000000000000000000000", [0, 1, 2, 3]),
    ("value.delta == -2147483648", [3]),
    ("value.state == OPEN", [1]),
    ("value.state == 'OPEN'", [1]),
    ("value.state in (NEW, CLOSED)", [0, 2]),
    ("value.state > OPEN", [2, 3]),
    ("value.state == 9", [3]),
    ('value.comm == "nginx"', [0]),
    ("value.comm == nginx", [0]),
    ('value.comm contains "gin"', [0, 3]),
    ('value.comm startswith "s"', [1]),
    (r'value.comm == "a\"b"', [2]),
    ('value.comm != "nginx"', [1, 2, 3]),
    ('value.comm == "a text that is longer than the field"', []),
    ("value.mac == 02:00:5e:00:00:01", [0]),
    ("value.mac in 02:00:5e:00:00:00..02:00:5e:ff:ff:ff", [0, 3]),
    ("value.mac == hex:ffffffffffff", [2]),
    ("value.mac startswith hex:02005e", [0, 3]),
    ("value.local", [1, 3]),
    ("value.local == false", [0, 2]),
    ("key.saddr == 10.0.0.1", [0]),
    ("key.saddr == 10.0.0.0/8", [0, 1]),
    ("key.saddr != 10.0.0.0/8", [2, 3]),
    ("key.saddr < 127.0.0.1", [0, 1]),
    ("key.saddr in 10.0.0.2..192.168.0.1", [1, 2, 3]),
    ("key.saddr in (127.0.0.1, 192.168.0.0/16)", [2, 3]),
    ("key.daddr == 8.8.8.8", [0]),
    ("key.dport == 443", [1]),
    ("key.dport in 50..100", [0, 3]),
    ("key.vlan == 3", [2]),
    ("value.dst6 in fe80::/10", [0]),
    ("value.dst6 == ::1", [3]),
    ("value.dst6 == 10.0.0.1", [1]),
    ("value.dst6 in 10.0.0.0/8", [1]),
    ("value.dst6 == ::ffff:10.0.0.1", [1]),
    ("value.slots[3] == 4", [1]),
    ("value.slots contains 4", [1, 2]),
    ("value.load > 0.75", [1]),
    ("value.load == -2.25", [3]),
    ("value.load != 1", [0, 2, 3]),
    ("key == hex:0a0000010808080800500100", [0]),
    ("value.packets > 1000 or value.packets == 0 and value.local", [2, 3]),
    ("(value.packets > 1000 or value.packets == 0) and value.local", [3]),
])  # fmt: skip
def test_an_expression_holds_for_these_rows(table: Table, text: str, expected: list[int]) -> None:
    expr = parse(text)
    assert np.flatnonzero(expr.mask(table)).tolist() == expected
    expr.check(table.layout)


@pytest.mark.parametrize(("text", "column", "message"), [
    ("", 1, "a condition is missing, such as value.packets > 1000"),
    ("value.packts > 5", 1, "no field value.packts; did you mean value.packets?"),
    ("value.delta < 0 or value.packts > 5", 20, "no field value.packts; did you mean value.packets?"),
    ("packets > 5", 1, "no field packets; did you mean value.packets?"),
    ("value.packets >", 16, "a number, text in quotes, an address or another field was wanted, found the end"),
    ("value.packets > > 5", 17, "a number, text in quotes, an address or another field was wanted, found '>'"),
    ("value.packets > 5 value.delta", 19, "'value.delta' was not expected here; join conditions with and, or"),
    ("(value.packets > 5", 19, "a ) is missing before the end"),
    ('value.comm == "nginx', 15, "text that no quote ends"),
    ("value.packets > 5 § 3", 19, "'§' has no meaning here"),
    ("value.packets", 1, "value.packets alone is no condition; write value.packets != 0 or the like"),
    ("value.state == OPENED", 16, "enum state has no OPENED; it has NEW, OPEN, CLOSED"),
    ("value.packets == many", 18, "value.packets is __u64: a number was wanted, found 'many'"),
    ("value.comm == 5", 15, "value.comm is text: write the text in quotes"),
    ("key.saddr == fe80::1", 14, "key.saddr has 4 bytes, an IPv6 address has 16"),
    ("key.saddr in 10.0.0.0/33", 14, "an IPv4 prefix has at most 32 bits, found /33"),
    ("key.saddr == 10.0.0.256", 14, "'10.0.0.256' is not an IP address"),
    ("key.saddr < 10.0.0.0/8", 13, "< wants one address; ask for a network with in"),
    ("value.packets == 10.0.0.1", 18, "value.packets has 8 bytes, an IPv4 address has 4"),
    ("value.mac == hex:0", 14, "hex: wants two digits a byte, such as hex:0a00"),
    ("value.slots == 4", 1, "value.slots is an array of 4; compare value.slots[0] or ask whether it contains a number"),
    ("key == 4", 1, "key is struct k, not one number; compare one of its fields, or its bytes with hex:…"),
    ("value.packets contains 4", 1, "value.packets is a number; contains asks about text and arrays"),
    ("5 == 5", 1, "a comparison needs a field, such as value.packets, on one side"),
    ("value.packets in (1, value.delta)", 22, "in compares with fixed values; write value.delta with == instead"),
    ("value.packets in 1..", 21, "a list such as (1, 2), a range such as 1..5 or a network such as 10.0.0.0/8 was wanted, found the end"),
    ("value.packets == 1e9999", 18, "'1e9999' is larger than any field"),
    ("value@sum.packets > 1", 1, "no field value@sum.packets; did you mean value.packets?"),
    ("(" * 60 + "value.local" + ")" * 60, 52, "more than 50 parentheses or nots inside each other"),
    ("not " * 60 + "value.local", 205, "more than 50 parentheses or nots inside each other"),
    ("value.local or " * 300 + "value.local", MAX_TEXT + 1, "the expression has 4511 characters, at most 4096 are read"),
])  # fmt: skip
def test_an_error_names_its_column_and_what_would_do(table: Table, text: str, column: int, message: str) -> None:
    with pytest.raises(WhereError) as caught:
        parse(text).mask(table)
    assert (caught.value.column, caught.value.message) == (column, message)
    assert str(caught.value) == f"column {column}: {message}"
    with pytest.raises(WhereError):
        parse(text).check(table.layout)


def test_a_long_chain_is_no_deep_one(table: Table) -> None:
    expr = parse(" or ".join(["value.local"] * 270))
    assert np.flatnonzero(expr.mask(table)).tolist() == [1, 3]


def test_paths_are_named_once_in_order() -> None:
    assert parse("value.b > 1 and (key.a == 2 or value.b < value.c)").paths == ("value.b", "key.a", "value.c")


def test_a_lens_of_the_page_decides_what_number_is_compared(table: Table) -> None:
    assert parse("key.vlan == 256").mask(table, {"key.vlan": "port_be"}).tolist() == [True, False, False, False]
    assert parse("key.dport == 20480").mask(table, {"key.dport": "number"}).tolist() == [True, False, False, False]


def test_network_order_fields_sort_as_they_are_shown(table: Table) -> None:
    assert order(table, "key.dport").tolist() == [3, 0, 1, 2]
    assert order(table, "key.saddr", descending=True).tolist() == [2, 3, 1, 0]
    assert order(table, "value.load").tolist() == [3, 0, 1, 2]
    assert order(table, "value.comm").tolist() == [2, 0, 3, 1]


def test_bytes_without_a_type_are_compared_as_numbers_or_bytes() -> None:
    keys = np.arange(4, dtype="<u4").view(np.uint8).reshape(4, 4)
    values = np.arange(4 * 24, dtype=np.uint8).reshape(4, 24)
    table = Table(Layout(plan_raw(4), plan_raw(24)), keys, values)
    for text, expected in [
        ("key == 2", [2]),
        ("key in 1..2", [1, 2]),
        ("key == 2.0.0.0", [2]),
        ("key == hex:03000000", [3]),
        ("value.u8[0] > 24", [2, 3]),
        ("value.u32[1] == 0x07060504", [0]),
        ("value startswith hex:18", [1]),
    ]:
        assert np.flatnonzero(parse(text).mask(table)).tolist() == expected, text
