"""A canary in hidden fields comes out of no page, file, filter, order or log for a role that it is hidden from."""

from __future__ import annotations

import html
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

from app.broker.local import client as local_client
from app.settings import Settings
from app.uapi import loading, objects
from app.uapi.cpus import possible_cpus
from app.uapi.enums import BpfMapType
from app.uapi.syscall import MapSpec, map_lookup, map_update
from app.web import opening
from app.web.factory import create_app
from app.wire.accounts import Credential
from tests.btfs import compile_blob
from tests.livemaps import live_map, u32, u64
from tests.web.conftest import PASSWORD, browser

pytestmark = pytest.mark.kernel

SOURCE = """
typedef unsigned int u32; typedef unsigned long long u64;
struct value { u64 packets; u64 secret; char token[16]; u32 limit; u32 more; };
int f(struct value *value) { return value->limit; }
"""
NUMBER = 0x1122_3344_5566_7788
TOKEN = b"CANARY-4711-HUSH"
FORMS = (
    str(NUMBER), f"{NUMBER:x}", f"{NUMBER:,}".replace(",", "\u2009"), "88 77 66 55", "8877665544332211", "0x88", "0x55",
    TOKEN.decode(), TOKEN.hex(), TOKEN.hex(" ")[:23], "0x43\",\"0x41", "CANARY",
)  # fmt: skip
POLICY = """
version = 1
[[rule]]
[[redact]]
maps = ["web_hidden"]
fields = ["value.secret", "value.token"]
hide_from = ["viewer", "editor"]
[[redact]]
maps = ["web_bytes"]
hide_from = ["viewer", "editor"]
"""


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Flask]:
    (tmp_path / "policy.toml").write_text(POLICY)
    settings = Settings(data=tmp_path, listen="127.0.0.1:8470", allow_edits=True, audit_copies=())
    with local_client(settings) as client:
        for role in ("viewer", "editor"):
            client.user_add(Credential(), role, role, PASSWORD)
        yield create_app(settings, client)


@pytest.fixture(scope="module")
def value_type() -> Iterator[tuple[int, int]]:
    from app.btf.parse import parse

    blob = compile_blob(SOURCE)
    fd = loading.btf_load(blob)
    yield fd, parse(blob).find("value")[0]
    os.close(fd)


@pytest.fixture(params=["hash", "large hash", "percpu_array", "bytes"])
def hidden(request: pytest.FixtureRequest, value_type: tuple[int, int]) -> Iterator[int]:
    """Id of a map whose every value has the canary."""
    fd, type_id = value_type
    value = u64(5) + u64(NUMBER) + TOKEN + u32(6) + u32(0)
    per_cpu = request.param == "percpu_array"
    typed = (
        {} if request.param == "bytes" else {"btf_fd": fd, "btf_key_type_id": key_type(), "btf_value_type_id": type_id}
    )
    count = 20_000 if request.param == "large hash" else 12
    spec = MapSpec(
        type=BpfMapType.PERCPU_ARRAY if per_cpu else BpfMapType.HASH,
        key_size=4,
        value_size=40,
        max_entries=count + 1,
        name=b"web_hidden" if typed else b"web_bytes",
        **typed,  # type: ignore[arg-type]
    )
    with live_map(spec) as map_fd:
        for number in range(count):
            map_update(map_fd, u32(number), value * (possible_cpus() if per_cpu else 1))
        yield objects.map_info(map_fd).id


def key_type() -> int:
    from app.btf.parse import parse

    return parse(compile_blob(SOURCE)).find("u32")[0]


QUESTIONS = (
    "/maps/{id}",
    "/maps/{id}?limit=1000",
    "/maps/{id}?col=value.secret&col=value.token",
    "/maps/{id}?col=value",
    "/maps/{id}?lens=value.secret:hex",
    "/maps/{id}?fold=each",
    f"/maps/{{id}}?where=value.secret+==+{NUMBER}",
    "/maps/{id}?where=value.secret+!=+0",
    "/maps/{id}?where=value+startswith+hex:0500000000000000",
    "/maps/{id}?where=value.token+contains+%22CANARY%22",
    "/maps/{id}?where=value.packets+==+value.secret",
    "/maps/{id}?sort=value.secret",
    "/maps/{id}?sort=-value",
    "/maps/{id}?format=json",
    "/maps/{id}?format=ndjson",
    "/maps/{id}?format=csv",
    "/maps/{id}?format=csv&col=value.secret&col=value",
    "/maps/{id}?format=csv&sort=value.token",
    "/maps/{id}/entries/03000000",
    "/maps/{id}/schema",
    "/maps/{id}/relations",
    "/api/v1/maps/{id}",
    "/api/v1/maps/{id}/entries",
    "/api/v1/maps/{id}/entries?where=value.secret+>+0",
    "/api/v1/maps/{id}/entries?sort=-value.secret",
    "/maps/{id}/entries/03000000/edit",
    "/audit",
    "/api/v1/audit",
    "/audit.jsonl",
)


def leaks(text: str) -> list[str]:
    return [form for form in FORMS if form in text]


@pytest.mark.parametrize("role", ["viewer", "editor"])
def test_t18_the_canary_comes_out_nowhere(
    app: Flask, hidden: int, role: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    client = browser(app, app.extensions["settings"], role)
    answered = 0
    for question in QUESTIONS:
        path = question.format(id=hidden)
        answer = client.get(path)
        said = path.replace(str(NUMBER), "")  # what was asked for is repeated in the filter box
        text = answer.text.replace(str(NUMBER), "") if str(NUMBER) in path else answer.text
        assert [form for form in leaks(text) if form not in path.replace("%22", '"')] == [], said
        answered += answer.status_code == 200
    assert answered >= 10
    assert leaks(caplog.text) == []
    assert leaks("".join(capfd.readouterr())) == []


def test_t18_an_admin_sees_it(app: Flask, hidden: int) -> None:
    """So the test above can fail."""
    client = browser(app, app.extensions["settings"])
    found = [question for question in QUESTIONS if leaks(client.get(question.format(id=hidden)).text)]
    assert len(found) >= 8, found


def test_t18_filters_and_orders_by_a_hidden_field_are_refused(app: Flask, value_type: tuple[int, int]) -> None:
    fd, type_id = value_type
    spec = MapSpec(type=BpfMapType.HASH, key_size=4, value_size=40, max_entries=4, name=b"web_hidden",
                   btf_fd=fd, btf_key_type_id=key_type(), btf_value_type_id=type_id)  # fmt: skip
    with live_map(spec, [(u32(1), u64(5) + u64(NUMBER) + TOKEN + u64(6))]) as map_fd:
        number = objects.map_info(map_fd).id
        client = browser(app, app.extensions["settings"], "viewer")
        for words in ("where=value.secret+>+1", "sort=value.secret", "where=not+value.token+==+%22x%22"):
            answer = client.get(f"/maps/{number}?{words}")
            assert answer.status_code >= 400
            assert "hidden from your role" in answer.text
        page = client.get(f"/maps/{number}?where=value.packets+==+5").text
        assert page.count("<bdi>redacted</bdi>") == 2
        assert "redacted" in client.get(f"/maps/{number}/entries/01000000").text
        entries = client.get(f"/api/v1/maps/{number}/entries").json["entries"]
        assert entries == [{"key": 1, "value": {"packets": 5, "secret": None, "token": None, "limit": 6, "more": 0}}]


def test_t18_what_comes_of_an_edit_does_not_tell_either(app: Flask, value_type: tuple[int, int]) -> None:
    fd, type_id = value_type
    spec = MapSpec(type=BpfMapType.HASH, key_size=4, value_size=40, max_entries=4, name=b"web_hidden",
                   btf_fd=fd, btf_key_type_id=key_type(), btf_value_type_id=type_id)  # fmt: skip
    with live_map(spec, [(u32(1), u64(5) + u64(NUMBER) + TOKEN + u64(6))]) as map_fd:
        number = objects.map_info(map_fd).id
        client = browser(app, app.extensions["settings"], "editor")
        client.elevate()
        headers = {"Origin": "http://127.0.0.1:8470", "X-Csrf-Token": client.csrf}
        for set_, dry_run in (
            ({"value.limit": 9}, True), ({"value.limit": 9}, False), ({"value.secret": 1}, True), ({"value.secret": 1}, False),
            ({"value.token": "x"}, True), ({"value": {"packets": 1}}, False), ({"value": "hex:" + "00" * 40}, False),
        ):  # fmt: skip
            asked = {"key": 1, "set": set_, "reason": "a test", "dry_run": dry_run}
            answer = client.post(f"/api/v1/maps/{number}/edits", json=asked, headers=headers)
            assert leaks(answer.text) == [], asked
            assert (answer.status_code == 200) == ("value.limit" in set_), answer.text
        page = client.get(f"/maps/{number}/entries/01000000/edit").text
        fields = {"f:value.packets": "5", "f:value.limit": "77", "f:value.more": "0", "reason": "a test"}
        for name in ("identity", "seen"):
            fields[name] = html.unescape(re.findall(rf'name="{name}" value="([^"]*)"', page)[0])
        preview = client.submit(f"/maps/{number}/entries/01000000/edit/preview", **fields)
        assert preview.status_code == 200
        assert "··" in preview.text
        assert leaks(preview.text) == []
        entry = client.get(f"/maps/{number}/entries/01000000").text
        assert leaks(entry) == []
        assert objects.map_info(map_fd).id == number
        value = bytearray(40)
        assert map_lookup(map_fd, u32(1), value)
        assert bytes(value) == u64(5) + u64(NUMBER) + TOKEN + u32(9) + u32(0), "what is hidden was not written over"


def test_t18_a_plan_does_not_tell_either(app: Flask, value_type: tuple[int, int]) -> None:
    fd, type_id = value_type
    spec = MapSpec(type=BpfMapType.HASH, key_size=4, value_size=40, max_entries=4, name=b"web_hidden",
                   btf_fd=fd, btf_key_type_id=key_type(), btf_value_type_id=type_id)  # fmt: skip
    rows = f"key,value.secret,value.token,value.limit\n1,{NUMBER},CANARY-new,7\n2,{NUMBER},CANARY-new,7\n"
    with live_map(spec, [(u32(1), u64(5) + u64(NUMBER - 1) + TOKEN + u64(6))]) as map_fd:
        admin, editor = browser(app, app.extensions["settings"]), browser(app, app.extensions["settings"], "editor")
        number = objects.map_info(map_fd).id
        admin.get(f"/plans/new?map={number}")
        made = admin.submit("/plans/new", map=str(number), rows=rows, reason="a test")
        assert made.status_code == 303, made.text
        assert leaks(admin.get(made.location).text)
        page = editor.get(made.location).text
        assert leaks(page) == []
        assert "value.secret redacted, value.token redacted, value.limit 6 → 7" in page
    gone = editor.get(made.location).text
    assert leaks(gone) == []
    assert "value.limit redacted" in gone
    assert leaks(admin.get(made.location).text)


def test_t18_a_reading_of_somebody_who_sees_more_is_not_shared(app: Flask, hidden: int) -> None:
    admin = browser(app, app.extensions["settings"])
    page = admin.get(f"/maps/{hidden}?limit=5&sort=key").text
    (cursor,) = set(re.findall(r"cursor=(v[\w-]{12})\.5", page))
    assert admin.get(f"/maps/{hidden}?sort=key&cursor={cursor}.5").status_code == 200
    viewer = browser(app, app.extensions["settings"], "viewer")
    for more in ("", "&format=json", "&format=csv"):
        answer = viewer.get(f"/maps/{hidden}?sort=key&cursor={cursor}.5{more}")
        assert answer.status_code in {409, 410}
        assert leaks(answer.text) == []


def test_t18_no_page_opens_a_map_past_the_policy() -> None:
    folder = Path(opening.__file__).parent
    past = [
        path.name
        for path in folder.rglob("*.py")
        if path != Path(opening.__file__)
        and re.search(
            r"from app\.maps\.opening import .*\bopen_map\b|from app\.maps import .*\bopening\b|\.map_open\(",
            path.read_text(),
        )
    ]
    assert past == []


def test_with_an_error_in_the_policy_only_admins_see_values(app: Flask, hidden: int) -> None:
    (app.extensions["settings"].data / "policy.toml").write_text("version = 1\n[[rule]]\nrole = 3\n")
    viewer = browser(app, app.extensions["settings"], "viewer")
    assert leaks(viewer.get(f"/maps/{hidden}/entries/03000000").text) == []
    assert leaks(browser(app, app.extensions["settings"]).get(f"/maps/{hidden}/entries/03000000").text)
