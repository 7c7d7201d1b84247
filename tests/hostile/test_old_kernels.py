"""Hosts that lack something: the same pages with less on them, never an error of ours."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from app.broker.desk import Desk
from app.broker.host import Host
from app.broker.iterators import Iterators
from app.broker.local import LocalTransport
from app.maps import layouts
from app.settings import Settings
from app.uapi import syscall
from app.uapi.enums import BpfCmd
from app.uapi.errors import error_for
from app.web.factory import create_app
from app.wire.ask import Client
from app.wire.errors import UnusableHere
from tests.hostile.zoo import TRIE_KEY, zoo
from tests.web.conftest import browser

pytestmark = pytest.mark.kernel
ENOTSUPP = 524
LACKS = ["nothing", "descriptors", "descriptors and batches", "counts", "kernel types", "bpffs", "everything"]


@pytest.fixture(scope="module")
def maps() -> Iterator[dict[str, int]]:
    with zoo() as ids:
        yield ids


@pytest.fixture(params=LACKS)
def visitor(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FlaskClient]:
    lacks: str = request.param
    every = lacks == "everything"
    if "batches" in lacks or every:

        def refuse(*_: object) -> None:
            raise error_for(BpfCmd.MAP_LOOKUP_BATCH, ENOTSUPP)

        monkeypatch.setattr(syscall, "map_lookup_batch", refuse)
    if lacks == "counts" or every:

        def cannot(_self: Iterators) -> None:
            raise UnusableHere("this kernel has no counter")

        monkeypatch.setattr(Iterators, "element_counts", cannot)
    if lacks == "kernel types" or every:
        monkeypatch.setattr(layouts, "VMLINUX", tmp_path / "no-vmlinux")
    bpffs = tmp_path if lacks == "bpffs" or every else Path("/sys/fs/bpf")
    settings = Settings(data=tmp_path, listen="127.0.0.1:8470", bpffs=bpffs, audit_copies=())
    passes = "descriptors" not in lacks and not every
    transport = LocalTransport(Host(bpffs=bpffs, passes_descriptors=passes, open_desk=lambda: Desk.open(settings)))
    with Client(transport) as client:
        app = create_app(settings, client)
        yield browser(app, settings)


def test_every_page_of_every_type(visitor: FlaskClient, maps: dict[str, int], caplog: pytest.LogCaptureFixture) -> None:
    assert visitor.get("/").status_code == 200
    assert visitor.get("/api/v1/maps").status_code == 200
    for name, map_id in maps.items():
        for suffix in ("", "/schema", "/relations"):
            answer = visitor.get(f"/maps/{map_id}{suffix}")
            assert answer.status_code == 200, (name, suffix, answer.text[-400:])
        assert visitor.get(f"/api/v1/maps/{map_id}").status_code == 200, name
        for suffix in ("?sort=value", "?format=csv", "?format=ndjson", "/entries/01000000"):
            assert visitor.get(f"/maps/{map_id}{suffix}").status_code in {200, 303, 400, 404, 422}, (name, suffix)
    assert [record.getMessage() for record in caplog.records if record.exc_info] == []


def test_what_can_be_read_is_the_same(visitor: FlaskClient, maps: dict[str, int]) -> None:
    def rows(name: str) -> list[dict[str, object]]:
        answer = visitor.get(f"/maps/{maps[name]}?sort=key&format=json")
        assert answer.status_code == 200, name
        found: list[dict[str, object]] = json.loads(answer.data)
        return found

    assert len(rows("flows")) == 50
    assert len(rows("large")) == 200
    for name in ("hash", "per-CPU hash", "LRU", "trie", "nest"):
        assert len(rows(name)) == 1, name
    assert visitor.get(f"/maps/{maps['trie']}/entries/{TRIE_KEY.hex()}").status_code == 200
    assert "Maybe:" in visitor.get(f"/maps/{maps['bloom']}?key=hex:0100000000000000").text
    seen = []
    cursor = ""
    for _ in range(10):
        page = visitor.get(f"/api/v1/maps/{maps['large']}/entries?limit=50&cursor={cursor}").json
        assert page is not None
        seen += [str(entry["key"]) for entry in page["entries"]]
        if not (cursor := page["next_cursor"]):
            break
    assert len(seen) == len(set(seen)) == 200
