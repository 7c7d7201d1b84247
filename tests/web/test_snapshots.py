"""The history's pages over real snapshots of real maps: what was kept, one map's timeline, entries as they were."""

from __future__ import annotations

import contextlib
import dataclasses
import html
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

from app.history.database import open_reading, sqlite_url
from app.history.history import History
from app.settings import Settings
from app.timeline.errors import BadSide
from app.uapi import objects
from app.uapi.enums import BpfMapType
from app.uapi.syscall import MapSpec, map_delete, map_update
from app.web.cookies import session_name
from app.web.diff_sides import live_map as live_of
from app.web.factory import create_app
from app.wire.accounts import Credential
from app.wire.errors import NotAllowed
from app.wire.recorder import RecorderClient, RecorderFacts, Stretch, connect
from tests.columns import kernel_maps
from tests.livemaps import live_map, u32
from tests.waiting import eventually
from tests.web.conftest import LocalClient, browser
from tests.web.recording import Recording, app, editor, person, recorder

__all__ = ["app", "editor", "recorder"]
pytestmark = pytest.mark.kernel

SOURCE = "struct rule { unsigned int limit, hits; char name[16]; }; int use_0(struct rule *p) { return 0; }"
ATTACK = b"<img onerror=a(1)>"
NAME = "web_history"


@pytest.fixture(scope="module")
def blob(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return kernel_maps.compile_btf(SOURCE, tmp_path_factory.mktemp("btf"))


@pytest.fixture(autouse=True)
def time_to_compare(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine shows all that changed, too."""
    monkeypatch.setattr("app.web.series_page.PAGE_S", 60.0)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path, listen="127.0.0.1:8470", allow_edits=True, audit_copies=())


@contextlib.contextmanager
def rules(blob: bytes, name: str = NAME, count: int = 5) -> Iterator[tuple[int, int]]:
    """(descriptor, id) of a hash of rules: limit 10 + key, hits 7."""
    btf = kernel_maps.parse(blob)
    spec = {"key_size": 4, "value_size": 24, "max_entries": max(count, 1) * 2, "name": name.encode()}
    with kernel_maps.created(blob, btf.find("unsigned int")[0], btf.find("rule")[0], **spec) as (fd, map_id):
        for key in range(count):
            put(fd, key)
        yield fd, map_id


def put(fd: int, key: int, limit: int = 0, hits: int = 7, name: bytes = b"plain") -> None:
    map_update(fd, u32(key), u32(limit or 10 + key) + u32(hits) + name.ljust(16, b"\0")[:16])


def shown(page: str) -> list[str]:
    """References of the snapshots in a list."""
    return re.findall(r'<tr id="(s\d+)">', page)


# ---- the history of all maps ---------------------------------------------------------------------------------------------


def test_without_a_history_the_page_says_what_to_do(app: Flask) -> None:
    answer = person(app, "viewer").get("/snapshots")
    assert answer.status_code == 200
    assert "Nothing was kept yet." in answer.text
    assert "the recorder does not answer" in answer.text.lower()
    assert answer.headers["Vary"] == "HX-Request, Cookie"


def test_snapshots_are_listed_and_found(blob: bytes, recorder: Recording, editor: LocalClient) -> None:
    with rules(blob) as (_, one), rules(blob, "web_other") as (_, other):
        first = recorder.take(one, other)
        (last,) = recorder.take(one, label="before <the> upgrade")
        page = editor.get("/snapshots").text
        assert shown(page) == [last, *reversed(first)]
        assert "before &lt;the&gt; upgrade" in page
        assert "<the>" not in page
        assert shown(editor.get("/snapshots?q=WEB_oth").text) == [first[1]]
        assert shown(editor.get("/snapshots?q=nothing_is_called_so").text) == []
        assert shown(editor.get("/snapshots?labelled=1").text) == [last]
        assert shown(editor.get("/snapshots?trigger=schedule").text) == []
        assert shown(editor.get(f"/snapshots?trigger=manual&before={last[1:]}").text) == [*reversed(first)]
        assert shown(editor.get("/snapshots?since=1h").text) == [last, *reversed(first)]
        assert shown(editor.get("/snapshots?until=1h").text) == []
        by_map = editor.get("/snapshots?by=map").text
        assert re.findall(r'href="/series/\d+"><bdi>(web_\w+)', by_map) == ["web_history", "web_other"]
        fragment = editor.get("/snapshots", headers={"HX-Request": "true"}).text
        assert fragment.lstrip().startswith('<div id="history"')
        assert shown(fragment) == shown(page)


def test_an_address_that_cannot_be_read_is_one_sentence(recorder: Recording, editor: LocalClient) -> None:
    for query in ("since=soon", "until=never", "trigger=whim", "series=0", "before=-1", "by=moon"):
        answer = editor.get(f"/snapshots?{query}")
        assert answer.status_code == 400, query
        assert query.partition("=")[0] in answer.text


def test_a_form_is_answered_with_the_short_address(recorder: Recording, editor: LocalClient) -> None:
    answer = editor.get("/snapshots?q=x&trigger=&since=&until=&labelled=")
    assert (answer.status_code, answer.location) == (303, "/snapshots?q=x")


def test_pages_of_the_list(
    blob: bytes, recorder: Recording, editor: LocalClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.web.snapshots_page.LIMIT", 2)
    with rules(blob) as (_, map_id):
        refs = [recorder.take(map_id)[0] for _ in range(5)][::-1]
        found, where = [], "/snapshots"
        while where:
            page = editor.get(where).text
            found.append(shown(page))
            following = re.search(r'rel="next" href="([^"]+)"', page)
            where = html.unescape(following[1]) if following else ""
        assert found == [refs[:2], refs[2:4], refs[4:]]


def test_the_recorders_state_is_above_the_list(recorder: Recording, editor: LocalClient) -> None:
    page = editor.get("/snapshots").text
    assert "on demand alone" in page
    recorder.recorder.problem = "the disk <is> full"
    assert "Nothing can be kept at present:</b> <bdi>The disk &lt;is&gt; full." in editor.get("/snapshots").text


def test_what_the_recorder_says_is_text(app: Flask, editor: LocalClient, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = RecorderFacts(
        recording=True, since_ns=1, maps=61, left_out=(("web_<left>\u202e", "it is <too> large"),), cpu_share=0.004,
        cpu_budget=0.01, used_bytes=900 << 20, budget_bytes=1 << 30, stretched=(Stretch("web_<slow>", 60.0, 312.4),),
        retention="3 snapshots thinned <at> noon", problem="", rules="2 rules of record.toml", taken=5, failed=1,
        scrub="all 40 chunks <by> noon", damaged=("chunk <7> is damaged",),
    )  # fmt: skip
    monkeypatch.setattr(RecorderClient, "state", lambda _: facts)
    page = editor.get("/snapshots").text
    for told in (
        "records 61 maps", "0.4\u202f% of 1.0\u202f%", "900.0 MiB of 1.0 GiB", 'aria-label="87.9\u202f% full"', "1 map is looked at less",
        "web_&lt;slow&gt;</bdi>: every 312 s instead of 60 s", "web_&lt;left&gt;\\u202e", "it is &lt;too&gt; large",
        "thinned &lt;at&gt; noon", "chunks &lt;by&gt; noon", "1 part of the history is damaged", "Chunk &lt;7&gt; is damaged.", "2 rules of record.toml", "1 failed",
    ):  # fmt: skip
        assert told in page, told


def test_a_damaged_row_is_told_and_the_rest_is_there(
    blob: bytes, recorder: Recording, editor: LocalClient, settings: Settings
) -> None:
    with rules(blob) as (fd, map_id):
        recorder.take(map_id)
        put(fd, 1, limit=99)
        recorder.take(map_id)
        with contextlib.closing(sqlite3.connect(settings.history_folder / "history.db")) as database:
            database.execute("UPDATE snapshot SET author = 'mallory' WHERE id = 1")
            database.commit()
        page = editor.get("/snapshots").text
        assert shown(page) == ["s2"]
        assert "1 row of the history is damaged" in page
        assert "mallory" not in page
        answer = editor.get("/snapshots/s1")
        assert answer.status_code == 503
        assert "The history cannot be read" in answer.text
        assert editor.get("/snapshots/s2").status_code == 200


def test_a_history_that_cannot_be_read_leaves_live_maps_alone(
    blob: bytes, recorder: Recording, app: Flask, settings: Settings
) -> None:
    with rules(blob) as (_, map_id):
        recorder.take(map_id)
        with contextlib.closing(sqlite3.connect(settings.history_folder / "history.db")) as database:
            database.execute("UPDATE alembic_version SET version_num = '9999'")
            database.commit()
        editor = person(app, "editor")
        for path in ("/", f"/maps/{map_id}", f"/maps/{map_id}/history", f"/maps/{map_id}/entries/01000000"):
            assert editor.get(path).status_code == 200, path
        assert editor.get("/maps/4294967295").status_code == 404
        answer = editor.get("/snapshots")
        assert answer.status_code == 503
        assert "which this release does not know" in answer.text


# ---- labels, deletions, files --------------------------------------------------------------------------------------------


def test_a_label_keeps_a_snapshot_and_can_be_taken_away(blob: bytes, recorder: Recording, editor: LocalClient) -> None:
    with rules(blob) as (_, map_id):
        (ref,) = recorder.take(map_id)
        answer = editor.submit(f"/snapshots/{ref}/label", label=" known good ", next="/snapshots?q=web")
        assert (answer.status_code, answer.location) == (303, "/snapshots?q=web")
        assert "known good" in editor.get("/snapshots").text
        assert (
            editor.submit(f"/snapshots/{ref}/label", label="", next="//evil.example/").location == f"/snapshots/{ref}"
        )
        assert "known good" not in editor.get("/snapshots").text
        assert editor.submit("/snapshots/s99/label", label="x").status_code == 404
        assert editor.submit(f"/snapshots/{ref}/label", label="x" * 201).status_code == 422


def test_a_snapshot_is_deleted_when_its_name_is_typed(blob: bytes, app: Flask, recorder: Recording) -> None:
    admin = person(app, "admin")
    with rules(blob) as (_, map_id):
        (ref,) = recorder.take(map_id)
        assert f'Type <b class="mono">{ref}</b>' in admin.get(f"/snapshots/{ref}/delete").text
        wrong = admin.submit(f"/snapshots/{ref}/delete", word="s9")
        assert wrong.status_code == 422
        assert f"type {ref}" in wrong.text
        assert admin.get(f"/snapshots/{ref}").status_code == 200
        assert person(app, "editor").submit(f"/snapshots/{ref}/delete", word=ref).status_code == 403
        assert admin.submit(f"/snapshots/{ref}/delete", word=ref).status_code == 303
        assert admin.get(f"/snapshots/{ref}").status_code == 404
    page = person(app, "auditor").get("/audit?kind=history").text
    assert "snapshots deleted" in page
    assert re.findall(r"\bs1 of web_\w+ \(hash\)", page)
    assert ">admin<" in re.sub(r"\s+", "", page)


def test_the_role_counts_also_where_no_page_asks(
    blob: bytes, app: Flask, recorder: Recording, settings: Settings
) -> None:
    """A web that was taken over asks the recorder without its own pages' leave."""
    session = Credential(session=person(app, "editor").value(session_name(settings)))
    with rules(blob) as (_, map_id), connect(settings.recorder_socket) as asking:
        (ref,) = recorder.take(map_id)
        with pytest.raises(NotAllowed, match="editor is an editor; this takes admin"):
            asking.forget(session, (ref,))
        assert person(app, "viewer").get(f"/snapshots/{ref}").status_code == 200
    page = person(app, "auditor").get("/audit?kind=history").text
    assert "change of the history refused" in page


def test_chosen_snapshots_are_one_file_that_opens(
    blob: bytes, recorder: Recording, editor: LocalClient, tmp_path: Path
) -> None:
    with rules(blob) as (fd, map_id):
        refs = recorder.take(map_id)
        put(fd, 3, limit=333)
        refs += recorder.take(map_id, label="kept")
        recorder.take(map_id)
        answer = editor.post(
            "/snapshots/export", data={"csrf": editor.csrf, "ref": refs}, headers={"Origin": "http://127.0.0.1:8470"}
        )
        assert answer.status_code == 200
        assert re.search(r'filename="bpf-atlas-snapshots-\d{8}-\d{6}\.db"', answer.headers["Content-Disposition"])
        path = tmp_path / "sent.db"
        path.write_bytes(answer.data)
        history = History(open_reading(sqlite_url(path)))
        kept = history.snapshots()
        assert [each.label for each in kept] == ["kept", ""]
        assert history.value(kept[0], u32(3)) == u32(333) + u32(7) + b"plain".ljust(16, b"\0")
        history.close()
        assert [each.name for each in (tmp_path / "web").iterdir() if "export" in each.name] == []
        assert editor.submit("/snapshots/export").status_code == 400
        assert editor.submit("/snapshots/export", ref="s99").status_code == 404


# ---- one map -------------------------------------------------------------------------------------------------------------


def test_one_maps_timeline_says_what_changed(blob: bytes, recorder: Recording, editor: LocalClient) -> None:
    with rules(blob) as (fd, map_id):
        (first,) = recorder.take(map_id)
        put(fd, 3, limit=99)
        put(fd, 9)
        map_delete(fd, u32(0))
        (second,) = recorder.take(map_id)
        (third,) = recorder.take(map_id)
        page = editor.get(f"/maps/{map_id}/history").text
        assert shown(page) == [third, second, first]
        row = page[page.index(f'<tr id="{second}">') : page.index(f'<tr id="{first}">')]
        assert f'href="/diff?a={first}&amp;b={second}"' in row
        assert re.findall(r'class="(plus|minus|changed-n)">([^<]+)', row) == [
            ("plus", "+1"), ("minus", "−1"), ("changed-n", "~1"),
        ]  # fmt: skip
        assert "<bdi>value.limit</bdi>" in row
        assert "no entry" in page[page.index(f'<tr id="{third}">') : page.index(f'<tr id="{second}">')]
        assert "the first" in page[page.index(f'<tr id="{first}">') :]
        alone = editor.get(f"/series/{series_of(editor, map_id)}").text
        assert shown(alone) == [third, second, first]
        assert f'href="/maps/{map_id}">Map #{map_id} now</a>' in alone


def test_what_takes_too_long_to_compare_is_a_link(
    blob: bytes, recorder: Recording, editor: LocalClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.web.series_page.PAGE_S", -1.0)
    with rules(blob) as (fd, map_id):
        (first,) = recorder.take(map_id)
        put(fd, 3, limit=99)
        (second,) = recorder.take(map_id)
        page = editor.get(f"/maps/{map_id}/history").text
        assert f'href="/diff?a={first}&amp;b={second}">compare</a>' in page


def test_edits_on_record_stand_between_the_snapshots(blob: bytes, app: Flask, recorder: Recording) -> None:
    editor = person(app, "editor")
    editor.elevate()
    with rules(blob) as (_, map_id), rules(blob, "web_other") as (_, other):
        recorder.take(map_id)
        for one in (map_id, other):
            headers = {"Origin": "http://127.0.0.1:8470", "X-Csrf-Token": editor.csrf}
            asked = {"key": 1, "set": {"value.limit": 77}, "reason": "ticket <4411>"}
            assert editor.post(f"/api/v1/maps/{one}/edits", json=asked, headers=headers).status_code == 200
        recorder.take(map_id)
        page = editor.get(f"/maps/{map_id}/history").text
        order = re.findall(r'<tr (?:id="(s\d+)"|class="(edit)")', page)
        assert [ref or edit for ref, edit in order] == ["s2", "edit", "s1"]
        assert "ticket &lt;4411&gt;" in page
        assert re.search(r'class="old"><bdi>11</bdi></span>.*?<bdi>77</bdi>', page)
        assert 'class="edit"' not in person(app, "viewer").get(f"/maps/{map_id}/history").text


def test_a_map_without_a_snapshot_says_so(blob: bytes, recorder: Recording, editor: LocalClient) -> None:
    with rules(blob) as (_, map_id):
        page = editor.get(f"/maps/{map_id}/history").text
        assert "No snapshot of this map yet." in page
        assert editor.get(f"/maps/{map_id}?at=1h").status_code == 404


def test_a_link_to_a_moment_outlives_its_map(blob: bytes, recorder: Recording, editor: LocalClient) -> None:
    with rules(blob) as (fd, map_id):
        put(fd, 1)
        (ref,) = recorder.take(map_id)
        put(fd, 2)
        recorder.take(map_id)
        number = series_of(editor, map_id)
    answer = editor.get(f"/maps/{map_id}?at={ref}&sort=-key")
    assert (answer.status_code, answer.location) == (303, f"/snapshots/{ref}?sort=-key")
    assert editor.get(answer.location).status_code == 200
    assert editor.get(f"/maps/{map_id}?at=0s").location == "/snapshots/s2"
    assert editor.get(f"/maps/{map_id}/history").location == f"/series/{number}"
    assert editor.get(f"/maps/{map_id}").status_code == 404
    assert editor.get(f"/maps/{map_id}?at=s99").status_code == 404
    assert editor.get(f"/api/v1/maps/{map_id}").status_code == 404


def test_no_live_map_is_told_where_a_pin_went_away(blob: bytes, app: Flask, recorder: Recording) -> None:
    with rules(blob) as (fd, map_id):
        put(fd, 1)
        (ref,) = recorder.take(map_id)
    backend = app.extensions["backend"]
    timeline = backend.past.timeline()
    series = timeline.history.one_series(timeline.history.snapshot(ref).series_id)
    pinned = dataclasses.replace(series, map_id=0, of=dataclasses.replace(series.of, pin="/sys/fs/bpf/went_away"))
    with app.test_request_context(), pytest.raises(BadSide, match="no map that is there now goes on with"):
        live_of(pinned, timeline, backend.looker)


def test_a_type_without_a_history_says_why(recorder: Recording, editor: LocalClient) -> None:
    spec = MapSpec(type=BpfMapType.RINGBUF, key_size=0, value_size=0, max_entries=4096, name=b"passing")
    with live_map(spec) as fd:
        map_id = objects.map_info(fd).id
        page = editor.get(f"/maps/{map_id}/history").text
        assert "Its records pass through, and are gone once their consumer has read them." in page
        assert "Snapshot now" not in page


def test_a_snapshot_now(blob: bytes, app: Flask, recorder: Recording, editor: LocalClient) -> None:
    with rules(blob) as (_, map_id):
        assert f'action="/maps/{map_id}/snapshots"' in editor.get(f"/maps/{map_id}").text
        assert f'action="/maps/{map_id}/snapshots"' not in person(app, "viewer").get(f"/maps/{map_id}").text
        begun = editor.submit(f"/maps/{map_id}/snapshots")
        assert begun.status_code == 303

        def taken() -> bool:
            page = editor.get(begun.location).text
            if "Taken:" in page:
                return True
            assert f'hx-get="{begun.location}" hx-trigger="every 1s"' in page
            assert f'content="1;url={begun.location}?polled=1"' in page
            return False

        assert eventually(taken, 20)
        page = editor.get(begun.location).text
        assert '<a href="/snapshots/s1">s1</a>' in page
        assert "hx-trigger" not in page[page.index('id="job"') :].partition("</div>")[0]
        assert "editor" in editor.get("/snapshots/s1").text
        headers = {"Origin": "http://127.0.0.1:8470", "X-Csrf-Token": editor.csrf, "HX-Request": "true"}
        fragment = editor.post(f"/maps/{map_id}/snapshots", headers=headers).text
        assert '<div id="job"' in fragment
        assert "<html" not in fragment
        assert editor.submit("/maps/4294967295/snapshots").status_code == 404
        assert editor.get("/snapshots/jobs/999").status_code == 404
        assert editor.get("/snapshots/jobs/x").status_code == 404


def test_what_cannot_be_kept_says_why(app: Flask, recorder: Recording, editor: LocalClient) -> None:
    with live_map(MapSpec(type=BpfMapType.RINGBUF, key_size=0, value_size=0, max_entries=4096, name=b"web_ring")) as fd:
        begun = editor.submit(f"/maps/{objects.map_info(fd).id}/snapshots")
        assert eventually(lambda: "no snapshot can be taken" in editor.get(begun.location).text, 20)
        assert "its records pass through" in editor.get(begun.location).text


def test_nobody_records(blob: bytes, editor: LocalClient) -> None:
    with rules(blob) as (_, map_id):
        answer = editor.submit(f"/maps/{map_id}/snapshots")
        assert answer.status_code == 503
        assert "The recorder does not answer" in answer.text


# ---- entries as they were ------------------------------------------------------------------------------------------------


def limits(page: str) -> list[str]:
    """The first column of values."""
    return re.findall(r'<td class="v num edge[^"]*"[^>]*><bdi>(.*?)</bdi>', page)


def test_entries_of_a_moment_are_filtered_sorted_and_saved(
    blob: bytes, recorder: Recording, editor: LocalClient
) -> None:
    with rules(blob) as (fd, map_id):
        (ref,) = recorder.take(map_id)
        put(fd, 1, limit=500)
        for base in (f"/snapshots/{ref}?", f"/maps/{map_id}?at={ref}&"):
            assert limits(editor.get(f"{base}sort=-value.limit").text) == ["14", "13", "12", "11", "10"]
            page = editor.get(f"{base}where=value.limit+>+12").text
            assert limits(page) == ["13", "14"]
            assert "<b>2</b> of 5 match" in page
            assert f'href="/snapshots/{ref}/entries/03000000"' in page
            assert (
                editor.get(f"{base}format=csv&where=value.limit+>+12&col=value.limit").text == "value.limit\n13\n14\n"
            )
            answer = editor.get(f"{base}format=json")
            assert [each["value"]["limit"] for each in answer.json] == [10, 11, 12, 13, 14]
            assert f'filename="web_history-{ref}.json"' in answer.headers["Content-Disposition"]
            assert editor.get(f"{base}where=value.lim+>+1").status_code == 422
            first = editor.get(f"{base}limit=2&sort=value.limit").text
            following = html.unescape(re.search(r'rel="next" href="([^"]+cursor[^"]+)"', first)[1])  # type: ignore[index]
            assert limits(editor.get(following).text) == ["12", "13"]
        assert limits(editor.get(f"/maps/{map_id}?sort=-value.limit").text)[0] == "500"


def test_a_map_at_a_time_and_the_way_to_its_neighbours(blob: bytes, recorder: Recording, editor: LocalClient) -> None:
    with rules(blob) as (fd, map_id), rules(blob, "web_other") as (_, other):
        (first,) = recorder.take(map_id)
        put(fd, 0, limit=11)
        (second,) = recorder.take(map_id)
        (third,) = recorder.take(map_id)
        (foreign,) = recorder.take(other)
        page = editor.get(f"/maps/{map_id}?at={second}&where=key+==+0").text
        assert "As of 20" in page
        assert limits(page) == ["11"]
        links = dict(re.findall(r'href="([^"]+)" data-key="([\[\]])"', page))
        assert links == {
            f"/maps/{map_id}?at={first}&amp;where=key+%3D%3D+0": "[",
            f"/maps/{map_id}?at={third}&amp;where=key+%3D%3D+0": "]",
        }
        assert f'href="/maps/{map_id}?where=key+%3D%3D+0">Now</a>' in page
        assert limits(editor.get(f"/maps/{map_id}?at=0s&where=key+==+0").text) == ["11"]
        assert f'href="/maps/{map_id}?at=0s" data-key="["' in editor.get(f"/maps/{map_id}").text
        assert editor.get(f"/maps/{map_id}?at={foreign}").location == f"/snapshots/{foreign}"
        assert editor.get(f"/maps/{map_id}?at=noon").status_code == 400
        assert editor.get(f"/maps/{map_id}?at=2001-01-01").status_code == 404
        assert editor.get(f"/maps/{map_id}?at=s99").status_code == 404
        assert editor.get(f"/snapshots/{second}/changes").location == f"/diff?a={first}&b={second}"
        assert editor.get(f"/snapshots/{first}/changes").status_code == 404
        standing = dict(re.findall(r'href="([^"]+)" data-key="([\[\]])"', editor.get(f"/snapshots/{second}").text))
        assert standing == {f"/snapshots/{first}": "[", f"/snapshots/{third}": "]"}
        slid = editor.get(f"/series/{series_of(editor, map_id)}/moment?t=4294967296&map={map_id}")
        assert slid.location == f"/maps/{map_id}?at={third}"
        assert editor.get(f"/series/{series_of(editor, map_id)}/moment?t=1").status_code == 404


def series_of(client: LocalClient, map_id: int) -> int:
    found = client.get(f"/api/v1/snapshots?map={map_id}").json
    return int(found["snapshots"][0]["series"]["id"])


def test_one_entry_of_a_moment(blob: bytes, recorder: Recording, editor: LocalClient) -> None:
    with rules(blob) as (fd, map_id):
        put(fd, 2, limit=1764, name=ATTACK)
        (ref,) = recorder.take(map_id)
        put(fd, 2, limit=1)
        (later,) = recorder.take(map_id)
        page = editor.get(f"/snapshots/{ref}/entries/02000000").text
        assert 'title="limit · byte 0">e4 06 00 00</span>' in page
        assert "&lt;img onerror=a(1" in page
        assert "<img" not in page
        assert f'href="/snapshots/{later}/entries/02000000" data-key="]"' in page
        assert f'href="/maps/{map_id}/entries/02000000">Now</a>' in page
        assert f'href="/series/{series_of(editor, map_id)}/entries/02000000"' in page
        assert editor.get(f"/snapshots/{ref}/entries/ff000000").status_code == 404
        for bad in ("02", "zz000000", "0200 000"):
            assert editor.get(f"/snapshots/{ref}/entries/{bad}").status_code == 400
        # The same by the live map's address, and from it to the entry's story.
        then = editor.get(f"/maps/{map_id}/entries/02000000?at={ref}")
        assert then.status_code == 303
        assert then.headers["Location"] == f"/snapshots/{ref}/entries/02000000"
        assert editor.get(f"/maps/{map_id}/entries/02000000?at=2001-01-01").status_code == 404
        assert ">Its story</a>" in editor.get(f"/maps/{map_id}/entries/02000000").text


def test_the_first_page_of_a_large_snapshot_opens_few_chunks(
    blob: bytes, recorder: Recording, editor: LocalClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int | None] = []
    real = History.entries

    def entries(self: History, kept: object, *, limit: int | None = None, **more: object) -> object:
        asked.append(limit)
        return real(self, kept, limit=limit, **more)  # type: ignore[arg-type]

    with rules(blob, count=20_000) as (_, map_id):
        (ref,) = recorder.take(map_id)
        monkeypatch.setattr(History, "entries", entries)
        page = editor.get(f"/snapshots/{ref}").text
        assert asked == [101]
        assert "first 100 of about 20\u2009000" in page
        following = html.unescape(re.search(r'rel="next" href="([^"]+cursor[^"]+)"', page)[1])  # type: ignore[index]
        assert "rows 101–200" in editor.get(following).text
        assert editor.get(f"/snapshots/{ref}?sort=-key").status_code == 200
        assert asked == [101, None], "later pages are cut from one reading"


def test_elements_of_an_array_stand_in_their_order(blob: bytes, recorder: Recording, editor: LocalClient) -> None:
    btf = kernel_maps.parse(blob)
    spec = {"key_size": 4, "value_size": 24, "max_entries": 600, "name": b"web_array", "type": BpfMapType.ARRAY}
    with kernel_maps.created(blob, btf.find("unsigned int")[0], btf.find("rule")[0], **spec) as (_, map_id):
        (ref,) = recorder.take(map_id)
        page = editor.get(f"/snapshots/{ref}").text
        assert re.findall(r'entries/\w+"><bdi>(\d+)</bdi>', page) == [str(number) for number in range(100)]


# ---- maps that are gone --------------------------------------------------------------------------------------------------


def test_a_map_that_is_gone_leads_to_its_last_snapshot(blob: bytes, app: Flask, recorder: Recording) -> None:
    viewer = person(app, "viewer")
    with rules(blob, name="web_gone") as (fd, map_id):
        recorder.take(map_id)
        put(fd, 1, limit=12)
        (last,) = recorder.take(map_id)
        number = series_of(viewer, map_id)
    for path in (f"/maps/{map_id}", f"/maps/{map_id}/schema", f"/maps/{map_id}?at=1h"):
        answer = viewer.get(path)
        assert answer.status_code == 404
        assert f'href="/snapshots/{last}"' in answer.text
        assert "<bdi>web_gone (hash" in answer.text
    assert f'href="/snapshots/{last}"' not in person(app, "auditor").get(f"/maps/{map_id}/schema").text
    page = viewer.get(f"/series/{number}").text
    assert shown(page)[0] == last
    assert "gone</span>" in page
    assert viewer.get(f"/snapshots/{last}").status_code == 200
    assert "Diff with live" not in page
    assert viewer.get("/series/999").status_code == 404
    assert viewer.get("/series/x").status_code == 404


def test_the_list_of_maps_says_when_each_changed(blob: bytes, recorder: Recording, editor: LocalClient) -> None:
    with rules(blob) as (_, map_id):
        assert "Changed last" not in editor.get("/").text
        recorder.take(map_id)
    with rules(blob) as (_, map_id):
        recorder.take(map_id)
        editor.application.extensions["backend"].past.extents._until_s = 0.0
        page = editor.get("/?q=web_history").text
        assert "Changed last" in page
        assert f'<a class="in" href="/maps/{map_id}/history"' in page


# ---- before a plan -------------------------------------------------------------------------------------------------------


def plan(client: LocalClient, map_id: int) -> str:
    rows = "key,value.limit\n0,100\n2,102\n"
    made = client.submit("/plans/new", map=str(map_id), rows=rows, reason="ticket 4411")
    assert made.status_code == 303, made.text
    return str(made.location)


def test_a_snapshot_is_taken_before_a_plan_is_applied(blob: bytes, app: Flask, recorder: Recording) -> None:
    editor = person(app, "editor")
    with rules(blob) as (_, map_id):
        quiet = plan(editor, map_id)
        assert editor.submit(f"{quiet}/start").status_code == 403, "without a write session"
        assert shown(editor.get("/snapshots").text) == [], "and so nothing was kept either"
        editor.elevate()
        made = plan(editor, map_id)
        done = editor.submit(f"{made}/start")
        assert (done.status_code, done.location) == (303, f"{made}?snap=s1")
        page = editor.get(done.location).text
        assert "All rows are done." in page
        assert 'href="/restore?snap=s1"' in page
        (before,) = editor.get("/api/v1/snapshots?limit=1").json["snapshots"]
        assert (before["trigger"], before["author"], before["map_id"]) == ("pre-edit", "editor", map_id)
        entries = editor.get("/api/v1/snapshots/s1/entries").json["entries"]
        assert [each["value"]["limit"] for each in entries] == [10, 11, 12, 13, 14]


def test_without_a_recorder_a_plan_is_applied_only_when_that_is_said(blob: bytes, app: Flask) -> None:
    editor = person(app, "editor")
    editor.elevate()
    with rules(blob) as (_, map_id):
        made = plan(editor, map_id)
        answer = editor.submit(f"{made}/start")
        assert answer.status_code == 503
        assert "Nothing was written: the snapshot before it was not taken" in answer.text
        assert "Apply without a snapshot" in answer.text
        assert limits(editor.get(f"/maps/{map_id}?sort=key").text) == ["10", "11", "12", "13", "14"]
        assert editor.submit(f"{made}/start", no_snapshot="1").status_code == 303
        assert limits(editor.get(f"/maps/{map_id}?sort=key").text) == ["100", "11", "102", "13", "14"]


# ---- what the policy hides -----------------------------------------------------------------------------------------------

POLICY = (
    f'version = 1\n[[rule]]\n[[redact]]\nmaps = ["{NAME}"]\nfields = ["value.name"]\nhide_from = ["viewer", "editor"]\n'
)
CANARY = b"CANARY-4711"
FORMS = ("CANARY", CANARY.hex(), CANARY.hex(" ")[:20], '"0x43","0x41"')


def test_what_is_hidden_now_is_hidden_in_the_past(
    blob: bytes, app: Flask, recorder: Recording, settings: Settings
) -> None:
    with rules(blob) as (fd, map_id):
        put(fd, 1, name=b"CANARY-old")
        recorder.take(map_id)
        put(fd, 1, name=CANARY)
        recorder.take(map_id)
        admin, viewer = person(app, "admin"), person(app, "viewer")
        number = series_of(admin, map_id)
        paths = [
            "/snapshots", "/snapshots/s1", "/snapshots/s2", "/snapshots/s2?col=value.name&col=value",
            "/snapshots/s2?sort=-value", "/snapshots/s2?format=json", "/snapshots/s2?format=csv",
            "/snapshots/s2?format=csv&col=value", "/snapshots/s2?where=value+startswith+hex:0b", "/snapshots/s2/entries/01000000",
            f"/maps/{map_id}?at=s2", f"/maps/{map_id}?at=s2&format=ndjson", f"/maps/{map_id}/history", f"/series/{number}",
            "/api/v1/snapshots", "/api/v1/snapshots/s2", "/api/v1/snapshots/s2/entries", f"/api/v1/maps/{map_id}/entries?at=s2",
        ]  # fmt: skip
        seen = [path for path in paths if any(form in admin.get(path).text for form in FORMS)]
        assert len(seen) >= 10, "so that the rest of this test can fail"
        (settings.data / "policy.toml").write_text(POLICY)
        for path in paths:
            answer = viewer.get(path)
            assert [form for form in FORMS if form in answer.text] == [], path
            assert answer.status_code == 200, path
        history = viewer.get(f"/maps/{map_id}/history").text
        assert "no entry" in history[history.index('<tr id="s2">') :].partition("</tr>")[0], (
            "a hidden change is no change"
        )
        assert "value.name" not in history
        for refused in ("where=value.name+==+%22x%22", "sort=value.name"):
            assert viewer.get(f"/snapshots/s2?{refused}").status_code == 422
        for person_ in (viewer, person(app, "editor")):
            answer = person_.submit("/snapshots/export", ref="s2")
            assert answer.status_code == 403
            assert "hides from your role" in answer.text
        assert admin.submit("/snapshots/export", ref="s2").status_code == 200


def test_a_reading_of_somebody_who_sees_more_is_not_shared(
    blob: bytes, app: Flask, recorder: Recording, settings: Settings
) -> None:
    with rules(blob) as (fd, map_id):
        put(fd, 1, name=CANARY)
        recorder.take(map_id)
        (settings.data / "policy.toml").write_text(POLICY)
        page = person(app, "admin").get("/snapshots/s1?limit=2&sort=key").text
        cursor = re.search(r"cursor=(v[\w-]{12}\.2)", page)
        assert cursor
        viewer = person(app, "viewer")
        for more in ("", "&format=json"):
            answer = viewer.get(f"/snapshots/s1?sort=key&cursor={cursor[1]}{more}")
            assert answer.status_code == 410
            assert "CANARY" not in answer.text


# ---- a history by itself -------------------------------------------------------------------------------------------------


def test_a_history_by_itself_is_read_and_nothing_else(
    blob: bytes, app: Flask, recorder: Recording, settings: Settings, tmp_path: Path
) -> None:
    with rules(blob) as (fd, map_id):
        recorder.take(map_id)
        put(fd, 1, limit=99)
        recorder.take(map_id)
        admin = person(app, "admin")
        data = {"csrf": admin.csrf, "ref": ["s1", "s2"]}
        sent = admin.post("/snapshots/export", data=data, headers={"Origin": "http://127.0.0.1:8470"})
    path = tmp_path / "sent.db"
    path.write_bytes(sent.data)
    alone = dataclasses.replace(settings, history_file=str(path))
    reader = browser(create_app(alone, app.extensions["client"]), alone, "admin")
    assert reader.get("/?q=web").location == "/snapshots?q=web"
    page = reader.get("/snapshots").text
    assert shown(page) == ["s2", "s1"]
    nav = re.findall(r'<a href="([^"]+)"', page[page.index('<nav class="nav"') :].partition("</nav>")[0])
    assert set(nav) <= {"/snapshots", "/diff"}
    assert "/snapshots" in nav
    for path_ in ("/series/1", "/snapshots/s1", "/snapshots/s1/entries/01000000", "/snapshots?by=map"):
        answer = reader.get(path_)
        assert answer.status_code == 200, path_
        for offered in ('"/maps/', "/restore", '/label"', "/delete", "recorder"):
            assert offered not in answer.text.partition("<main")[2].partition("</main>")[0], (path_, offered)
    assert reader.submit("/snapshots/s1/label", label="x").status_code == 404
    assert reader.submit("/snapshots/s1/delete", word="s1").status_code == 404
    assert reader.submit("/snapshots/export", ref="s1").status_code == 200
