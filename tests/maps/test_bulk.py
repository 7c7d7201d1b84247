"""Rows of a file, or a filter, as edits of one map: against what the map holds, or a sentence with the row's number."""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.broker.local import client as local_client
from app.maps.bulk import QUESTION_BYTES, BadRows, edits_of, in_questions, rows_of, selected
from app.maps.layouts import Btfs
from app.maps.opening import OpenMap, open_map
from app.settings import Settings
from app.uapi.enums import BpfMapFlag, BpfMapType
from app.uapi.objects import map_info
from app.uapi.syscall import MapSpec, map_update
from app.wire.ask import Client
from app.wire.edits import Edit, MapIdentity
from tests.columns import kernel_maps
from tests.livemaps import live_map, u32

SOURCE = """
struct key { unsigned short zone; unsigned short port; };
struct lpm { unsigned int prefixlen; unsigned char data[4]; };
struct rule { unsigned long long packets; unsigned int limit; char name[4]; };
int use_0(struct rule *p, struct key *k, struct lpm *l) { return 0; }
"""
NO_MAP = MapIdentity(1, "bulk", 1, 4, 16, 16, 0, 0, 0)
FIRST = (1000).to_bytes(8, "little") + u32(64) + b"one\0"


@pytest.fixture(scope="module")
def blob(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return kernel_maps.compile_btf(SOURCE, tmp_path_factory.mktemp("btf"))


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    with local_client(Settings(data=tmp_path, allow_edits=True)) as found:
        yield found


@contextlib.contextmanager
def rules(blob: bytes, client: Client, key: str = "key", **spec: Any) -> Iterator[tuple[int, OpenMap]]:
    """A map with two entries, (1, 80) and (1, 443)."""
    btf = kernel_maps.parse(blob)
    spec = {"type": BpfMapType.HASH, "key_size": 4, "value_size": 16, "max_entries": 16, "name": b"bulk"} | spec
    with kernel_maps.created(blob, btf.find(key)[0], btf.find("rule")[0], **spec) as (fd, map_id):
        if key == "key":
            map_update(fd, key_of(1, 80), FIRST)
            map_update(fd, key_of(1, 443), FIRST)
        with open_map(client, Btfs(client), map_id) as opened:
            yield fd, opened


def key_of(zone: int, port: int) -> bytes:
    return zone.to_bytes(2, "little") + port.to_bytes(2, "little")


@pytest.mark.kernel
@pytest.mark.parametrize("text", [
    'key,value.limit,value.name\n"{""zone"": 1, ""port"": 80}",65,\n"{""zone"": 1, ""port"": 443}",66,two\n',
    "key.zone,key.port,value.limit,value.name\r\n1,80,65,\r\n1,443,66,two\r\n",
    "\ufeffkey,value.limit,value.name,action\nhex:01005000,65,,set\n\nhex:0100bb01,66,two,\n",
    '[{"key": {"zone": 1, "port": 80}, "set": {"value.limit": 65}}, {"key": "hex:0100bb01", "set": {"value.limit": "66", "value.name": "two"}}]',
    '{"key": "hex:01005000", "set": {"value.limit": 65}}\n\n{"key": "hex:0100bb01", "set": {"value.limit": 66, "value.name": "two"}}\n',
])  # fmt: skip
def test_one_meaning_in_every_form(blob: bytes, client: Client, text: str) -> None:
    with rules(blob, client) as (_fd, opened):
        first, second = edits_of(opened, text)
        assert (first.key, second.key) == (key_of(1, 80), key_of(1, 443))
        assert [(one.path, one.expected, one.new) for one in first.changes] == [("value.limit", 64, 65)]
        assert {(one.path, one.new) for one in second.changes} == {("value.limit", 66), ("value.name", b"two\0")}


@pytest.mark.kernel
def test_cells_of_an_entry_that_is_not_there_create_it(blob: bytes, client: Client) -> None:
    with rules(blob, client) as (_fd, opened):
        (made,) = edits_of(opened, "key.zone,key.port,value.limit\n2,22,5\n")
        assert (made.action, made.key, made.value) == ("create", key_of(2, 22), bytes(8) + u32(5) + bytes(4))
        (gone,) = edits_of(opened, "key.zone,key.port,action\n1,80,delete\n")
        assert (gone.action, gone.seen) == ("delete", FIRST)


@pytest.mark.kernel
def test_entries_as_dump_prints_them(blob: bytes, client: Client) -> None:
    with rules(blob, client) as (_fd, opened):
        value = '{"packets": 1, "limit": 2, "name": "new"}'
        there, new = edits_of(
            opened,
            f'{{"key": {{"zone": 1, "port": 80}}, "value": {value}}}\n{{"key": {{"zone": 9, "port": 9}}, "value": {value}}}',
        )
        assert there.action == "replace"
        assert there.seen == FIRST
        assert new.action == "create"
        assert there.value == new.value == (1).to_bytes(8, "little") + u32(2) + b"new\0"


@pytest.mark.kernel
@pytest.mark.parametrize(("text", "told"), [
    ("", "there are no rows"),
    ("key,value.limit\n", "there are no rows"),
    ("port,value.limit\n1,2\n", "the first line names the columns, key or key.FIELD among them"),
    ("key,key\n1,2\n", "two columns have the same name"),
    ("key,colour\nhex:01005000,2\n", "no column is called 'colour'"),
    ("key,value.limit\nhex:01005000,1,2\n", "line 2 has 3 cells, the first line 2"),
    ("key,value.limit,action\nhex:01005000,1,erase\n", "the action is one of set, create, delete, not 'erase'"),
    ('key,value.limit\n"hex:01005000,1\n', "is no CSV"),
    ("[1]", "row 1: an object was wanted, found 1"),
    ("[{]", "it is no JSON"),
    ("[" * 100_000, "it is no JSON"),
    ('{"key": 1}\n{', "line 2 is no JSON"),
    ('[{"key": "hex:01005000"}]', "say what is to happen"),
    ('[{"key": "hex:01005000", "set": {}, "delete": true}]', "one thing at a time"),
    ('[{"key": "hex:01005000", "colour": 1}]', "'colour' is none of"),
    ('[{"key": "hex:09000900", "delete": true}]', "there is no such entry to delete"),
    ('[{"key": "hex:01005000", "set": {"value.limit": 65}, "cpu": -1}]', "a CPU is a number"),
    ("key,value.limit\nhex:01005000,4294967296\n", "row 2: value.limit: unsigned int from 0 to 4294967295 was wanted"),
    ("key,value.colour\nhex:01005000,1\n", "row 2: "),
    ("key,value.limit\nhex:0100,1\n", "row 2: "),
    ("key,value.limit\nhex:01005000,65\nhex:01005000,66\n", "row 3: row 2 is about the same entry"),
])  # fmt: skip
def test_what_is_wrong_is_told_with_its_row(blob: bytes, client: Client, text: str, told: str) -> None:
    with rules(blob, client) as (_fd, opened), pytest.raises(BadRows) as problem:
        edits_of(opened, text)
    assert told in str(problem.value)


@pytest.mark.kernel
def test_all_that_is_wrong_is_told_at_once_and_counted(blob: bytes, client: Client) -> None:
    lines = "".join(f"hex:{number:04x}0000,x\n" for number in range(30))
    with rules(blob, client) as (_fd, opened), pytest.raises(BadRows) as problem:
        edits_of(opened, "key,value.limit\n" + lines)
    assert str(problem.value).startswith("30 of 30 rows cannot be used: row 2: ")
    assert str(problem.value).endswith("; and 10 more")


@pytest.mark.kernel
def test_what_holds_already_is_left_out(blob: bytes, client: Client) -> None:
    with rules(blob, client) as (_fd, opened):
        (only,) = edits_of(opened, "key.zone,key.port,value.limit,value.name\n1,80,64,one\n1,443,65,one\n")
        assert only.key == key_of(1, 443)
        assert [one.path for one in only.changes] == ["value.limit"]
        with pytest.raises(BadRows, match="nothing would change"):
            edits_of(opened, "key.zone,key.port,value.limit\n1,80,64\n")


@pytest.mark.kernel
@pytest.mark.parametrize("text", [
    '[{"key": 0, "thing": "dev:1"}, {"key": 1, "thing": "dev:lo"}]',
    "key,thing\n0,dev:1\n1,dev:lo\n",
])  # fmt: skip
def test_slots_are_given_things(client: Client, text: str) -> None:
    spec = MapSpec(type=BpfMapType.DEVMAP, key_size=4, value_size=4, max_entries=4, name=b"bulk_ports")
    with live_map(spec, [(u32(1), u32(1))]) as fd, open_map(client, Btfs(client), map_info(fd).id) as opened:
        first, second = edits_of(opened, text)
        assert (first.action, first.key, first.thing, first.seen) == ("put", u32(0), "dev:1", b"")
        assert (second.action, second.key, second.thing, second.seen) == ("put", u32(1), "dev:lo", u32(1))
        map_update(fd, u32(0), u32(1))
        (left,) = edits_of(opened, text)
        assert left.thing == "dev:lo", "the first is what the slot holds already"
        with pytest.raises(BadRows, match="one thing at a time"):
            edits_of(opened, "key,thing,action\n0,dev:lo,delete\n")


@pytest.mark.kernel
def test_a_filter_selects(blob: bytes, client: Client) -> None:
    with rules(blob, client) as (fd, opened):
        map_update(fd, key_of(7, 1), FIRST[:8] + u32(9) + FIRST[12:])
        chosen = selected(opened, "value.limit == 64", fields={"value.limit": "70"})
        assert {one.key for one in chosen} == {key_of(1, 80), key_of(1, 443)}
        assert all((one.changes[0].expected, one.changes[0].new) == (64, 70) for one in chosen)
        gone = selected(opened, "value.limit == 9", delete=True)
        assert [(one.action, one.key) for one in gone] == [("delete", key_of(7, 1))]
        with pytest.raises(BadRows, match="nothing was selected"):
            selected(opened, "value.limit == 1", delete=True)
        with pytest.raises(BadRows, match="3 entries are selected, 2 are the most"):
            selected(opened, "", delete=True, limit=2)


@pytest.mark.kernel
def test_a_prefix_is_that_prefix_and_no_shorter_one(blob: bytes, client: Client) -> None:
    def prefix(text: str) -> bytes:
        net = ipaddress.ip_network(text)
        return u32(net.prefixlen) + net.network_address.packed

    spec = {"type": BpfMapType.LPM_TRIE, "key_size": 8, "flags": BpfMapFlag.NO_PREALLOC}
    with rules(blob, client, "lpm", **spec) as (fd, opened):
        map_update(fd, prefix("10.0.0.0/8"), FIRST)
        made, kept = edits_of(opened, "key,value.limit\n10.9.0.0/16,3\n10.0.0.0/8,4\n")
        assert (made.action, made.key) == ("create", prefix("10.9.0.0/16"))
        assert kept.action == "set"
        with pytest.raises(BadRows, match="no such entry"):
            edits_of(opened, "key,action\n10.9.0.0/16,delete\n")


@given(st.lists(st.integers(0, QUESTION_BYTES), max_size=12))
def test_questions_hold_every_row_in_order_and_fit(sizes: list[int]) -> None:
    import msgspec

    rows = tuple(Edit(map=NO_MAP, action="create", key=u32(at), value=bytes(size)) for at, size in enumerate(sizes))
    parts = in_questions(rows)
    assert tuple(row for part in parts for row in part) == rows
    for part in parts:
        assert len(part) <= 1 or sum(len(msgspec.msgpack.encode(row)) for row in part) <= QUESTION_BYTES


@given(st.text(max_size=200))
def test_any_text_is_rows_or_a_sentence(text: str) -> None:
    with contextlib.suppress(BadRows):
        assert rows_of(text)
