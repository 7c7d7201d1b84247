"""The page of a comparison: counts first, rows in three layouts, every state in its address, files, what is left out."""

from __future__ import annotations

import csv
import dataclasses
import html
import io
import itertools
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from app.timeline import differ
from app.timeline.sides import Blind, side
from app.timeline.timeline import Timeline
from app.uapi.cpus import possible_cpus
from app.uapi.enums import BpfMapType
from app.uapi.objects import map_info, obj_pin
from app.uapi.syscall import MapSpec, map_delete, map_update
from app.web import diff_sides
from app.web.api.diff_shapes import Difference
from app.web.diff_page import patterns_in
from app.web.diff_sides import Compared, Diffs
from app.web.factory import create_app
from app.wire.errors import BadField
from tests.columns import kernel_maps
from tests.livemaps import live_map, u32, u64
from tests.web.conftest import ORIGIN, LocalClient, browser
from tests.web.recorded import FLOWS, Recorded, flow, flow_key, flows, recorded

pytestmark = pytest.mark.kernel

SECRET = 0x1122_3344_5566_7788
POLICY = """
version = 1
[[rule]]
[[redact]]
maps = ["web_*"]
fields = ["value.secret"]
hide_from = ["viewer", "editor"]
"""
_numbers = itertools.count()
START_NS = 1_795_500_000 * 10**9


@pytest.fixture(scope="module")
def blob(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return kernel_maps.compile_btf(FLOWS, tmp_path_factory.mktemp("btf"))


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    """One history for all of these tests; each has maps of its own, or only looks."""
    with recorded(tmp_path_factory.mktemp("past"), POLICY) as made:
        yield made


class Two:
    """A map, and two snapshots of it ten seconds apart: 1 added, 1 removed, 3 changed, 15 the same."""

    def __init__(self, past: Recorded, fd: int, map_id: int) -> None:
        for number in range(19):
            map_update(fd, flow_key(number), flow(number, 100 * number))
        self.a = past.take(map_id, at_ns=START_NS)
        for number in range(3):
            map_update(fd, flow_key(number), flow(number + 20, 100 * number, limit=5 + number))
        map_delete(fd, flow_key(18))
        map_update(fd, flow_key(200), flow(7, name=b"<i>x\xe2\x80\xae"))
        self.b = past.take(map_id, at_ns=START_NS + 10 * 10**9, label="<b>after</b>")
        self.fd, self.map_id, self.series = fd, map_id, past.series(map_id).id
        self.path = f"/diff?a={self.a}&b={self.b}"


@pytest.fixture(scope="module")
def two(past: Recorded, blob: bytes) -> Iterator[Two]:
    """To be looked at."""
    with flows(blob) as (fd, map_id):
        yield Two(past, fd, map_id)


@pytest.fixture
def own(past: Recorded, blob: bytes) -> Iterator[Two]:
    """To be changed."""
    with flows(blob, b"web_own_%d" % next(_numbers)) as (fd, map_id):
        yield Two(past, fd, map_id)


def rows(page: str) -> list[list[str]]:
    """Cells of the table of entries, row by row, as they are read out."""
    table = page[page.index('<table class="diff">') :].partition("</table>")[0]
    return [
        [" ".join(html.unescape(re.sub(r"<[^>]+>", " ", cell)).split()) for cell in re.findall(r"<td.*?</td>", row, re.DOTALL)]
        for row in re.findall(r"<tr>.*?</tr>", table.partition("<tbody")[2], re.DOTALL)
    ]  # fmt: skip


def counts(page: str) -> list[str]:
    part = page[page.index('<div class="counts"') :].partition("</div>")[0]
    found = re.findall(r'<(?:a|span) class="count[^>]*>(.*?)</(?:a|span)>', part, re.DOTALL)
    return [" ".join(re.sub(r"<[^>]+>", "", each).split()) for each in found]


def links(page: str) -> set[str]:
    return {html.unescape(each) for each in re.findall(r'href="([^"]+)"', page)}


def test_the_summary_comes_first_and_rows_are_field_by_field(past: Recorded, two: Two) -> None:
    page = past.person().get(two.path).text
    assert counts(page) == ["+1 added", "−1 removed", "~3 changed, 5 fields", "15 the same"]
    found = rows(page)
    assert found[0] == [
        "+ added",
        "10.0.0.200",
        "443",
        "TCP",
        "new",
        "packets 7 bytes 100 secret 0 name <i>x\\u202e limit 5 state 1",
    ]
    assert found[1][:2] == ["− removed", "10.0.0.18"]
    assert found[2] == ["~ changed", "10.0.0.0", "443", "TCP", "packets", "0", "→", "20", "▲ +20", "+2/s"]
    assert found[4][-6:] == ["limit", "5", "→", "6", "▲ +1", "+0.1/s"]
    assert len(found) == 2 + 5
    summary = page[page.index("Fields that differ</caption>") :].partition("</table>")[0]
    assert re.search(r"value\.packets</bdi>.*>3</td>.*\+60.*\+6/s", summary, re.DOTALL)
    assert page.index("counts") < page.index("Fields that differ") < page.index('class="diff"')
    assert "&lt;b&gt;after&lt;/b&gt;" in page
    assert "<b>after" not in page


@pytest.mark.parametrize(("more", "signs"), [
    ("&kind=added", "+"), ("&kind=removed", "−"), ("&kind=changed", "~~~~~"), ("&kind=added&kind=removed", "+−"),
    ("&field=value.limit", "~~~~"), ("&field=value.l*", "~~~~"), ("&field=value.none", ""),
    ("&where=value.packets+%3E%3D+20", "~~~~~"), ("&where=value.packets+==+0", "~"), ("&where=value.packets+==+18", "−"),
    ("&key=10.0.0.1,443,6,0", "~~"), ("&key=hex:0a0000c801bb0600", "+"), ("&key=10.0.0.9,443,6,0", ""),
])  # fmt: skip
def test_rows_are_chosen_by_the_address(past: Recorded, two: Two, more: str, signs: str) -> None:
    page = past.person().get(two.path + more).text
    found = rows(page) if signs else []
    if not signs:
        assert "No row fits." in page
    starts = [row for row in found if row[0][0] in "+−~"]
    assert len(found) == len(signs), found
    assert {row[0][0] for row in starts} == set(signs)


@pytest.mark.parametrize(("more", "status", "told"), [
    ("&where=value.packets+%3E+and", 422, "column 17"),
    ("&where=value.nothing+==+1", 422, "no field value.nothing"),
    ("&key=zz", 422, "key"),
    ("&kind=moved", 400, "one of added, removed, changed"),
    ("&layout=sideways", 400, "layout"),
    ("&page=0", 400, "page"),
])  # fmt: skip
def test_what_cannot_be_asked_is_said(past: Recorded, two: Two, more: str, status: int, told: str) -> None:
    answer = past.person().get(two.path + more)
    assert answer.status_code == status
    assert told in html.unescape(answer.text).replace("Column", "column")


def test_side_by_side_and_without_the_columns_that_never_differ(past: Recorded, two: Two) -> None:
    client = past.person()
    page = client.get(two.path + "&layout=side&kind=changed").text
    heads = re.findall(r'<th scope="col"[^>]*><bdi>(\w+)</bdi><span class="lens">', page)
    assert heads == ["saddr", "dport", "proto", "packets", "bytes", "secret", "name", "limit", "state"]
    assert rows(page)[1][4:6] == ["1 → 21", "100"]
    narrow = client.get(two.path + "&layout=side&kind=changed&cols=changed").text
    assert re.findall(r'<th scope="col"[^>]*><bdi>(\w+)</bdi><span', narrow) == [
        "saddr",
        "dport",
        "proto",
        "packets",
        "limit",
    ]
    assert rows(narrow)[1][4:] == ["1 → 21", "5 → 6"]
    for link in links(page):
        if "layout=raw" in link:
            assert "kind=changed" in link


def test_bytes_are_underlined_where_they_changed(past: Recorded, two: Two) -> None:
    page = past.person().get(two.path + "&layout=raw&key=10.0.0.1,443,6,0").text
    assert re.findall(r'<span class="old"[^>]*>([^<]*)</span>', page) == ["01", "05"]
    assert re.findall(r'<span class="new"[^>]*>([^<]*)</span>', page) == ["15", "06"]


def test_every_entry_is_on_just_one_page(past: Recorded, blob: bytes) -> None:
    with flows(blob, entries=300) as (fd, map_id):
        for number in range(250):
            map_update(fd, flow_key(number), flow(1))
        a = past.take(map_id)
        for number in range(250):
            map_update(fd, flow_key(number), flow(2))
        b = past.take(map_id)
        client = past.person()
        keys: list[str] = []
        path = f"/diff?a={a}&b={b}"
        for _ in range(3):
            page = client.get(path).text
            keys += re.findall(r'entries/([0-9a-f]{16})"', page)
            path = next((link for link in links(page) if re.search(r'rel="next" href="' + re.escape(html.escape(link)), page) and "page=" in link), "")  # fmt: skip
        assert path == ""
        assert sorted(keys) == sorted(flow_key(number).hex() for number in range(250))
        assert "201–250 of 250" in client.get(f"/diff?a={a}&b={b}&page=99").text


def test_rows_stand_in_the_order_of_their_keys_as_numbers(past: Recorded, blob: bytes) -> None:
    btf = kernel_maps.parse(blob)
    ranks = [0, 1, 255, 256, 2050, 6400, 12800, 44800, 65536]
    spec = {"key_size": 4, "value_size": 48, "max_entries": 64, "name": b"web_ranks"}
    with kernel_maps.created(blob, btf.find("unsigned int")[0], btf.find("flow")[0], **spec) as (fd, map_id):
        for rank in ranks:
            map_update(fd, rank.to_bytes(4, "little"), flow(rank))
        a = past.take(map_id)
        for rank in ranks:
            map_update(fd, rank.to_bytes(4, "little"), flow(rank + 1))
        client = past.person()
        page = client.get(f"/diff?a={a}&b={past.take(map_id)}").text
        restore = client.get(f"/restore?snap={a}").text
    for shown in (page, restore):
        keys = re.findall(r'entries/([0-9a-f]{8})"', shown)
        assert [int.from_bytes(bytes.fromhex(key), "little") for key in keys] == ranks
    moved = [re.sub(r"[^\d→▲▼+]", "", " ".join(row)) for row in rows(page)]
    assert all(f"{rank}→{rank + 1}" in text for rank, text in zip(ranks, moved, strict=True)), moved


def test_live_is_the_map_that_goes_on_with_the_other_side(past: Recorded, own: Two, blob: bytes) -> None:
    client = past.person()
    map_update(own.fd, flow_key(5), flow(999))
    page = client.get(f"/diff?a={own.b}&b=live").text
    assert counts(page)[2].startswith("~1 changed")
    assert "Live, " in page
    assert counts(client.get(f"/diff?a=live&b={own.b}").text)[2].startswith("~1 changed")
    assert counts(client.get(f"/diff?a={own.b}&b={own.map_id}").text)[2].startswith("~1 changed")
    answer = client.get("/diff?a=live&b=live")
    assert (answer.status_code, "which map is meant" in answer.text) == (422, True)
    with flows(blob, b"web_gone") as (fd, map_id):
        map_update(fd, flow_key(1), flow())
        gone = past.take(map_id)
    answer = client.get(f"/diff?a={gone}&b=live")
    assert answer.status_code == 422
    assert "no map that is there now goes on with web_gone" in answer.text
    assert f'name="a" class="mono" value="{gone}"' in answer.text


def test_a_map_of_that_name_but_another_history_is_not_taken_for_it(past: Recorded, blob: bytes) -> None:
    with flows(blob, b"web_twin") as (fd, map_id), flows(blob, b"web_twin") as (_other, other_id):
        map_update(fd, flow_key(1), flow())
        ref = past.take(map_id)
        assert past.series(other_id).id != past.series(map_id).id
        assert f'href="/maps/{map_id}"' in past.person().get(f"/diff?a={ref}&b=live").text


def test_live_is_the_map_that_the_pin_names_now(past: Recorded, blob: bytes) -> None:
    pin = Path(f"/sys/fs/bpf/web_moves_{os.getpid()}")
    try:
        with flows(blob, b"web_moves") as (fd, _), flows(blob, b"web_moves") as (new_fd, new_id):
            obj_pin(str(pin), fd)
            ref = past.take(map_info(fd).id)
            pin.unlink()
            obj_pin(str(pin), new_fd)
            assert f'href="/maps/{new_id}"' in past.person().get(f"/diff?a={ref}&b=live").text
            pin.unlink()
            assert f'href="/maps/{map_info(fd).id}"' in past.person().get(f"/diff?a={ref}&b=live").text
    finally:
        pin.unlink(missing_ok=True)


def test_what_was_so_long_ago_becomes_an_address_that_stays(past: Recorded, two: Two) -> None:
    page = past.person().get(f"/diff?a={two.map_id}@2026-11-24T06:00:05&b={two.b}").text
    there = links(page)
    assert f"/diff?a={two.b}&b={two.a}" in there, "swapped, by references"
    assert not any("%40" in link for link in there if link.startswith("/diff"))
    assert f"/diff?a={two.a}&b={two.a}" in there, "the snapshot before b"
    assert f"/diff?a={two.b}&b={two.b}" in there, "the snapshot after a"
    assert f"/diff?a={two.a}&b=live" in there, "after the newest comes what is there now"
    assert f"/restore?snap={two.a}" in there


def test_what_a_side_may_lack_is_not_seen_rather_than_removed(past: Recorded, blob: bytes) -> None:
    with flows(blob) as (fd, map_id):
        for number in range(9):
            map_update(fd, flow_key(number), flow(number))
        whole, part = past.take(map_id), past.take(map_id, limit=4)
        client = past.person()
        page = client.get(f"/diff?a={whole}&b={part}").text
        assert "−5 not seen" in counts(page)
        assert "removed" not in "".join(counts(page))
        assert "which is not to say removed" in page
        assert client.get(f"/api/v1/diff?a={whole}&b={part}").json["complete"] is False


def test_another_layout_and_a_map_made_anew_are_told(past: Recorded, blob: bytes) -> None:
    refs = []
    for value in ("flow", "old_flow"):
        with flows(blob, b"web_anew", value=value) as (fd, map_id):
            map_update(fd, flow_key(1), flow(3 + len(refs)))
            refs.append(past.take(map_id))
    page = past.person().get(f"/diff?a={refs[0]}&b={refs[1]}").text
    assert "The map was made anew in between" in page
    assert "Value.state is only in the first" in page or "value.state is only in the first" in page
    assert "value.extra is only in the second" in page
    assert rows(page)[0][4:] == ["packets", "3", "→", "4", "▲ +1", rows(page)[0][9]]
    assert past.person().get(f"/diff?a={refs[0]}&b={refs[1]}&layout=side").status_code == 200
    assert past.person().get(f"/diff?a={refs[0]}&b={refs[1]}&layout=raw").status_code == 200


def test_cpus_are_told_apart(past: Recorded, blob: bytes) -> None:
    n_cpus = possible_cpus()
    with flows(blob, b"web_percpu", type=BpfMapType.PERCPU_HASH) as (fd, map_id):
        map_update(fd, flow_key(1), flow(3) * n_cpus)
        a = past.take(map_id)
        map_update(fd, flow_key(1), flow(3) * (n_cpus - 1) + flow(10))
        b = past.take(map_id)
        client = past.person()
        page = client.get(f"/diff?a={a}&b={b}").text
        assert rows(page)[0][4:9] == [f"packets · CPU {n_cpus - 1}", "3", "→", "10", "▲ +7"]
        side = client.get(f"/diff?a={a}&b={b}&layout=side&cols=changed").text
        assert rows(side)[0][4:] == [f"{3 * n_cpus} → {3 * n_cpus + 7}"]
        assert f"CPU {n_cpus - 1}" in client.get(f"/diff?a={a}&b={b}&layout=raw").text


def test_two_maps_of_other_keys_are_one_sentence(past: Recorded, two: Two) -> None:
    with live_map(MapSpec(type=BpfMapType.HASH, key_size=4, value_size=8, max_entries=4), [(u32(1), u64(2))]) as fd:
        client = past.person()
        other = map_info(fd).id
        answer = client.get(f"/diff?a={two.a}&b={other}")
        assert answer.status_code == 422
        assert "cannot be compared" in answer.text
        told = client.get(f"/api/v1/diff?a={two.a}&b={other}")
        assert (told.status_code, told.content_type) == (422, "application/problem+json")


# ---- what is left out --------------------------------------------------------------------------------------------------


def test_counters_are_ignored_for_everybody_by_those_who_edit(past: Recorded, own: Two) -> None:
    editor = past.person("editor")
    page = editor.get(own.path).text
    assert 'name="more" value="value.packets"' in page, "suggested, as it counts"
    asked = {"patterns": "value.bytes\nvalue.packets", "more": "value.limit", "next": own.path}
    answer = editor.submit(f"/series/{own.series}/ignore", **asked)
    assert (answer.status_code, answer.location) == (303, own.path)
    viewer = past.person("viewer")
    page = viewer.get(own.path).text
    assert counts(page) == ["+1 added", "−1 removed", "~0 changed", "18 the same, of which 3 but for what is ignored"]
    assert "/ignore" not in page
    assert "/restore" not in page
    assert counts(viewer.get(own.path + "&ignore=0").text)[2] == "~3 changed, 5 fields"
    assert viewer.get(f"/api/v1/diff?a={own.a}&b={own.b}").json["counts"]["changed"] == 0
    assert viewer.get(f"/api/v1/diff?a={own.a}&b={own.b}&ignore=0").json["counts"]["changed"] == 3
    assert viewer.submit(f"/series/{own.series}/ignore", **asked).status_code == 403


def test_a_way_back_leads_to_a_comparison_only(past: Recorded, own: Two) -> None:
    editor = past.person("editor")
    for wrong in ("//evil.example/diff", "https://evil.example/diff", "/logout", ""):
        answer = editor.submit(f"/series/{own.series}/ignore", patterns="", next=wrong)
        assert answer.location == "/diff"
    assert editor.submit("/series/999999/ignore", patterns="value.x").status_code == 404
    assert editor.submit(f"/series/{own.series}/ignore", patterns="key.x").status_code == 422


@pytest.mark.parametrize(("text", "found"), [
    ("value.packets, value.*_ns", ("value.packets", "value.*_ns")), ("", ()), ("value value[3] value.a[*].b", ("value", "value[3]", "value.a[*].b")),
    ("value.x;value.x value.y", ("value.x", "value.y")),
])  # fmt: skip
def test_patterns_are_read(text: str, found: tuple[str, ...]) -> None:
    assert patterns_in(text) == found


@pytest.mark.parametrize(
    "text",
    [
        "packets",
        "key.saddr",
        "values",
        "value@cpu0.x",
        "value." + "x" * 300,
        " ".join(f"value.f{at}" for at in range(60)),
    ],
)
def test_what_is_no_pattern_is_refused(text: str) -> None:
    with pytest.raises(BadField):
        patterns_in(text)


# ---- files and the API -------------------------------------------------------------------------------------------------


def test_the_file_the_api_and_the_command_give_one_document(past: Recorded, two: Two) -> None:
    client = past.person()
    file = client.get(two.path + "&format=json&kind=added")
    assert file.headers["Content-Disposition"] == f'attachment; filename="diff-{two.a}-{two.b}.json"'
    found = client.get(f"/api/v1/diff?a={two.a}&b={two.b}").json
    assert json.loads(file.data) == found
    assert found["counts"] | {"fields": 5, "ignored": 0} == found["counts"]
    assert found["changed"][1]["fields"] == [
        {"path": "value.packets", "old": 1, "new": 21}, {"path": "value.limit", "old": 5, "new": 6},
    ]  # fmt: skip
    msgspec.json.decode(file.data, type=Difference)
    summary = client.get(f"/api/v1/diff?a={two.a}&b={two.b}&summary=1")
    assert summary.json == {name: part for name, part in found.items() if name not in {"added", "removed", "changed"}}
    msgspec.json.decode(summary.data, type=Difference)
    for path in (
        "/api/v1/diff",
        f"/api/v1/diff?a={two.a}",
        f"/api/v1/diff?a={two.a}&b=s999999",
        f"/api/v1/diff?a={two.a}&b=42@soon",
    ):
        told = client.get(path)
        assert told.status_code in {400, 404, 422}, path
        assert told.content_type == "application/problem+json"


def test_csv_has_a_line_for_each_field(past: Recorded, two: Two) -> None:
    text = past.person().get(two.path + "&format=csv").text
    found = list(csv.DictReader(io.StringIO(text)))
    assert [line["change"] for line in found] == ["added", "removed", *["changed"] * 5]
    assert (found[4]["field"], found[4]["old"], found[4]["new"], found[4]["delta"]) == ("value.limit", "5", "6", "1")
    assert json.loads(found[0]["new"])["packets"] == 7
    assert found[0]["old"] == ""


def test_the_patch_is_what_a_plan_takes(past: Recorded, two: Two) -> None:
    admin = past.person(writing=True)
    patch = admin.get(f"/diff?a={two.map_id}&b={two.a}&format=patch").text
    wanted = [["key", "set"]] * 3 + [["delete", "key"], ["key", "value"]]
    assert [sorted(json.loads(line)) for line in patch.splitlines()] == wanted
    given = {"map": str(two.map_id), "csrf": admin.csrf, "reason": "back", "rows": patch}
    made = admin.post("/plans/new", data=given, headers={"Origin": ORIGIN}, content_type="multipart/form-data")
    assert made.status_code == 303, made.text
    assert "5 rows can be written" in admin.get(made.location).text


# ---- who may see what --------------------------------------------------------------------------------------------------


def every_answer(client: LocalClient, two: Two, a: str, b: str) -> Iterator[tuple[str, str]]:
    key = flow_key(1).hex()
    for path in (
        "/diff?a={a}&b={b}", "/diff?a={a}&b={b}&layout=side", "/diff?a={a}&b={b}&layout=side&cols=changed",
        "/diff?a={a}&b={b}&layout=raw", "/diff?a={b}&b=live", "/diff?a={b}&b=live&layout=raw", "/diff?a={a}&b={b}&ignore=0",
        "/diff?a={a}&b={b}&format=json", "/diff?a={a}&b={b}&format=csv", "/diff?a={a}&b={b}&format=patch",
        "/diff?a={a}&b={b}&where=value.secret+%3E+0", "/diff?a={a}&b={b}&field=value.secret", "/api/v1/diff?a={a}&b={b}",
        "/restore?snap={a}", "/restore?snap={a}&only=value.secret+%3E+0", "/series/{series}/entries/{key}",
        "/series/{series}/entries/{key}?field=value.secret", "/series/{series}/entries/{key}?field=value.secret&format=points",
        "/series/{series}/entries/{key}?at={b}", "/series/{series}/find?key=zz",
    ):  # fmt: skip
        asked = path.format(a=a, b=b, series=two.series, key=key)
        yield asked, client.get(asked).text


def forms(number: int) -> list[str]:
    """How a number could show."""
    little = number.to_bytes(8, "little")
    return [str(number), f"{number:,}".replace(",", "\u2009"), f"{number:x}", little.hex(" "), little.hex(), f"{float(number):.3g}"]  # fmt: skip


@pytest.mark.parametrize("role", ["viewer", "editor"])
def test_t18_what_is_hidden_shows_nowhere_and_counts_nowhere(past: Recorded, own: Two, role: str) -> None:
    for number in range(1, 4):
        map_update(own.fd, flow_key(number), flow(number + 50, secret=SECRET))
    a = past.take(own.map_id, at_ns=START_NS + 20 * 10**9)
    for number in range(1, 8):  # of two of them only what is hidden changes
        map_update(own.fd, flow_key(number), flow(number + 50 + (number > 2), secret=SECRET + 0x1111))
    b = past.take(own.map_id, at_ns=START_NS + 30 * 10**9)
    client = past.person(role)
    wanted = [*forms(SECRET), *forms(SECRET + 0x1111), *forms(0x1111)[:2]]
    for asked, text in every_answer(client, own, a, b):
        assert [form for form in wanted if form in text] == [], asked
    page = client.get(f"/diff?a={a}&b={b}").text
    assert counts(page)[2:] == ["~5 changed, 9 fields", "14 the same"]
    assert "value.secret" not in page[page.index("Fields that differ</caption>") :]
    past.ignore(own.series, ("value.packets", "value.bytes"))
    page = client.get(f"/diff?a={a}&b={b}").text
    assert counts(page)[2:] == ["~0 changed", "19 the same, of which 5 but for what is ignored"], "not 7"
    admin = past.person()
    seen = [asked for asked, text in every_answer(admin, own, a, b) if any(form in text for form in wanted)]
    assert len(seen) >= 8, "so that this can fail"


def test_a_comparison_of_somebody_who_sees_more_is_not_shared(past: Recorded, own: Two) -> None:
    map_update(own.fd, flow_key(1), flow(1, secret=SECRET))
    ref = past.take(own.map_id)
    path = f"/diff?a={own.b}&b={ref}&layout=side"
    admin, viewer = past.person(), past.person("viewer")
    shown = f"{SECRET:,}".replace(",", "\u2009")
    for _ in range(2):
        assert shown in admin.get(path).text
        assert shown not in viewer.get(path).text


def test_a_fragment_for_htmx_a_page_for_everybody_else(past: Recorded, two: Two) -> None:
    client = past.person()
    page, part = client.get(two.path), client.get(two.path, headers={"HX-Request": "true"})
    assert "<html" in page.text
    assert "<html" not in part.text
    assert 'id="diff"' in part.text
    assert page.headers["Vary"] == part.headers["Vary"] == "HX-Request, Cookie"
    short = client.get(two.path + "&where=&field=value.limit")
    assert (short.status_code, short.location) == (303, two.path + "&field=value.limit")


def test_the_form_offers_what_there_is(past: Recorded, two: Two) -> None:
    page = past.person("viewer").get("/diff").text
    assert f'<option value="{two.b}">web_flows (hash)' in page
    assert "&lt;b&gt;after&lt;/b&gt;" in page
    assert f'<option value="{two.map_id}">web_flows, live' in page
    assert past.person("auditor").get("/diff").status_code == 403


def test_a_history_by_itself_offers_nothing_that_is_live(past: Recorded, two: Two) -> None:
    path = past.settings.history_folder / "history.db"
    alone = dataclasses.replace(past.settings, history_file=str(path))
    reader = browser(create_app(alone, past.client), alone)
    entry = f"/series/{two.series}/entries/{flow_key(1).hex()}"
    for asked in ("/diff", two.path, f"{two.path}&layout=side", entry, f"{entry}?field=value.packets"):
        answer = reader.get(asked)
        assert answer.status_code == 200, asked
        inside = answer.text.partition("<main")[2].partition("</main>")[0]
        for offered in ("/maps/", "/restore", "b=live", "/ignore", "/audit"):
            assert offered not in inside, (asked, offered)
    assert reader.get(f"/diff?a={two.a}&b=live").status_code == 422
    assert reader.get(f"/restore?snap={two.a}").status_code in {404, 422}


# ---- what is kept ------------------------------------------------------------------------------------------------------


def test_comparisons_are_kept_for_a_while_and_within_bounds(
    past: Recorded, two: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    timeline = Timeline(past.writer)
    made: list[str] = []

    class Backend:
        looker = Blind()

    def compare(a: Any, b: Any, backend: Any, ignore: tuple[str, ...]) -> Compared:
        made.append(b.ref)
        return Compared(differ.compare(a, b, timeline, ignore=ignore, bare=False), [], ignore)

    monkeypatch.setattr(diff_sides, "_compared", compare)
    a, b = (side(ref, timeline, Blind()) for ref in (two.a, two.b))
    now = [0.0]
    one = compare(a, b, None, ()).nbytes
    made.clear()
    diffs = Diffs(2 * one, clock=lambda: now[0])
    backend: Any = Backend()
    assert diffs.get(a, b, backend, ()) is diffs.get(a, b, backend, ())
    assert made == [two.b]
    diffs.get(a, b, backend, ("value.limit",))
    assert made == [two.b] * 2, "other rules, another comparison"
    now[0] = 200.0
    diffs.get(a, b, backend, ())
    assert made == [two.b] * 3, "too old"
    small = Diffs(one - 1, clock=lambda: now[0])
    small.get(a, b, backend, ())
    small.get(a, b, backend, ())
    assert made == [two.b] * 5, "too large to be kept"
