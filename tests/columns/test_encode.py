"""What people type into one field, and the number or the bytes that it is."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.columns.cell import head
from app.columns.encode import encode, held, in_group, is_number, overlaid, unwritable
from app.columns.errors import BadValue
from app.columns.inputs import edit_text, input_of
from app.columns.lenses import choose
from app.columns.node import NodeKind
from app.columns.plan import Plan, plan_raw, plan_type
from app.columns.rows import python_value
from app.columns.table import Layout
from tests.columns import kernel_maps
from tests.columns.test_properties import structs

SOURCE = """
typedef __u32 number;
enum state { NEW, ESTABLISHED, CLOSING = 9 };
enum signed_state { BAD = -1, GOOD = 1 };
struct pad { __u8 kind; __u64 count; };
struct bpf_timer { __u64 opaque[2]; };
struct rule {
    __u32 limit;
    int delta;
    enum state state;
    enum signed_state verdict;
    _Bool on;
    char mark;
    __be16 dport;
    __be32 daddr;
    unsigned low:4, high:12;
    int tiny:3;
    __u8 mac[6];
    __u8 saddr6[16];
    char name[8];
    __u32 flags;
    __u64 timeout_ns;
    __u64 bytes;
    float share;
    double load;
    __int128 wide;
    __u16 slots[4];
    struct pad inner;
    __u8 proto;
    struct bpf_timer timer;
};
"""


@pytest.fixture(scope="module")
def rule(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    folder: Path = tmp_path_factory.mktemp("btf")
    btf, ids = kernel_maps.types_of(SOURCE, folder, "struct rule")
    return plan_type(btf, ids[0], btf.size_bytes(ids[0]))


def lens_of(plan: Plan, path: str) -> str:
    return head(Layout(None, plan), f"value.{path}").lens


@pytest.mark.parametrize(("path", "text", "expected"), [
    ("limit", "128", 128),
    ("limit", " 0x80 ", 128),
    ("limit", "4 294 967 295", 0xFFFFFFFF),
    ("limit", "4\u2009294\u2009967\u2009295", 0xFFFFFFFF),
    ("delta", "-1", -1),
    ("delta", "0xffffffff", -1),
    ("state", "ESTABLISHED", 1),
    ("state", "9", 9),
    ("state", "7", 7),
    ("verdict", "BAD", 0xFFFFFFFF),
    ("verdict", "-1", 0xFFFFFFFF),
    ("on", "true", 1),
    ("on", "0", 0),
    ("mark", "65", 65),
    ("dport", "443", 0xBB01),
    ("dport", "0x01bb", 0xBB01),
    ("daddr", "10.0.0.1", 0x0100000A),
    ("daddr", "16777226", 0x0100000A),
    ("low", "15", 15),
    ("high", "4095", 4095),
    ("tiny", "-4", -4),
    ("mac", "02:00:5e:10:00:01", bytes.fromhex("02005e100001")),
    ("mac", "hex:02005e100001", bytes.fromhex("02005e100001")),
    ("mac", "[2, 0, 94, 16, 0, 1]", bytes.fromhex("02005e100001")),
    ("saddr6", "fe80::1", bytes.fromhex("fe80" + "00" * 13 + "01")),
    ("saddr6", "10.0.0.1", bytes(10) + b"\xff\xff\x0a\x00\x00\x01"),
    ("name", "eth0", b"eth0\0\0\0\0"),
    ("name", "8 chars!", b"8 chars!"),
    ("name", "", bytes(8)),
    ("name", "hex:00ff00ff00ff00ff", bytes.fromhex("00ff00ff00ff00ff")),
    ("flags", "0xff", 255),
    ("timeout_ns", "1.5 ms", 1_500_000),
    ("timeout_ns", "90 s", 90 * 10**9),
    ("timeout_ns", "7", 7),
    ("share", "0.5", struct.unpack("<I", struct.pack("<f", 0.5))[0]),
    ("share", "inf", 0x7F800000),
    ("share", "0x7fc00001", 0x7FC00001),
    ("load", "0.1", struct.unpack("<Q", struct.pack("<d", 0.1))[0]),
    ("wide", "-1", b"\xff" * 16),
    ("wide", "340282366920938463463374607431768211455", None),
    ("slots", "[1, 2, 3, 65535]", bytes.fromhex("010002000300ffff")),
    ("slots", "hex:010002000300ffff", bytes.fromhex("010002000300ffff")),
    ("inner", '{"kind": 1, "count": 2}', bytes.fromhex("0100000000000000" "0200000000000000")),
    ("proto", "TCP", 6),
    ("proto", "udp", 17),
    ("proto", "200", 200),
])  # fmt: skip
def test_text_is_what_people_mean(rule: Plan, path: str, text: str, expected: int | bytes | None) -> None:
    node = rule.find(path)
    if expected is None:
        with pytest.raises(
            BadValue, match="-170141183460469231731687303715884105728 to 170141183460469231731687303715884105727"
        ):
            encode(node, text, lens_of(rule, path))
        return
    assert encode(node, text, lens_of(rule, path)) == expected


@pytest.mark.parametrize(("path", "given", "expected"), [
    ("dport", 47873, 0xBB01),
    ("daddr", 16777226, 0x0100000A),
    ("on", True, 1),
    ("state", "CLOSING", 9),
    ("share", 0.5, 0x3F000000),
    ("share", 1, 0x3F800000),
    ("limit", 3.0, 3),
    ("slots", [1, 2, 3, 4], bytes.fromhex("0100020003000400")),
    ("mac", [2, 0, 94, 16, 0, 1], bytes.fromhex("02005e100001")),
    ("wide", -2, b"\xfe" + b"\xff" * 15),
])  # fmt: skip
def test_numbers_and_lists_are_as_dump_prints_them(rule: Plan, path: str, given: object, expected: int | bytes) -> None:
    assert encode(rule.find(path), given, lens_of(rule, path)) == expected


@pytest.mark.parametrize(("path", "given", "told"), [
    ("limit", "4294967296", "value.limit: __u32 from 0 to 4294967295 was wanted, found 4294967296"),
    ("limit", "-1", "value.limit: __u32 from 0 to 4294967295 was wanted, found -1"),
    ("limit", "many", "value.limit: __u32 from 0 to 4294967295 was wanted, found many"),
    ("limit", "", "value.limit: __u32 from 0 to 4294967295 was wanted, found nothing"),
    ("limit", 1.5, "value.limit: __u32 from 0 to 4294967295 was wanted, found 1.5"),
    ("limit", None, "value.limit: __u32 from 0 to 4294967295 was wanted, found null"),
    ("limit", [1], "value.limit: __u32 from 0 to 4294967295 was wanted, found [1]"),
    ("limit", "9" * 60, "value.limit: __u32 from 0 to 4294967295 was wanted, found " + "9" * 60),
    ("delta", "2147483648", "value.delta: int from -2147483648 to 2147483647 was wanted, found 2147483648"),
    ("state", "CLOSED", "value.state: one of NEW, ESTABLISHED, CLOSING, or enum state from 0 to 4294967295 was wanted, found CLOSED"),
    ("on", "2", "value.on: true or false was wanted, found 2"),
    ("high", "4096", "value.high: unsigned int:12 from 0 to 4095 was wanted, found 4096"),
    ("tiny", "4", "value.tiny: int:3 from -4 to 3 was wanted, found 4"),
    ("dport", "65536", "value.dport: __be16 from 0 to 65535 was wanted, found 65536"),
    ("daddr", "10.0.0.256", "value.daddr: 4 bytes as an address or hex:… was wanted, found 10.0.0.256"),
    ("mac", "02:00:5e:10:00", "value.mac: 6 bytes as an address or hex:… was wanted, found 02:00:5e:10:00"),
    ("mac", "nonsense", "value.mac: a MAC address or 6 bytes in hexadecimal was wanted, found nonsense"),
    ("mac", "[1, 2]", "value.mac: a list of 6 was wanted, found [1, 2]"),
    ("mac", "[1, 2, 3, 4, 5, 256]", "value.mac[5]: __u8 from 0 to 255 was wanted, found 256"),
    ("saddr6", "hex:00", "value.saddr6: 16 bytes was wanted, found 1"),
    ("name", "nine chars", "value.name: at most 8 bytes of text was wanted, found 10"),
    ("timeout_ns", "1.5 ns", "value.timeout_ns: __u64 from 0 to 18446744073709551615 was wanted, found 1.5 ns"),
    ("share", "half", "value.share: float, a number such as 0.5 was wanted, found half"),
    ("share", "1e39", "value.share: float of at most 3.4028235e+38 was wanted, found 1e39"),
    ("slots", "[1, 2, 3, 65536]", "value.slots[3]: __u16 from 0 to 65535 was wanted, found 65536"),
    ("slots", "1", "value.slots: JSON as `dump` prints it, or hex:… was wanted, found 1"),
    ("slots", "[1, 2", "value.slots: JSON as `dump` prints it was wanted, found [1, 2"),
    ("inner", '{"kind": 1}', "value.inner.count is missing: give all fields, or change them one by one"),
    ("inner", '{"kind": 1, "cnt": 2}', "value.inner has no field cnt; it has kind, count"),
    ("timer", "hex:" + "00" * 16, "value.timer is never written: only the kernel can use the bytes of a bpf_timer"),
])  # fmt: skip
def test_what_does_not_fit_is_told_with_its_range(rule: Plan, path: str, given: object, told: str) -> None:
    with pytest.raises(BadValue) as refused:
        encode(in_group(rule.find(path), "value"), given, lens_of(rule, path))
    assert str(refused.value) == told
    assert refused.value.path.startswith(f"value.{path}")


@pytest.mark.parametrize(("path", "text", "kind"), [
    ("limit", "128", "number"),
    ("state", "ESTABLISHED", "select"),
    ("on", "true", "checkbox"),
    ("daddr", "10.0.0.1", "address"),
    ("dport", "443", "number"),
    ("mac", "02:00:5e:10:00:01", "address"),
    ("saddr6", "fe80::1", "address"),
    ("name", "eth0", "text"),
    ("flags", "0xff", "hex"),
    ("slots", "[1,2,3,65535]", "area"),
    ("mark", "120", "number"),
    ("timer", "", "readonly"),
])  # fmt: skip
def test_an_input_begins_with_what_is_there(rule: Plan, path: str, text: str, kind: str) -> None:
    node, lens = rule.find(path), lens_of(rule, path)
    assert input_of(node, lens).kind == kind
    if kind == "readonly":
        assert edit_text(node, bytes(rule.size_bytes), lens) == ""
        assert unwritable(node)
        return
    encoded = encode(node, text, lens)
    span = encoded.to_bytes(node.size_bytes, "little") if isinstance(encoded, int) else encoded
    data = bytearray(rule.size_bytes)
    data[node.offset_bytes : node.end_bytes] = span
    assert edit_text(node, bytes(data), lens) == text


def test_a_character_is_typed_as_it_is_shown(rule: Plan) -> None:
    mark = rule.find("mark")
    assert [encode(mark, text, "char") for text in ("'x'", "x", "120", "'7'", "7")] == [120, 120, 120, 55, 7]


def test_hints_say_the_range(rule: Plan) -> None:
    assert input_of(rule.find("limit"), "number").hint.replace("\u2009", " ") == "__u32, 0 to 4 294 967 295"
    assert input_of(rule.find("tiny"), "number").hint == "int:3, -4 to 3"
    assert input_of(rule.find("name"), "text").hint == "char[8], at most 8 bytes, or hex:…"
    assert input_of(rule.find("state"), "enum").options[1] == ("ESTABLISHED", "ESTABLISHED · 1")


def test_padding_and_what_is_not_given_stay(rule: Plan) -> None:
    base = b"\xa5" * rule.size_bytes
    inner = rule.find("inner")
    changed = overlaid(inner, {"kind": 1}, base)
    assert changed[inner.offset_bytes] == 1
    assert changed[inner.offset_bytes + 1 : inner.end_bytes] == b"\xa5" * 15
    document = python_value(rule, bytes(rule.size_bytes))
    whole = overlaid(rule.root, document, base)
    timer = rule.find("timer")
    assert whole[timer.offset_bytes : timer.end_bytes] == b"\xa5" * timer.size_bytes
    assert whole[inner.offset_bytes + 1 : inner.offset_bytes + 8] == b"\xa5" * 7


def test_numbers_in_bytes_without_a_type() -> None:
    plan = plan_raw(8)
    node = plan.find("u32[1]")
    assert held(node, bytes.fromhex("0000000001000000")) == 1
    assert encode(node, "7") == 7
    with pytest.raises(BadValue, match="from 0 to 4294967295"):
        encode(node, str(1 << 32))
    assert encode(plan.root, "01 02 03 04 05 06 07 08") == bytes(range(1, 9))
    assert encode(plan.root, [f"0x{byte:02x}" for byte in range(8)]) == bytes(range(8))


@settings(max_examples=60)
@given(structs(), st.data())
def test_whatever_a_field_holds_its_input_gives_back(made: tuple, data: st.DataObject) -> None:
    writer, type_id, size_bytes, _ = made
    plan = plan_type(writer.parse(), type_id, size_bytes)
    value = data.draw(
        st.one_of(st.binary(min_size=size_bytes, max_size=size_bytes), st.just(b"abc\0" * (size_bytes // 4 + 1)))
    )[:size_bytes]
    nodes = [*plan.leaves(64), plan.root, *(child for child in plan.root.children)]
    for node in nodes:
        for lens in ("", *choose.choices(node)):
            text = edit_text(node, value, lens)
            if unwritable(node):
                assert text == ""
            elif node.kind is NodeKind.BOOL and held(node, value) not in {0, 1}:
                assert text == str(held(node, value))  # a truth value is never written as anything but 0 or 1
            else:
                found = encode(node, text, lens)
                assert found == held(node, value), (node, lens, text)
                assert isinstance(found, int) == is_number(node)


@settings(max_examples=100)
@given(
    structs(),
    st.one_of(
        st.text(max_size=40), st.integers(), st.floats(), st.none(), st.booleans(), st.lists(st.integers(), max_size=4)
    ),
)
def test_whatever_is_given_it_fits_or_is_an_error(made: tuple, given_: object) -> None:
    writer, type_id, size_bytes, _ = made
    plan = plan_type(writer.parse(), type_id, size_bytes)
    for node in (*plan.leaves(64), plan.root):
        for lens in ("", *choose.choices(node)):
            try:
                found = encode(node, given_, lens)
            except BadValue:
                continue
            if isinstance(found, int):
                assert -(1 << 63) <= found < 1 << 64
                assert found.bit_length() <= node.size_bits
            else:
                assert len(found) == node.size_bytes


def test_other_errors_are_bugs(rule: Plan, tmp_path: Path) -> None:
    """Anything but BadValue would show a page of ours that failed."""
    deep: object = 1
    for _ in range(5000):
        deep = [deep]
    for text in ("[" * 5000, "{" * 5000, "\ud800", "hex:\ud800", '"\ud800"', "\0", "1" * 10_000, deep):
        for node in (*rule.leaves(), rule.root, rule.find("inner")):
            try:
                encode(node, text)
            except BadValue:
                continue
