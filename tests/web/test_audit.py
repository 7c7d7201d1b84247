"""The audit pages, the export and the API over a real log."""

from __future__ import annotations

import json
import re
import sqlite3
import tracemalloc
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from flask import Flask

from app.broker.audit.log import Audit
from app.web.api import shapes
from app.web.audit_lines import line
from app.wire.records import ActorFacts, AuditRecord, FieldRecord, MapIdentity, NumberedRecord
from tests.broker.auditing import STRANGER, event, intent, outcome
from tests.web.conftest import ORIGIN, EmptyHost, LocalClient, stranger, with_role

NASTY = '"><img src=x onerror=alert(1)>\u202e\n\x1b[31m'


@pytest.fixture
def audit(shell: Flask, broker: EmptyHost) -> Audit:
    """An empty log of a running service."""
    del shell
    return broker.people.desk.audit


@pytest.fixture
def auditor(shell: Flask, broker: EmptyHost) -> LocalClient:
    return with_role(shell, broker, "auditor")


def numbers(page: str) -> list[int]:
    return [int(number) for number in re.findall(r'<tr id="record-(\d+)">', page)]


def edit(audit: Audit, number: int = 1, result: str = "done", **more: object) -> int:
    made = audit.begin(intent(number, **more))  # type: ignore[arg-type]
    audit.finish(outcome(made, result))
    return made


def test_an_edit_is_one_row_with_its_result(auditor: LocalClient, audit: Audit) -> None:
    done = edit(audit, 7, reason="load test 4411")
    conflict = edit(audit, 8, "conflict")
    page = auditor.get("/audit").text
    assert numbers(page)[:2] == [conflict, done]
    row = page.partition(f'<tr id="record-{done}">')[2].partition("</tr>")[0]
    for shown in ("anna", "editor", "flows", "#7", "value.limit", "load test 4411", ">done<"):
        assert shown in row
    assert re.search(r'class="old"><bdi>0</bdi></span>.*→.*class="new-v"><bdi>7</bdi>', row)
    assert "conflict" in page.partition(f'<tr id="record-{conflict}">')[2].partition("</tr>")[0]


def test_an_outcome_beyond_the_page_is_found_all_the_same(auditor: LocalClient, audit: Audit) -> None:
    first = edit(audit)
    row = auditor.get(f"/audit?before={first + 1}").text.partition(f'<tr id="record-{first}">')[2].partition("</tr>")[0]
    assert ">done<" in row
    running = audit.begin(intent(2))
    assert "no outcome yet" in auditor.get("/audit").text.partition(f'"record-{running}"')[2].partition("</tr>")[0]


FILTERS: list[tuple[str, list[int]]] = [
    ("kind=edits", [5, 3, 1]),
    ("kind=users", [7]),
    ("map=9", [5]),
    ("user=berta", [7, 3]),
    ("q=NIGHT", [3]),
    ("q=value.lim&kind=edits&user=anna", [5, 1]),
    ("key=02000000", [3]),
    ("key=hex:02000000", [3]),
    ("since=1h&kind=edits", [5, 3, 1]),
    ("since=2099-01-01", []),
    ("q=nowhere", []),
]


@pytest.fixture
def several(audit: Audit, broker: EmptyHost) -> dict[int, int]:
    """Seven records of every kind; their numbers counted from 1."""
    with broker.people.desk.audit._database.reading() as connection:
        (base,) = connection.execute("SELECT coalesce(max(number), 0) FROM audit").fetchone()
    berta = ActorFacts("berta", "admin", "s2", "oidc", "10.0.0.2", 58470, 1)
    edit(audit, 1)
    edit(audit, 2, actor=berta, reason="storm at night")
    edit(audit, 3, of=MapIdentity(9, "other", 2, 4, 8, 10, 0, 0, 0))
    audit.note(event("user.add", detail="carl as viewer", actor=berta))
    return {number: base + number for number in range(1, 8)}


@pytest.mark.parametrize(("query", "expected"), FILTERS, ids=[row[0] for row in FILTERS])
def test_filters(auditor: LocalClient, several: dict[int, int], query: str, expected: list[int]) -> None:
    known = set(several.values())
    found = [number for number in numbers(auditor.get(f"/audit?{query}").text) if number in known]
    assert found == [several[number] for number in expected]
    api = auditor.get(f"/api/v1/audit?{query}").json
    assert [each["number"] for each in api["records"] if each["intent"] is None and each["number"] in known] == found
    lines = auditor.get(f"/audit.jsonl?{query}").text.splitlines()
    assert [json.loads(line)["number"] for line in lines] == [each["number"] for each in api["records"]]


@pytest.mark.parametrize(
    "query",
    ["map=x", "map=-1", "kind=nothing", "since=yesterday", "key=xyz", "before=1e9", "limit=0", "limit=501", "q=a%00"],
)
def test_bad_arguments_are_sentences(auditor: LocalClient, query: str) -> None:
    for path in ("/audit", "/audit.jsonl", "/api/v1/audit"):
        assert auditor.get(f"{path}?{query}").status_code == 400


def test_pages_go_through_all_of_it(auditor: LocalClient, audit: Audit) -> None:
    made = [edit(audit, number) for number in range(30)]
    seen: list[int] = []
    path = "/audit?kind=edits&limit=10"
    while path:
        page = auditor.get(path).text
        seen += numbers(page)
        more = re.search(r'rel="next" href="([^"]+)"', page)
        path = more[1].replace("&amp;", "&") if more else ""
    assert seen == sorted(made, reverse=True)


def test_a_form_without_script_gets_its_short_address(auditor: LocalClient) -> None:
    answer = auditor.get("/audit?q=x&kind=&map=&user=&since=")
    assert (answer.status_code, answer.location) == (303, "/audit?q=x")


def test_a_fragment_for_htmx(auditor: LocalClient, audit: Audit) -> None:
    edit(audit)
    answer = auditor.get("/audit", headers={"HX-Request": "true"})
    assert answer.text.lstrip().startswith('<div id="audit"')
    assert "HX-Request" in answer.headers["Vary"]


def test_the_page_of_one_record_has_all_of_it(auditor: LocalClient, audit: Audit) -> None:
    number = edit(audit, 7, reason="because")
    back = edit(audit, 7, undo_of=number)
    page = auditor.get(f"/audit/{number}").text
    for shown in ("value.limit", "00 00 00 00", "07 00 00 00", "because", "anna", "10.0.0.1", "uid 58470", "req-1",
                  "kernel swap", "0.31 ms", "0123456789abcdef", "key 4 B", f"/audit/{back}", "a7d4c5b0"):  # fmt: skip
        assert shown in page, shown
    assert auditor.get(f"/audit/{number + 1}").location == f"/audit/{number}"
    assert f"/audit/{number}" in auditor.get(f"/audit/{back}").text
    assert "Undo…" not in page


def test_only_those_who_edit_are_offered_the_undoing(shell: Flask, broker: EmptyHost, audit: Audit) -> None:
    number, moved = edit(audit), edit(audit, 2, "conflict")
    editor = with_role(shell, broker, "editor")
    assert f'href="/audit/{number}/undo"' in editor.get(f"/audit/{number}").text
    assert f'href="/audit/{moved}/undo"' not in editor.get(f"/audit/{moved}").text
    assert "Undo…" not in with_role(shell, broker, "auditor").get(f"/audit/{number}").text


@pytest.mark.parametrize("number", ["0", "999999", "x", "-1", "1e3", "9" * 30])
def test_no_such_record(auditor: LocalClient, number: str) -> None:
    assert auditor.get(f"/audit/{number}").status_code == 404


def test_redacted_values_say_so(auditor: LocalClient, audit: Audit) -> None:
    field = FieldRecord("value.secret", 0, 32, -1, None, None, redacted=True)
    record = msgspec.structs.replace(intent(1), fields=(field,), old_value=None, redacted=True)
    number = audit.begin(record)
    audit.finish(msgspec.structs.replace(outcome(number), redacted=True))
    page = auditor.get(f"/audit/{number}").text
    assert page.count('<td class="faint">redacted</td>') == 2
    assert "cannot be undone" in page
    assert "redacted" in auditor.get("/audit").text


# ---- roles ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("role", "status"), [("viewer", 403), ("editor", 200), ("admin", 200), ("auditor", 200)])
def test_t09_who_reads_it(shell: Flask, broker: EmptyHost, audit: Audit, role: str, status: int) -> None:
    number = edit(audit)
    client = with_role(shell, broker, role)
    for path in ("/audit", f"/audit/{number}", "/audit.jsonl", "/api/v1/audit"):
        assert client.get(path).status_code == status
    assert client.submit("/audit/verify").status_code == status


def test_t09_nobody_reads_it_without_a_session(nobody: LocalClient, audit: Audit) -> None:
    edit(audit)
    for path in ("/audit", "/audit/1", "/audit.jsonl"):
        assert nobody.get(path).location.startswith("/login")
    assert nobody.get("/api/v1/audit").status_code == 401


def test_t02_verifying_takes_a_form_of_ours(auditor: LocalClient) -> None:
    assert (
        auditor.post(
            "/audit/verify", data={"csrf": auditor.csrf}, headers={"Origin": "http://evil.example"}
        ).status_code
        == 403
    )
    assert auditor.post("/audit/verify", headers={"Origin": "http://127.0.0.1:8470"}).status_code == 403
    assert auditor.get("/audit/verify").status_code in {404, 405}


# ---- the chain ------------------------------------------------------------------------------------------------------


def test_verifying_says_that_all_is_well(auditor: LocalClient, audit: Audit) -> None:
    edit(audit)
    page = auditor.submit("/audit/verify").text
    assert "The chain holds:" in page
    assert page.count("✓ intact") == len(numbers(page))


def test_t17_verifying_names_the_first_bad_record(auditor: LocalClient, audit: Audit) -> None:
    made = [edit(audit, number) for number in range(4)]
    with sqlite3.connect(audit.path, isolation_level=None) as other:
        other.execute("DROP TRIGGER audit_kept")
        other.execute("UPDATE audit SET body = replace(body, 'a test', 'o test') WHERE number = ?", (made[1],))
        other.execute("UPDATE audit SET body = CAST(body AS BLOB)")
    other.close()
    page = auditor.submit("/audit/verify?kind=edits").text
    assert f"The first bad record is {made[1]}." in page
    rows = dict(re.findall(r'<tr id="record-(\d+)">.*?(✓ intact|✗ not proven)', page, re.DOTALL))
    assert rows[str(made[0])] == "✓ intact"
    assert {rows[str(number)] for number in made[1:]} == {"✗ not proven"}


# ---- what strangers put in ------------------------------------------------------------------------------------------


def test_t03_hostile_text_stays_text(auditor: LocalClient, audit: Audit) -> None:
    who = ActorFacts(NASTY, "editor", "s", "password", NASTY, 1, 2, NASTY)
    of = MapIdentity(7, NASTY, 1, 4, 4, 1, 0, 0, 0)
    field = FieldRecord(f"value.{NASTY}", 0, 32, 0, b"\0" * 4, b"\1" * 4, NASTY, NASTY)
    record = msgspec.structs.replace(
        intent(1, actor=who, of=of, reason=NASTY), fields=(field,), detail=NASTY, owner=NASTY
    )
    number = audit.begin(record)
    audit.note(event("session.refused", actor=STRANGER, detail=NASTY))
    for path in ("/audit", f"/audit/{number}"):
        text = auditor.get(path).text
        assert "<img" not in text
        assert "\u202e" not in text
        assert "\x1b" not in text
        assert "&lt;img src=x onerror=alert(1)&gt;" in text
    (line,) = auditor.get("/audit.jsonl?kind=edits").data.splitlines()
    assert json.loads(line)["reason"] == NASTY


def test_t32_neither_reports_nor_guesses_fill_the_log(shell: Flask, broker: EmptyHost, audit: Audit) -> None:
    from app.broker.audit.noise import BURST

    client = stranger(shell)
    before = audit.verify().records
    for _ in range(500):
        assert client.post("/csp-report", data=b'{"csp-report":{}}').status_code == 204
    assert audit.verify().records == before
    for number in range(BURST + 40):
        client.post("/login", data={"name": f"guess{number}", "password": "x"}, headers={"Origin": ORIGIN})
    assert audit.verify().records <= before + BURST + 2


# ---- the file -------------------------------------------------------------------------------------------------------


def test_t22_the_export_is_a_download_under_our_own_name(auditor: LocalClient, audit: Audit) -> None:
    edit(audit, reason="../../etc/passwd")
    answer = auditor.get("/audit.jsonl?q=../../etc/passwd&user=..%2F")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="bpf-atlas-audit.jsonl"'
    assert answer.headers["Content-Type"] == "application/x-ndjson"
    assert auditor.get("/audit.jsonl/../../etc/passwd").status_code == 404
    assert auditor.get("/audit.jsonl").headers["Cache-Control"] == "no-store"


@pytest.mark.slow
def test_the_export_streams_in_bounded_memory(auditor: LocalClient, audit: Audit) -> None:
    for _ in range(40):
        audit._write([intent(number, reason="x" * 500) for number in range(500)])
    tracemalloc.start()
    answer = auditor.get("/audit.jsonl", buffered=False)
    size_bytes = lines = 0
    for piece in answer.response:
        size_bytes += len(piece)
        lines += piece.count(b"\n")
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert lines > 20_000
    assert size_bytes > 20 << 20
    assert peak_bytes < 12 << 20


def test_the_api_has_the_shape_that_it_describes(auditor: LocalClient, several: dict[int, int]) -> None:
    answer = auditor.get("/api/v1/audit?limit=3")
    found = msgspec.json.decode(answer.data, type=shapes.AuditRecords)
    assert len(found.records) == 3
    assert found.before == found.records[-1].number
    rest = auditor.get(f"/api/v1/audit?limit=500&before={found.before}").json
    assert rest["before"] is None
    assert len(rest["records"]) + 3 == found.total
    at = datetime.fromisoformat(found.records[0].at)
    assert abs(datetime.now(UTC) - at) < timedelta(minutes=1)


def test_an_empty_log_says_what_will_stand_there(
    shell: Flask, broker: EmptyHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = with_role(shell, broker, "auditor")
    assert "No record fits." in client.get("/audit?user=nobody-at-all").text


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (intent(1), "set"),
        (intent(1, undo_of=7), "set (undoes 7)"),
        (outcome(3), "outcome of 3"),
        (event("session.begin"), "signed in"),
        (event("edit.refused"), "edit refused"),
        (msgspec.structs.replace(event("edit.refused"), action="set"), "set, refused"),
    ],
)
def test_what_happened_in_words(record: AuditRecord, words: str) -> None:
    assert line(NumberedRecord(1, "", record), None).what == words
