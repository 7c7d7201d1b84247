"""Pages of plans: many edits looked at before they are made; what is wrong comes back with what was typed."""

from __future__ import annotations

import contextlib
import html
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from app.broker.local import client as local_client
from app.settings import Settings
from app.uapi.enums import BpfMapFlag, BpfMapType
from app.uapi.syscall import map_lookup, map_update
from app.web.factory import create_app
from app.wire.accounts import Credential
from tests.columns import kernel_maps
from tests.livemaps import u32
from tests.web.conftest import ORIGIN, PASSWORD, LocalClient, browser

pytestmark = pytest.mark.kernel

SOURCE = "struct rule { unsigned int limit, hits; }; int use_0(struct rule *p) { return 0; }"
POLICY = 'version = 1\n[[rule]]\nmaps = ["two_*"]\napprovals = 1\n[[rule]]\n'


@pytest.fixture(scope="module")
def blob(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return kernel_maps.compile_btf(SOURCE, tmp_path_factory.mktemp("btf"))


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Flask]:
    (tmp_path / "policy.toml").write_text(POLICY)
    settings = Settings(data=tmp_path, listen="127.0.0.1:8470", allow_edits=True, audit_copies=())
    with local_client(settings) as client:
        for name, role in {"editor": "editor", "second": "editor", "viewer": "viewer"}.items():
            client.user_add(Credential(source="cli"), name, role, PASSWORD)
        yield create_app(settings, client)


def person(app: Flask, name: str, *, writing: bool = True) -> LocalClient:
    client = browser(app, app.extensions["settings"], name)
    if writing:
        client.elevate()
    return client


@pytest.fixture
def editor(app: Flask) -> LocalClient:
    return person(app, "editor")


@contextlib.contextmanager
def rules(blob: bytes, name: bytes = b"web_plan") -> Iterator[tuple[int, int]]:
    btf = kernel_maps.parse(blob)
    spec = {"key_size": 4, "value_size": 8, "max_entries": 4, "name": name}
    with kernel_maps.created(blob, btf.find("unsigned int")[0], btf.find("rule")[0], **spec) as (fd, map_id):
        for key in range(3):
            map_update(fd, u32(key), u32(10 + key) + u32(7))
        yield fd, map_id


def limits(fd: int) -> list[int]:
    found = []
    for key in range(3):
        value = bytearray(8)
        if map_lookup(fd, u32(key), value):
            found.append(int.from_bytes(value[:4], "little"))
    return found


def make(client: LocalClient, map_id: int, **fields: Any) -> Any:
    """The form, filled in and sent; what came back."""
    form = client.get(f"/plans/new?map={map_id}").text
    csrf = re.search(r'name="csrf" value="([^"]+)"', form)
    assert csrf
    given = {"map": str(map_id), "csrf": csrf[1], "reason": "ticket 4411", **fields}
    return client.post("/plans/new", data=given, headers={"Origin": ORIGIN}, content_type="multipart/form-data")


def step(client: LocalClient, plan: str, name: str) -> Any:
    """The button, where nobody records: tests/web/test_snapshots.py has the snapshot before a plan."""
    page = client.get(plan).text
    csrf = re.search(r'name="csrf" value="([^"]+)"', page)
    assert csrf
    return client.post(f"{plan}/{name}", data={"csrf": csrf[1], "no_snapshot": "1"}, headers={"Origin": ORIGIN})


def inputs(page: str) -> dict[str, str]:
    """Names and values of the inputs of the edit form that have both."""
    form = page[page.index('<section class="edit-sheet"') :].partition("</section>")[0]
    pairs = re.findall(r'<input[^>]* name="([^"]+)"[^>]* value="([^"]*)"', form)
    return {name: html.unescape(value) for name, value in pairs}


def buttons(page: str) -> list[str]:
    at = page[page.index('<div id="plan"') :].partition("</main>")[0]
    return [html.unescape(each) for each in re.findall(r"<button[^>]*>([^<]+)</button>", at)]


ROWS = "key,value.limit\n0,100\n2,102\n"


def test_pasted_rows_are_a_plan_that_is_looked_at_and_applied(blob: bytes, editor: LocalClient) -> None:
    with rules(blob) as (fd, map_id):
        assert f'href="/plans/new?map={map_id}' in editor.get(f"/maps/{map_id}").text
        assert "key,value.limit" in editor.get(f"/plans/new?map={map_id}").text
        made = make(editor, map_id, rows=ROWS)
        assert made.status_code == 303, made.text
        page = editor.get(made.location).text
        assert "value.limit 10 → 100" in html.unescape(page)
        assert "all 2 rows can be written" in page
        assert buttons(page) == ["Apply 2 rows of web_plan", "Check again", "Cancel plan"]
        assert limits(fd) == [10, 11, 12]
        assert step(editor, made.location, "start").status_code == 303
        page = editor.get(made.location).text
        assert "All rows are done." in page
        assert buttons(page) == []
        assert limits(fd) == [100, 11, 102]
        assert len(set(re.findall(r'href="/audit/(\d+)"', page))) == 2
        assert made.location in editor.get("/plans").text


def test_a_file_that_was_sent(blob: bytes, editor: LocalClient) -> None:
    with rules(blob) as (_fd, map_id):
        made = make(editor, map_id, file=(io.BytesIO(ROWS.encode()), "rows.csv"))
        assert made.status_code == 303, made.text
        assert "value.limit 12 → 102" in editor.get(made.location).text
        assert make(editor, map_id, file=(io.BytesIO(b"\xff\xfe"), "rows.csv")).status_code == 400


@pytest.mark.parametrize(("rows", "told"), [
    ("", "there are no rows"),
    ("key,value.limit\n9,5000000000\n", "row 2: value.limit: unsigned int from 0 to 4294967295 was wanted"),
    ("key,value.<b>\n0,1\n", "value.&lt;b&gt;"),
    ("[{", "no JSON"),
    ("key,value.limit\n" + "".join(f"{key},1\n" for key in range(1001)), "there are more than 1000: split them"),
])  # fmt: skip
def test_rows_that_cannot_be_come_back_with_a_sentence(blob: bytes, editor: LocalClient, rows: str, told: str) -> None:
    with rules(blob) as (fd, map_id):
        answer = make(editor, map_id, rows=rows)
        assert answer.status_code == 422
        assert told in answer.text
        kept = re.search(r"<textarea[^>]*>(.*?)</textarea>", answer.text, re.DOTALL)
        assert kept
        assert html.unescape(kept[1]).strip() == rows.strip()
        assert 'value="ticket 4411"' in answer.text
        assert limits(fd) == [10, 11, 12]
        assert "No plan yet" in editor.get("/plans").text


def test_no_reason_no_plan(blob: bytes, editor: LocalClient) -> None:
    with rules(blob) as (_fd, map_id):
        answer = make(editor, map_id, rows=ROWS, reason=" ")
        assert answer.status_code == 422
        assert "Say why" in answer.text
        assert "0,100" in answer.text


def test_a_filter_chooses_the_rows(blob: bytes, editor: LocalClient) -> None:
    with rules(blob) as (fd, map_id):
        form = editor.get(f"/plans/new?map={map_id}&where=value.limit+%3E+10").text
        assert 'value="value.limit &gt; 10"' in form
        made = make(editor, map_id, where="value.limit > 10", action="set", path="value.limit", value="1")
        assert made.status_code == 303, made.text
        assert step(editor, made.location, "start").status_code == 303
        assert limits(fd) == [10, 1, 1]
        bad = make(editor, map_id, where="value.limit >", action="delete")
        assert bad.status_code == 422
        assert 'value="value.limit &gt;"' in bad.text
        gone = make(editor, map_id, where="value.limit == 1", action="delete")
        assert step(editor, gone.location, "start").status_code == 303
        assert limits(fd) == [10]


def test_keys_and_new_entries_are_shown_as_people_read_them(editor: LocalClient, tmp_path: Path) -> None:
    source = "struct lpm { unsigned int prefixlen; unsigned int addr; }; struct key { unsigned short zone, port; };"
    blob = kernel_maps.compile_btf(SOURCE + source + "int use_1(struct lpm *p, struct key *k) { return 0; }", tmp_path)
    btf = kernel_maps.parse(blob)
    spec = {"key_size": 8, "value_size": 8, "max_entries": 4, "name": b"web_trie"}
    trie = {"type": BpfMapType.LPM_TRIE, "flags": BpfMapFlag.NO_PREALLOC}
    with kernel_maps.created(blob, btf.find("lpm")[0], btf.find("rule")[0], **spec, **trie) as (_fd, map_id):
        assert "key,value.limit\n0.0.0.0/0,1" in editor.get(f"/plans/new?map={map_id}").text
        made = make(editor, map_id, rows="key,value.limit\n10.9.0.0/16,5\n")
        page = editor.get(made.location).text
        assert re.search(r"<bdi>10\.9\.0\.0/16</bdi>", page)
        assert "create value.limit 5" in page
    spec |= {"key_size": 4, "name": b"web_pairs"}
    with kernel_maps.created(blob, btf.find("key")[0], btf.find("rule")[0], **spec) as (_fd, map_id):
        assert "key.zone,key.port,value.limit\n0,0,1" in editor.get(f"/plans/new?map={map_id}").text


def test_a_stale_row_stops_it_and_it_goes_on(blob: bytes, editor: LocalClient) -> None:
    with rules(blob) as (fd, map_id):
        made = make(editor, map_id, rows=ROWS)
        map_update(fd, u32(2), u32(55) + u32(7))
        assert step(editor, made.location, "start").status_code == 303
        page = editor.get(made.location).text
        assert "Stopped at row 2" in page
        assert buttons(page)[0] == "Go on with 1 row of web_plan"
        assert limits(fd) == [100, 11, 55]
        map_update(fd, u32(2), u32(12) + u32(7))
        assert step(editor, made.location, "start").status_code == 303
        assert limits(fd) == [100, 11, 102]


def test_without_a_write_session_a_plan_is_made_and_not_applied(blob: bytes, app: Flask) -> None:
    quiet = person(app, "editor", writing=False)
    with rules(blob) as (fd, map_id):
        made = make(quiet, map_id, rows=ROWS)
        assert made.status_code == 303, made.text
        answer = step(quiet, made.location, "start")
        assert answer.status_code == 403
        assert "write session" in answer.text
        assert limits(fd) == [10, 11, 12]


def test_another_editor_may_look_and_not_touch(blob: bytes, app: Flask, editor: LocalClient) -> None:
    second, viewer = person(app, "second"), person(app, "viewer", writing=False)
    with rules(blob) as (fd, map_id):
        made = make(editor, map_id, rows=ROWS)
        assert buttons(second.get(made.location).text) == []
        for name in ("start", "cancel"):
            csrf = re.search(r'name="csrf" value="([^"]+)"', second.get(f"/plans/new?map={map_id}").text)
            assert csrf
            told = second.post(f"{made.location}/{name}", data={"csrf": csrf[1]}, headers={"Origin": ORIGIN})
            assert told.status_code == 403
        assert viewer.get(made.location).status_code == 403
        assert limits(fd) == [10, 11, 12]


def test_where_a_second_person_must_agree_an_edit_waits_for_them(blob: bytes, app: Flask, editor: LocalClient) -> None:
    second = person(app, "second")
    with rules(blob, b"two_plans") as (fd, map_id):
        entry = f"/maps/{map_id}/entries/{u32(1).hex()}/edit"
        form = editor.get(entry).text
        fields = inputs(form)
        fields |= {"f:value.limit": "99", "reason": "ticket 4411"}
        seen = editor.post(f"{entry}/preview", data=fields, headers={"Origin": ORIGIN})
        assert seen.status_code == 200, seen.text
        fields |= inputs(seen.text)
        asked = editor.post(entry, data=fields, headers={"Origin": ORIGIN})
        assert asked.status_code == 303, asked.text
        assert re.fullmatch(r"/plans/\d+", asked.location)
        assert limits(fd) == [10, 11, 12]
        assert buttons(editor.get(asked.location).text) == ["Cancel plan"]
        assert buttons(second.get(asked.location).text) == ["Agree, and apply 1 row of two_plans"]
        assert step(second, asked.location, "approve").status_code == 303
        assert limits(fd) == [10, 99, 12]
        page = second.get(asked.location).text
        assert "All rows are done." in page
        record = re.search(r'href="(/audit/\d+)"', page)
        assert record


def test_no_token_no_step(blob: bytes, editor: LocalClient) -> None:
    with rules(blob) as (fd, map_id):
        made = make(editor, map_id, rows=ROWS)
        assert editor.post(f"{made.location}/start", headers={"Origin": ORIGIN}).status_code == 403
        assert limits(fd) == [10, 11, 12]


def test_there_is_none(editor: LocalClient) -> None:
    for path in ("/plans/1", "/plans/x", "/plans/0", "/plans/99999999999999999999999"):
        assert editor.get(path).status_code == 404, path
    assert editor.get("/plans/new?map=x").status_code == 404
    assert editor.get("/plans/new?map=4294967295").status_code == 404
    assert "No plan yet" in editor.get("/plans").text
