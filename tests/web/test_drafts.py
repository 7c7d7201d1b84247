"""What was typed is there again after signing in: kept in memory, for a while, and for nobody who was never signed in."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest
from flask import Flask
from werkzeug.datastructures import MultiDict

from app.broker.local import client as local_client
from app.settings import Settings
from app.uapi.syscall import map_lookup, map_update
from app.web import cookies
from app.web.drafts import LARGEST, LASTS_S, MOST, Drafts
from app.web.factory import create_app
from app.wire.accounts import Credential
from tests.columns import kernel_maps
from tests.livemaps import u32
from tests.web.conftest import ORIGIN, PASSWORD, LocalClient, browser, stranger
from tests.web.test_edits import Form, inputs

SOURCE = "struct rule { unsigned int limit, hits; }; int use_0(struct rule *p) { return 0; }"


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Flask]:
    settings = Settings(data=tmp_path, listen="127.0.0.1:8470", allow_edits=True, audit_copies=())
    with local_client(settings) as client:
        client.user_add(Credential(source="cli"), "editor", "editor", PASSWORD)
        yield create_app(settings, client)


@pytest.fixture
def editor(app: Flask) -> LocalClient:
    return browser(app, app.extensions["settings"], "editor")


def end_sessions(app: Flask) -> None:
    client = app.extensions["client"]
    for each in client.sessions(Credential(source="cli")):
        client.session_end(Credential(source="cli"), each.id)


def test_a_draft_is_found_by_its_number_and_path_alone_and_not_for_ever() -> None:
    now = [0.0]
    drafts = Drafts(lambda: now[0])
    form = MultiDict(
        [("f:value.on", "false"), ("f:value.on", "true"), ("reason", "why"), ("csrf", "x"), ("apply", "1")]
    )
    path, _, number = drafts.keep("/maps/1/entries/00/edit", form).partition("?draft=")
    assert path == "/maps/1/entries/00/edit"
    found = drafts.find(number, path)
    assert found is not None
    assert list(found.items(multi=True)) == [("f:value.on", "false"), ("f:value.on", "true"), ("reason", "why")]
    assert drafts.find(number, "/maps/2/entries/00/edit") is None
    assert drafts.find("", path) is None
    now[0] = LASTS_S
    assert drafts.find(number, path) is None


def test_they_take_little_room() -> None:
    drafts = Drafts()
    assert drafts.keep("/a", MultiDict({"f:value": "x" * (LARGEST + 1)})) == "/a"
    kept = [drafts.keep("/a", MultiDict({"n": str(number)})).partition("?draft=")[2] for number in range(MOST + 3)]
    assert [drafts.find(number, "/a") is not None for number in kept] == [False] * 3 + [True] * MOST


@pytest.mark.kernel
def test_an_edit_that_was_typed_when_the_session_ended_is_there_again(
    app: Flask, editor: LocalClient, tmp_path: Path
) -> None:
    blob = kernel_maps.compile_btf(SOURCE, tmp_path)
    btf = kernel_maps.parse(blob)
    spec = {"key_size": 4, "value_size": 8, "max_entries": 2, "name": b"web_drafts"}
    with kernel_maps.created(blob, btf.find("unsigned int")[0], btf.find("rule")[0], **spec) as (fd, map_id):
        map_update(fd, u32(1), u32(64) + u32(7))
        path = f"/maps/{map_id}/entries/{u32(1).hex()}/edit"
        form = Form(editor, path)
        form.type("value.limit", "128")
        end_sessions(app)
        answer = form.send("preview", reason="ticket 4411")
        assert answer.status_code == 303
        login, _, target = answer.location.partition("?next=")
        assert login == "/login"
        assert re.fullmatch(re.escape(path) + r"\?draft=[\w-]{22}", unquote(target))
        map_update(fd, u32(1), u32(64) + u32(99))  # a counter that went on is not something that was typed
        stranger_ = stranger(app)
        assert stranger_.get(unquote(target)).status_code == 303
        again = browser(app, app.extensions["settings"], "editor").get(unquote(target))
        fields = inputs(again.text)
        assert (fields["f:value.limit"], fields["f:value.hits"], fields["reason"]) == ("128", "99", "ticket 4411")
        value = bytearray(8)
        assert map_lookup(fd, u32(1), value)
        assert value == u32(64) + u32(99)


@pytest.mark.kernel
def test_a_new_entry_and_a_plan_that_were_typed_are_there_again(
    app: Flask, editor: LocalClient, tmp_path: Path
) -> None:
    blob = kernel_maps.compile_btf(SOURCE, tmp_path)
    btf = kernel_maps.parse(blob)
    spec = {"key_size": 4, "value_size": 8, "max_entries": 2, "name": b"web_drafts"}
    with kernel_maps.created(blob, btf.find("unsigned int")[0], btf.find("rule")[0], **spec) as (_fd, map_id):
        new = Form(editor, f"/maps/{map_id}/entries/new")
        new.type("value.limit", "44")
        new.fields["k:key"] = "9"
        end_sessions(app)
        over = new.send("preview", reason="new tenant")
        fields = inputs(
            browser(app, app.extensions["settings"], "editor").get(unquote(over.location.partition("?next=")[2])).text
        )
        assert (fields["f:value.limit"], fields["k:key"], fields["reason"]) == ("44", "9", "new tenant")
        typed = {"map": str(map_id), "rows": "key,value.limit\n1,<5>\n", "reason": "ticket 4411"}
        answer = editor.post("/plans/new", data=typed, headers={"Origin": ORIGIN}, content_type="multipart/form-data")
        assert answer.status_code == 303
        target = unquote(answer.location.partition("?next=")[2])
        again = browser(app, app.extensions["settings"], "editor").get(target)
        assert again.status_code == 200, again.text
        assert "1,&lt;5&gt;" in again.text
        assert 'value="ticket 4411"' in again.text


@pytest.mark.kernel
def test_a_strangers_form_is_not_kept(app: Flask) -> None:
    client = stranger(app)
    for value in ("", "nonsense"):
        client.set_cookie(cookies.session_name(app.extensions["settings"]), value, domain="127.0.0.1")
        answer = client.post("/maps/1/entries/00/edit", data={"f:value": "1"}, headers={"Origin": ORIGIN})
        assert (answer.status_code, answer.location) == (303, "/login")
