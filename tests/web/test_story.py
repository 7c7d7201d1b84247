"""The story of one key: when it came, went and changed, who changed it, one field of it as a chart; also of maps that are gone."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

import pytest

from app.cli.story import document, print_story
from app.timeline.story import Series, Story
from app.timeline.timeline import Timeline
from app.uapi.syscall import map_delete, map_update
from app.web import stories
from app.web.chart import rates_of
from tests.columns import kernel_maps
from tests.web.conftest import LocalClient
from tests.web.recorded import FLOWS, MINUTE_NS, Recorded, flow, flow_key, flows, recorded

pytestmark = pytest.mark.kernel

SECRET = 0x1122_3344_5566_7788
START_NS = 1_795_500_000 * 10**9
"""2026-11-24 06:00:00 UTC."""
POLICY = """
version = 1
[[rule]]
[[redact]]
maps = ["web_*"]
fields = ["value.secret"]
hide_from = ["viewer", "editor"]
"""


@pytest.fixture(scope="module")
def blob(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return kernel_maps.compile_btf(FLOWS, tmp_path_factory.mktemp("btf"))


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    with recorded(tmp_path_factory.mktemp("past"), POLICY) as made:
        yield made


class Told:
    """Key 5 of a map that is gone, a snapshot a minute: absent, 1, 1, 31, hidden alone changes, limit 9, absent, absent, back."""

    def __init__(self, past: Recorded, blob: bytes) -> None:
        self.refs = []
        values = (
            None,
            flow(1),
            flow(1),
            flow(31),
            flow(31, secret=SECRET),
            flow(31, secret=SECRET, limit=9),
            None,
            None,
            flow(2),
        )
        with flows(blob, b"web_story") as (fd, map_id):
            map_update(fd, flow_key(1), flow())
            there = False
            for minute, value in enumerate(values):
                if value is not None:
                    map_update(fd, flow_key(5), value)
                elif there:
                    map_delete(fd, flow_key(5))
                there = value is not None
                self.refs.append(past.take(map_id, at_ns=START_NS + minute * MINUTE_NS))
            self.series = past.series(map_id).id
        self.path = f"/series/{self.series}/entries/{flow_key(5).hex()}"


@pytest.fixture(scope="module")
def told(past: Recorded, blob: bytes) -> Told:
    return Told(past, blob)


@pytest.fixture(scope="module")
def viewer(past: Recorded) -> LocalClient:
    return past.person("viewer")


def facts(page: str) -> dict[str, str]:
    part = page[page.index('<dl class="facts">') :].partition("</dl>")[0]
    pairs = re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", part, re.DOTALL)
    return {what: " ".join(re.sub(r"<[^>]+>", " ", said).split()) for what, said in pairs}


def lines(page: str) -> list[list[str]]:
    table = page[page.index('<table class="diff story">') :].partition("</table>")[0]
    return [
        [" ".join(html.unescape(re.sub(r"<[^>]+>", " ", cell)).split()) for cell in re.findall(r"<td.*?</td>", row, re.DOTALL)]
        for row in re.findall(r"<tr[^>]*>.*?</tr>", table.partition("<tbody")[2], re.DOTALL)
    ]  # fmt: skip


def steps(page: str) -> dict[str, str]:
    """Where the previous and the next change are, by reference."""
    found = re.findall(r'<a class="button" rel="(prev|next)" href="([^"]+)" data-key="[\[\]]"', page)
    return {rel: re.findall(r"at=(s\d+)", html.unescape(link))[0] for rel, link in found}


def test_when_it_came_and_went_and_what_it_held(told: Told, viewer: LocalClient) -> None:
    page = viewer.get(told.path).text
    refs = told.refs
    found = facts(page)
    assert found["first seen"] == f"2026-11-24 06:01:00 not yet in {refs[0]}, 2026-11-24 06:00:00"
    assert found["last seen"] == "2026-11-24 06:08:00 the newest snapshot has it"
    assert found["last changed"].startswith("2026-11-24 06:08:00")
    rows = lines(page)
    assert [row[0] for row in rows] == ["+ there", "− not there", "~ changed", "~ changed", "+ there", "− not there"]
    assert rows[4][2] == f"{refs[1]} – {refs[2]} diff"
    assert rows[4][3] == "00:02:00"
    assert "packets 1 bytes 100 secret redacted" in rows[4][4]
    assert rows[3][4] == "packets 1 → 31 ▲ +30"
    assert rows[2][4] == "limit 5 → 9 ▲ +4"
    assert rows[1][4] == "vanished"
    assert f'href="/diff?a={refs[5]}&amp;b={refs[6]}&amp;key=hex:{flow_key(5).hex()}"' in page
    assert "10.0.0.5 · 443 · TCP" in page
    assert "As it is now" not in page, "the map is gone"


def test_one_that_vanished_says_when(past: Recorded, told: Told, viewer: LocalClient, blob: bytes) -> None:
    with flows(blob, b"web_vanish") as (fd, map_id):
        map_update(fd, flow_key(5), flow(1))
        first = past.take(map_id, at_ns=START_NS)
        map_delete(fd, flow_key(5))
        second = past.take(map_id, at_ns=START_NS + MINUTE_NS)
        series = past.series(map_id).id
        page = viewer.get(f"/series/{series}/entries/{flow_key(5).hex()}").text
        assert facts(page)["last seen"] == f"2026-11-24 06:00:00 vanished by {second}, 2026-11-24 06:01:00"
        assert facts(page)["first seen"] == "2026-11-24 06:00:00 the oldest snapshot has it: it may be older"
        assert f'href="/snapshots/{first}"' in page
        assert f'href="/maps/{map_id}/entries/{flow_key(5).hex()}"' in page


def test_one_that_a_capped_snapshot_lacks_is_not_seen_there(
    past: Recorded, viewer: LocalClient, blob: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    with flows(blob, b"web_capped", entries=4096) as (fd, map_id):
        for number in range(600):
            map_update(fd, flow_key(number), flow(1))
        refs = [
            past.take(map_id, at_ns=START_NS + at * MINUTE_NS, limit=limit) for at, limit in enumerate((100, 9999, 100))
        ]
        timeline, series = Timeline(past.writer), past.series(map_id)
        seen = {
            key.tobytes() for ref in (refs[0], refs[2]) for key in past.writer.entries(past.writer.snapshot(ref)).keys
        }
        key = next(key for key in map(flow_key, range(600)) if key not in seen)
        page = viewer.get(f"/series/{series.id}/entries/{key.hex()}").text
        assert facts(page)["last seen"] == f"2026-11-24 06:01:00 not seen in {refs[2]}, which does not hold all entries"
        assert facts(page)["first seen"].endswith("no snapshot before says that it was not there: it may be older")
        assert [row[0] for row in lines(page)] == ["+ there"]
        assert "not seen in 1</span>" in page
        story = Story(timeline, series, key)
        spans = story.spans()
        print_story(story, story.summary(spans), spans, "value.packets")
        text = capsys.readouterr().out
        assert f"    not seen  {refs[2]}  2026-11-24 06:02:00.000, which does not hold all entries\n" in text
        assert text.endswith(f"1  (not seen in {refs[2]})\n")
        told = document(story, story.summary(spans), spans, "value.packets")
        assert (told["gone"], told["not_seen"]["ref"], told["steps"][0]["not_seen"]) == (None, refs[2], [refs[2]])
        nobody = flow_key(9999)
        assert "2 of them do not hold all entries" in viewer.get(f"/series/{series.id}/entries/{nobody.hex()}").text
        never = Story(timeline, series, nobody)
        print_story(never, never.summary(), never.spans(), "")
        assert "in none of 3 snapshots; 2 of them do not hold all entries" in capsys.readouterr().err


@pytest.mark.parametrize(("at", "field", "before", "after"), [
    (8, "", 6, None), (6, "", 5, 8), (5, "", 3, 6), (4, "", 3, 5), (3, "", 1, 5), (1, "", None, 3), (0, "", None, 1),
    (4, "value.packets", 3, 6), (2, "value.limit", 1, 5), (5, "value.packets", 3, 6),
])  # fmt: skip
def test_steps_to_the_change_before_and_after(
    told: Told, viewer: LocalClient, at: int, field: str, before: int | None, after: int | None
) -> None:
    """What is hidden changed alone at 4: that is no step for whoever may not see it."""
    page = viewer.get(f"{told.path}?at={told.refs[at]}&field={field}", follow_redirects=True).text
    wanted = {rel: told.refs[place] for rel, place in (("prev", before), ("next", after)) if place is not None}
    assert steps(page) == wanted


def test_an_admin_steps_to_what_is_hidden_from_others(past: Recorded, told: Told) -> None:
    admin = past.person()
    assert steps(admin.get(f"{told.path}?at={told.refs[3]}").text)["next"] == told.refs[4]
    assert len(lines(admin.get(told.path).text)) == 7


def test_a_field_over_time_is_points_and_a_table(told: Told, viewer: LocalClient) -> None:
    page = viewer.get(f"{told.path}?field=value.packets").text
    assert "vendor/uPlot-1.6.32.iife.min.js" in page
    assert "vendor/uPlot" not in viewer.get(told.path).text, "only where there is a chart"
    link = html.unescape(re.findall(r'data-points="([^"]+)"', page)[0])
    found = viewer.get(link).json
    assert found is not None
    assert found["values"] == [None, 1, 1, 31, 31, 31, None, None, 2]
    assert found["at_ms"][3] - found["at_ms"][0] == 180_000
    assert found["per_second"][:4] == [None, None, 0.0, 0.5]
    assert found["thinned"] is False
    table = page[page.index("over time, newest first") :].partition("</table>")[0]
    assert re.findall(r'<td class="num mono">(?:<bdi>|<span class="faint">)([^<]+)', table) == [
        "2",
        "not seen",
        "31",
        "1",
        "not seen",
    ]
    assert "6 points of 9" in page


def test_what_is_hidden_and_what_is_no_number_is_not_drawn(told: Told, viewer: LocalClient) -> None:
    for field in ("value.secret", "value.name", "value.nothing", "value", "key.saddr.x"):
        answer = viewer.get(f"{told.path}?field={field}")
        assert answer.status_code == 422, field
        assert 'id="chart"' not in answer.text
        assert viewer.get(f"{told.path}?field={field}&format=points").status_code == 422
    page = viewer.get(told.path).text
    assert re.findall(r'<option value="(value[^"]*)"', page) == [
        "value.packets",
        "value.bytes",
        "value.limit",
        "value.state",
    ]


@pytest.mark.parametrize(
    "typed", ["10.0.0.5,443,6,0", f"hex:{flow_key(5).hex()}", '{"saddr":83886090,"dport":47873,"proto":6,"pad":0}']
)
def test_a_key_is_found_in_any_form(told: Told, viewer: LocalClient, typed: str) -> None:
    answer = viewer.get(f"/series/{told.series}/find", query_string={"key": typed})
    assert (answer.status_code, answer.location) == (303, told.path)


def test_what_is_no_key_or_was_never_there(told: Told, viewer: LocalClient) -> None:
    answer = viewer.get(f"/series/{told.series}/find", query_string={"key": "<b>zz"})
    assert answer.status_code == 422
    assert "&lt;b&gt;zz" in answer.text
    assert "<b>zz" not in answer.text
    assert "saddr, dport, proto" in viewer.get(f"/series/{told.series}/find").text
    page = viewer.get(f"/series/{told.series}/entries/{flow_key(77).hex()}").text
    assert "Never seen." in page
    assert "Its keys have another size." in viewer.get(f"/series/{told.series}/entries/ff").text
    assert viewer.get(f"/series/{told.series}/entries/xyz").status_code == 400
    assert viewer.get(f"/series/999999/entries/{flow_key(5).hex()}").status_code == 404
    assert viewer.get("/series/0/find").status_code == 404


def test_edits_on_record_stand_beside_what_they_did(past: Recorded, blob: bytes, viewer: LocalClient) -> None:
    with flows(blob, b"web_edits") as (fd, map_id):
        map_update(fd, flow_key(5), flow(1))
        past.take(map_id)
        admin = past.person(writing=True)
        asked = {"key": f"hex:{flow_key(5).hex()}", "set": {"value.limit": 77}, "reason": "a test"}
        headers = {"Origin": "http://127.0.0.1:8470", "X-Csrf-Token": admin.csrf}
        done = admin.post(f"/api/v1/maps/{map_id}/edits", json=asked, headers=headers)
        assert done.status_code == 200, done.text
        past.take(map_id)
        path = f"/series/{past.series(map_id).id}/entries/{flow_key(5).hex()}"
        page = admin.get(path).text
        assert lines(page)[0][4:] == ["limit 5 → 77 ▲ +72", "set by root"]
        number = re.findall(r'href="/audit/(\d+)"', page)[0]
        assert "a test" in admin.get(f"/audit/{number}", follow_redirects=True).text
        assert "/audit/" not in viewer.get(path).text.partition("<main")[2]


def test_rates_are_told_between_points_that_are_there() -> None:
    found = Series("value.x", [0, 10**9, 3 * 10**9, 3 * 10**9, 4 * 10**9], [1, 3, 7, 9, None], thinned=False)
    assert rates_of(found) == [None, 2.0, 2.0, None, None]


def test_many_points_are_thinned_and_that_is_said(
    past: Recorded, blob: bytes, viewer: LocalClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert stories.MOST_POINTS == 2000
    monkeypatch.setattr(stories, "MOST_POINTS", 12)
    with flows(blob, b"web_thin") as (fd, map_id):
        for number in range(40):
            map_update(fd, flow_key(5), flow(1000 if number == 21 else number))
            past.take(map_id, at_ns=START_NS + number * MINUTE_NS)
        path = f"/series/{past.series(map_id).id}/entries/{flow_key(5).hex()}?field=value.packets"
        found = viewer.get(path + "&format=points").json
        assert found is not None
        assert found["thinned"] is True
        assert len(found["values"]) <= 14
        assert {0, 39, 1000} <= set(found["values"])
        assert "thinned evenly" in viewer.get(path).text


def test_a_new_snapshot_and_one_that_went_are_seen_at_once(past: Recorded, blob: bytes, viewer: LocalClient) -> None:
    with flows(blob, b"web_more") as (fd, map_id):
        map_update(fd, flow_key(5), flow(1))
        first = past.take(map_id)
        path = f"/series/{past.series(map_id).id}/entries/{flow_key(5).hex()}"
        assert len(lines(viewer.get(path).text)) == 1
        map_update(fd, flow_key(5), flow(2))
        second = past.take(map_id)
        assert [row[2].split()[0] for row in lines(viewer.get(path).text)] == [second, first]
        past.writer.forget([first])
        assert [row[2].split()[0] for row in lines(viewer.get(path).text)] == [second]
