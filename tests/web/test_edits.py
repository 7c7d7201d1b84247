"""Edit pages over real maps: form, preview, doing, undo; what is wrong comes back with what was typed, and nothing is written."""

from __future__ import annotations

import contextlib
import html
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from app.broker.local import client as local_client
from app.settings import Settings
from app.uapi import objects
from app.uapi.cpus import possible_cpus
from app.uapi.enums import BpfMapFlag, BpfMapType
from app.uapi.syscall import MapSpec, map_delete, map_freeze, map_lookup, map_update
from app.web.factory import create_app
from app.wire.accounts import Credential
from tests.columns import kernel_maps
from tests.livemaps import live_map, u32, u64
from tests.waiting import eventually
from tests.web.conftest import ORIGIN, PASSWORD, LocalClient, browser

pytestmark = pytest.mark.kernel

SOURCE = """
enum state { NEW, ESTABLISHED, CLOSING = 9 };
struct rule { __u64 packets; __u32 limit; enum state state; __be32 addr; __be16 dport; _Bool on; __u8 pad0;
              char name[8]; __u32 slots[2]; };
int use_0(struct rule *p) { return 0; }
"""
SIZE = 40
FIRST = u64(1000) + u32(64) + u32(1) + bytes([10, 0, 0, 1]) + b"\x01\xbb" + b"\1\0" + b"old\0\0\0\0\0" + u32(1) + u32(2)


@pytest.fixture(scope="module")
def blob(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return kernel_maps.compile_btf(SOURCE, tmp_path_factory.mktemp("btf"))


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Flask]:
    settings = Settings(data=tmp_path, listen="127.0.0.1:8470", allow_edits=True, audit_copies=())
    with local_client(settings) as client:
        for role in ("editor", "viewer", "admin"):
            client.user_add(Credential(source="cli"), role, role, PASSWORD)
        yield create_app(settings, client)


@pytest.fixture
def editor(app: Flask) -> LocalClient:
    """An editor in a write session."""
    client = browser(app, app.extensions["settings"], "editor")
    client.elevate()
    return client


@pytest.fixture
def admin(app: Flask) -> LocalClient:
    """Somebody who may do things to whole maps, in a write session."""
    client = browser(app, app.extensions["settings"], "admin")
    client.elevate()
    return client


@contextlib.contextmanager
def rules(blob: bytes, **spec: Any) -> Iterator[tuple[int, int]]:
    btf = kernel_maps.parse(blob)
    spec = {"type": BpfMapType.HASH, "key_size": 4, "value_size": SIZE, "max_entries": 2, "name": b"web_rules"} | spec
    with kernel_maps.created(blob, btf.find("__u32")[0], btf.find("rule")[0], **spec) as (fd, map_id):
        map_update(fd, u32(1), FIRST)
        yield fd, map_id


def value_of(fd: int, key: bytes = u32(1), size: int = SIZE) -> bytes | None:
    value = bytearray(size)
    return bytes(value) if map_lookup(fd, key, value) else None


def inputs(page: str) -> dict[str, str]:
    """What a browser would send of the edit form: the last of a name, as a checkbox over its hidden twin."""
    form = page[page.index('<section class="edit-sheet"') :].partition("</section>")[0]
    found: dict[str, str] = {}
    for tag in re.finditer(
        r"<(input|select|textarea)\b([^>]*)>(.*?)(?=<(?:input|select|textarea|/form)|$)", form, re.DOTALL
    ):
        kind, attributes, below = tag.groups()
        given = dict(re.findall(r'([a-z-]+)="([^"]*)"', attributes))
        if "name" not in given or (given.get("type") == "checkbox" and not re.search(r"\bchecked\b", attributes)):
            continue
        text = given.get("value", "")
        if kind == "select":
            chosen = re.search(r'<option value="([^"]*)" selected>', below) or re.search(
                r'<option value="([^"]*)">', below
            )
            text = chosen[1] if chosen else ""
        if kind == "textarea":
            text = below.partition("</textarea>")[0].removeprefix("\n")
        found[given["name"]] = html.unescape(text)
    return found


def problems(page: str) -> dict[str, str]:
    """Sentence by the id of the input that it is tied to."""
    told = {}
    for tag in re.finditer(r"<(?:input|select|textarea)\b([^>]*)>", page):
        given = dict(re.findall(r'([a-z-]+)="([^"]*)"', tag[1]))
        if given.get("aria-invalid") != "true":
            continue
        sentences = [
            re.search(rf'id="{re.escape(one)}"[^>]*>(.*?)</span>', page)
            for one in given["aria-describedby"].split()
            if one.endswith("-problem")
        ]
        told[given["id"]] = html.unescape(re.sub("<[^>]+>", "", next(each[1] for each in sentences if each)))
    return told


class Form:
    """One edit form as a browser without script has it."""

    def __init__(self, client: LocalClient, path: str) -> None:
        self.client, self.path = client, path
        answer = client.get(path)
        assert answer.status_code == 200, answer.text
        self.page = answer.text
        self.fields = inputs(self.page)

    def send(self, step: str, **typed: str) -> TestResponse:
        self.fields |= {name.replace("__", "."): text for name, text in typed.items()}
        path = self.path.partition("?")[0]
        if step == "preview":
            path += "/preview"
        answer = self.client.post(path, data=self.fields, headers={"Origin": ORIGIN})
        self.page = answer.text
        if '<section class="edit-sheet"' in self.page:
            self.fields = inputs(self.page)
        return answer

    def type(self, path: str, text: str) -> None:
        assert f"f:{path}" in self.fields, self.fields
        self.fields[f"f:{path}"] = text


def entry(map_id: int, key: bytes = u32(1)) -> str:
    return f"/maps/{map_id}/entries/{key.hex()}"


def test_the_form_begins_with_what_is_there(blob: bytes, editor: LocalClient) -> None:
    with rules(blob) as (_fd, map_id):
        form = Form(editor, entry(map_id) + "/edit")
        typed = {name: text for name, text in form.fields.items() if name.startswith("f:")}
        assert typed == {
            "f:value.packets": "1000", "f:value.limit": "64", "f:value.state": "ESTABLISHED", "f:value.addr": "10.0.0.1",
            "f:value.dport": "443", "f:value.on": "true", "f:value.name": "old", "f:value.slots[0]": "1", "f:value.slots[1]": "2",
        }  # fmt: skip
        assert "reserved: kept as it is" in form.page  # pad0
        assert "__u32, 0 to 4\u2009294\u2009967\u2009295" in form.page


def test_form_preview_done_and_undone(blob: bytes, editor: LocalClient) -> None:
    with rules(blob) as (fd, map_id):
        form = Form(editor, entry(map_id) + "/edit")
        form.type("value.limit", "128")
        seen = form.send("preview", reason="load test, ticket 4411")
        assert seen.status_code == 200, seen.text
        assert "Change limit of 1 entry in web_rules" in form.page
        assert "Compare-and-swap in the kernel" in form.page
        assert re.search(r'<span class="new"[^>]*>80</span>', form.page)  # 128, the one byte that changes
        assert form.fields["f:value.limit"] == "128"
        assert form.fields["reason"] == "load test, ticket 4411"
        assert value_of(fd) == FIRST
        map_update(fd, u32(1), u64(2000) + FIRST[8:])  # a counter beside it goes on counting
        done = form.send("apply")
        assert done.status_code == 303, done.text
        assert value_of(fd) == u64(2000) + u32(128) + FIRST[12:]
        page = editor.get(done.location).text
        assert "Done: written, and read again" in page
        undo = re.search(r'href="(/audit/\d+/undo)"', page)
        assert undo
        back = Form(editor, undo[1])
        assert "Take back edit" in back.page
        assert back.send("apply").status_code == 422
        assert problems(back.page)["reason"].startswith("Say why")
        assert back.send("apply", reason="it was too much").status_code == 303
        assert value_of(fd) == u64(2000) + FIRST[8:]
        twice = Form(editor, undo[1])
        assert twice.send("apply", reason="again").status_code == 409


def test_every_kind_of_field(blob: bytes, editor: LocalClient) -> None:
    with rules(blob) as (fd, map_id):
        form = Form(editor, entry(map_id) + "/edit")
        for path, text in {
            "value.state": "CLOSING", "value.addr": "192.168.1.9", "value.dport": "8080", "value.on": "false", "value.name": "new",
            "value.slots[1]": "0x10",
        }.items():  # fmt: skip
            form.type(path, text)
        assert form.send("preview", reason="r").status_code == 200, form.page
        assert "Change 6 fields of 1 entry in web_rules" in form.page
        assert form.send("apply").status_code == 303, form.page
        assert value_of(fd) == (
            FIRST[:12]
            + u32(9)
            + bytes([192, 168, 1, 9])
            + (8080).to_bytes(2, "big")
            + b"\0\0"
            + b"new\0\0\0\0\0"
            + u32(1)
            + u32(16)
        )


@pytest.mark.parametrize(("path", "text", "told"), [
    ("value.limit", "4294967296", "Value.limit: __u32 from 0 to 4294967295 was wanted, found 4294967296."),
    ("value.limit", "-1", "Value.limit: __u32 from 0 to 4294967295 was wanted, found -1."),
    ("value.limit", "", "Value.limit: __u32 from 0 to 4294967295 was wanted, found nothing."),
    ("value.limit", "<script>alert(1)</script>", "Value.limit: __u32 from 0 to 4294967295 was wanted, found <script>alert(1)</script>."),
    ("value.dport", "65536", "Value.dport: __be16 from 0 to 65535 was wanted, found 65536."),
    ("value.addr", "10.0.0.256", "Value.addr: 4 bytes as an address or hex:… was wanted, found 10.0.0.256."),
    ("value.name", "nine chars", "Value.name: at most 8 bytes of text was wanted, found 10."),
    ("value.state", "CLOSED", "Value.state: one of NEW, ESTABLISHED, CLOSING, or enum state from 0 to 4294967295 was wanted, found CLOSED."),
    ("value.on", "7", "Value.on: true or false was wanted, found 7."),
])  # fmt: skip
def test_what_is_wrong_comes_back_with_what_was_typed(
    blob: bytes, editor: LocalClient, path: str, text: str, told: str
) -> None:
    with rules(blob) as (fd, map_id):
        form = Form(editor, entry(map_id) + "/edit")
        form.type(path, text)
        answer = form.send("preview", reason="because")
        assert answer.status_code == 422
        assert form.fields[f"f:{path}"] == text
        assert form.fields["reason"] == "because"
        found = problems(form.page)
        assert len(found) == 1
        assert next(iter(found.values())).lower() == told.lower()
        assert form.send("apply").status_code == 422
        assert value_of(fd) == FIRST


def test_nothing_typed_nothing_done(blob: bytes, editor: LocalClient) -> None:
    with rules(blob) as (fd, map_id):
        form = Form(editor, entry(map_id) + "/edit")
        assert form.send("preview").status_code == 422
        assert "Nothing would change" in form.page
        assert value_of(fd) == FIRST


def test_no_reason_no_edit(blob: bytes, editor: LocalClient) -> None:
    with rules(blob) as (fd, map_id):
        form = Form(editor, entry(map_id) + "/edit")
        form.type("value.limit", "128")
        assert form.send("preview").status_code == 200
        assert form.send("apply", reason="  ").status_code == 422
        assert problems(form.page)["reason"].startswith("Say why")
        assert form.fields["f:value.limit"] == "128"
        assert value_of(fd) == FIRST


def test_what_was_not_looked_at_is_not_done(blob: bytes, editor: LocalClient) -> None:
    with rules(blob) as (fd, map_id):
        form = Form(editor, entry(map_id) + "/edit")
        form.type("value.limit", "128")
        assert form.send("preview", reason="r").status_code == 200
        form.type("value.limit", "129")
        answer = form.send("apply")
        assert answer.status_code == 409
        assert "Something else was typed since the preview" in form.page
        assert value_of(fd) == FIRST
        assert form.send("apply").status_code == 303  # now it was
        assert value_of(fd)[8:12] == u32(129)


def test_t15_a_field_that_moved_is_a_conflict_with_three_sides(blob: bytes, editor: LocalClient) -> None:
    with rules(blob) as (fd, map_id):
        form = Form(editor, entry(map_id) + "/edit")
        form.type("value.limit", "128")
        assert form.send("preview", reason="r").status_code == 200
        moved = FIRST[:8] + u32(99) + FIRST[12:]
        map_update(fd, u32(1), moved)
        answer = form.send("apply")
        assert answer.status_code == 409
        sides = re.findall(
            r'<td class="v"><bdi>([^<]*)</bdi></td>', form.page.partition("It moved while you looked")[2]
        )
        assert sides[:3] == ["64", "99", "128"]
        assert form.fields["f:value.limit"] == "128"
        assert value_of(fd) == moved
        number = re.search(r'href="(/audit/\d+)"', editor.get("/audit").text)
        assert number
        record = editor.get(number[1]).text
        assert "found <bdi>63 00 00 00</bdi>" in record  # 99, which is neither side's text
        assert "then <bdi>63 00 00 00</bdi>" in record
        assert form.send("preview").status_code == 200
        assert form.send("apply").status_code == 303
        assert value_of(fd) == FIRST[:8] + u32(128) + FIRST[12:]


def test_a_move_before_the_preview_shows_there(blob: bytes, editor: LocalClient) -> None:
    with rules(blob) as (fd, map_id):
        form = Form(editor, entry(map_id) + "/edit")
        form.type("value.limit", "128")
        map_update(fd, u32(1), FIRST[:8] + u32(99) + FIRST[12:])
        assert form.send("preview", reason="r").status_code == 200
        assert "It moved while you looked" in form.page
        assert "Begin again from what it holds now" in form.page
        assert 'value="1" formaction="' + entry(map_id) + '/edit/preview"' in form.page
        assert form.send("preview", rebase="1").status_code == 200
        form.fields.pop("rebase", None)
        assert form.fields["f:value.limit"] == "128"
        assert form.send("preview").status_code == 200
        assert form.send("apply").status_code == 303


def test_t14_another_map_of_the_same_name_is_never_written(blob: bytes, editor: LocalClient) -> None:
    with rules(blob) as (_fd, map_id):
        form = Form(editor, entry(map_id) + "/edit")
        form.type("value.limit", "128")
        assert form.send("preview", reason="r").status_code == 200
    assert eventually(lambda: map_id not in {one.id for one in editor.application.extensions["client"].maps().maps})
    with rules(blob) as (fd, other):
        gone = form.send("apply")
        assert gone.status_code == 409
        assert "is gone: nothing was written" in gone.text
        form.path = entry(other) + "/edit"
        assert form.send("apply").status_code == 409
        assert value_of(fd) == FIRST


def test_an_entry_that_went_away(blob: bytes, editor: LocalClient) -> None:
    with rules(blob) as (fd, map_id):
        form = Form(editor, entry(map_id) + "/edit")
        form.type("value.limit", "128")
        assert form.send("preview", reason="r").status_code == 200
        map_delete(fd, u32(1))
        assert form.send("apply").status_code in {404, 409}
        assert value_of(fd) is None
        assert editor.get(entry(map_id) + "/edit").status_code == 404


def test_create_by_fields_and_by_one_text(blob: bytes, editor: LocalClient) -> None:
    with rules(blob, max_entries=3) as (fd, map_id):
        form = Form(editor, f"/maps/{map_id}/entries/new")
        assert form.fields["k:key"] == "0"
        form.fields["k:key"] = "7"
        form.type("value.limit", "5")
        form.type("value.state", "ESTABLISHED")
        assert form.send("preview", reason="r").status_code == 200, form.page
        assert "Create 1 entry in web_rules" in form.page
        done = form.send("apply")
        assert done.status_code == 303, form.page
        assert done.location.startswith(entry(map_id, u32(7)) + "?edit=")
        assert value_of(fd, u32(7)) == u64(0) + u32(5) + u32(1) + bytes(24)
        form = Form(editor, f"/maps/{map_id}/entries/new")
        form.fields["key"] = "hex:08000000"
        assert form.send("preview", reason="r").status_code == 200
        assert form.send("apply").status_code == 303
        again = Form(editor, f"/maps/{map_id}/entries/new")
        again.fields["key"] = "8"
        assert again.send("preview", reason="r").status_code == 200
        assert "There is an entry under this key already" in again.page
        assert again.send("apply").status_code == 409
        assert value_of(fd, u32(8)) == bytes(SIZE)
        bad = Form(editor, f"/maps/{map_id}/entries/new")
        bad.fields["key"] = "eight"
        assert bad.send("preview", reason="r").status_code == 422
        assert bad.fields["key"] == "eight"
        assert problems(bad.page)["key"] == "The key: __u32 from 0 to 4294967295 was wanted, found eight."


def test_a_full_map_is_told(blob: bytes, editor: LocalClient) -> None:
    with rules(blob) as (fd, map_id):
        map_update(fd, u32(2), FIRST)
        form = Form(editor, f"/maps/{map_id}/entries/new")
        form.fields["k:key"] = "3"
        assert form.send("preview", reason="r").status_code == 200
        answer = form.send("apply")
        assert answer.status_code == 422
        assert "The map is full" in form.page
        assert form.fields["k:key"] == "3"
        assert value_of(fd, u32(3)) is None


def test_delete_looks_first(blob: bytes, editor: LocalClient) -> None:
    with rules(blob) as (fd, map_id):
        form = Form(editor, entry(map_id) + "/delete")
        assert "Delete 1 entry from web_rules" in form.page
        map_update(fd, u32(1), FIRST[:8] + u32(65) + FIRST[12:])
        assert form.send("apply", reason="r").status_code == 409
        assert value_of(fd) is not None
        done = form.send("apply", reason="r")
        assert done.status_code == 303, form.page
        assert value_of(fd) is None
        page = editor.get(done.location).text
        assert "The entry is gone." in page
        undo = Form(editor, re.search(r'href="(/audit/\d+/undo)"', page)[1])  # type: ignore[index]
        assert undo.send("apply", reason="r").status_code == 303
        assert value_of(fd) == FIRST[:8] + u32(65) + FIRST[12:]


def test_t16_fields_of_the_kernel_are_shown_and_never_written(editor: LocalClient, tmp_path: Path) -> None:
    source = "struct bpf_spin_lock { __u32 val; }; struct locked { struct bpf_spin_lock lock; __u32 limit; };"
    blob = kernel_maps.compile_btf(source + "int use_0(struct locked *p) { return 0; }", tmp_path)
    btf = kernel_maps.parse(blob)
    spec = {"type": BpfMapType.ARRAY, "key_size": 4, "value_size": 8, "max_entries": 1, "name": b"web_locked"}
    with kernel_maps.created(blob, btf.find("__u32")[0], btf.find("locked")[0], **spec) as (fd, map_id):
        form = Form(editor, entry(map_id, u32(0)) + "/edit")
        assert "only the kernel can use the bytes of a bpf_spin_lock" in form.page
        assert "f:value.lock" not in form.fields
        form.fields["f:value.lock"] = "hex:01000000"
        assert form.send("preview", reason="r").status_code == 422
        form.type("value.limit", "7")
        assert form.send("preview", reason="r").status_code == 200
        assert form.send("apply").status_code == 303
        assert value_of(fd, u32(0), 8) == u32(0) + u32(7)


def test_one_cpu_and_all(editor: LocalClient) -> None:
    n_cpus = possible_cpus()
    spec = MapSpec(type=BpfMapType.PERCPU_ARRAY, key_size=4, value_size=8, max_entries=1, name=b"web_percpu")
    with live_map(spec) as fd:
        map_id = objects.map_info(fd).id
        form = Form(editor, entry(map_id, u32(0)) + f"/edit?cpu={n_cpus - 1}")
        form.type("value", "5")
        assert form.send("preview", reason="r").status_code == 200, form.page
        assert f"on CPU {n_cpus - 1}" in form.page
        assert form.send("apply").status_code == 303
        assert value_of(fd, u32(0), 8 * n_cpus) == bytes(8 * (n_cpus - 1)) + u64(5)
        form = Form(editor, entry(map_id, u32(0)) + "/edit?cpu=all")
        form.type("value", "6")
        assert form.send("preview", reason="r").status_code == 200, form.page
        assert form.send("apply").status_code == 303
        assert value_of(fd, u32(0), 8 * n_cpus) == u64(6) * n_cpus
        assert editor.get(entry(map_id, u32(0)) + "/edit?cpu=9999").status_code == 400


def test_slots_and_queues(editor: LocalClient) -> None:
    inner = MapSpec(type=BpfMapType.ARRAY, key_size=4, value_size=4, max_entries=1, name=b"web_inner")
    with live_map(inner) as template:
        inner_id = objects.map_info(template).id
        outer = MapSpec(
            type=BpfMapType.ARRAY_OF_MAPS,
            key_size=4,
            value_size=4,
            max_entries=2,
            name=b"web_outer",
            inner_map_fd=template,
        )
        with live_map(outer) as fd:
            map_id = objects.map_info(fd).id
            form = Form(editor, f"/maps/{map_id}/entries/new")
            form.fields |= {"k:key": "1", "thing": f"map:{inner_id}"}
            assert form.send("preview", reason="r").status_code == 200, form.page
            assert form.send("apply").status_code == 303, form.page
            assert value_of(fd, u32(1), 4) == u32(inner_id)
            form = Form(editor, entry(map_id, u32(0)) + "/edit")
            form.fields |= {"other": "prog:1"}
            assert form.send("preview", reason="r").status_code == 422
            assert "thing" in form.page
            assert problems(form.page)["other"].startswith("A slot of this map is given as map:ID")
            assert Form(editor, entry(map_id, u32(1)) + "/delete").send("apply", reason="r").status_code == 303
            assert value_of(fd, u32(1), 4) is None
    spec = MapSpec(type=BpfMapType.QUEUE, key_size=0, value_size=4, max_entries=2, name=b"web_queue")
    with live_map(spec) as fd:
        map_id = objects.map_info(fd).id
        form = Form(editor, f"/maps/{map_id}/entries/new")
        form.type("value", "9")
        assert form.send("preview", reason="r").status_code == 200, form.page
        assert "Put 1 value into web_queue" in form.page
        assert form.send("apply").status_code == 303, form.page
        manage = editor.get(f"/maps/{map_id}/manage").text
        assert "Preview taking one out" in manage
        hidden = dict(re.findall(r'<input type="hidden" name="(identity|csrf)" value="([^"]*)"', manage))
        fields = {name: html.unescape(text) for name, text in hidden.items()} | {"act": "pop", "path": ""}
        looked = editor.post(f"/maps/{map_id}/manage/preview", data=fields, headers={"Origin": ORIGIN})
        assert "Take 1 value out of web_queue" in looked.text
        done = editor.post(
            f"/maps/{map_id}/manage", data=inputs(looked.text) | {"reason": "r"}, headers={"Origin": ORIGIN}
        )
        assert done.status_code == 303, done.text
        value = bytearray(4)
        assert not map_lookup(fd, None, value)


def managed(client: LocalClient, map_id: int, act: str, **fields: str) -> TestResponse:
    """Preview an act on a map as the manage page does, then confirm it."""
    page = client.get(f"/maps/{map_id}/manage").text
    hidden = dict(re.findall(r'<input type="hidden" name="(identity|csrf)" value="([^"]*)"', page))
    sent = {name: html.unescape(text) for name, text in hidden.items()} | {"act": act, "path": fields.pop("path", "")}
    looked = client.post(f"/maps/{map_id}/manage/preview", data=sent, headers={"Origin": ORIGIN})
    if looked.status_code != 200:
        return looked
    return client.post(f"/maps/{map_id}/manage", data=inputs(looked.text) | fields, headers={"Origin": ORIGIN})


def test_clearing_wants_the_name_and_an_admin(blob: bytes, editor: LocalClient, admin: LocalClient) -> None:
    with rules(blob) as (fd, map_id):
        assert "what concerns a whole map is for admins" in editor.get(f"/maps/{map_id}/manage").text
        assert managed(admin, map_id, "clear", reason="r").status_code == 422
        assert managed(admin, map_id, "clear", reason="r", confirm="web_rule").status_code == 422
        assert value_of(fd) == FIRST
        assert managed(admin, map_id, "clear", reason="r", confirm="web_rules").status_code == 303
        assert value_of(fd) is None


def test_a_frozen_map_says_so_everywhere(blob: bytes, editor: LocalClient) -> None:
    with rules(blob) as (fd, map_id):
        form = Form(editor, entry(map_id) + "/edit")
        form.type("value.limit", "5")
        map_freeze(fd)
        answer = form.send("preview", reason="r")
        assert "The map is frozen" in answer.text
        assert "Change limit of" not in answer.text
        page = editor.get(entry(map_id)).text
        button = re.search(r'<button type="button" class="button" disabled title="([^"]*)"[^>]*>Edit</button>', page)
        assert button
        assert "frozen" in button[1]


def test_programs_that_only_read_leave_the_writing_to_user_space(blob: bytes, editor: LocalClient) -> None:
    with rules(blob, flags=BpfMapFlag.RDONLY_PROG) as (fd, map_id):
        form = Form(editor, entry(map_id) + "/edit")
        form.type("value.limit", "5")
        assert form.send("preview", reason="r").status_code == 200
        assert "BPF_F_RDONLY_PROG" in form.page
        assert "Whole value, compared and written back" in form.page
        assert form.send("apply").status_code == 303
        assert value_of(fd)[8:12] == u32(5)


def test_make_a_map(admin: LocalClient) -> None:
    pin = Path("/sys/fs/bpf/web_made")
    form = Form(admin, "/maps/new")
    form.fields |= {
        "type": "hash",
        "name": "web_made",
        "key_size": "4",
        "value_size": "many",
        "max_entries": "16",
        "pin": str(pin),
    }
    bad = admin.post("/maps/new", data=form.fields, headers={"Origin": ORIGIN})
    assert bad.status_code == 422
    assert problems(bad.text)["make-value_size"].startswith("Value size: a whole number")
    assert inputs(bad.text)["value_size"] == "many"
    looked = admin.post("/maps/new", data=form.fields | {"value_size": "8", "reason": "r"}, headers={"Origin": ORIGIN})
    assert looked.status_code == 200, looked.text
    done = admin.post("/maps/new", data=inputs(looked.text) | {"apply": "1"}, headers={"Origin": ORIGIN})
    try:
        assert done.status_code == 303, done.text
        assert pin.exists()
        assert "web_made" in admin.get(done.location).text
    finally:
        pin.unlink(missing_ok=True)


def test_t33_without_a_write_session_the_way_leads_to_the_password(blob: bytes, app: Flask) -> None:
    client = browser(app, app.extensions["settings"], "editor")
    with rules(blob) as (fd, map_id):
        page = client.get(entry(map_id)).text
        assert f'href="/elevate?next=%2Fmaps%2F{map_id}%2Fentries%2F01000000%2Fedit"' in page
        form = Form(client, entry(map_id) + "/edit")
        form.type("value.limit", "5")
        assert form.send("preview", reason="why").status_code == 200
        answer = form.send("apply")
        assert answer.status_code == 403
        assert form.fields["f:value.limit"] == "5"
        way = re.search(r'href="(/elevate\?next=[^"]*)"', answer.text.partition('class="edit-sheet"')[2])
        assert way
        assert value_of(fd) == FIRST
        client.elevate()
        map_update(fd, u32(1), u64(5000) + FIRST[8:])  # a counter that went on meanwhile was not typed
        back = client.get(unquote(html.unescape(way[1]).partition("next=")[2]))
        assert "limit" not in way[1]
        assert inputs(back.text)["f:value.packets"] == "5000"
        assert inputs(back.text)["f:value.limit"] == "5"
        assert inputs(back.text)["reason"] == "why"


def test_t09_a_viewer_sees_why_not(blob: bytes, app: Flask) -> None:
    viewer = browser(app, app.extensions["settings"], "viewer")
    with rules(blob) as (fd, map_id):
        page = viewer.get(entry(map_id)).text
        button = re.search(r'<button type="button" class="button" disabled title="([^"]*)"[^>]*>Edit</button>', page)
        assert button
        assert "only editors and admins edit" in button[1]
        for path in ("/edit", "/delete"):
            assert viewer.get(entry(map_id) + path).status_code == 403
        assert viewer.submit(entry(map_id) + "/edit", **{"f:value.limit": "1"}).status_code == 403
        assert value_of(fd) == FIRST


def test_t02_no_edit_without_the_page_that_it_belongs_to(blob: bytes, editor: LocalClient) -> None:
    with rules(blob) as (fd, map_id):
        form = Form(editor, entry(map_id) + "/edit")
        form.type("value.limit", "128")
        assert form.send("preview", reason="r").status_code == 200
        path = entry(map_id) + "/edit"
        without = {name: text for name, text in form.fields.items() if name != "csrf"}
        assert editor.post(path, data=without, headers={"Origin": ORIGIN}).status_code == 403
        assert editor.post(path, data=form.fields, headers={"Origin": "http://evil.example"}).status_code == 403
        assert editor.post(path, data=form.fields).status_code == 403
        assert value_of(fd) == FIRST


@pytest.mark.parametrize(("name", "text"), [
    ("identity", ""), ("identity", "[]"), ("identity", '["x"]'), ("identity", "{" * 100), ("seen", "zz"), ("seen", "00"),
    ("cpu", "-1"), ("owner", "\n"),
])  # fmt: skip
def test_a_form_that_was_tampered_with_writes_nothing(blob: bytes, editor: LocalClient, name: str, text: str) -> None:
    with rules(blob) as (fd, map_id):
        form = Form(editor, entry(map_id) + "/edit")
        form.type("value.limit", "128")
        assert form.send("preview", reason="r").status_code == 200
        form.fields[name] = text
        answer = form.send("apply")
        if name in {"identity", "seen"}:
            assert answer.status_code in {400, 409}
            assert value_of(fd) == FIRST
        else:
            assert answer.status_code in {303, 400, 409}


def test_fragments_are_fragments(blob: bytes, editor: LocalClient) -> None:
    with rules(blob) as (fd, map_id):
        fragment = editor.get(entry(map_id) + "/edit", headers={"HX-Request": "true"}).text
        assert fragment.lstrip().startswith('<section class="edit-sheet"')
        form = Form(editor, entry(map_id) + "/edit")
        form.type("value.limit", "128")
        assert form.send("preview", reason="r").status_code == 200
        done = editor.post(entry(map_id) + "/edit", data=form.fields, headers={"Origin": ORIGIN, "HX-Request": "true"})
        assert done.status_code == 200
        assert done.headers["HX-Redirect"].startswith(entry(map_id) + "?edit=")
        assert value_of(fd)[8:12] == u32(128)


# ---- the API -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def api(app: Flask) -> Any:
    """Ask as a script with an edit token of the editor."""
    value = (
        app.extensions["client"]
        .token_make(Credential(source="cli"), user="editor", label="test", scope="edit", days=1)
        .value
    )
    client = app.test_client()

    def ask(path: str, document: Any, token: str = value) -> TestResponse:
        return client.post(
            f"/api/v1{path}", data=json.dumps(document), base_url=ORIGIN,
            headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        )  # fmt: skip

    return ask


def test_api_sets_creates_deletes_and_undoes(blob: bytes, api: Any) -> None:
    with rules(blob) as (fd, map_id):
        planned = api(f"/maps/{map_id}/edits", {"key": 1, "set": {"value.limit": 128}, "dry_run": True})
        assert planned.status_code == 200, planned.text
        assert (planned.json["result"], planned.json["method"], planned.json["audit"]) == ("planned", "kernel_swap", 0)
        assert planned.json["fields"][0]["old"] == 64
        assert value_of(fd) == FIRST
        done = api(
            f"/maps/{map_id}/edits", {"key": 1, "set": {"value.limit": 128, "value.state": "CLOSING"}, "reason": "r"}
        )
        assert (done.status_code, done.json["result"]) == (200, "done")
        assert value_of(fd)[8:16] == u32(128) + u32(9)
        back = api(f"/audit/{done.json['audit']}/undo", {"reason": "r"})
        assert (back.status_code, back.json["result"]) == (200, "done"), back.text
        assert value_of(fd) == FIRST
        made = api(f"/maps/{map_id}/edits", {"key": 2, "create": {"limit": 3, "name": "x"}, "reason": "r"})
        assert made.status_code == 200, made.text
        assert value_of(fd, u32(2))[8:12] == u32(3)
        gone = api(f"/maps/{map_id}/edits", {"key": 2, "delete": True, "reason": "r"})
        assert gone.json["result"] == "done"
        assert value_of(fd, u32(2)) is None
        whole = api(f"/maps/{map_id}/edits", {"key": 1, "value": {"limit": 9}, "reason": "r"})
        assert whole.json["result"] == "done", whole.text
        assert value_of(fd) == FIRST[:8] + u32(9) + FIRST[12:]


@pytest.mark.parametrize(("asked", "status", "field", "told"), [
    ({"key": 1, "set": {"value.limit": 1 << 32}, "reason": "r"}, 422, "value.limit", "from 0 to 4294967295 was wanted"),
    ({"key": 1, "set": {"value.limit": "x"}, "reason": "r"}, 422, "value.limit", "from 0 to 4294967295 was wanted"),
    ({"key": 1, "set": {"value.nothing": 1}, "reason": "r"}, 422, "", "no field value.nothing"),
    ({"key": 1, "set": {"value.limit": 1}}, 422, "reason", "say why"),
    ({"key": 1, "set": {"value.limit": 1}, "expected": {"value.limit": 63}, "reason": "r"}, 409, "", "something else than what was expected"),
    ({"key": 1, "set": {"value.limit": 1}, "expected": {"value.state": 0}, "reason": "r"}, 422, "", "value.state holds ESTABLISHED"),
    ({"key": 9, "set": {"value.limit": 1}, "reason": "r"}, 404, "", "has no entry"),
    ({"key": "nine", "set": {"value.limit": 1}, "reason": "r"}, 422, "", "the key: __u32 from 0 to 4294967295 was wanted"),
    ({"key": 1, "reason": "r"}, 422, "", "say one thing to do"),
    ({"key": 1, "delete": True, "create": True, "reason": "r"}, 422, "", "say one thing to do"),
    ({"key": 1, "set": [1], "reason": "r"}, 400, "", "Expected `object`, got `array`"),
    ({"key": 1, "sets": {}, "reason": "r"}, 400, "", "unknown field"),
    ({"key": 1, "create": {}, "set": {}, "cpu": -1, "reason": "r"}, 400, "", "Expected `int` >= 0"),
    ({"key": 1, "thing": "prog:1", "reason": "r"}, 422, "action", "no such operation"),
])  # fmt: skip
def test_api_says_what_is_wrong(blob: bytes, api: Any, asked: Any, status: int, field: str, told: str) -> None:
    with rules(blob) as (fd, map_id):
        answer = api(f"/maps/{map_id}/edits", asked)
        assert answer.status_code == status, answer.text
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert told in answer.json["detail"]
        assert answer.json.get("field", "") == field
        assert value_of(fd) == FIRST


def test_api_wants_json_and_a_token_that_may_edit(blob: bytes, app: Flask, api: Any) -> None:
    reader = (
        app.extensions["client"]
        .token_make(Credential(source="cli"), user="editor", label="r", scope="read", days=1)
        .value
    )
    with rules(blob) as (fd, map_id):
        asked = {"key": 1, "set": {"value.limit": 1}, "reason": "r"}
        assert api(f"/maps/{map_id}/edits", asked, token=reader).status_code == 403
        assert api(f"/maps/{map_id}/edits", asked, token="forged").status_code == 401
        form = app.test_client().post(
            f"/api/v1/maps/{map_id}/edits",
            data={"key": "1"},
            base_url=ORIGIN,
            headers={"Authorization": f"Bearer {reader}"},
        )
        assert form.status_code == 400
        assert api("/maps/4294967295/edits", asked).status_code == 404
        assert api("/audit/0/undo", {"reason": "r"}).status_code == 404
        assert api("/audit/99999/undo", {"reason": "r"}).status_code == 404
        assert value_of(fd) == FIRST


def test_api_is_described(editor: LocalClient) -> None:
    document = editor.get("/api/v1/openapi.json").json
    assert "post" in document["paths"]["/maps/{id}/edits"]
    assert "post" in document["paths"]["/audit/{id}/undo"]
    assert "EditQuestion" in document["components"]["schemas"]
