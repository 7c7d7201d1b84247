"""Back to a snapshot: looked at first, then a plan like any other; nothing is written by the page itself."""

from __future__ import annotations

import html
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.uapi.enums import BpfMapType
from app.uapi.objects import map_info
from app.uapi.syscall import MapSpec, map_delete, map_lookup, map_update
from tests.columns import kernel_maps
from tests.livemaps import live_map
from tests.web.conftest import ORIGIN, LocalClient
from tests.web.recorded import FLOWS, Recorded, flow, flow_key, flows, recorded

pytestmark = pytest.mark.kernel


@pytest.fixture(scope="module")
def blob(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return kernel_maps.compile_btf(FLOWS, tmp_path_factory.mktemp("btf"))


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    with recorded(tmp_path_factory.mktemp("past")) as made:
        yield made


@pytest.fixture(scope="module")
def editor(past: Recorded) -> LocalClient:
    return past.person("editor", writing=True)


class Moved:
    """A map that went on since its snapshot: 1 entry to be created, 1 deleted, 2 set back, 5 the same."""

    def __init__(self, past: Recorded, fd: int, map_id: int) -> None:
        for number in range(8):
            map_update(fd, flow_key(number), flow(number))
        self.then = contents(fd)
        self.ref = past.take(map_id, label="before <deploy>")
        map_update(fd, flow_key(0), flow(100))
        map_update(fd, flow_key(1), flow(1, limit=9))
        map_delete(fd, flow_key(7))
        map_update(fd, flow_key(50), flow(50))
        self.fd, self.map_id, self.series = fd, map_id, past.series(map_id).id


def contents(fd: int) -> dict[int, bytes]:
    found = {}
    for number in range(64):
        value = bytearray(48)
        if map_lookup(fd, flow_key(number), value):
            found[number] = bytes(value)
    return found


@pytest.fixture
def moved(past: Recorded, blob: bytes, request: pytest.FixtureRequest) -> Iterator[Moved]:
    name = f"web_{abs(hash(request.node.name)) % 10**9}".encode()
    with flows(blob, name) as (fd, map_id):
        yield Moved(past, fd, map_id)


def counts(page: str) -> list[str]:
    part = page[page.index('<div class="counts"') :].partition("</div>")[0]
    return [
        " ".join(re.sub(r"<[^>]+>", "", each).split())
        for each in re.findall(r'<span class="count[^>]*>(.*?)</span>', part)
    ]


def send(client: LocalClient, path: str, **fields: str) -> Any:
    """The form of a preview, filled in and sent."""
    page = client.get(path).text
    form = page[page.index('action="/restore" method="post"') :].partition("</form>")[0]
    given = {name: html.unescape(value) for name, value in re.findall(r'name="(\w+)" value="([^"]*)"', form)}
    return client.submit("/restore", **(given | {"reason": "ticket 7"} | fields))


def apply(client: LocalClient, plan: str) -> str:
    assert client.submit(f"{plan}/start").status_code == 303
    return client.get(plan).text


def test_it_is_looked_at_made_a_plan_and_then_done(past: Recorded, moved: Moved, editor: LocalClient) -> None:
    page = editor.get(f"/restore?snap={moved.ref}").text
    assert counts(page) == ["+1 created", "−1 deleted", "~2 set back, 2 fields", "5 stay"]
    assert "Make a plan of 4 edits" in page
    assert "before &lt;deploy&gt;" in page
    assert "value.packets counts" in page, "a warning: programs go on writing it"
    name = re.findall(r"Type <b><bdi>(web_\d+)</bdi></b>, as 1 entry will be deleted", page)[0]
    before = contents(moved.fd)
    made = send(editor, f"/restore?snap={moved.ref}", confirm=name, reason="ticket 7")
    assert made.status_code == 303, made.text
    assert re.fullmatch(r"/plans/\d+", made.location)
    assert contents(moved.fd) == before, "nothing is written before the plan is applied"
    plan = editor.get(made.location).text
    assert f"back to {moved.ref}" in plan
    assert "ticket 7" in plan
    assert "All rows are done." in apply(editor, made.location)
    assert contents(moved.fd) == moved.then
    assert "Nothing is to be done." in editor.get(f"/restore?snap={moved.ref}").text


@pytest.mark.parametrize(("fields", "told"), [
    ({"confirm": "web"}, "as entries will be deleted"),
    ({"reason": " "}, "Say why"),
    ({"only": "value.packets >"}, "column"),
    ({"only": "key.dport == 1"}, "nothing is to be done"),
])  # fmt: skip
def test_what_is_wrong_comes_back_with_what_was_typed(
    past: Recorded, moved: Moved, editor: LocalClient, fields: dict[str, str], told: str
) -> None:
    name = map_info(moved.fd).name.decode()
    answer = send(editor, f"/restore?snap={moved.ref}", **({"confirm": name} | fields))
    assert answer.status_code == 422, answer.text
    assert told.lower() in answer.text.lower()
    if "only" not in fields:
        assert f'value="{fields.get("confirm", name)}"' in answer.text
        assert f'value="{fields.get("reason", "ticket 7").strip()}"' in answer.text
    else:
        assert html.escape(fields["only"]) in answer.text
    assert contents(moved.fd) != moved.then


def test_a_filter_brings_back_a_part(past: Recorded, moved: Moved, editor: LocalClient) -> None:
    path = f"/restore?snap={moved.ref}&only=value.packets+%3C+2"
    page = editor.get(path).text
    assert counts(page)[:3] == ["+0 created", "−0 deleted", "~2 set back, 2 fields"]
    assert 'name="confirm"' not in page, "nothing is deleted"
    made = send(editor, path)
    assert made.status_code == 303, made.text
    apply(editor, made.location)
    now = contents(moved.fd)
    assert (now[0], now[1]) == (moved.then[0], moved.then[1])
    assert 50 in now
    assert 7 not in now


def test_what_comparisons_ignore_is_left_alone_unless_it_is_wanted(
    past: Recorded, moved: Moved, editor: LocalClient
) -> None:
    past.ignore(moved.series, ("value.packets",))
    page = editor.get(f"/restore?snap={moved.ref}").text
    assert counts(page)[2] == "~1 set back, 1 field"
    assert "value.packets" in page
    link = f"/restore?snap={moved.ref}&counters=1"
    assert f'href="{html.escape(link)}"' in page
    assert counts(editor.get(link).text)[2] == "~2 set back, 2 fields"
    made = send(editor, link, confirm=map_info(moved.fd).name.decode())
    apply(editor, made.location)
    assert contents(moved.fd) == moved.then


def test_what_a_snapshot_may_not_have_seen_is_not_deleted(past: Recorded, moved: Moved, editor: LocalClient) -> None:
    part = past.take(moved.map_id, limit=3)
    page = editor.get(f"/restore?snap={part}").text
    assert "Nothing is to be done." in page
    assert "which does not hold all of them: they stay" in page
    map_update(moved.fd, flow_key(0), flow(1000))
    page = editor.get(f"/restore?snap={part}").text
    assert counts(page)[1] == "−0 deleted"


def test_into_another_map_and_from_a_time(past: Recorded, moved: Moved, editor: LocalClient, blob: bytes) -> None:
    with flows(blob, b"web_copy") as (fd, other):
        page = editor.get(f"/restore?snap={moved.map_id}@0s&map={other}").text
        assert counts(page)[0] == "+8 created"
        made = send(editor, f"/restore?snap={moved.map_id}@0s&map={other}")
        assert made.status_code == 303, made.text
        apply(editor, made.location)
        assert contents(fd) == moved.then


def test_a_map_that_is_gone_and_types_of_sockets_are_a_sentence(
    past: Recorded, editor: LocalClient, blob: bytes
) -> None:
    with flows(blob, b"web_over") as (fd, map_id):
        map_update(fd, flow_key(1), flow())
        gone = past.take(map_id)
    answer = editor.get(f"/restore?snap={gone}")
    assert answer.status_code == 422
    assert "no map that is there now goes on with web_over" in answer.text.lower()
    with live_map(MapSpec(type=BpfMapType.SOCKMAP, key_size=4, value_size=8, max_entries=4, name=b"web_socks")) as fd:
        ref = past.take(map_info(fd).id)
        answer = editor.get(f"/restore?snap={ref}")
        assert answer.status_code == 422
        assert "put them back one by one" in answer.text
    for snap in ("", "42", "s999999", "x"):
        assert editor.get(f"/restore?snap={snap}").status_code in {303, 400, 404, 422}, snap
    assert editor.get("/restore").status_code == 422


def test_devices_of_then_are_a_plan_by_their_numbers(past: Recorded, editor: LocalClient) -> None:
    lo = socket.if_nametoindex("lo").to_bytes(4, "little")
    with live_map(
        MapSpec(type=BpfMapType.DEVMAP_HASH, key_size=4, value_size=4, max_entries=4, name=b"web_ports")
    ) as fd:
        map_update(fd, bytes(4), lo)
        ref = past.take(map_info(fd).id)
        map_delete(fd, bytes(4))
        page = editor.get(f"/restore?snap={ref}").text
        assert "network namespace that the broker runs in" in page
        plan = send(editor, f"/restore?snap={ref}").location
        assert f"put dev:{lo[0]}" in editor.get(plan).text
        assert "All rows are done." in apply(editor, plan)
        assert "Nothing is to be done." in editor.get(f"/restore?snap={ref}").text


def test_only_those_who_edit(past: Recorded, moved: Moved) -> None:
    viewer = past.person("viewer")
    assert viewer.get(f"/restore?snap={moved.ref}").status_code == 403
    assert viewer.submit("/restore", snap=moved.ref).status_code == 403
    editor = past.person("editor")
    assert (
        editor.post("/restore", data={"snap": moved.ref, "reason": "x"}, headers={"Origin": ORIGIN}).status_code == 403
    )
    assert f"/restore?snap={moved.ref}" in editor.get(f"/diff?a={moved.ref}&b=live").text


@pytest.mark.parametrize("kind", [BpfMapType.PERCPU_HASH, BpfMapType.LRU_HASH, BpfMapType.ARRAY])
def test_other_types(past: Recorded, editor: LocalClient, tmp_path: Path, kind: BpfMapType) -> None:
    from app.uapi.cpus import possible_cpus

    per_cpu = kind == BpfMapType.PERCPU_HASH
    spec = MapSpec(type=kind, key_size=4, value_size=8, max_entries=8, name=f"web_t{kind:d}".encode())
    with live_map(spec) as fd:
        width = 8 * (possible_cpus() if per_cpu else 1)
        for number in range(3):
            map_update(fd, number.to_bytes(4, "little"), bytes([number + 1] * width))
        ref = past.take(map_info(fd).id)
        map_update(fd, (1).to_bytes(4, "little"), bytes([9] * width))
        made = send(editor, f"/restore?snap={ref}")
        assert made.status_code == 303, made.text
        assert "All rows are done." in apply(editor, made.location)
        value = bytearray(width)
        assert map_lookup(fd, (1).to_bytes(4, "little"), value)
        assert bytes(value) == bytes([2] * width)
