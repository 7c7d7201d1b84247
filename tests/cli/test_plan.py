"""`plan` as users run it: made, checked, applied, stopped by an error and gone on with."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.uapi.syscall import map_lookup, map_update
from tests.cli.conftest import Run
from tests.columns import kernel_maps
from tests.livemaps import u32

pytestmark = pytest.mark.kernel

ON = {"BPF_ATLAS_ALLOW_EDITS": "1"}
SOURCE = "struct rule { unsigned int limit, hits; }; int use_0(struct rule *p) { return 0; }"


@pytest.fixture(scope="module")
def blob(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return kernel_maps.compile_btf(SOURCE, tmp_path_factory.mktemp("btf"))


@contextlib.contextmanager
def rules(blob: bytes, entries: int = 5, max_entries: int = 6) -> Iterator[tuple[int, int]]:
    btf = kernel_maps.parse(blob)
    spec = {"key_size": 4, "value_size": 8, "max_entries": max_entries, "name": b"plan_rules"}
    with kernel_maps.created(blob, btf.find("unsigned int")[0], btf.find("rule")[0], **spec) as (fd, map_id):
        for key in range(entries):
            map_update(fd, u32(key), u32(10 + key) + u32(7))
        yield fd, map_id


def limits(fd: int, entries: int) -> list[int]:
    found = []
    for key in range(entries):
        value = bytearray(8)
        assert map_lookup(fd, u32(key), value)
        assert value[4:] == u32(7)
        found.append(int.from_bytes(value[:4], "little"))
    return found


@pytest.fixture
def plan(run: Run) -> Any:
    def plan(*words: object, **options: Any) -> Any:
        return run("plan", *words, env=ON, **options)

    return plan


def number_of(done: Any) -> int:
    assert done.status == 0, done
    return int(json.loads(done.text)["id"])


def test_a_file_is_checked_applied_and_each_row_taken_back_alone(
    blob: bytes, plan: Any, run: Run, tmp_path: Path
) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("key,value.limit\n0,100\n3,103\n")
    with rules(blob) as (fd, map_id):
        made = plan("make", map_id, rows, "--reason", "ticket 4411", "--json")
        number = number_of(made)
        facts = json.loads(made.text)
        assert (facts["state"], facts["rows"], facts["done"], facts["label"]) == ("draft", 2, 0, "rows.csv")
        assert "all 2 rows can be written" in facts["sentence"]
        assert limits(fd, 5) == [10, 11, 12, 13, 14]
        done = plan("apply", number)
        assert done.status == 0, done
        assert limits(fd, 5) == [100, 11, 12, 103, 14]
        shown = plan("show", number)
        records = [
            int(line.split()[4]) for line in shown.text.splitlines() if " done " in line and line.split()[0].isdigit()
        ]
        assert len(records) == 2, shown
        undone = run("undo", records[1], "--reason", "not this one", env=ON)
        assert undone.status == 0, undone
        assert limits(fd, 5) == [100, 11, 12, 13, 14]
        assert plan("apply", number).status == 1
        assert str(number) in plan("list").text


def test_it_stops_at_the_first_error_and_goes_on_from_there(blob: bytes, plan: Any, tmp_path: Path) -> None:
    rows = tmp_path / "rows.json"
    rows.write_text("\n".join(json.dumps({"key": key, "set": {"value.limit": 100 + key}}) for key in range(5)))
    with rules(blob) as (fd, map_id):
        number = number_of(plan("make", map_id, rows, "--reason", "why", "--json"))
        map_update(fd, u32(2), u32(77) + u32(7))  # somebody else was here
        stopped = plan("apply", number)
        assert stopped.status == 1, stopped
        assert "Stopped at row 3" in stopped.text + stopped.complaint
        assert limits(fd, 5) == [100, 101, 77, 13, 14]
        checked = plan("check", number)
        assert "row 3: " in checked.text
        map_update(fd, u32(2), u32(12) + u32(7))
        assert plan("apply", number).status == 0
        assert limits(fd, 5) == [100, 101, 102, 103, 104]


def test_a_full_map_stops_it(blob: bytes, plan: Any, tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("key,value.limit\n5,1\n6,1\n7,1\n")
    with rules(blob) as (_fd, map_id):
        done = plan("make", map_id, rows, "--reason", "why", "--apply")
        assert done.status == 1
        assert "Stopped at row 2" in done.text + done.complaint
        assert "full" in done.text + done.complaint


def test_a_filter(blob: bytes, plan: Any) -> None:
    with rules(blob) as (fd, map_id):
        done = plan("make", map_id, "--where", "value.limit > 12", "--set", "value.limit=0", "--reason", "w", "--apply")
        assert done.status == 0, done
        assert limits(fd, 5) == [10, 11, 12, 0, 0]
        gone = plan("make", map_id, "--where", "value.limit == 0", "--delete", "--reason", "w", "--apply")
        assert gone.status == 0, gone
        assert limits(fd, 3) == [10, 11, 12]
        assert not map_lookup(fd, u32(3), bytearray(8))


@pytest.mark.parametrize(("words", "told"), [
    ([], "say where the rows come from"),
    (["--where", "value.limit > 1"], "with --where say what is to happen"),
    (["--where", "value.limit > 1", "--delete", "--set", "value.limit=1"], "with --where say what is to happen"),
    (["-", "--delete"], "--set and --delete go with --where"),
    (["--where", "value.limit > 1", "--set", "value.limit"], "value.limit"),
    (["--where", "value.colour > 1", "--delete"], "colour"),
    (["/nonexistent.csv"], "nonexistent"),
])  # fmt: skip
def test_what_cannot_be_meant(blob: bytes, plan: Any, words: list[str], told: str) -> None:
    with rules(blob) as (fd, map_id):
        asked = plan("make", map_id, *words, "--reason", "w")
        assert asked.status == 2, asked
        assert told in asked.complaint
        assert limits(fd, 5) == [10, 11, 12, 13, 14]


def test_cancelled_is_the_end(blob: bytes, plan: Any, tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("key,value.limit\n0,100\n")
    with rules(blob) as (fd, map_id):
        number = number_of(plan("make", map_id, rows, "--reason", "why", "--json"))
        assert plan("cancel", number).status == 0
        assert plan("apply", number).status == 1
        assert limits(fd, 5) == [10, 11, 12, 13, 14]
        assert plan("apply", 10_000).status == 1


def test_edits_off_is_refused_before_anything_is_kept(blob: bytes, run: Run, tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("key,value.limit\n0,100\n")
    with rules(blob) as (fd, map_id):
        asked = run("plan", "make", map_id, rows, "--reason", "why")
        assert asked.status == 3, asked
        assert "--allow-edits" in asked.complaint
        assert limits(fd, 5) == [10, 11, 12, 13, 14]


def test_a_map_made_anew_under_the_number_is_not_written(blob: bytes, plan: Any, tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("key,value.limit\n0,100\n")
    with rules(blob) as (_fd, map_id):
        number = number_of(plan("make", map_id, rows, "--reason", "why", "--json"))
    with rules(blob) as (fd, _other):
        gone = plan("apply", number)
        assert gone.status == 1, gone
        assert limits(fd, 5) == [10, 11, 12, 13, 14]
