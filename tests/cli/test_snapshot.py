"""`snapshot`, `snapshots`, and `dump` of what they list: on real maps, without a service."""

from __future__ import annotations

import functools
import json
import os
import pty
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from app.settings import Settings
from app.timeline import place
from app.uapi import objects, syscall
from app.uapi.cpus import possible_cpus
from app.uapi.enums import BpfMapFlag, BpfMapType
from tests.cli import made
from tests.cli.conftest import COMMAND, ROOT, environment, run_in
from tests.cli.made import FLOWS, flow, flow_key, section, typed_map
from tests.cli.test_exits import NOBODY
from tests.cli.within import Within, within
from tests.livemaps import u32, u64

__all__ = ["within"]
pytestmark = pytest.mark.kernel

HASH, BARE = f"flows_{os.getpid()}", f"bare_{os.getpid()}"
"""Names that no other map of this host has."""
flows = functools.partial(made.flows, name=HASH)
bare_map = functools.partial(made.bare_map, name=BARE.encode())
ENTRIES = [(flow_key(f"10.0.0.{n}", 80, n % 3), flow(n * 10, b"nginx", n % 3, -n)) for n in range(1, 9)]
RING = {"type": BpfMapType.RINGBUF, "key_size": 0, "value_size": 0, "max_entries": 4096, "name": b"cli_ring"}


def test_one_reference_a_map_and_what_is_said_of_it(within: Within) -> None:
    with flows(ENTRIES) as one, bare_map([(u32(1), u64(2))]) as other:
        facts = within.done("snapshot", one, f"name:{BARE}", one, "--label", "before", "--json").document
        again = within.done("snapshot", one, other)
    assert [each["ref"] for each in facts] == ["s1", "s2"]
    first = {name: facts[0][name] for name in ("map_id", "name", "entries", "exact", "label", "trigger", "author")}
    assert first == {
        "map_id": one, "name": HASH, "entries": 8, "exact": False, "label": "before", "trigger": "manual",
        "author": "root",
    }  # fmt: skip
    assert [(each["name"], each["entries"]) for each in facts] == [(HASH, 8), (BARE, 1)]
    assert all(each["bytes_added"] > 0 for each in facts)
    assert (again.text, again.complaint) == ("s3\ns4\n", "")
    assert within.done("snapshots", "--json").document[1]["bytes_added"] == 0


def test_a_map_that_fails_does_not_keep_the_others_from_it(within: Within) -> None:
    with flows(ENTRIES) as map_id, bare_map(**RING) as ring:
        done = within("snapshot", "name:cli_nobody", map_id, "--json")
        assert (done.status, [each["ref"] for each in done.document]) == (1, ["s1"])
        assert done.complaint.startswith("bpf-atlas: no map named cli_nobody ")
        assert done.complaint.count("\n") == 1
        refused = within("snapshot", ring, map_id)
        assert (refused.status, refused.text) == (3, "s2\n")
        assert "no snapshot can be taken of this ring buffer: its records pass through" in refused.complaint
        assert within("snapshot", ring, "name:cli_nobody").status == 1
        assert "ring buffer" in within.refused(3, "snapshot", ring, "--json")
    assert "no map #" in within.refused(1, "snapshot", map_id)


@pytest.mark.slow
def test_a_terminal_gets_more_beside_the_reference(within: Within) -> None:
    leader, follower = pty.openpty()
    with flows(ENTRIES) as map_id:
        done = subprocess.run(
            [*COMMAND, "snapshot", str(map_id)], cwd=ROOT, env=environment(within.data), stdout=follower, check=False
        )
    os.close(follower)
    line = os.read(leader, 4096).decode()
    os.close(leader)
    assert done.returncode == 0
    assert line.startswith(f"s1      {HASH} (hash")
    assert line.endswith("  8 entries, walked\r\n")


def test_a_map_that_went_away_is_no_failure_of_all(within: Within, monkeypatch: pytest.MonkeyPatch) -> None:
    with flows(ENTRIES) as map_id:
        pass
    from app.cli import snapshot

    with flows(ENTRIES) as there:
        monkeypatch.setattr(snapshot, "_every", lambda _past: ([map_id, there], []))
        done = within.done("snapshot", "--all")
        assert (done.text, "no map #" in done.complaint) == ("s1\n", True)
        assert within("snapshot", map_id, there).status == 1


@pytest.mark.slow
def test_all_is_every_map_that_can_be_kept(within: Within) -> None:
    with flows(ENTRIES) as one, bare_map() as other, bare_map(**RING) as ring:
        done = within("snapshot", "--all", "--json")
    taken = {each["map_id"] for each in done.document}
    assert done.status == 0, done.complaint
    assert {one, other} <= taken
    assert ring not in taken


UNMEANT = [
    ("snapshot", "say of which maps"),
    ("snapshot 1 --all", "say of which maps"),
    ("snapshot flows", "name:NAME"),
    ("snapshot delete 12", "no reference of a snapshot"),
    ("snapshot export --output x", "say what to export"),
    ("snapshot export s1", "--output"),
    ("snapshot import /nonexistent", "does not exist"),
    ("dump s1@yesterday", "is no time"),
    ("dump @10m", "is no side"),
    ("snapshot label 42 x", "a map at a time (42@10m) was wanted"),
    (f"snapshot label s1 {'x' * 201}", "at most 200 characters"),
    (f"snapshot 1 --label {'x' * 201}", "at most 200 characters"),
]


def test_what_cannot_be_meant(within: Within) -> None:
    with bare_map([(u32(1), u64(1))]) as map_id:
        within.snapshot(map_id)
        for words, says in UNMEANT:
            assert says in within.refused(2, *words.split()), words


def test_the_history_newest_first_also_of_a_map_that_is_gone(within: Within) -> None:
    assert within.done("snapshots", "--json").document == []
    assert "no snapshot yet" in within.done("snapshots").complaint
    assert "there is no history" in within.refused(1, "snapshots", f"name:{HASH}")
    with flows(ENTRIES) as map_id, bare_map() as other:
        for _ in range(3):
            within.snapshot(map_id)
        within.snapshot(other)
    facts = within.done("snapshots", f"name:{HASH}", "--json").document
    assert [each["ref"] for each in facts] == ["s3", "s2", "s1"]
    assert within.done("snapshots", map_id, "--json").document == facts
    assert [each["ref"] for each in within.done("snapshots", "--json", "--limit", 2).document] == ["s4", "s3"]
    text = within.done("snapshots", "--limit", 2)
    assert [line.split()[0] for line in text.text.splitlines()] == ["SNAP", "s4", "s3"]
    assert "there are older ones" in text.complaint
    assert "no history of name:cli_nobody" in within.refused(1, "snapshots", "name:cli_nobody")


def test_a_snapshot_whose_row_is_damaged_is_named_and_the_others_are_listed(within: Within) -> None:
    with flows(ENTRIES) as map_id:
        for _ in range(3):
            within.snapshot(map_id)
    with sqlite3.connect(within.data / "history" / "history.db") as database:
        database.execute("UPDATE snapshot SET taken_ns = taken_ns + 1 WHERE id = 2")
    done = within.done("snapshots", "--json")
    assert [each["ref"] for each in done.document] == ["s3", "s1"]
    assert "snapshot s2 is damaged" in done.complaint
    assert within.done("snapshot", "delete", "s2").text == "1 snapshot deleted\n"


FORMS: list[Sequence[str]] = [
    ["--json"],
    ["--ndjson"],
    ["--csv"],
    [],
    [
        "--json",
        "--where",
        "key.saddr in 10.0.0.0/29 and value.packets > 20",
        "--sort",
        "-value.packets",
        "--limit",
        "2",
    ],
    ["--csv", "--columns", "key.saddr,value.comm"],
    ["--columns", "key.saddr,value.comm", "--sort", "value.balance"],
    ["--ndjson", "--lens", "--sort", "key.saddr"],
]


def test_a_snapshot_is_dumped_as_the_map_was(within: Within) -> None:
    with typed_map(FLOWS, "flow_key", "flow", ENTRIES, key_size=8, value_size=56, name=HASH.encode()) as (fd, map_id):
        within.snapshot(map_id)
        then = [within.done("dump", map_id, *form).raw for form in FORMS]
        syscall.map_update(fd, ENTRIES[0][0], flow(77))
        syscall.map_delete(fd, ENTRIES[1][0])
        for form, wanted in zip(FORMS, then, strict=True):
            for name in ("s1", f"{map_id}@0s", f"name:{HASH}@0s")[: 3 if form == FORMS[0] else 1]:
                done = within.done("dump", name, *form)
                # A reading of the kernel has no order of its own; what is kept is in the order of the keys.
                assert sorted(done.raw.replace(b",\n", b"\n").splitlines()) == sorted(
                    wanted.replace(b",\n", b"\n").splitlines()
                )
                assert done.complaint.startswith("bpf-atlas: s1 of 20")
                assert done.complaint.count("\n") == 1
        few = within.done("dump", "s1", "--limit", 3)
        assert (len(few.text.splitlines()), "5 more entries" in few.complaint) == (4, True)
        assert within.done("dump", "s1", "--limit", 0, "--json").document == []
        assert "at or before" in within.refused(1, "dump", f"{map_id}@1d")
        assert "no field value.nope" in within.refused(2, "dump", "s1", "--where", "value.nope > 1")
        assert "there is no snapshot s9" in within.refused(1, "dump", "s9")
    assert len(within.done("dump", f"name:{HASH}@0s", "--json").document) == 8  # the map is gone


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param({"type": BpfMapType.ARRAY, "max_entries": 5}, id="array"),
        pytest.param({"type": BpfMapType.PERCPU_HASH, "value_size": 4}, id="per-CPU hash"),
        pytest.param({"type": BpfMapType.LPM_TRIE, "key_size": 8, "flags": BpfMapFlag.NO_PREALLOC}, id="trie"),
        pytest.param({"type": BpfMapType.QUEUE, "key_size": 0}, id="queue"),
    ],
)
def test_other_types_are_dumped_as_they_were(within: Within, spec: dict[str, int]) -> None:
    with bare_map(**{"value_size": 8, **spec}) as map_id:
        fd = objects.map_get_fd_by_id(map_id)
        keyless, per_cpu = spec.get("key_size") == 0, spec["type"] == BpfMapType.PERCPU_HASH
        for n in range(3):
            key = None if keyless else u32(32) + u32(n) if spec.get("key_size") == 8 else u32(n)
            syscall.map_update(fd, key, u64(n + 1) * (possible_cpus() if per_cpu else 1))
        os.close(fd)
        within.snapshot(map_id)
        live = within.done("dump", map_id, "--json").document
        assert live
        key_of = json.dumps
        assert sorted(within.done("dump", "s1", "--json").document, key=key_of) == sorted(live, key=key_of)


def test_variables_are_dumped_as_they_were(within: Within) -> None:
    with section() as map_id:
        within.snapshot(map_id)
        live = within.done("dump", map_id, "--json").raw
        assert within.done("dump", "s1", "--json").raw == live
        assert "counter" in within.done("dump", "s1").text


def test_an_export_is_read_elsewhere_and_comes_in_once(within: Within, tmp_path: Path) -> None:
    file, elsewhere = tmp_path / "flows.atlas", within.data.parent / "elsewhere"
    with flows(ENTRIES) as map_id, bare_map() as other:
        within.snapshot(map_id)
        within.snapshot(other)
        within.snapshot(map_id)
        was = within.done("dump", "s1", "--json").raw
    done = within.done("snapshot", "export", "--map", f"name:{HASH}", "--output", file)
    assert (done.text, "2 snapshots written" in done.complaint) == ("", True)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "is there already" in within.refused(1, "snapshot", "export", "s1", "--output", file)
    alone = {"BPF_ATLAS_HISTORY_FILE": str(file)}
    assert within.done("dump", "s1", "--json", env=alone, data=elsewhere).raw == was
    for words in ("snapshot label s1 x", "snapshot delete s1", "restore s1 --reason w", "history tidy"):
        assert "only read" in within.refused(2, *words.split(), env=alone, data=elsewhere)
    facts = within.done("snapshot", "import", file, "--json", data=elsewhere).document
    assert [(each["ref"], each["trigger"], each["name"]) for each in facts] == [
        ("s1", "import", HASH), ("s2", "import", HASH),
    ]  # fmt: skip
    assert within.done("dump", "s1", "--json", data=elsewhere).raw == was
    again = within.done("snapshot", "import", file, data=elsewhere)
    assert (again.text, "nothing is new" in again.complaint) == ("", True)


@pytest.mark.slow
def test_an_export_is_read_without_rights(within: Within, tmp_path: Path) -> None:
    file = tmp_path / "flows.atlas"
    with flows(ENTRIES) as map_id:
        within.snapshot(map_id)
        wanted = within.done("dump", "s1", "--json").raw
    within.done("snapshot", "export", "s1", "--output", file)
    env = {**environment(within.data), "BPF_ATLAS_HISTORY_FILE": str(file), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [*NOBODY, *COMMAND, "dump", f"name:{HASH}@0s", "--json"], cwd=ROOT, env=env, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, wanted), done.stderr


def test_files_that_are_no_history_stay_out(within: Within, tmp_path: Path) -> None:
    text, other, busy = (tmp_path / name for name in ("text", "other.db", "busy.db"))
    text.write_text("hello")
    for path in (other, busy):
        with sqlite3.connect(path) as database:
            database.execute("CREATE TABLE cookies (name)")
    busy.with_name("busy.db-wal").write_bytes(b"x")
    assert "it is no SQLite database" in within.refused(1, "snapshot", "import", text)
    assert "no history of bpf-atlas" in within.refused(1, "snapshot", "import", other)
    assert "history backup" in within.refused(1, "snapshot", "import", busy)


def test_what_cannot_go_in_is_told_and_the_rest_goes_in(within: Within, tmp_path: Path) -> None:
    file, elsewhere = tmp_path / "flows.atlas", within.data.parent / "elsewhere"
    with flows(ENTRIES) as map_id:
        within.snapshot(map_id)
        within.snapshot(map_id)
    within.done("snapshot", "export", "s1", "s2", "--output", file)
    with sqlite3.connect(file) as database:
        database.execute("UPDATE snapshot SET label = 'sealed otherwise' WHERE id = 1")
    done = within("snapshot", "import", file, "--json", data=elsewhere)
    assert (done.status, [each["ref"] for each in done.document]) == (1, ["s1"])
    assert "snapshot s1 of the file is left out: what is said of it is not what was stored" in done.complaint
    again = within.done("snapshot", "export", "--map", f"name:{HASH}", "--output", tmp_path / "again.atlas")
    assert "2 snapshots" in again.complaint
    with sqlite3.connect(within.data / "history" / "history.db") as database:
        database.execute("UPDATE snapshot SET label = 'sealed otherwise' WHERE id = 1")
    done = within("snapshot", "export", "--map", f"name:{HASH}", "--output", tmp_path / "rest.atlas")
    assert (done.status, "1 snapshot written" in done.complaint, "snapshot s1 is damaged" in done.complaint) == (
        1,
        True,
        True,
    )


def test_labels_and_deletions(within: Within) -> None:
    with flows(ENTRIES) as map_id:
        for _ in range(3):
            within.snapshot(map_id)
        assert within.done("snapshot", "label", "s2", "known good").text == "s2 is labelled known good\n"
        assert within.done("snapshot", "label", f"{map_id}@0s", "newest").text == "s3 is labelled newest\n"
        assert within.done("snapshot", "label", "s3", "").text == "s3 has no label\n"
        assert "there is no snapshot s9" in within.refused(1, "snapshot", "delete", "s1", "s9")
        assert within.done("snapshot", "delete", "s1", "s3", "s1").text == "2 snapshots deleted\n"
        (left,) = within.done("snapshots", "--json").document
    assert (left["ref"], left["label"]) == ("s2", "known good")
    told = [each for each in within.done("audit", "--json").document if each["code"].startswith("history.")]
    assert [(each["code"], each["user"]) for each in told] == [
        ("history.forget", "root"), ("history.label", "root"), ("history.label", "root"), ("history.label", "root"),
    ]  # fmt: skip
    assert told[0]["detail"].startswith("s1, s3 of ")


def test_only_one_writes_and_reading_goes_on(within: Within) -> None:
    with flows(ENTRIES) as map_id:
        within.snapshot(map_id)
        writer = place.writer(Settings(data=within.data), "here")
        try:
            assert "there is one at a time" in within.refused(3, "snapshot", map_id)
            assert within.done("dump", "s1", "--json").document
        finally:
            writer.close()
        assert within.snapshot(map_id) == "s2"


def test_what_is_made_belongs_to_the_recorder(within: Within) -> None:
    with bare_map() as map_id:
        within.snapshot(map_id)
    settings = Settings(data=within.data)
    for path in (within.data / "history", *(within.data / "history").iterdir()):
        found = path.stat()
        assert (found.st_uid, found.st_gid) == (int(settings.recorder_user), int(settings.web_user)), path
        assert stat.S_IMODE(found.st_mode) & 0o007 == 0, path


def test_the_loader_beside_the_command_is_the_owner(within: Within) -> None:
    # This very process holds the map and is the command's parent, as a shell or a loader's script would be.
    with flows(ENTRIES) as map_id:
        (facts,) = run_in(within.data, "snapshot", map_id, "--json").document
    assert facts["series"]["owner"] == Path("/proc/self/comm").read_text().strip()


def test_a_pin_names_its_history_after_it_is_gone(within: Within, bpffs: Path) -> None:
    env = {"BPF_ATLAS_BPFFS": str(bpffs)}
    pin, odd = bpffs / "cli_pinned", bpffs / "cli@pinned"
    with flows(ENTRIES) as map_id:
        fd = objects.map_get_fd_by_id(map_id)
        for path in (pin, odd):
            objects.obj_pin(str(path), fd)
        os.close(fd)
        try:
            assert len(within.done("dump", odd, "--json", env=env).document) == 8
            odd.unlink()
            within.done("snapshot", pin, env=env)
        finally:
            pin.unlink()
            odd.unlink(missing_ok=True)
    assert [each["ref"] for each in within.done("snapshots", pin, "--json", env=env).document] == ["s1"]
    assert len(within.done("dump", f"{pin}@0s", "--json", env=env).document) == 8


AS_NOBODY = ("unshare", "--user", "--map-user=1000", "--map-group=1000")
"""Not root, and nobody whom files of others let in; the interpreter's own may be closed to a real nobody."""


def test_who_may_not_read_the_history_is_told_so(within: Within) -> None:
    with flows(ENTRIES) as map_id:
        within.snapshot(map_id)
    done = subprocess.run(
        [*AS_NOBODY, *COMMAND, "snapshots"], cwd=ROOT, env=environment(within.data), capture_output=True, text=True, check=False
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == f"bpf-atlas: this user may not read the history at {within.data}/history: run as root\n"


@pytest.mark.parametrize("words", ["maps", "dump MAP --json"])
def test_live_maps_need_no_database_library(within: Within, words: str) -> None:
    with flows(ENTRIES) as map_id:
        asked = words.replace("MAP", str(map_id)).split()
        source = (
            "import sys\nfrom app.cli.main import main\n"
            f"sys.argv = ['bpf-atlas', *{asked!r}]\n"
            "try:\n    main()\nexcept SystemExit as left:\n"
            "    sys.exit(9 if left.code or {'sqlalchemy', 'alembic'} & set(sys.modules) else 0)\n"
        )
        done = subprocess.run([sys.executable, "-c", source], cwd=ROOT, env=environment(within.data), check=False,
                              capture_output=True)  # fmt: skip
    assert done.returncode == 0, done
