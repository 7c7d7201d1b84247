"""The first page, from hand-made facts: what it says, and what hostile names can do to it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import pytest
from flask import Flask

from app.settings import Settings
from app.uapi.enums import BpfMapType
from app.web.factory import create_app
from app.wire import bodies
from app.wire.ask import Client
from app.wire.verbs import Verb
from tests.web.conftest import EmptyHost, browser

HOSTILE = ["<img src=x onerror=alert(1)>", '"><script>alert(1)</script>', "hx-get=/logout", "javascript:alert(1)",
           "a\u202eb", "new\nline", "esc\x1b[31m", "{{7*7}}"]  # fmt: skip


def facts(map_id: int, name: str, **other: int | bool | None) -> bodies.MapFacts:
    plain: dict[str, object] = dict.fromkeys(
        ("map_flags", "map_extra", "btf_id", "btf_key_type_id", "btf_value_type_id", "btf_vmlinux_id", "btf_vmlinux_value_type_id", "ifindex"), 0
    )  # fmt: skip
    plain |= {"id": map_id, "type": BpfMapType.HASH, "name": name, "key_size": 4, "value_size": 8, "max_entries": 100,
              "memlock_bytes": 4096, "frozen": False, "owner_prog_type": None, "entries": 10}  # fmt: skip
    return bodies.MapFacts(**(plain | other))  # type: ignore[arg-type]


@dataclass
class Host(EmptyHost):
    """A host with some maps that do not exist."""

    settings: Settings = field(default_factory=Settings)
    maps: tuple[bodies.MapFacts, ...] = ()
    pins: tuple[bodies.PinFacts, ...] = ()
    holders: tuple[bodies.HolderFacts, ...] = ()
    progs: tuple[bodies.ProgFacts, ...] = ()
    away: bool = False
    asked: list[Verb] = field(default_factory=list)

    def ask(self, verb: Verb, question: bodies.Body) -> tuple[bodies.Body, int | None]:
        self.asked.append(verb)
        answers: dict[Verb, bodies.Body] = {
            Verb.MAPS: bodies.MapList(maps=self.maps, taken_at_ns=1, unreadable=()),
            Verb.PINS: bodies.PinList(pins=self.pins, problem=""),
            Verb.HOLDERS: bodies.HolderList(holders=self.holders, problem=""),
            Verb.PROGS: bodies.ProgList(progs=self.progs),
        }
        if verb in answers and not self.away:
            return answers[verb], None
        return super().ask(verb, question)


def app_with(settings: Settings, **things: object) -> Flask:
    return create_app(settings, Client(Host(settings=settings, **things)))  # type: ignore[arg-type]


def names(page: str) -> list[str]:
    return re.findall(r'<th scope="row">.*?<bdi>(.*?)</bdi></a>', page, re.DOTALL)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_are_text(settings: Settings, text: str) -> None:
    app = app_with(
        settings,
        maps=(facts(1, text),),
        pins=(bodies.PinFacts(path=f"/sys/fs/bpf/{text}", kind="map", id=1),),
        holders=(bodies.HolderFacts(pid=7, comm=text, fd=3, kind="map", id=1),),
    )
    client = browser(app, settings)
    page = client.get("/").text
    for forbidden in ("<img", "<script>", "\u202e", "\x1b", "new\nline", ">49<"):
        assert forbidden not in page
    searched = client.get("/", query_string={"q": text})
    assert searched.status_code == (400 if any(char < " " for char in text) else 200)
    assert "<img" not in searched.text
    assert "<script>" not in searched.text
    for attribute in re.findall(r'\shx-[a-z-]+="([^"]*)"', page + searched.text):
        assert not re.search(
            r"onerror|alert\(|logout",
            attribute.replace("onerror%3D", "").replace("alert%28", "").replace("hx-get%3D%2Flogout", ""),
        )


def test_search_words_and_pressure(settings: Settings) -> None:
    app = app_with(
        settings,
        maps=(
            facts(1, "flows", entries=95),
            facts(2, "flow_limits", entries=3),
            facts(3, "other", type=BpfMapType.LRU_HASH),
        ),
    )
    client = browser(app, settings)
    assert names(client.get("/?q=flow").text) == ["flows", "flow_limits"]
    assert names(client.get("/?q=pressure > 0.8").text) == ["flows"]
    assert names(client.get("/?only=full").text) == ["flows"]
    assert names(client.get("/?family=lru").text) == ["other"]
    assert names(client.get("/?sort=name").text) == ["flow_limits", "flows", "other"]
    assert names(client.get("/?sort=-name").text) == ["other", "flows", "flow_limits"]
    assert "95.0\u202f%" in client.get("/").text


def test_a_hundred_rows_a_page(settings: Settings) -> None:
    client = browser(
        app_with(settings, maps=tuple(facts(number, f"map{number}") for number in range(1, 251))), settings
    )
    assert len(names(client.get("/").text)) == 100
    third = client.get("/?page=3").text
    assert len(names(third)) == 50
    assert 'rel="next"' not in third
    assert 'rel="prev"' in third
    behind = client.get("/?page=4").text
    assert "250 maps of 250 fit, on 3 pages." in behind
    assert 'href="/?page=3">Last page</a>' in behind
    assert "No map matches" not in behind


@pytest.mark.parametrize(
    "query",
    [
        "page=0",
        "page=-1",
        "page=x",
        "page=1e3",
        "page=99999999999999999999",
        "sort=evil",
        "family=x",
        "only=x",
        "live=1",
        "live=-5",
        "q=" + "x" * 4001,
    ],
)
def test_bad_arguments_get_400_and_one_sentence(
    settings: Settings, query: str, caplog: pytest.LogCaptureFixture
) -> None:
    client = browser(app_with(settings), settings)
    answer = client.get(f"/?{query}")
    assert answer.status_code == 400
    assert len(re.findall(r'class="sentence"', answer.text)) == 1
    assert caplog.records == []


def test_fragment_for_htmx_and_204_when_nothing_changed(settings: Settings) -> None:
    client = browser(app_with(settings, maps=(facts(1, "flows"),)), settings)
    whole = client.get("/")
    part = client.get("/", headers={"HX-Request": "true"})
    assert "<html" in whole.text
    assert "<html" not in part.text
    assert whole.headers["Vary"] == part.headers["Vary"] == "HX-Request, Cookie"
    have = re.search(r'id="have" value="([0-9a-f]{16})"', part.text)
    assert have is not None
    assert client.get(f"/?have={have[1]}", headers={"HX-Request": "true"}).status_code == 204
    assert client.get("/?have=0", headers={"HX-Request": "true"}).status_code == 200
    back = client.get("/", headers={"HX-Request": "true", "HX-History-Restore-Request": "true"})
    assert "<html" in back.text


def test_no_map_and_no_broker_are_said_plainly(settings: Settings) -> None:
    assert "bpf-atlas demo" in browser(app_with(settings), settings).get("/").text
    app = app_with(settings)
    client = browser(app, settings)
    app.extensions["client"]._transport.away = True
    answer = client.get("/")
    assert answer.status_code == 503
    assert "broker" in answer.text


def test_first_page_of_500_maps_fits_its_budget(settings: Settings) -> None:
    import gzip

    client = browser(
        app_with(settings, maps=tuple(facts(number, f"map{number}") for number in range(1, 501))), settings
    )
    assert len(gzip.compress(client.get("/").data)) <= 60_000
