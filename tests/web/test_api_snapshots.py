"""The history for programs: listed, asked for, read, in the shapes that openapi.json describes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from app.settings import Settings
from app.uapi import objects
from app.uapi.enums import BpfMapType
from app.uapi.syscall import MapSpec, map_update
from app.wire.accounts import Credential
from app.wire.recorder import JobFacts, RecorderClient
from tests.livemaps import live_map, u32, u64
from tests.waiting import eventually
from tests.web.conftest import ORIGIN, LocalClient, browser, stranger
from tests.web.recording import Recording, app, editor, recorder

__all__ = ["app", "editor", "recorder"]
pytestmark = pytest.mark.kernel


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path, listen="127.0.0.1:8470", audit_copies=())


@pytest.fixture
def numbers() -> Iterator[tuple[int, int]]:
    """(descriptor, id) of a hash without types: eight bytes under each of 0 to 4."""
    spec = MapSpec(type=BpfMapType.HASH, key_size=4, value_size=8, max_entries=16, name=b"api_numbers")
    with live_map(spec, [(u32(n), u64(n * n)) for n in range(5)]) as fd:
        yield fd, objects.map_info(fd).id


def ask(client: LocalClient, question: Any, path: str = "/api/v1/snapshots") -> TestResponse:
    return client.post(path, json=question, headers={"Origin": ORIGIN, "X-Csrf-Token": client.csrf})


def test_without_a_history_the_list_is_empty(editor: LocalClient) -> None:
    assert editor.get("/api/v1/snapshots").json == {"snapshots": [], "next_before": None}
    assert editor.get("/api/v1/snapshots?map=1").status_code == 404
    assert editor.get("/api/v1/snapshots/s1").status_code == 404


def test_a_snapshot_is_taken_listed_and_read(
    recorder: Recording, editor: LocalClient, numbers: tuple[int, int]
) -> None:
    fd, map_id = numbers
    taken = ask(editor, {"maps": [map_id], "label": "by a program"})
    assert taken.status_code == 201
    (one,) = taken.json  # type: ignore[misc]
    assert {name: one[name] for name in ("ref", "map_id", "name", "entries", "exact")} == {
        "ref": "s1", "map_id": map_id, "name": "api_numbers", "entries": 5, "exact": False,
    }  # fmt: skip
    assert one["bytes_added"] > 0
    assert (one["trigger"], one["author"], one["label"]) == ("manual", "editor", "by a program")
    assert (one["series"]["name"], one["series"]["type"]) == ("api_numbers", "hash")
    map_update(fd, u32(1), u64(99))
    assert ask(editor, {"maps": ["name:api_numbers", str(map_id)]}).json[0]["ref"] == "s2"  # type: ignore[index]
    listed = editor.get("/api/v1/snapshots?limit=1").json
    assert [each["ref"] for each in listed["snapshots"]] == ["s2"]  # type: ignore[index]
    assert listed["next_before"] == 2  # type: ignore[index]
    rest = editor.get("/api/v1/snapshots?limit=1&before=2").json
    assert (rest["snapshots"], rest["next_before"]) == ([one], None)  # type: ignore[index]
    assert editor.get("/api/v1/snapshots/s1").json == one
    for query in (f"map={map_id}", "map=name:api_numbers", f"series={one['series']['id']}"):
        assert [each["ref"] for each in editor.get(f"/api/v1/snapshots?{query}").json["snapshots"]] == ["s2", "s1"]  # type: ignore[index]
    then = editor.get(f"/api/v1/maps/{map_id}/entries?at=s1").json
    assert then == editor.get("/api/v1/snapshots/s1/entries").json
    assert then["snapshot"] == "s1"  # type: ignore[index]
    assert then["taken_at_ns"] == one["taken_at_ns"]  # type: ignore[index]
    assert then["entries"][1]["value"][0] == "0x01"  # type: ignore[index]
    assert editor.get(f"/api/v1/maps/{map_id}/entries").json["snapshot"] == ""  # type: ignore[index]
    assert editor.get(f"/api/v1/maps/{map_id}/entries?at=0s").json["snapshot"] == "s2"  # type: ignore[index]
    page = editor.get("/api/v1/snapshots/s1/entries?limit=2&sort=-key").json
    assert page["next_cursor"]  # type: ignore[index]
    assert len(editor.get(f"/api/v1/snapshots/s1/entries?limit=9&sort=-key&cursor={page['next_cursor']}").json["entries"]) == 3  # type: ignore[index]  # fmt: skip


def test_what_is_wrong_is_a_problem_document(
    recorder: Recording, editor: LocalClient, numbers: tuple[int, int]
) -> None:
    _, map_id = numbers
    assert ask(editor, {"maps": [map_id]}).status_code == 201
    questions = {
        400: [{}, {"maps": []}, {"maps": [map_id], "more": 1}, {"maps": "all"}, [], {"maps": [1.5]}, {"maps": ["nonsense"]}],
        404: [{"maps": [4294967295]}, {"maps": ["name:no_such_map"]}, {"maps": [map_id, 4294967295]}],
    }  # fmt: skip
    for status, some in questions.items():
        for question in some:
            answer = ask(editor, question)
            assert answer.status_code == status, question
            assert answer.mimetype == "application/problem+json"
    for path, status in (
        ("snapshots?limit=0", 400), ("snapshots?before=x", 400), ("snapshots?map=name:nobody", 404), ("snapshots/s9", 404),
        ("snapshots/9", 404), ("snapshots/s9/entries", 404), ("snapshots/s1/entries?where=value+%3E", 422),
        (f"maps/{map_id}/entries?at=noon", 400), (f"maps/{map_id}/entries?at=1h", 404), ("snapshots/jobs/99", 404),
        ("snapshots/s1/entries?cursor=x", 400), ("maps/4294967295/entries?at=0s", 404),
    ):  # fmt: skip
        answer = editor.get(f"/api/v1/{path}")
        assert answer.status_code == status, path
        assert answer.mimetype == "application/problem+json"
    assert [each["ref"] for each in editor.get("/api/v1/snapshots").json["snapshots"]] == ["s1"], (
        "and nothing was taken"
    )  # type: ignore[index]


def test_a_map_that_cannot_be_kept_is_told_with_those_that_were(
    recorder: Recording, editor: LocalClient, numbers: tuple[int, int]
) -> None:
    with live_map(MapSpec(type=BpfMapType.RINGBUF, key_size=0, value_size=0, max_entries=4096, name=b"api_ring")) as fd:
        answer = ask(editor, {"maps": [numbers[1], objects.map_info(fd).id]})
        assert answer.status_code == 422
        assert "no snapshot can be taken of this ring buffer" in answer.json["detail"]  # type: ignore[index]
        assert answer.json["detail"].endswith("taken were s1")  # type: ignore[index]


def test_what_takes_longer_is_a_job(
    recorder: Recording, editor: LocalClient, numbers: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = RecorderClient.job
    waiting = [True]

    def job(self: RecorderClient, number: int) -> JobFacts:
        found = real(self, number)
        return JobFacts(number, "running", 0, 1, "", (), ()) if waiting[0] else found

    monkeypatch.setattr(RecorderClient, "job", job)
    monkeypatch.setattr("app.web.api.snapshots.WAIT_S", 0.05)
    answer = ask(editor, {"maps": [numbers[1]]})
    assert answer.status_code == 202
    begun = answer.json
    assert begun is not None
    assert begun["state"] == "running"
    waiting[0] = False
    where = f"/api/v1/snapshots/jobs/{begun['job']}"
    assert eventually(lambda: (editor.get(where).json or {})["state"] == "done", 20)
    facts = editor.get(where).json or {}
    assert (facts["refs"], facts["problems"], facts["done"]) == (["s1"], [], 1)


def test_nobody_records(editor: LocalClient, numbers: tuple[int, int]) -> None:
    answer = ask(editor, {"maps": [numbers[1]]})
    assert answer.status_code == 503
    assert answer.json["title"] == "The recorder does not answer"  # type: ignore[index]


def test_tokens_and_roles(recorder: Recording, app: Flask, numbers: tuple[int, int]) -> None:
    client = app.extensions["client"]
    question = {"maps": [numbers[1]]}
    for scope, status in (("read", 403), ("edit", 201)):
        value = client.token_make(Credential(source="cli"), user="editor", label="x", scope=scope, days=1).value
        headers = {"Authorization": f"Bearer {value}"}
        assert stranger(app).post("/api/v1/snapshots", json=question, headers=headers).status_code == status
        assert stranger(app).get("/api/v1/snapshots", headers=headers).status_code == 200
    viewer = browser(app, app.extensions["settings"], "viewer")
    assert ask(viewer, question).status_code == 403
    assert viewer.get("/api/v1/snapshots/s1/entries").status_code == 200
    auditor = browser(app, app.extensions["settings"], "auditor")
    for path in ("/api/v1/snapshots", "/api/v1/snapshots/s1", "/api/v1/snapshots/s1/entries"):
        assert auditor.get(path).status_code == 403


def test_the_description_has_both_sides_of_the_list(editor: LocalClient) -> None:
    document = editor.get("/api/v1/openapi.json").json
    assert document is not None
    listed = document["paths"]["/snapshots"]
    assert set(listed) == {"get", "post"}
    answers = listed["post"]["responses"]
    assert answers["201"]["content"]["application/json"]["schema"] == {
        "type": "array", "items": {"$ref": "#/components/schemas/Snapshot"},
    }  # fmt: skip
    assert answers["202"]["content"]["application/json"]["schema"]["$ref"].endswith("/SnapshotJob")
    assert "200" not in answers
    one = document["paths"]["/snapshots/{ref}"]["get"]
    assert one["parameters"][0]["name"] == "ref"
    assert one["operationId"] == "get_snapshots_one"
