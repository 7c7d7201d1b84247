"""What a user types as a key, and the bytes that it is."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.btf.parse import Btf
from app.columns.errors import BadKey
from app.columns.key_text import from_json, key_text, parse_key, shown_keys
from app.columns.lenses.show import NO_NAMES, Names
from app.columns.plan import Plan, plan_made, plan_raw, plan_type
from tests.columns import kernel_maps

SOURCE = """
typedef __u32 number;
enum proto { TCP = 6, UDP = 17 };
struct lpm { __u32 prefixlen; __u8 data[4]; };
struct lpm6 { __u32 prefixlen; __u8 data[16]; };
struct tuple { __be32 saddr, daddr; __be16 sport, dport; enum proto proto; };
struct either { __u8 family; union { __be32 v4; __u8 v6[16]; }; };
struct named { char name[8]; _Bool up; int bits:4, more:28; double load; };
"""
NAMES = ("number", "struct lpm", "struct lpm6", "struct tuple", "struct either", "struct named")


@pytest.fixture(scope="module")
def types(tmp_path_factory: pytest.TempPathFactory) -> tuple[Btf, dict[str, int]]:
    folder: Path = tmp_path_factory.mktemp("btf")
    btf, ids = kernel_maps.types_of(SOURCE, folder, *NAMES)
    return btf, dict(zip((name.split()[-1] for name in NAMES), ids, strict=True))


@pytest.mark.parametrize(("name", "text", "expected"), [
    ("number", "7", "07000000"),
    ("number", " 0x10 ", "10000000"),
    ("number", "hex:01 02 03 04", "01020304"),
    ("lpm", "10.0.0.0/8", "080000000a000000"),
    ("lpm", "8, 10.0.0.0", "080000000a000000"),
    ("lpm", '{"prefixlen": 8, "data": [10, 0, 0, 0]}', "080000000a000000"),
    ("lpm6", "fe80::/10", "0a000000fe80" + "00" * 14),
    ("tuple", "10.0.0.1, 10.0.0.2, 80, 443, UDP", "0a0000010a000002005001bb11000000"),
    ("tuple", '{"saddr":16777226,"daddr":33554442,"sport":20480,"dport":47873,"proto":"UDP"}', "0a0000010a000002005001bb11000000"),
    ("either", '{"family":2,"v4":16777226,"v6":[10,0,0,1,0,0,0,0,0,0,0,0,0,0,0,0]}', "020000000a000001" + "00" * 12),
    ("either", '{"family":2,"v6":[10,0,0,1,0,0,0,0,0,0,0,0,0,0,0,0]}', "020000000a000001" + "00" * 12),
    ("named", '{"name":"eth0","up":true,"bits":-8,"more":5,"load":0.5}', "6574683000000000" "01" "080000" "05000000" "000000000000e03f"),
    ("named", "eth0, true, -8, 5, 0.5", "6574683000000000" "01" "080000" "05000000" "000000000000e03f"),
    ("named", '"eth0", 1, -8, 5, 0.5', "6574683000000000" "01" "080000" "05000000" "000000000000e03f"),
])  # fmt: skip
def test_a_key_is_these_bytes(types: tuple[Btf, dict[str, int]], name: str, text: str, expected: str) -> None:
    btf, ids = types
    plan = plan_type(btf, ids[name], btf.size_bytes(ids[name]))
    data = bytes.fromhex(expected)
    data = data.ljust(plan.size_bytes, b"\0")
    assert parse_key(plan, text).hex() == data.hex()
    assert parse_key(plan, key_text(plan, data)) == data


@pytest.mark.parametrize(("name", "text", "told"), [
    ("number", "", "a key of 4 bytes was wanted, such as 0; found "),
    ("number", "many", "the key: number from 0 to 4294967295 was wanted, found many"),
    ("number", "-1", "the key: number from 0 to 4294967295 was wanted, found -1"),
    ("number", "1.5", "the key: number from 0 to 4294967295 was wanted, found 1.5"),
    ("number", "[1]", "the key: an integer was wanted, found [1]"),
    ("number", "hex:0102", "hex: 4 bytes were wanted, found 2"),
    ("number", "hex:zz", "hex: wants two digits a byte, found zz"),
    ("lpm", "10.0.0.0", "2 fields were wanted (prefixlen, data), found 1 in 10.0.0.0"),
    ("lpm", "8, 10.0.0.256", "data: 4 bytes as an address or hex:… was wanted, found 10.0.0.256"),
    ("lpm", '{"prefixlen": 8}', 'data is missing; a key here looks like {"prefixlen":0,"data":[0,0,0,0]}'),
    ("lpm", '{"prefixlen": 8, "dta": 1}', "the key has no field dta; it has prefixlen, data"),
    ("lpm", '{"prefixlen": 8, "data": [1, 2]}', "data: a list of 4 was wanted, found [1, 2]"),
    ("lpm", "{", '{ is not JSON; a key here looks like {"prefixlen":0,"data":[0,0,0,0]}'),
    ("lpm", "[" * 5000, None),
    ("tuple", '{"saddr":1,"daddr":1,"sport":1,"dport":1,"proto":"ICMP"}', "proto: one of TCP, UDP or a number was wanted, found ICMP"),
    ("tuple", "1,2,70000,4,5", "sport: __be16 from 0 to 65535 was wanted, found 70000"),
    ("either", '{"family":2,"v4":1,"v6":[1,0,0,1,0,0,0,0,0,0,0,0,0,0,0,0]}', "v6[3] shares its bytes with a member given before it, which says otherwise"),
    ("either", '{"family":2,"v4":1}', None),
    ("named", '{"name":"too long a name","up":1,"bits":0,"more":0,"load":0}', "name: at most 8 bytes of text was wanted, found too long a name"),
])  # fmt: skip
def test_what_is_no_key_says_what_would_be(
    types: tuple[Btf, dict[str, int]], name: str, text: str, told: str | None
) -> None:
    btf, ids = types
    plan = plan_type(btf, ids[name], btf.size_bytes(ids[name]))
    with pytest.raises(BadKey) as caught:
        parse_key(plan, text)
    assert told is None or str(caught.value) == told


@pytest.mark.parametrize(("size_bytes", "text", "expected"), [
    (4, "7", "07000000"),
    (4, '["0x01","0x02","0x03","0xff"]', "010203ff"),
    (4, "10.0.0.1", "0a000001"),
    (6, "02:00:5e:00:00:01", "02005e000001"),
    (3, "hex:010203", "010203"),
    (3, "01 02 03", "010203"),
])  # fmt: skip
def test_keys_without_a_type(size_bytes: int, text: str, expected: str) -> None:
    plan = plan_raw(size_bytes)
    assert parse_key(plan, text).hex() == expected
    assert parse_key(plan, key_text(plan, bytes.fromhex(expected))).hex() == expected


@given(
    st.text(max_size=40)
    | st.recursive(
        st.none() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["prefixlen", "data", "x"]), inner),
    ).map(json.dumps)
)
def test_whatever_is_typed_a_key_is_bytes_or_an_error(text: str) -> None:
    for plan in (
        plan_made([("prefixlen", "u32", 4), ("data", "bytes", 4)]),
        plan_raw(4),
        plan_made([("comm", "text", 4), ("n", "i64", 8)]),
    ):
        with contextlib.suppress(BadKey):
            assert len(parse_key(plan, text)) == plan.size_bytes


@pytest.mark.parametrize(
    "document",
    [
        '"\\ud800"',
        '["\\ud800"]',
        '{"prefixlen":"\\ud800","data":"x"}',
        '{"prefixlen":1,"data":"\\udfff"}',
        '{"\\ud800":1}',
    ],
)
def test_half_of_a_surrogate_pair_is_refused_in_words_that_can_be_sent(document: str) -> None:
    for plan in (
        plan_made([("prefixlen", "u32", 4), ("data", "bytes", 4)]),
        plan_raw(4),
        plan_made([("comm", "text", 4)]),
    ):
        with pytest.raises(BadKey) as refused:
            parse_key(plan, document)
        str(refused.value).encode()


@pytest.mark.parametrize(("size_bytes", "document", "expected"), [
    (4, 7, "07000000"),
    (4, -1, "ffffffff"),
    (8, 1 << 40, "0000000000010000"),
    (2, ["0x0a", "0xFF"], "0aff"),
])  # fmt: skip
def test_documents_of_keys_without_a_type(size_bytes: int, document: object, expected: str) -> None:
    assert from_json(plan_raw(size_bytes), document).hex() == expected


@pytest.mark.parametrize("document", [1 << 32, True, 1.5, ["0x0a"], ["0x0a"] * 5, ["10"] * 4, None, {}])
def test_documents_that_are_no_key_without_a_type(document: object) -> None:
    with pytest.raises(BadKey):
        from_json(plan_raw(4), document)


SHOWN = """
enum proto { TCP = 6, UDP = 17, LAST = -1 };
typedef struct { __u8 b[16]; } opaque_id;
struct s1 { __be32 saddr, daddr; __be16 sport, dport; __u8 proto; __u8 pad[3]; };
struct s2 { __u32 pid, ifindex; __u64 pid_tgid, cgroup_id, last_seen_ns, latency_ns; };
struct s3 { __be32 vni; __be64 cookie; __be16 protocol; __u16 ethertype_proto; __u32 flags; __u64 kaddr; };
struct s4 { __u8 mac[6]; __u8 ip6[16]; __u8 v4_addr[4]; __u8 tag[5]; char name[8]; _Bool up; char one; };
struct s5 { enum proto kind; int bits:5, more:20; unsigned flag:1; double load; float part; __s64 offset; };
struct s6 { __u32 prefixlen; __u8 data[16]; };
struct s7 { union { __be32 v4; __u8 v6[16]; }; __u8 family; };
struct s8 { __u32 many[3]; __u16 timeout_seconds; __int128 wide; opaque_id id; __u8 comm[16]; };
"""
SHOWN_NAMES = tuple(f"struct s{number}" for number in range(1, 9))
HOST = Names(
    comms={812: "nginx", 7: "a, b / 9"},
    interfaces={1: "lo"},
    cgroups={9: "/a b"},
    boot_time_ns=1_795_849_008_543_175_962,
)


@pytest.fixture(scope="module")
def shown_plans(tmp_path_factory: pytest.TempPathFactory) -> list[Plan]:
    btf, ids = kernel_maps.types_of(SHOWN, tmp_path_factory.mktemp("btf"), *SHOWN_NAMES)
    typed = [plan_type(btf, each, btf.size_bytes(each)) for each in ids]
    one = [plan_made([("key", kind, size)]) for kind, size in (("u32", 4), ("i64", 8), ("bytes", 5), ("text", 6))]
    return [*typed, *one, *(plan_raw(size) for size in (1, 2, 3, 4, 6, 8, 11, 16))]


@given(st.data())
def test_a_key_that_is_shown_can_be_given_back(shown_plans: list[Plan], data: st.DataObject) -> None:
    plan = data.draw(st.sampled_from(shown_plans))
    byte = st.sampled_from(b'\0\0\0\0\1\6\7\x0a\x11 ,/09:AZ[]az{}"\\\x80\xff') | st.integers(0, 255)
    rows = data.draw(
        st.lists(st.lists(byte, min_size=plan.size_bytes, max_size=plan.size_bytes), min_size=1, max_size=3)
    )
    keys = np.array(rows, np.uint8)
    for names in (NO_NAMES, HOST):
        for key, text in zip(keys, shown_keys(plan, keys, names), strict=True):
            assert parse_key(plan, text) == key.tobytes(), text


@pytest.mark.parametrize(("number", "key", "text"), [
    (1, "0100000a 0a000002 0050 01bb 06 000000", "1.0.0.10, 10.0.0.2, 80, 443, TCP, 00 00 00"),
    (2, "2c030000 01000000 2d0300002c030000 0900000000000000 00ba1dd205000000 dc05000000000000",
     "812 nginx, 1 lo, 812 nginx / 813, 9 /a b, +25\N{THIN SPACE}s, 1.5\N{THIN SPACE}µs"),
    (3, "00001900 00000000 0000000000001900 0800 dd86 ff000000 00000081ffffffff",
     "6\N{THIN SPACE}400, 6\N{THIN SPACE}400, IPv4, IPv6, 0xff, 0xffffffff81000000"),
    (6, "10000000 fe80" + "00" * 14, "16, fe80000000000000 0000000000000000"),
])  # fmt: skip
def test_keys_are_shown_as_cells_show_them(shown_plans: list[Plan], number: int, key: str, text: str) -> None:
    keys = np.frombuffer(bytes.fromhex(key), np.uint8).reshape(1, -1)
    assert shown_keys(shown_plans[number - 1], keys, replace(HOST, boot_time_ns=None)) == [text]


@pytest.mark.parametrize(("kind", "key", "text"), [
    pytest.param("text", b"a, b", '{"key":"a, b"}', id="a comma in text"),
    pytest.param("i64", b"\xff" * 8, "-1", id="signed"),
])  # fmt: skip
def test_what_a_cell_cannot_say_is_said_exactly(kind: str, key: bytes, text: str) -> None:
    plan = plan_made([("key", kind, len(key))])
    assert shown_keys(plan, np.frombuffer(key, np.uint8).reshape(1, -1)) == [text]


@pytest.mark.parametrize(("name", "text", "expected"), [
    ("tuple", "10.0.0.1, 10.0.0.2, 80, 6\N{THIN SPACE}400, TCP", "0a0000010a0000020050190006000000"),
    ("number", "6\N{THIN SPACE}400", "00190000"),
    ("number", "4\N{THIN SPACE}294\N{THIN SPACE}967\N{THIN SPACE}295", "ffffffff"),
])  # fmt: skip
def test_a_number_is_taken_with_the_spaces_that_it_is_shown_with(
    types: tuple[Btf, dict[str, int]], name: str, text: str, expected: str
) -> None:
    btf, ids = types
    assert parse_key(plan_type(btf, ids[name], btf.size_bytes(ids[name])), text).hex() == expected
