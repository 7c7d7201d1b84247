"""Every route and every parameter with what nobody should send: a sentence and a 4xx, nothing logged as a fault."""

from __future__ import annotations

import random
from collections.abc import Iterator
from urllib.parse import quote, quote_from_bytes

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.hostile.zoo import zoo

pytestmark = pytest.mark.kernel

NUMBERS = [
    "0",
    "-1",
    "1",
    "2",
    "4294967295",
    "4294967296",
    "9" * 23,
    "١",
    "²",
    "1e3",
    "0x10",
    "1.5",
    "NaN",
    "",
    " ",
    "+1",
    "1_000",
    "9" * 3000,
]
TEXTS = [
    "x", "<img src=x>", "\0", "\u202e", "a" * 4001, "a" * 3999, "\r\nX: y", "{}", "[]", "null", '"', '"\\', '"\\ud800"', "{{7*7}}", "%s%n", "../../etc",
    "(" * 1500, "not " * 900 + "x", "-" * 3000, "value", "key", "value.", "value..", ".", "value[", "value[0", f"value[{'9' * 20}]", "value@", "value@min",
    "value@cpu0", "value@cpu99999999", "value.slots[3]", "value.slots[-1]", "key.saddr in 10.0.0.0/99", "key.saddr == 999.1.1.1", "value.packets > 1e400",
    f"value.packets == {'9' * 40}", "value.packets in ()", "value.packets in (1,", "value.verdict == NOPE", "value.comm > 5", "value.balance == ١",
    "value.packets == 0x", "key.saddr in ::/0", "--value", "-", "- value.packets", "value.packets\n", '{"saddr":1}', "hex:", "hex:00", "hex:zz", "1, 2", '{"saddr":"\\ud800","dport":1,"zone":2}', '{"saddr":1,"dport":"\\ud800","zone":2}', '["\\udfff"]', 'value.comm == "\\ud800"',
    "10.0.0.1, 99999999, 0", "[[[[[", '{"a":' * 500, "value:hex", "value.packets:", ":hex", "value.comm:bars", "value.packets:ktime", "value.balance:pid",
    "k", "k00", "k" + "00" * 4 + ".9999", "k" + "0" * 3999, "vabcdefghijkl.0", "vabcdefghijkl.999999999999", "v" + "é" * 12 + ".0",
]  # fmt: skip
BYTES = [b"\xff\xfe", b"\xed\xa0\x80", b"\xc0\x80", b"%", b"%zz", b"\xf4\x90\x80\x80"]
PARAMETERS = (
    "where",
    "sort",
    "limit",
    "cursor",
    "col",
    "lens",
    "fold",
    "key",
    "format",
    "set",
    "lang",
    "q",
    "family",
    "only",
    "page",
    "live",
    "have",
    "next",
    "token",
)
HEADERS: list[dict[str, str]] = [
    {}, {}, {"HX-Request": "true"}, {"HX-Request": "true", "HX-Current-URL": "http://["}, {"Accept-Encoding": "\xff"}, {"Authorization": "Bearer \xe9"},
    {"Cookie": "bpf-atlas-theme=\"<script>\""}, {"Sec-Fetch-Site": "cross-site"}, {"Accept": "application/xml"}, {"Range": "bytes=0-"},
]  # fmt: skip


@pytest.fixture(scope="module")
def maps() -> Iterator[list[int]]:
    with zoo() as ids:
        yield list(ids.values())


def encoded(value: str | bytes) -> str:
    return quote(value, safe="") if isinstance(value, str) else quote_from_bytes(value, safe="")


def check(client: FlaskClient, path: str, headers: dict[str, str] | None = None) -> None:
    answer = client.get(path, headers=headers or {})
    if answer.status_code == 503:  # nobody records here, and some pages ask the recorder
        assert "recorder does not answer" in answer.text, (path[:300], answer.text[-500:])
        return
    assert answer.status_code < 500, (path[:300], answer.text[-500:])
    assert answer.status_code in {200, 204, 303, 308, 400, 401, 403, 404, 405, 409, 410, 414, 422, 429}, (
        path[:300],
        answer.status_code,
    )
    if answer.status_code in {303, 308}:
        assert answer.headers["Location"].startswith(("/", "http://127.0.0.1:8470/")), path
        assert not answer.headers["Location"].startswith("//"), path
    if answer.status_code >= 400 and path.startswith("/api/"):
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.json is not None
        assert answer.json["detail"]
    assert "Traceback" not in answer.text
    answer.close()


@pytest.mark.slow
def test_each_parameter_with_each_value(
    someone: FlaskClient, maps: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    chosen = random.Random(3)
    every = [*NUMBERS, *TEXTS, *BYTES]
    for parameter in PARAMETERS:
        for value in every:
            query = f"{parameter}={encoded(value)}"
            check(someone, f"/maps/{maps[0]}?{query}")
            others = [f"/maps/{chosen.choice(maps)}", f"/api/v1/maps/{chosen.choice(maps)}/entries"]
            others += [
                "/",
                "/login",
                f"/maps/{maps[0]}/schema",
                f"/maps/{maps[1]}/relations",
                "/api/v1/maps",
                "/snapshots",
                "/diff",
            ]
            check(someone, f"{chosen.choice(others)}?{query}")
    assert [record for record in caplog.records if record.exc_info] == []


def test_each_route_with_each_piece(
    app: Flask, someone: FlaskClient, maps: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    rules = [rule for rule in app.url_map.iter_rules() if rule.arguments]
    assert len(rules) > 5
    for rule in rules:
        for value in (*NUMBERS, *TEXTS, *BYTES):
            piece = encoded(value)
            path = rule.rule
            for name in rule.arguments:
                whole = str(maps[0]) if name == "map_id" and len(rule.arguments) > 1 else piece
                path = path.replace(f"<{name}>", whole).replace(f"<path:{name}>", piece)
            check(someone, path)
            if "map_id" in rule.arguments:
                check(someone, rule.rule.replace("<map_id>", piece).replace("<key_hex>", "00"))
    assert [record for record in caplog.records if record.exc_info] == []


def test_each_route_with_each_method(
    app: Flask, someone: FlaskClient, maps: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    for rule in app.url_map.iter_rules():
        path = rule.rule.replace("<map_id>", str(maps[0])).replace("<key_hex>", "00").replace("<path:url>", "x")
        if path == "/logout":
            continue
        for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "HEAD", "NONSENSE"):
            for origin in (
                {},
                {"Origin": "http://127.0.0.1:8470"},
                {"Origin": "null"},
                {"Origin": "http://evil.example"},
            ):
                for kind in (
                    "application/json",
                    "multipart/form-data",
                    "application/x-www-form-urlencoded; charset=utf-7",
                ):
                    answer = someone.open(path, method=method, headers=origin, content_type=kind, data=b"\xff{&=;--")
                    assert answer.status_code < 500, (method, path)
                    answer.close()
    assert [record for record in caplog.records if record.exc_info] == []


@pytest.mark.parametrize("seed", range(4))
def test_several_at_once(someone: FlaskClient, maps: list[int], seed: int, caplog: pytest.LogCaptureFixture) -> None:
    chosen = random.Random(seed)
    every = [*NUMBERS, *TEXTS, *BYTES]
    for _ in range(250):
        query = "&".join(
            f"{chosen.choice(PARAMETERS)}={encoded(chosen.choice(every))}" for _ in range(chosen.randint(1, 5))
        )
        base = chosen.choice(["/maps/{}", "/maps/{}", "/api/v1/maps/{}/entries", "/maps/{}/schema"]).format(
            chosen.choice(maps)
        )
        check(someone, f"{base}?{query}", chosen.choice(HEADERS))
    assert [record for record in caplog.records if record.exc_info] == []
