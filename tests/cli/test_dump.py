from __future__ import annotations

import csv
import io
import json
import os
import socket

import pytest

from app.uapi import objects
from app.uapi.cpus import possible_cpus
from app.uapi.enums import BpfMapType
from tests.cli.conftest import Run
from tests.cli.made import bare_map, flow, flow_key, flows, section
from tests.livemaps import u32, u64

pytestmark = pytest.mark.kernel

MOST = 2**64 - 1
ENTRIES = [
    (flow_key("10.0.0.1", 80), flow(MOST, b"nginx", 1, -(2**63), (1, 2, 3, 4))),
    (flow_key("10.9.0.2", 443), flow(5, b"curl", 2)),
    (flow_key("192.168.0.1", 53), flow(1000, b"dig", 9)),
]


def entry(address: str, dport: int, packets: int, comm: str, verdict: object, **more: object) -> dict:
    """As bpftool prints it: numbers in the host's order, whatever the network thinks."""
    saddr = int.from_bytes(bytes(map(int, address.split("."))), "little")
    value = {"packets": packets, "balance": 0, "comm": comm, "verdict": verdict, "slots": [0, 0, 0, 0], **more}
    return {
        "key": {"saddr": saddr, "dport": int.from_bytes(dport.to_bytes(2, "big"), "little"), "zone": 0},
        "value": value,
    }


NGINX = entry("10.0.0.1", 80, MOST, "nginx", "DROP", balance=-(2**63), slots=[1, 2, 3, 4])
CURL = entry("10.9.0.2", 443, 5, "curl", "REDIRECT")
DIG = entry("192.168.0.1", 53, 1000, "dig", 9)


def by_packets(entries: list) -> list:
    return sorted(entries, key=lambda one: one["value"]["packets"])


def test_json_and_ndjson_hold_every_entry_exactly(run: Run) -> None:
    with flows(ENTRIES) as map_id:
        document = run("dump", map_id, "--json").document
        lines = run("dump", map_id, "--ndjson").text.splitlines()
    assert by_packets(document) == [CURL, DIG, NGINX]
    assert by_packets([json.loads(line) for line in lines]) == [CURL, DIG, NGINX]


def test_csv_is_what_a_csv_reader_reads(run: Run) -> None:
    with flows(ENTRIES) as map_id:
        rows = list(csv.DictReader(io.StringIO(run("dump", map_id, "--csv", "--sort", "value.packets").text)))
    assert [row["value.comm"] for row in rows] == ["curl", "dig", "nginx"]
    assert (rows[2]["value.packets"], rows[2]["value.balance"]) == (str(MOST), str(-(2**63)))
    assert [row["value.verdict"] for row in rows] == ["REDIRECT", "9", "DROP"]


def test_the_plain_table_is_for_people(run: Run) -> None:
    with flows(ENTRIES) as map_id:
        head, *rows = run("dump", map_id, "--sort", "value.packets").text.splitlines()
    assert head.split()[:4] == ["key.saddr", "key.dport", "key.zone", "value.packets"]
    assert rows[0].split()[:4] == ["10.9.0.2", "443", "0", "5"]
    assert "18\u2009446\u2009744\u2009073\u2009709\u2009551\u2009615" in rows[2]
    assert "\\u2009" not in rows[2]


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ("value.packets > 1000", [NGINX]),
        ("value.packets >= 1000 and key.saddr in 10.0.0.0/8", [NGINX]),
        ("key.saddr in 10.0.0.0/8", [CURL, NGINX]),
        ("key.saddr == 192.168.0.1", [DIG]),
        ('value.comm == "nginx"', [NGINX]),
        ("value.comm contains 'i' and not value.comm startswith 'n'", [DIG]),
        ("key.dport in (53, 443)", [CURL, DIG]),
        ("key.dport in 50..60", [DIG]),
        ("value.verdict == DROP", [NGINX]),
        ("value.slots[3] == 4", [NGINX]),
        ("value.balance < 0", [NGINX]),
        (f"value.packets == {MOST}", [NGINX]),
        (f"value.packets == {MOST - 1}", []),
    ],
)
def test_where(run: Run, where: str, found: list) -> None:
    with flows(ENTRIES) as map_id:
        assert by_packets(run("dump", map_id, "--json", "--where", where).document) == found


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ("--sort value.packets", [CURL, DIG, NGINX]),
        ("--sort -value.packets", [NGINX, DIG, CURL]),
        ("--sort -value.packets --limit 2", [NGINX, DIG]),
        ("--sort value.balance --limit 1", [NGINX]),
        ("--sort -key.saddr --limit 0", []),
        ("--where value.packets<5000 --sort -value.packets --limit 1", [DIG]),
    ],
)
def test_sort_and_limit(run: Run, options: str, found: list) -> None:
    with flows(ENTRIES) as map_id:
        assert run("dump", map_id, "--json", *options.split()).document == found


def test_columns_come_in_the_order_that_was_asked_for(run: Run) -> None:
    with flows(ENTRIES[1:2]) as map_id:
        asked = ("--columns", "value.packets, key.saddr")
        assert run("dump", map_id, "--csv", *asked).text == "value.packets,key.saddr\n5,33556746\n"
        assert [line.split() for line in run("dump", map_id, *asked).text.splitlines()] == [
            ["value.packets", "key.saddr"],
            ["5", "10.9.0.2"],
        ]


def test_a_lens_reads_beside_the_values_and_changes_none(run: Run) -> None:
    with flows(ENTRIES[1:2]) as map_id:
        (found,) = run("dump", map_id, "--json", "--lens").document
    assert found.pop("lens") == {"key.saddr": "10.9.0.2", "key.dport": "443"}
    assert found == CURL


def test_a_limit_without_order_reads_no_more_than_it_must(run: Run) -> None:
    with bare_map([(u32(n), u64(n)) for n in range(5000)], max_entries=5000) as map_id:
        assert len(run("dump", map_id, "--json", "--limit", 7).document) == 7
        table = run("dump", map_id)
    assert len(table.text.splitlines()) == 1001
    assert table.complaint == "… 4,000 more entries; --limit N shows more, --json all\n"


@pytest.mark.parametrize(("form", "text"), [("--json", "[]\n"), ("--ndjson", ""), ("--csv", "key,value\n")])
def test_an_empty_map(run: Run, form: str, text: str) -> None:
    with bare_map() as map_id:
        done = run("dump", map_id, form)
    assert (done.status, done.text, done.complaint) == (0, text, "")


def test_a_map_without_btf_is_bytes_as_bpftool_prints_them(run: Run) -> None:
    with bare_map([(u32(258), u64(2**63))]) as map_id:
        (found,) = run("dump", map_id, "--json").document
        text = run("dump", map_id).text
    assert found == {"key": ["0x02", "0x01", "0x00", "0x00"], "value": [*["0x00"] * 7, "0x80"]}
    assert text.splitlines()[1] == "02 01 00 00  00 00 00 00 00 00 00 80"


def test_per_cpu_values_stand_apart_in_json_and_fold_elsewhere(run: Run) -> None:
    cpus = range(possible_cpus())
    each = b"".join(flow(100 + cpu, b"a") for cpu in cpus)
    total = sum(100 + cpu for cpu in cpus)
    with flows([(flow_key("10.0.0.1", 1), each)], type=BpfMapType.PERCPU_HASH) as map_id:
        (found,) = run("dump", map_id, "--json").document
        columns = "value.packets,value@max.packets,value@cpu0.packets"
        sums = run("dump", map_id, "--csv", "--columns", columns).text
        assert len(run("dump", map_id, "--json", "--where", f"value.packets == {total}").document) == 1
        assert run("dump", map_id, "--json", "--where", "value@cpu0.packets > 100").document == []
    assert [(one["cpu"], one["value"]["packets"]) for one in found["values"]] == [(cpu, 100 + cpu) for cpu in cpus]
    assert sums == f"{columns}\n{total},{100 + cpus[-1]},100\n"


def test_a_queue_shows_its_head_and_keeps_it(run: Run) -> None:
    with bare_map([(None, u64(1)), (None, u64(2))], type=BpfMapType.QUEUE, key_size=0) as map_id:
        for _ in range(2):
            done = run("dump", map_id, "--json")
            assert done.document == [{"value": ["0x01", *["0x00"] * 7]}]
            assert "only the element that would be popped next" in done.complaint


def test_a_map_is_found_by_id_name_and_pin(run: Run, bpffs) -> None:
    pin = bpffs / "by_pin"
    with flows(ENTRIES[:1], name="cli_by_name") as map_id:
        fd = objects.map_get_fd_by_id(map_id)
        objects.obj_pin(str(pin), fd)
        os.close(fd)
        try:
            for reference in (map_id, "name:cli_by_name", pin):
                assert run("dump", reference, "--json", env={"BPF_ATLAS_BPFFS": str(bpffs)}).document == [NGINX]
        finally:
            pin.unlink()


def test_what_is_not_a_number_is_exact_nowhere_else_either(run: Run) -> None:
    """jq and JavaScript would round it: the digits themselves stand in the text."""
    with flows(ENTRIES[:1]) as map_id:
        assert b'"packets":18446744073709551615,"balance":-9223372036854775808,' in run("dump", map_id, "--json").raw


def test_fields_that_the_map_type_defines_have_names_but_in_bpftools_form(run: Run) -> None:
    from app.uapi import loading

    prog = loading.prog_load(loading.ProgSpec(type=1, insns=bytes.fromhex("b700000000000000 9500000000000000")))
    number = objects.prog_info(prog).id
    try:
        with bare_map([(u32(2), u32(prog))], type=BpfMapType.PROG_ARRAY, value_size=4) as map_id:
            assert run("dump", map_id, "--csv").text == f"key,value.prog_id\n2,{number}\n"
            assert run("dump", map_id).text.split() == ["key", "value.prog_id", "2", str(number)]
            (found,) = run("dump", map_id, "--json", "--where", f"value.prog_id == {number} and key == 2").document
    finally:
        os.close(prog)
    assert found == {"key": ["0x02", "0x00", "0x00", "0x00"], "value": [f"{byte:#04x}" for byte in u32(number)]}


def test_a_section_of_variables_can_be_filtered_and_written_as_csv(run: Run) -> None:
    with section() as map_id:
        assert run("dump", map_id, "--csv").text == f"value.counter,value.big\n7,{MOST}\n"
        assert run("dump", map_id, "--csv", "--columns", "value.counter").text == "value.counter\n7\n"
        assert len(run("dump", map_id, "--json", "--where", "value.counter == 7").document) == 1
        assert run("dump", map_id, "--json", "--where", "value.counter == 8").document == []


def test_sockets_without_room_for_a_cookie_say_so(refuses) -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        entry = [(u32(2), u32(listening.fileno()))]
        with bare_map(entry, type=BpfMapType.SOCKMAP, value_size=4) as map_id:
            line = refuses(3, "dump", map_id)
    assert "the entries of this socket map cannot be listed" in line
    assert "4-byte values keeps no cookie" in line
