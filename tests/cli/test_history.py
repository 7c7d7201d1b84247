"""`history`, without a service and beside one; and what the other commands of the history do beside one."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.settings import Settings
from app.timeline import place
from app.uapi import syscall
from tests.cli.conftest import Done, Service, folder, start
from tests.cli.made import FLOWS, bare_map, flow, flow_key, typed_map
from tests.cli.within import ON, Within, within

__all__ = ["within"]
pytestmark = pytest.mark.kernel

NAME = f"hists_{os.getpid()}"
KEYS = [flow_key(f"10.0.0.{n}", 80) for n in range(1, 7)]


@contextlib.contextmanager
def made() -> Iterator[tuple[int, int]]:
    """(descriptor, id) of a map with six flows."""
    entries = [(key, flow(10 * n, b"nginx")) for n, key in enumerate(KEYS)]
    with typed_map(FLOWS, "flow_key", "flow", entries, key_size=8, value_size=56, name=NAME.encode()) as both:
        yield both


def database(within: Within) -> Path:
    return within.data / "history" / "history.db"


def spoil(file: Path) -> None:
    """Flip one bit of the largest chunk of values."""
    with contextlib.closing(sqlite3.connect(file)) as connection:
        number, data = connection.execute("SELECT id, data FROM chunk ORDER BY raw_bytes DESC LIMIT 1").fetchone()
        connection.execute("UPDATE chunk SET data = ? WHERE id = ?", (bytes([data[0] ^ 1]) + data[1:], number))
        connection.commit()


def test_a_damaged_byte_is_named_with_the_snapshots_that_need_it(within: Within, tmp_path: Path) -> None:
    assert "there is no history" in within.refused(1, "history", "verify")
    with made() as (fd, map_id):
        within.snapshot(map_id)
        assert "1 snapshots, and all of them is what was stored" in within.done("history", "verify").text
        assert within.done("history", "verify", "--json").document == {"ok": True, "snapshots": 1, "problems": []}
        copy = tmp_path / "copy.db"
        within.done("history", "backup", copy)
        del fd
    spoil(copy)
    done = within("history", "verify", "--file", copy)
    assert (done.status, done.text.count("\n")) == (1, 1)
    assert done.text.endswith("(s1)\n")
    assert done.complaint == f"bpf-atlas: {copy} has 1 problem; what they do not name can be read\n"
    bad = within("history", "verify", "--file", copy, "--json")
    assert (bad.status, bad.document["ok"], bad.document["problems"][0]["snapshots"]) == (1, False, ["s1"])
    assert within.done("history", "verify").status == 0


def test_a_backup_is_put_back_and_what_was_there_is_kept(within: Within, tmp_path: Path) -> None:
    backup = tmp_path / "monday.db"
    with made() as (fd, map_id):
        within.snapshot(map_id)
        done = within.done("history", "backup", backup)
        assert (done.text, "written to" in done.complaint) == ("", True)
        assert backup.stat().st_mode & 0o777 == 0o600
        assert "is there already" in within.refused(1, "history", "backup", backup)
        assert "no such directory" in within.refused(1, "history", "backup", tmp_path / "nowhere" / "x.db")
        syscall.map_delete(fd, KEYS[0])
        within.snapshot(map_id)
    done = within.done("history", "restore", backup)
    assert "with 1 snapshots" in done.text
    (kept,) = database(within).parent.glob("history-replaced-*.db")
    assert str(kept) in done.complaint
    assert [each["ref"] for each in within.done("snapshots", "--json").document] == ["s1"]
    alone = {"BPF_ATLAS_HISTORY_FILE": str(kept)}
    assert [each["ref"] for each in within.done("snapshots", "--json", env=alone).document] == ["s2", "s1"]
    settings = Settings(data=within.data)
    assert database(within).stat().st_uid == int(settings.recorder_user)
    assert within.done("history", "verify").status == 0


def test_what_the_log_holds_goes_with_the_history_that_is_replaced(within: Within, tmp_path: Path) -> None:
    backup = tmp_path / "monday.db"
    with made() as (fd, map_id):
        within.snapshot(map_id)
        within.done("history", "backup", backup)
        writer = place.writer(Settings(data=within.data), "here")
        crashed = tmp_path / "crashed"
        try:
            writer.label("s1", "only in the log")
            shutil.copytree(database(within).parent, crashed)  # as a crash leaves it: the label is in the log alone
        finally:
            writer.close()
        del fd
    elsewhere = tmp_path / "data"
    elsewhere.mkdir()
    shutil.copytree(crashed, elsewhere / "history")
    assert (elsewhere / "history" / "history.db-wal").stat().st_size
    within.done("history", "restore", backup, data=elsewhere)
    (facts,) = within.done("snapshots", "--json", data=elsewhere).document
    assert facts["label"] == ""
    (kept,) = (elsewhere / "history").glob("history-replaced-*.db")
    (old,) = within.done("snapshots", "--json", env={"BPF_ATLAS_HISTORY_FILE": str(kept)}).document
    assert old["label"] == "only in the log"


def test_what_is_no_sound_history_is_not_put_in_place(within: Within, tmp_path: Path) -> None:
    backup, other = tmp_path / "monday.db", tmp_path / "other.db"
    with made() as (_fd, map_id):
        within.snapshot(map_id)
    within.done("history", "backup", backup)
    with contextlib.closing(sqlite3.connect(other)) as connection:
        connection.execute("CREATE TABLE cookies (name)")
    assert "no history of bpf-atlas" in within.refused(1, "history", "restore", other)
    spoil(backup)
    assert "was not put in place (--force does that), has 1 problem" in within.refused(1, "history", "restore", backup)
    with contextlib.closing(sqlite3.connect(backup)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    assert "does not know" in within.refused(1, "history", "restore", backup)
    assert not list(database(within).parent.glob("history-replaced-*"))
    assert within.done("history", "verify").status == 0


def test_nothing_is_put_back_under_somebody_who_writes(within: Within, tmp_path: Path) -> None:
    backup = tmp_path / "monday.db"
    with made() as (_fd, map_id):
        within.snapshot(map_id)
    within.done("history", "backup", backup)
    writer = place.writer(Settings(data=within.data), "here")
    try:
        assert "there is one at a time" in within.refused(3, "history", "restore", backup)
        assert "there is one at a time" in within.refused(3, "history", "tidy")
    finally:
        writer.close()
    assert "--force" in within.done("history", "restore", "--help").text
    within.done("history", "restore", backup, "--force")


def test_what_postgresql_does_itself_is_left_to_it(within: Within, tmp_path: Path) -> None:
    env = {"BPF_ATLAS_DATABASE_URL": "postgresql+psycopg://nobody@/atlas?host=/nonexistent"}
    assert "use pg_dump" in within.refused(2, "history", "backup", tmp_path / "x.db", env=env)
    (tmp_path / "y.db").touch()
    assert "use pg_restore" in within.refused(2, "history", "restore", tmp_path / "y.db", env=env)


def test_tidying_says_what_it_did(within: Within) -> None:
    with made() as (fd, map_id):
        within.snapshot(map_id)
        syscall.map_delete(fd, KEYS[0])
        within.snapshot(map_id)
    within.done("snapshot", "delete", "s1")
    text = within.done("history", "tidy").text
    assert text.startswith("0 snapshots thinned, ")
    assert not text.startswith("0 snapshots thinned, 0 chunks")
    assert within.done("history", "verify").status == 0
    assert "no dashboard runs" in within.refused(1, "history", "state")


RANKED = """
typedef unsigned int __u32; typedef unsigned short __u16; typedef unsigned char __u8;
typedef __u32 __be32; typedef __u16 __be16;
struct ranked { __be32 saddr; __be16 dport; __u8 proto; __u8 pad; __u32 rank; };
struct held { __u32 hits; };
int use(struct ranked *key, struct held *value) { return 0; }
"""


def test_keys_that_a_comparison_prints_are_found(within: Within) -> None:
    key = bytes([1, 0, 0, 10, 0, 80, 6, 0]) + (6400).to_bytes(4, "little")
    with typed_map(RANKED, "ranked", "held", key_size=12, value_size=4, name=NAME.encode()) as (fd, map_id):
        within.snapshot(map_id)
        syscall.map_update(fd, key, bytes(4))
        within.snapshot(map_id)
        (listed,) = re.findall(r"^[+] (.*?)  .*$", within.done("diff", "s1", "s2").text, re.MULTILINE)
        assert listed == "1.0.0.10, 80, TCP, 0, 6\N{THIN SPACE}400"
        assert "first seen  s2" in within.done("history", "find", map_id, listed).text
        within.done("edit", map_id, "--key", listed, "--set", "value.hits=2", "--reason", "r", "--dry-run", env=ON)


def test_a_key_is_followed(within: Within) -> None:
    with made() as (fd, map_id):
        within.snapshot(map_id)
        syscall.map_update(fd, KEYS[0], flow(7, b"curl"))
        within.snapshot(map_id)
        syscall.map_update(fd, KEYS[0], flow(7, b"wget"))
        within.snapshot(map_id)
        syscall.map_delete(fd, KEYS[0])
        syscall.map_update(fd, flow_key("10.9.0.1", 53), flow(1, b"dns"))
        within.snapshot(map_id)
        within.snapshot(map_id)
    told = within.done("history", "find", f"name:{NAME}", "10.0.0.1, 80, 0", "--json").document
    at = {name: told[name] and told[name]["ref"] for name in ("first_seen", "before_first", "last_seen", "gone")}
    assert at == {"first_seen": "s1", "before_first": None, "last_seen": "s3", "gone": "s4"}
    assert [(each["from"]["ref"], each["until"]["ref"], each["there"]) for each in told["steps"]] == [
        ("s1", "s1", True), ("s2", "s2", True), ("s3", "s3", True), ("s4", "s5", False),
    ]  # fmt: skip
    assert told["steps"][1]["held"]["value"]["comm"] == "curl"
    packets = within.done(
        "history", "find", map_id, "10.0.0.1, 80, 0", "--where-changed", "value.packets", "--json"
    ).document
    assert (told["changes"], packets["changes"], packets["last_changed"]["ref"]) == (3, 2, "s4")
    assert [(each["from"]["ref"], each["held"]) for each in packets["steps"]] == [("s1", 0), ("s2", 7), ("s4", None)]
    text = within.done("history", "find", map_id, f"hex:{KEYS[0].hex()}").text
    assert "first seen  s1  " in text
    assert "the first snapshot: it may be older" in text
    assert "   gone by  s4  " in text
    assert text.splitlines()[-1].endswith("(not there)")
    new = within.done("history", "find", map_id, '{"saddr": 16779530, "dport": 13568, "zone": 0}')
    assert "first seen  s4" in new.text
    assert "may be older" not in new.text
    assert "in none of 5 snapshots" in within.done("history", "find", map_id, "10.7.7.7, 80, 0").complaint
    assert "fields were wanted" in within.refused(2, "history", "find", map_id, "10.0.0.1")
    assert "no field value.nope" in within.refused(
        2, "history", "find", map_id, "10.0.0.1, 80, 0", "--where-changed", "value.nope"
    )
    assert "no history of name:nobody_here" in within.refused(1, "history", "find", "name:nobody_here", "1")


def test_each_command_of_the_group_explains_itself(within: Within) -> None:
    for words in ("state", "schedule", "tidy", "verify", "backup", "restore", "ignore", "find"):
        text = within.done("history", words, "--help").text
        assert f"\n    bpf-atlas history {words}" in text.partition("Examples:")[2].partition("Options:")[0]
    for words in ("export", "import", "label", "delete"):
        text = within.done("snapshot", words, "--help").text
        assert text.startswith(f"Usage: bpf-atlas snapshot {words} ")
        assert f"\n    bpf-atlas snapshot {words} " in text.partition("Examples:")[2].partition("Options:")[0]
    assert "see `bpf-atlas history find --help`" in within.refused(2, "history", "find")
    assert "see `bpf-atlas snapshot delete --help`" in within.refused(2, "snapshot", "delete")


# ---- beside a service ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    """One whose editors may edit."""
    with folder() as path:
        running = start(path / "data", "--allow-edits")
        yield running
        assert running.stop() == 0, running.log.read_text()


def document(done: Done, status: int = 0) -> object:
    assert (done.status, done.complaint) == (status, ""), done
    return done.document


@pytest.mark.slow
def test_the_recorder_takes_labels_deletes_and_compares(service: Service) -> None:
    with made() as (fd, map_id), bare_map(name=b"cli_beside") as other:
        facts = service.run("snapshot", map_id, other, "--label", "before", "--json").document
        assert [(each["map_id"], each["entries"], each["label"], each["author"]) for each in facts] == [
            (map_id, 6, "before", "root"), (other, 0, "before", "root"),
        ]  # fmt: skip
        first, second = (each["ref"] for each in facts)
        assert service.run("snapshot", map_id, "name:nobody_here").status == 1
        syscall.map_update(fd, KEYS[0], flow(7, b"curl"))
        (one,) = service.run("diff", first, map_id, "--json").document["changed"]
        assert {each["path"] for each in one["fields"]} == {"value.packets", "value.comm"}
        assert len(service.run("dump", first, "--json").document) == 6
        assert service.run("snapshot", "label", first, "good").text == f"{first} is labelled good\n"
        assert service.run("history", "ignore", map_id, "value.packets").status == 0
        (one,) = service.run("diff", first, map_id, "--json").document["changed"]
        assert {each["path"] for each in one["fields"]} == {"value.comm"}
        assert service.run("snapshot", "delete", second).text == "1 snapshot deleted\n"
        told = [each for each in service.run("audit", "--json").document if each["code"].startswith("history.")]
        assert [each["code"] for each in told] == ["history.forget", "history.ignore", "history.label"]
        assert {each["user"] for each in told} == {"root"}
        assert told[0]["detail"].startswith(f"{second} of cli_beside")
        listed = service.run("snapshots", map_id, "--json").document
        assert (first, "good") in {(each["ref"], each["label"]) for each in listed}


@pytest.mark.slow
def test_the_recorder_imports_tidies_and_tells_how_it_is(service: Service, tmp_path: Path) -> None:
    with folder() as elsewhere:
        from tests.cli.conftest import run_in

        file = tmp_path / "flows.atlas"
        with made() as (_fd, map_id):
            assert run_in(elsewhere / "data", "snapshot", map_id, "--label", "theirs").status == 0
        assert run_in(elsewhere / "data", "snapshot", "export", "s1", "--output", file).status == 0
        (facts,) = service.run("snapshot", "import", file, "--json").document
        assert (facts["label"], facts["trigger"], facts["name"]) == ("theirs", "import", NAME)
        assert len(service.run("dump", facts["ref"], "--json").document) == 6
    bad = tmp_path / "bad.atlas"
    with contextlib.closing(sqlite3.connect(bad)) as connection:
        connection.execute("CREATE TABLE cookies (name)")
    done = service.run("snapshot", "import", bad)
    assert (done.status, f"{bad} is no history of bpf-atlas" in done.complaint) == (1, True), done
    assert not list((service.data / "recorder").glob("import-*"))
    assert "thinned" in service.run("history", "tidy").text
    state = service.run("history", "state", "--json").document
    assert (state["recording"], state["problem"], state["maps"] > 0) == (True, "", True)
    assert "of one core" in service.run("history", "state").text
    backup = tmp_path / "while-it-runs.db"
    assert service.run("history", "backup", backup).status == 0
    assert service.run("history", "verify", "--file", backup).status == 0
    refused = service.run("history", "restore", backup)
    assert (refused.status, "runs already: stop it" in refused.complaint) == (1, True)


@pytest.mark.slow
def test_what_is_recorded_and_what_other_rules_would_do(service: Service, tmp_path: Path) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text(f'[[rule]]\nmaps = ["{NAME}"]\nevery = "5m"\n\n[[rule]]\nevery = "never"\n')
    with made() as (_fd, map_id), bare_map(name=b"cli_beside") as other:
        service.run("snapshot", map_id, other)  # they are known to the recorder then
        now = service.run("history", "schedule", "--json").document
        assert (now["source"], now["rules"]) == ("", "no rules: every map")
        tried = service.run("history", "schedule", "--try", rules, "--json").document
        paces = {each["map_id"]: (each["every_s"], each["by"], each["why_not"]) for each in tried["maps"]}
        assert (paces[map_id], paces[other]) == ((300.0, "rule 1", ""), (None, "rule 2", "rule 2 says never"))
        text = service.run("history", "schedule", "--try", rules).text
        assert "\nnot recorded: cli_beside " in text
        assert text.endswith(f"\n1 maps, 1 with less than ten minutes of history; tried: {rules}\n")
    rules.write_text('[[rule]]\nevery = "soon"\n')
    refused = service.run("history", "schedule", "--try", rules)
    assert (refused.status, f'{rules}: rule 1: every is "30s"' in refused.complaint) == (1, True)


@pytest.mark.slow
def test_a_map_is_brought_back_beside_a_service(service: Service) -> None:
    with made() as (fd, map_id):
        ref = service.run("snapshot", map_id).text.strip()
        was = service.run("dump", ref, "--json").document
        syscall.map_delete(fd, KEYS[0])
        syscall.map_update(fd, KEYS[1], flow(1, b"curl"))
        done = service.run("restore", ref, "--no-ignore", "--reason", "w")  # a test before this one has its rules kept
        assert (done.status, "2 of 2 rows done" in done.text) == (0, True), done
        assert sorted(map(json.dumps, service.run("dump", map_id, "--json").document)) == sorted(map(json.dumps, was))
        kept = done.complaint.split()[1]
        newest = {each["ref"]: each for each in service.run("snapshots", map_id, "--json").document}
        assert (newest[kept]["trigger"], newest[kept]["entries"]) == ("pre-edit", 5)
