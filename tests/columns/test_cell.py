"""Text for people, as a page shows it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from app.columns.cell import TEXT_BYTES, TITLE_BYTES, cells, head, heads, row_count
from app.columns.errors import NoSuchField, NotOneColumn, UnknownLens
from app.columns.lenses.bars import bars
from app.columns.lenses.show import THIN_SPACE, Names, duration, grouped, printable, size
from app.columns.plan import plan_made, plan_raw, plan_type
from app.columns.rows import python_rows
from app.columns.table import Layout, Table
from tests.btfs import Writer
from tests.columns import kernel_maps
from tests.columns.made import table_of

SOURCE = """
struct in_addr { __be32 s_addr; };
struct in6_addr { union { __u8 u6_addr8[16]; __be32 u6_addr32[4]; } in6_u; };
enum state { NEW, OPEN = 3 };
struct v { __u64 packets; __u32 saddr; struct in_addr dst; struct in6_addr dst6; __u32 ip6[4]; __u8 mac[6];
  __be16 dport; __u16 port; __u8 proto; __u32 ifindex; __u32 pid; __u64 cgroup_id; __u64 last_seen_ns; __u64 latency_ns;
  __u32 flags; char comm[16]; enum state state; void *next; __u64 slots[27]; __u8 blob[40]; _Bool up; double load;
  __u64 pid_tgid; __be32 seq; struct { __u8 x, y; } many[9]; };
"""


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    btf, (value_id,) = kernel_maps.types_of(SOURCE, tmp_path_factory.mktemp("btf"), "struct v")
    return Layout(None, plan_type(btf, value_id, btf.size_bytes(value_id)))


def one(
    layout: Layout, path: str, data: bytes, *, lens: str | None = None, names: Names | None = None
) -> tuple[str, str]:
    """(text, title) of one field that holds ``data``."""
    node = layout.value.find(path)  # type: ignore[union-attr]
    row = np.zeros((1, layout.value.size_bytes), np.uint8)  # type: ignore[union-attr]
    row[0, node.offset_bytes : node.offset_bytes + len(data)] = np.frombuffer(data, np.uint8)
    table = Table(layout, np.zeros((1, 0), np.uint8), row)
    cell = cells(table, [head(layout, f"value.{path}", lens)], [0], names or Names())[0][0]
    return cell.text, cell.title


NAMES = Names(
    comms={7: "nginx"}, interfaces={2: "eth0"}, cgroups={9: "/system.slice"}, boot_time_ns=1_700_000_000_000_000_000,
    symbol=lambda address: "tcp_v4_rcv+0x10" if address == 0xFFFF_0010 else None,
)  # fmt: skip


@pytest.mark.parametrize(("path", "data", "lens", "expected"), [
    ("packets", b"\x40\xe2\x01", None, ("123\u2009456", "123456")),
    ("packets", b"\x05", None, ("5", "")),
    ("packets", b"\x00\x00\x20", "bytes", ("2\u2009MiB", "2097152")),
    ("packets", b"\xff", "hex", ("0xff", "255")),
    ("saddr", b"\x0a\0\0\1", None, ("10.0.0.1", "16777226")),
    ("saddr", b"\x0a\0\0\1", "number", ("16\u2009777\u2009226", "16777226")),
    ("dst.s_addr", b"\x7f\0\0\1", None, ("127.0.0.1", "16777343")),
    ("dst6", b"\xfe\x80" + bytes(13) + b"\1", None, ("fe80::1", "fe80000000000000 0000000000000001")),
    ("ip6", b"\xfe\x80" + bytes(13) + b"\1", None, ("fe80::1", "fe80000000000000 0000000000000001")),
    ("mac", b"\2\0\x5e\0\0\1", None, ("02:00:5e:00:00:01", "02 00 5e 00 00 01")),
    ("dport", b"\x1f\x90", None, ("8080", "36895")),
    ("port", b"\x90\x1f", None, ("8080", "")),
    ("port", b"\x1f\x90", "port_be", ("8080", "36895")),
    ("proto", b"\x06", None, ("TCP", "6")),
    ("proto", b"\xfe", None, ("254", "")),
    ("ifindex", b"\x02", None, ("2 eth0", "2")),
    ("ifindex", b"\x03", None, ("3", "")),
    ("pid", b"\x07", None, ("7 nginx", "7")),
    ("pid_tgid", b"\x07\0\0\0\x07", None, ("7 nginx", "30064771079")),
    ("cgroup_id", b"\x09", None, ("9 /system.slice", "9")),
    ("last_seen_ns", (1_500_000_000).to_bytes(8, "little"), None, ("2023-11-14 22:13:21.500", "1500000000")),
    ("last_seen_ns", b"", None, ("0", "")),
    ("latency_ns", (1_500_000).to_bytes(8, "little"), None, ("1.5\u2009ms", "1500000")),
    ("flags", b"\x05\x01", None, ("0x105", "261")),
    ("seq", b"\0\0\1\0", None, ("0.0.1.0", "65536")),
    ("comm", b"nginx", None, ("nginx", "")),
    ("comm", b"a\0left", None, ("a", "a, then behind the NUL: 6c 65 66 74")),
    ("comm", b"\x1b[31m\xe2\x80\xaeX\xff", None, ("\\x1b[31m\\u202eX\\xff", "")),
    ("comm", b"<img onerror>", None, ("<img onerror>", "")),
    ("state", b"\x03", None, ("OPEN", "3")),
    ("state", b"\x09", None, ("9", "9 is no enum state")),
    ("next", b"\x10\0\xff\xff", None, ("tcp_v4_rcv+0x10", "4294901776")),
    ("next", b"\x11\0\xff\xff", None, ("0xffff0011", "4294901777")),
    ("up", b"\1", None, ("true", "1")),
    ("load", np.float64(0.1).tobytes(), None, ("0.1", "")),
    ("blob", b"\1\2", None, ("0102000000000000 0000000000000000 0000000000000000 0000000000000000 0000000000000000", "")),
    ("many", b"\1\2", None, ('[{"x":1, "y":2}, ' + ", ".join(['{"x":0, "y":0}'] * 8) + "]", "")),
])  # fmt: skip
def test_a_field_reads(layout: Layout, path: str, data: bytes, lens: str | None, expected: tuple[str, str]) -> None:
    if path == "seq":
        expected = ("256", "65536")  # a __be32, but no address: the number in network order
    assert one(layout, path, data, lens=lens, names=NAMES) == expected


def test_heads_say_how_each_column_is_shown(layout: Layout) -> None:
    by_path = {one.path: one for one in heads(layout)}
    assert by_path["value.packets"].numeric
    assert by_path["value.packets"].label == "packets"
    assert not by_path["value.saddr"].numeric
    assert by_path["value.slots"].lens == "bars"
    assert "ipv4" in by_path["value.saddr"].choices
    assert len(heads(layout, limit=3)) == 3
    assert [one.path for one in heads(layout, columns=["value.many[2].x", "value.comm"])] == [
        "value.many[2].x",
        "value.comm",
    ]
    assert {one.path: one.lens for one in heads(layout, lenses={"value.packets": "hex"})}["value.packets"] == "hex"


def test_a_lens_that_does_not_suit_says_which_do(layout: Layout) -> None:
    with pytest.raises(UnknownLens) as caught:
        heads(layout, lenses={"value.comm": "ipv4"})
    assert str(caught.value) == "value.comm cannot be shown as ipv4; choose one of text, octets"
    with pytest.raises(NoSuchField):
        heads(layout, lenses={"value.nothing": "hex"})


def test_every_lens_offered_shows_every_value(layout: Layout) -> None:
    rng = np.random.default_rng(7)
    size_bytes = layout.value.size_bytes  # type: ignore[union-attr]
    rows = np.concatenate(
        [np.zeros((1, size_bytes)), np.full((1, size_bytes), 255), rng.integers(0, 256, (20, size_bytes))]
    )
    rows = rows.astype(np.uint8)
    rows[:, layout.value.find("up").offset_bytes] &= 1  # type: ignore[union-attr]
    table = Table(layout, np.zeros((len(rows), 0), np.uint8), rows)
    for one_head in heads(layout):
        for lens in one_head.choices:
            for (cell,) in cells(table, [head(layout, one_head.path, lens)], None, NAMES):
                assert cell.text.replace(THIN_SPACE, "").isprintable(), (one_head.path, lens)
                assert len(cell.text) <= TEXT_BYTES + 1
                assert len(cell.title) <= TITLE_BYTES + 1


def test_large_values_are_cut_and_marked() -> None:
    writer = Writer()
    u64, index = writer.integer("unsigned long long", 8), writer.integer("index")
    value = writer.struct("v", 80_000, ("a", writer.add(3, "", 0, u64, index, 10_000), 0))
    plan = plan_type(writer.parse(), value, 80_000)
    table = table_of(plan, np.full((2, 80_000), 255, np.uint8))
    (cell,) = cells(table, heads(table.layout), [1])[0]
    assert cell.text.endswith("…")
    assert len(cell.text) == TEXT_BYTES + 1
    assert len(cell.title) == TITLE_BYTES + 1
    raw = table_of(plan_raw(80_000), np.full((1, 80_000), 255, np.uint8))
    (cell,) = cells(raw, heads(raw.layout), [0])[0]
    assert len(cell.text) == TEXT_BYTES + 1


def test_variables_of_a_section_are_rows() -> None:
    writer = Writer()
    u32, u64 = writer.integer("unsigned int"), writer.integer("unsigned long long", 8)
    section = writer.add(
        15, ".bss", 16, writer.add(14, "hits", u64, 1), 0, 8, writer.add(14, "limit", u32, 1), 8, 4, vlen=2
    )
    layout = Layout(None, plan_type(writer.parse(), section, 16), datasec=True)
    data = (1234567).to_bytes(8, "little") + (9).to_bytes(8, "little")
    table = Table(layout, np.zeros((1, 4), np.uint8), np.frombuffer(data, np.uint8).reshape(1, 16))
    assert row_count(table) == 2
    shown = cells(table, heads(layout), slice(0, 10))
    assert [[cell.text for cell in row] for row in shown] == [
        ["hits", "unsigned long long", "1\u2009234\u2009567"], ["limit", "unsigned int", "9"],
    ]  # fmt: skip
    assert cells(table, heads(layout), [1])[0][0].text == "limit"


def test_per_cpu_cells_add_up_and_tell_each() -> None:
    plan = plan_made([("n", "u64", 8), ("comm", "text", 4)])
    values = np.zeros((1, 2, 12), np.uint8)
    values[0, :, 0] = [3, 4]
    values[0, 1, 8:10] = np.frombuffer(b"ab", np.uint8)
    table = table_of(plan, values)
    (n, comm) = cells(table, heads(table.layout), [0])[0]
    assert (n.text, n.title) == ("7", "sum of 2 CPUs: 3, 4")
    assert (comm.text, comm.title) == (" | ab", "CPU 0: \nCPU 1: ab")
    (most, second) = cells(table, heads(table.layout, columns=["value@max.n", "value@cpu1.comm"]), [0])[0]
    assert (most.text, second.text) == ("4", "ab")


def test_histograms_have_the_ranges_of_powers_of_two() -> None:
    writer = Writer()
    u64, index = writer.integer("unsigned long long", 8), writer.integer("index")
    value = writer.struct("v", 40, ("slots", writer.add(3, "", 0, u64, index, 4), 0), ("n", u64, 256))
    plan = plan_type(writer.parse(), value, 40)
    values = np.array([[5, 0, 2, 0, 1]], "<u8").view(np.uint8)
    shown = bars(table_of(plan, values), "value.slots", 0)
    assert [(bar.low, bar.high, bar.count) for bar in shown] == [(0, 1, 5), (2, 3, 0), (4, 7, 2)]
    with pytest.raises(NotOneColumn):
        bars(table_of(plan, values), "value.n", 0)


def test_readings_go_along_with_json(layout: Layout) -> None:
    table = Table(layout, np.zeros((1, 0), np.uint8), np.zeros((1, layout.value.size_bytes), np.uint8))  # type: ignore[union-attr]
    row = python_rows(table, lens=True)[0]
    assert row["lens"]["value.saddr"] == "0.0.0.0"
    assert "value.packets" not in row["lens"]
    assert list(row) == ["value", "lens"]


@pytest.mark.parametrize(("name", "type_name", "lens"), [
    ("rx_bytes", "__u64", "number"), ("id", "__u32", "plain"), ("remote_ip4", "__be32", "ipv4"), ("addr_len", "__u32", "number"),
    ("sip", "__u32", "ipv4"), ("start_ns", "__u64", "ktime"), ("total_ns", "__u64", "duration"), ("h_proto", "__be16", "ethertype"),
    ("sport", "__be16", "port_be"), ("checksum", "__be16", "be"), ("vni", "__be32", "be"), ("tgid", "__u32", "pid"),
    ("iif", "__u32", "ifindex"), ("kaddr", "__u64", "pointer"), ("flowFlags", "__u8", "hex"), ("delta", "__s32", "number"),
    ("max_ns", "__u64", "duration"), ("ran_ns", "__u64", "duration"), ("waited_ns", "__u64", "duration"), ("nsecs", "__u64", "number"),
    ("first_seen", "__u64", "ktime"), ("last_hit_ns", "__u64", "ktime"), ("last_on_ns", "__u64", "ktime"), ("opened_ns", "__u64", "ktime"),
    ("woken_at", "__u64", "ktime"), ("ts", "__u64", "ktime"), ("start_time", "__u64", "ktime"), ("expires", "__u64", "ktime"),
    ("packets_seen", "__u64", "number"), ("last_seq", "__u64", "plain"), ("lastRttNs", "__u64", "duration"), ("delta_ts", "__u64", "duration"),
])  # fmt: skip
def test_names_and_types_choose_the_lens(name: str, type_name: str, lens: str, tmp_path: Path) -> None:
    btf, (value_id,) = kernel_maps.types_of(f"struct v {{ {type_name} {name}; }};", tmp_path, "struct v")
    plan = plan_type(btf, value_id, btf.size_bytes(value_id))
    assert heads(Layout(None, plan))[0].lens == lens


def test_a_short_in_network_order_without_a_name_is_a_port(tmp_path: Path) -> None:
    btf, (key_id,) = kernel_maps.types_of("", tmp_path, "__be16")
    assert heads(Layout(plan_type(btf, key_id, 2), None))[0].lens == "port_be"


@pytest.mark.parametrize(("number", "expected"), [
    (0, "0\u2009ns"), (999, "999\u2009ns"), (1000, "1\u2009µs"), (12_345_678, "12.3\u2009ms"), (59_900_000_000, "59.9\u2009s"),
    (60_000_000_000, "00:01:00"), (90_061_000_000_000, "1\u2009d 01:01:01"), (-1500, "-1.5\u2009µs"),
])  # fmt: skip
def test_durations(number: int, expected: str) -> None:
    assert duration(number) == expected


def test_small_texts() -> None:
    assert grouped(-1234567) == "-1\u2009234\u2009567"
    assert size(1023) == "1023\u2009B"
    assert size(1536) == "1.5\u2009KiB"
    assert printable("a\u202eb\n") == "a\\u202eb\\n"
