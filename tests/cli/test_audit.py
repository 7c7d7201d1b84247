"""`bpf-atlas audit` and `bpf-atlas policy`, with a service's files and without a service."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path

import pytest

from app.broker.audit.log import Audit
from app.wire.records import ActorFacts, MapIdentity
from tests.broker.auditing import event, intent, outcome
from tests.cli.conftest import Run

BERTA = ActorFacts("berta", "admin", "", "root", "cli", 0, 1)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory with a log of six records; nobody serves it."""
    folder = tmp_path / "atlas" / "broker"
    log = Audit(folder / "audit.db", folder / "audit.key", ())
    log.finish(outcome(log.begin(intent(7, reason="load test"))))
    log.finish(
        outcome(
            log.begin(intent(8, actor=BERTA, of=MapIdentity(9, "other", 1, 4, 4, 1, 0, 0, 0))),
            "conflict",
            "map.set.fail",
        )
    )
    log.note(event("session.begin"))
    log.note(event("session.end", detail="\x1b[31mred\nlines"))
    log.close()
    return tmp_path / "atlas"


def test_an_edit_is_one_line(run: Run, data: Path) -> None:
    done = run("audit", "--data", str(data))
    assert done.status == 0
    lines = done.text.splitlines()
    assert [line.split()[0] for line in lines] == ["NUMBER", "6", "5", "3", "1"]
    assert "value.limit: 0 → 7" in lines[4]
    assert "load test" in lines[4]
    assert "conflict" in lines[3]
    assert "\x1b" not in done.text


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], [6, 5, 4, 3, 2, 1]),
        (["--map", "9"], [3]),
        (["--user", "berta"], [3]),
        (["--since", "1h"], [6, 5, 4, 3, 2, 1]),
        (["--since", "2099-01-01T00:00"], []),
        (["--limit", "2"], [6, 5]),
        (["--limit", "0"], [6, 5, 4, 3, 2, 1]),
    ],
)
def test_records_as_json(run: Run, data: Path, words: list[str], expected: list[int]) -> None:
    found = run("audit", "--json", *words, "--data", str(data)).document
    assert [record["number"] for record in found] == expected
    lines = run("audit", "--jsonl", *words, "--data", str(data)).text.splitlines()
    assert [json.loads(line) for line in lines] == found


def test_a_json_record_has_bytes_and_text(run: Run, data: Path) -> None:
    record = run("audit", "--json", "--data", str(data)).document[-1]
    assert record["fields"] == [
        {"path": "value.limit", "offset_bits": 32, "size_bits": 32, "cpu": None, "old": "00000000", "new": "07000000",
         "old_text": "0", "new_text": "7", "redacted": False}
    ]  # fmt: skip
    assert (record["map"]["id"], record["map"]["type"], record["key"]) == (7, "hash", "07000000")
    assert record["intent"] is None


def test_verify(run: Run, data: Path) -> None:
    done = run("audit", "--verify", "--data", str(data))
    assert (done.status, done.text, done.complaint) == (0, "all 6 records are as they were written\n", "")


def test_t17_verify_of_a_broken_chain_exits_1_and_names_the_record(run: Run, data: Path) -> None:
    with sqlite3.connect(data / "broker" / "audit.db", isolation_level=None) as other:
        other.execute("DROP TRIGGER audit_kept")
        other.execute("UPDATE audit SET mac = zeroblob(32) WHERE number = 4")
    other.close()
    done = run("audit", "--verify", "--data", str(data))
    assert (done.status, done.text) == (1, "")
    assert done.complaint.startswith("bpf-atlas: first bad record: 4: record 4 is not as it was written")
    assert done.complaint.count("\n") == 1
    document = run("audit", "--verify", "--json", "--data", str(data))
    assert (document.status, document.document["ok"], document.document["first_bad"]) == (1, False, 4)


def test_t17_verify_of_a_log_that_lost_its_end(run: Run, data: Path) -> None:
    with sqlite3.connect(data / "broker" / "audit.db", isolation_level=None) as other:
        other.execute("DROP TRIGGER audit_stays")
        other.execute("DELETE FROM audit WHERE number > 3")
    other.close()
    done = run("audit", "--verify", "--data", str(data))
    assert done.status == 1
    assert "first bad record: 4: " in done.complaint


def test_a_copy_is_verified_while_the_log_is_in_use(run: Run, data: Path, tmp_path: Path) -> None:
    folder, copy = data / "broker", tmp_path / "copy"
    copy.mkdir()
    log = Audit(folder / "audit.db", folder / "audit.key", ())
    log.note(event("service.start"))
    with sqlite3.connect(folder / "audit.db") as other:
        other.execute("VACUUM INTO ?", (str(copy / "audit.db"),))
    other.close()
    shutil.copy(folder / "audit.key", copy)
    words = ["audit", "--verify", "--file", str(copy / "audit.db"), "--key", str(copy / "audit.key")]
    done = run(*words)
    assert (done.status, done.text) == (0, "all 7 records are as they were written\n")
    assert "nobody can tell whether the end is missing" in done.complaint
    shutil.copy(folder / "audit.head", copy)
    assert (run(*words).status, run(*words).complaint) == (0, "")
    log.note(event("service.stop"))
    shutil.copy(folder / "audit.head", copy)
    assert "first bad record: 8" in run(*words).complaint
    log.close()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("audit --json --jsonl", "one form at a time"),
        ("audit --verify --user anna", "walks all of the log"),
        ("audit --verify --file x", "go together"),
        ("audit --file x --key y", "go with --verify"),
        ("audit --since yesterday", "is no time"),
        ("audit --limit -1", "--limit"),
        ("audit --map nope", "is no map"),
    ],
)
def test_what_cannot_be_meant(refuses, words: str, says: str) -> None:
    assert says in refuses(2, *words.split())


def test_verify_without_a_log(refuses, tmp_path: Path) -> None:
    assert "there is no such file" in refuses(1, "audit", "--verify", "--data", str(tmp_path))


# ---- policy ---------------------------------------------------------------------------------------------------------


def test_the_built_in_policy_is_shown(run: Run, tmp_path: Path) -> None:
    done = run("policy", "show", "--data", str(tmp_path))
    assert done.status == 0
    assert "there is no policy file" in done.text
    assert "editors edit entries" in done.text
    assert run("policy", "check", "--data", str(tmp_path)).text.endswith("the built-in policy holds\n")


def test_a_policy_is_checked_and_shown(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(
        'version = 1\n[[rule]]\nmaps = ["flows"]\nfields = ["value.limit"]\nmax = 9\napprovals = 1\nnote = "x"\n[[redact]]\n'
    )
    assert run("policy", "check", "--data", str(tmp_path)).text == f"{path}: 1 rules and 1 redactions, no error\n"
    text = run("policy", "show", "--data", str(tmp_path)).text
    for shown in ("flows", "value.limit", "at most 9, 1 must agree", "every map"):
        assert shown in text
    document = run("policy", "show", "--json", "--data", str(tmp_path)).document
    assert document["rules"][0]["max"] == 9
    assert document["redact"] == [
        {"maps": [], "pins": [], "types": [], "fields": ["value"], "audit": True, "hide_from": []}
    ]


def test_an_error_in_a_policy_is_one_line_with_its_line(refuses, tmp_path: Path) -> None:
    path = tmp_path / "new.toml"
    path.write_text('version = 1\n\n[[rule]]\nrole = "viewer"\n')
    line = refuses(1, "policy", "check", str(path))
    assert f"{path} line 4: `role`: 'viewer' is none of editor, admin, nobody" in line
