"""The page of what is recorded: every map with its pace and its volume, rules tried and saved."""

from __future__ import annotations

import pytest
from flask import Flask

from app.uapi.enums import BpfMapType
from app.uapi.objects import map_info
from app.uapi.syscall import MapSpec
from app.web.schedule_page import interval
from app.wire.errors import CannotRecord
from app.wire.recorder import Paced, RecorderClient, ScheduleFacts
from tests.livemaps import live_map, u32, u64
from tests.web.conftest import LocalClient
from tests.web.recording import Recording, app, editor, person, recorder

__all__ = ["app", "editor", "recorder"]
pytestmark = pytest.mark.kernel

PATH = "/snapshots/schedule"
SPEC = MapSpec(type=BpfMapType.HASH, key_size=4, value_size=8, max_entries=16, name=b"web_sched")
SLOWER = '[[rule]]\nmaps = ["web_*"]\nevery = "5m"\n'


def test_a_map_stands_with_its_pace_and_rules_are_tried_and_saved(recorder: Recording, app: Flask) -> None:
    admin = person(app, "admin")
    with live_map(SPEC, [(u32(1), u64(1))]) as fd:
        recorder.take(map_info(fd).id)
        page = admin.get(PATH).text
        row = row_of(page, "web_sched")
        assert "<td>1 min</td>" in row
        assert "not known yet" in row
        tried = admin.submit(PATH, rules=SLOWER, step="try")
        assert tried.status_code == 200
        assert "This is only tried" in tried.text
        assert '<a href="/snapshots" aria-current="page">History</a>' in tried.text
        assert '5 min <span class="soft">now 1 min</span>' in row_of(tried.text, "web_sched")
        assert recorder.recorder.rules.rules == ()
        saved = admin.submit(PATH, rules=SLOWER.replace("\n", "\r\n"), step="save")
        assert (saved.status_code, saved.location) == (303, PATH)
        recorder.recorder.series_of(map_info(fd).id)
        recorder.recorder._list(1.0)
        page = admin.get(PATH).text
        assert "<td>5 min</td>" in row_of(page, "web_sched")
        assert "1 rule of the page What is recorded" in page
        assert "web_*" in page


def row_of(page: str, name: str) -> str:
    """The table's row of a map."""
    start = page.index(f"<bdi>{name} ")
    return page[page.rindex("<tr>", 0, start) : page.index("</tr>", start)]


def test_a_mistake_comes_back_with_the_text_and_where_it_is(recorder: Recording, app: Flask) -> None:
    for step in ("try", "save"):
        answer = person(app, "admin").submit(PATH, rules='[[rule]]\nevery = "<soon>"\n', step=step)
        assert answer.status_code == 422
        assert "Rule 1: every is &#34;30s&#34;" in answer.text
        assert "&lt;soon&gt;" in answer.text
    assert recorder.recorder.rules.text == ""


def test_others_than_admins_read_alone(recorder: Recording, app: Flask) -> None:
    recorder.settings.within(recorder.settings.record_rules).write_text(SLOWER)
    recorder.recorder.look_again()
    for role in ("viewer", "editor"):
        someone = person(app, role)
        page = someone.get(PATH)
        assert page.status_code == 200
        assert "<textarea" not in page.text
        assert someone.submit(PATH, rules="", step="save").status_code == 403
    assert person(app, "auditor").get(PATH).status_code == 403


def test_rules_of_a_file_are_shown_and_not_offered_for_change(recorder: Recording, app: Flask) -> None:
    file = recorder.settings.within(recorder.settings.record_rules)
    file.write_text(SLOWER)
    recorder.recorder._list(1.0)
    admin = person(app, "admin")
    page = admin.get(PATH).text
    assert str(file) in page
    assert "<textarea" not in page
    assert "every = &#34;5m&#34;" in page
    refused = admin.submit(PATH, rules="", step="save")
    assert refused.status_code == 422
    assert "change that file" in refused.text


def test_what_is_not_the_rules_fault_is_said_as_what_it_is(
    recorder: Recording, app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_self: RecorderClient, *_asked: object) -> int:
        raise CannotRecord("the audit log cannot be written (disk full): nothing is done")

    monkeypatch.setattr(RecorderClient, "rules", full)
    answer = person(app, "admin").submit(PATH, rules=SLOWER, step="save")
    assert (answer.status_code, "The audit log cannot be written" in answer.text) == (503, True)


def test_more_than_there_is_room_for_is_said(app: Flask, recorder: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    paced = Paced(
        map_id=7, series_id=1, entries=None, now_s=60.0, interval_s=60.0, lately_s=400.0, by="rule <1>", why_not="",
    )  # fmt: skip
    left = Paced(
        map_id=8, series_id=0, entries=9, now_s=60.0, interval_s=60.0, lately_s=0.0, by="", why_not="it is <too> large"
    )
    facts = ScheduleFacts(
        rules="", source="", told="no <rules>", file="record.toml", default_s=60.0, default_entries=65_536, total=2,
        maps=(paced, left),
    )  # fmt: skip
    monkeypatch.setattr(RecorderClient, "schedule", lambda *_: facts)
    page = person(app, "viewer").get(PATH).text
    for told in ("lately 400 s", "rule &lt;1&gt;", "it is &lt;too&gt; large", "no &lt;rules&gt;", "1 of 2"):
        assert told in page, told


def test_without_a_recorder_it_says_so(app: Flask, editor: LocalClient) -> None:
    answer = editor.get(PATH)
    assert answer.status_code == 200
    assert "Nothing is recorded now." in answer.text
    assert person(app, "admin").submit(PATH, rules="", step="save").status_code == 503


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "never"),
        (30, "30 s"),
        (60, "1 min"),
        (90, "90 s"),
        (300, "5 min"),
        (7200, "2 h"),
        (86_400, "1 d"),
        (312.4, "312 s"),
    ],
)
def test_intervals_in_words(seconds: float, words: str) -> None:
    assert interval(seconds) == words
