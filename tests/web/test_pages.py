"""Map pages and API over real maps of this kernel, the broker's code in this process."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app.broker.local import client as local_client
from app.settings import Settings
from app.uapi import loading, objects
from app.uapi.enums import BpfMapType
from app.uapi.syscall import MapSpec
from app.web.factory import create_app
from tests.btfs import compile_blob
from tests.livemaps import live_map, u32, u64
from tests.web.conftest import browser

pytestmark = pytest.mark.kernel

SOURCE = """
typedef unsigned int u32; typedef unsigned long long u64;
struct key { u32 number; };
struct value { u64 packets; char name[24]; u32 limit; };
int f(struct key *key, struct value *value) { return key->number + value->limit; }
"""
ATTACK = b"<img onerror=a(1)>=1+1"


@pytest.fixture(scope="module")
def btf() -> Iterator[tuple[int, int, int]]:
    """Descriptor of loaded BTF, and the ids of key and value in it."""
    from app.btf.parse import parse

    blob = compile_blob(SOURCE)
    parsed = parse(blob)
    fd = loading.btf_load(blob)
    yield fd, parsed.find("key")[0], parsed.find("value")[0]
    os.close(fd)


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Flask]:
    settings = Settings(data=tmp_path, listen="127.0.0.1:8470")
    with local_client(settings) as client:
        yield create_app(settings, client)


@pytest.fixture
def someone(app: Flask) -> FlaskClient:
    return browser(app, app.extensions["settings"])


@pytest.fixture
def typed(btf: tuple[int, int, int]) -> Iterator[int]:
    """Id of a hash of 300 entries with BTF; entry 7 has hostile text."""
    fd, key_id, value_id = btf
    spec = MapSpec(type=BpfMapType.HASH, key_size=4, value_size=40, max_entries=1000, name=b"web_typed",
                   btf_fd=fd, btf_key_type_id=key_id, btf_value_type_id=value_id)  # fmt: skip
    entries = [
        (u32(n), u64(n * n) + (ATTACK if n == 7 else b"plain").ljust(24, b"\0") + u32(n) + b"\0" * 4)
        for n in range(300)
    ]
    with live_map(spec, entries) as map_fd:
        yield objects.map_info(map_fd).id


def test_entries_filtered_sorted_and_paged_over_one_moment(someone: FlaskClient, typed: int) -> None:
    page = someone.get(f"/maps/{typed}?where=value.packets+>+100&sort=-value.packets").text
    assert "<b>289</b> of 300 match" in page
    first = re.findall(r'<td class="v num edge"[^>]*><bdi>(.*?)</bdi>', page)
    assert first[0].replace("\u2009", "") == str(299 * 299)
    following = re.search(r'rel="next" href="([^"]+)"', page)
    assert following is not None
    second = someone.get(following[1].replace("&amp;", "&")).text
    assert "rows 101–200" in second
    assert re.search(r'rel="prev"', second)


def test_values_are_text_whatever_they_hold(someone: FlaskClient, typed: int) -> None:
    for path in (f"/maps/{typed}?where=key.number+==+7", f"/maps/{typed}/entries/07000000"):
        page = someone.get(path).text
        assert "<img" not in page
        assert "&lt;img onerror=a(1)&gt;" in page


def test_one_entry_with_bytes_and_fields(someone: FlaskClient, typed: int) -> None:
    page = someone.get(f"/maps/{typed}/entries/2a000000").text
    assert "1764" in page
    assert "e4 06 00 00 00 00 00 00" in page
    assert 'title="packets · byte 0"' in page
    assert '<span class="pad" title="padding">00 00 00 00</span>' in page


@pytest.mark.parametrize(
    ("path", "status"),
    [
        pytest.param("/entries/07", 400, id="key too short"),
        pytest.param("/entries/zz000000", 400, id="key is no hex"),
        pytest.param("/entries/ffffffff", 404, id="no such entry"),
        pytest.param("?where=value.packets+>", 422, id="filter ends early"),
        pytest.param("?where=value.nothing+>+1", 422, id="no such field in a filter"),
        pytest.param("?sort=value.nothing", 422, id="no such field in an order"),
        pytest.param("?col=value.nothing", 422, id="no such column"),
        pytest.param("?lens=value.packets:nonsense", 422, id="no such lens"),
        pytest.param("?lens=nonsense", 400, id="lens without a field"),
        pytest.param("?limit=0", 400, id="limit 0"),
        pytest.param("?limit=-1", 400, id="negative limit"),
        pytest.param("?limit=1000000000", 400, id="huge limit"),
        pytest.param("?cursor=nonsense", 400, id="cursor that we did not make"),
        pytest.param("?cursor=vabcdefghijkl.0", 410, id="reading that is gone"),
        pytest.param("?key=nonsense", 422, id="key that cannot be read"),
        pytest.param("?format=xml", 400, id="no such format"),
        pytest.param("/schema?lang=cobol", 400, id="no such language"),
    ],
)
def test_bad_requests_get_one_sentence_and_no_traceback(
    someone: FlaskClient, typed: int, path: str, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    answer = someone.get(f"/maps/{typed}{path}")
    assert answer.status_code == status
    assert "Traceback" not in answer.text
    assert caplog.records == []


@pytest.mark.parametrize("map_id", ["0", "4294967295", "4294967296", "99999999999999999999", "-1", "x", "1e3", "١"])
@pytest.mark.parametrize("tab", ["", "/schema", "/relations", "/entries/00"])
def test_maps_that_are_not_there(someone: FlaskClient, map_id: str, tab: str, caplog: pytest.LogCaptureFixture) -> None:
    assert someone.get(f"/maps/{map_id}{tab}").status_code == 404
    assert someone.get(f"/api/v1/maps/{map_id}").status_code == 404
    assert caplog.records == []


def test_map_that_goes_between_two_requests(someone: FlaskClient) -> None:
    with live_map(MapSpec(type=BpfMapType.HASH, key_size=4, value_size=4, max_entries=10)) as fd:
        map_id = objects.map_info(fd).id
        assert someone.get(f"/maps/{map_id}").status_code == 200
    answer = someone.get(f"/maps/{map_id}")
    assert answer.status_code == 404
    assert f"#{map_id}" in answer.text


def test_exact_key_leads_to_the_entry(someone: FlaskClient, typed: int) -> None:
    answer = someone.get(f"/maps/{typed}?key=7")
    assert answer.status_code == 303
    assert answer.headers["Location"] == f"/maps/{typed}/entries/07000000"


def test_forms_without_script_end_in_a_short_address(someone: FlaskClient, typed: int) -> None:
    answer = someone.get(
        f"/maps/{typed}?where=&sort=-value.packets&col=key.number&col=value.name&lens=&lens=value.name:octets&set=1"
    )
    assert answer.status_code == 303
    assert (
        answer.headers["Location"]
        == f"/maps/{typed}?sort=-value.packets&col=key.number&col=value.name&lens=value.name%3Aoctets"
    )
    page = someone.get(answer.headers["Location"]).text
    assert re.findall(r'title="((?:key|value)\.\w+): ', page) == ["key.number", "value.name"]


def test_files_hold_what_the_page_selects(someone: FlaskClient, typed: int) -> None:
    query = f"/maps/{typed}?where=value.limit+<+10&sort=-key.number&format="
    rows = json.loads(someone.get(query + "json").data)
    assert [row["key"]["number"] for row in rows] == list(range(9, -1, -1))
    assert rows[2]["value"]["name"] == ATTACK.decode()
    lines = someone.get(query + "ndjson").data.splitlines()
    assert [json.loads(line) for line in lines] == rows
    answer = someone.get(query + "csv&col=key.number&col=value.packets")
    assert answer.headers["Content-Disposition"] == f'attachment; filename="web_typed-{typed}.csv"'
    table = list(csv.reader(io.StringIO(answer.text)))
    assert table[1] == ["9", "81"]
    assert len(table) == 11


def test_empty_selection_is_an_empty_list(someone: FlaskClient, typed: int) -> None:
    assert json.loads(someone.get(f"/maps/{typed}?where=key.number+>+5000&format=json").data) == []


def test_api_pages_through_one_moment(someone: FlaskClient, typed: int) -> None:
    seen: list[int] = []
    cursor = ""
    while True:
        answer = someone.get(f"/api/v1/maps/{typed}/entries?sort=key.number&limit=120&cursor={cursor}")
        assert answer.status_code == 200
        body = answer.json
        assert body is not None
        seen += [entry["key"]["number"] for entry in body["entries"]]
        assert body["matched"] == body["total"] == 300
        cursor = body["next_cursor"]
        if not cursor:
            break
    assert seen == list(range(300))


def test_api_says_where_a_filter_went_wrong(someone: FlaskClient, typed: int) -> None:
    answer = someone.get(f"/api/v1/maps/{typed}/entries?where=value.packets+>+and")
    assert answer.status_code == 422
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json is not None
    assert answer.json["column"] == 17


def test_api_describes_maps(someone: FlaskClient, typed: int) -> None:
    listed = someone.get("/api/v1/maps").json
    assert listed is not None
    mine = next(one for one in listed["maps"] if one["id"] == typed)
    assert (mine["name"], mine["type"], mine["entries"], mine["btf"]) == ("web_typed", "hash", 300, True)
    detail = someone.get(f"/api/v1/maps/{typed}").json
    assert detail is not None
    assert "struct value {" in detail["schema"]["value"]


def test_openapi_names_every_route_and_shape(someone: FlaskClient, app: Flask) -> None:
    document = someone.get("/api/v1/openapi.json").json
    assert document is not None
    assert document["openapi"] == "3.1.0"
    routes = {
        re.sub(r"<map_id>|<number>", "{id}", rule.rule.removeprefix("/api/v1")).replace("<ref>", "{ref}")
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith("/api/v1")
    }
    assert set(document["paths"]) == routes - {"/openapi.json"}
    text = json.dumps(document)
    for name in re.findall(r"#/components/schemas/(\w+)", text):
        assert name in document["components"]["schemas"]


def test_schema_in_four_languages_drawn_to_scale(someone: FlaskClient, typed: int) -> None:
    for language, needle in (("c", "struct value {"), ("rust", "pub struct"), ("go", "type "), ("python", "class ")):
        page = someone.get(f"/maps/{typed}/schema?lang={language}").text
        assert needle in page
    assert re.search(r'<rect class="hole"', page)
    assert "padding" in page


@pytest.mark.parametrize("chosen", [None, "value"], ids=["the columns of the map", "chosen columns"])
def test_per_cpu_values_are_summed_and_told_apart(someone: FlaskClient, chosen: str | None) -> None:
    from app.uapi.cpus import possible_cpus

    n_cpus = possible_cpus()
    value = b"".join(u64(10 + cpu) for cpu in range(n_cpus))
    spec = MapSpec(type=BpfMapType.PERCPU_HASH, key_size=4, value_size=8, max_entries=10, name=b"web_percpu")
    with live_map(spec, [(u32(1), value)]) as fd:
        map_id = objects.map_info(fd).id
        assert f"on each of {n_cpus} CPUs, added up" in someone.get(f"/maps/{map_id}").text
        page = someone.get(f"/maps/{map_id}/entries/01000000").text
        for cpu in range(n_cpus):
            assert f"CPU {cpu}" in page
        columns = "" if chosen is None else f"&col=key&col={chosen}"
        each = someone.get(f"/maps/{map_id}?fold=each{columns}").text
        for cpu in range(min(n_cpus, 16)):
            assert f"<bdi>value · CPU {cpu}</bdi>" in each
        assert 'value="value" checked' in each
        assert "added up" not in each


def test_bloom_filter_is_asked_and_not_listed(someone: FlaskClient) -> None:
    spec = MapSpec(type=BpfMapType.BLOOM_FILTER, key_size=0, value_size=4, max_entries=100, name=b"web_bloom")
    with live_map(spec, [(None, u32(7))]) as fd:
        map_id = objects.map_info(fd).id
        page = someone.get(f"/maps/{map_id}")
        assert page.status_code == 200
        assert "cannot be listed" in page.text
        assert "Maybe:" in someone.get(f"/maps/{map_id}?key=hex:07000000").text
        assert "Surely not:" in someone.get(f"/maps/{map_id}?key=hex:08000000").text
        assert someone.get(f"/api/v1/maps/{map_id}/entries").status_code == 422


def test_inner_maps_are_links(someone: FlaskClient) -> None:
    inner_spec = MapSpec(type=BpfMapType.ARRAY, key_size=4, value_size=4, max_entries=1, name=b"web_inner")
    with live_map(inner_spec) as inner:
        outer_spec = MapSpec(type=BpfMapType.ARRAY_OF_MAPS, key_size=4, value_size=4, max_entries=2, inner_map_fd=inner)
        with live_map(outer_spec, [(u32(0), u32(inner))]) as outer:
            inner_id, outer_id = objects.map_info(inner).id, objects.map_info(outer).id
            page = someone.get(f"/maps/{outer_id}").text
            assert f'href="/maps/{inner_id}">map #{inner_id}</a> <bdi class="soft">web_inner</bdi>' in page
            assert (
                f'href="/maps/{outer_id}/entries/00000000"><bdi>0</bdi>'
                in someone.get(f"/maps/{outer_id}/relations").text
            )
            assert f'href="/maps/{outer_id}"' in someone.get(f"/maps/{inner_id}/relations").text


def test_no_descriptor_is_left_after_a_request(someone: FlaskClient, typed: int) -> None:
    def open_maps() -> int:
        texts = [path.read_text() for path in Path("/proc/self/fdinfo").iterdir() if path.exists()]
        return sum(f"map_id:\t{typed}\n" in text for text in texts)

    before = open_maps()
    for path in (
        "",
        "?where=key.number+>+3",
        "?format=json",
        "?format=csv",
        "/schema",
        "/relations",
        "/entries/07000000",
        "/entries/ffffffff",
    ):
        someone.get(f"/maps/{typed}{path}").get_data()
    assert open_maps() == before == 1
