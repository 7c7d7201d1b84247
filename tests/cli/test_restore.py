"""`restore`, and the snapshot before each plan, without a service."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.cli import past as reaching
from app.cli.past import Past, before_edit
from app.settings import Settings
from app.timeline import place
from app.uapi import objects, syscall
from app.uapi.enums import BpfMapType
from app.uapi.syscall import MapSpec
from tests.cli.made import FLOWS, bare_map, flow, flow_key, typed_map
from tests.cli.within import ON, Within, within
from tests.livemaps import u32, u64

__all__ = ["within"]
pytestmark = pytest.mark.kernel

NAME = f"backs_{os.getpid()}"
KEYS = [flow_key(f"10.0.0.{n}", 80) for n in range(1, 7)]


@contextlib.contextmanager
def made() -> Iterator[tuple[int, int]]:
    """(descriptor, id) of a map with six flows."""
    entries = [(key, flow(10 * n, b"nginx")) for n, key in enumerate(KEYS)]
    with typed_map(FLOWS, "flow_key", "flow", entries, key_size=8, value_size=56, name=NAME.encode()) as both:
        yield both


def change(fd: int) -> None:
    syscall.map_update(fd, KEYS[0], flow(99, b"curl"))
    syscall.map_update(fd, KEYS[1], flow(98, b"nginx"))
    syscall.map_delete(fd, KEYS[2])
    syscall.map_update(fd, flow_key("10.9.0.1", 53), flow(1, b"dns"))


def entries(within: Within, side: object) -> list[str]:
    return sorted(json.dumps(each) for each in within.done("dump", side, "--json").document)


def test_a_map_is_brought_back_and_that_is_taken_back_too(within: Within) -> None:
    with made() as (fd, map_id):
        within.snapshot(map_id)
        change(fd)
        changed = entries(within, map_id)
        done = within.done("restore", "s1", "--reason", "ticket 4411", env=ON)
        assert "1 added, 1 removed, 2 changed, 3 unchanged" in done.text
        assert "4 of 4 rows done" in done.text
        assert f"bpf-atlas: s2 is what {NAME} held before\n" == done.complaint
        assert entries(within, map_id) == entries(within, "s1")
        assert entries(within, "s2") == changed
        facts = within.done("snapshots", "--json").document
        assert [(each["ref"], each["trigger"], each["author"]) for each in facts] == [
            ("s2", "pre-edit", "root"), ("s1", "manual", "root"),
        ]  # fmt: skip
        document = within.done("restore", "s2", "--reason", "after all", "--json", env=ON).document
        assert (document["state"], document["done"], document["snapshot"], document["before"]) == (
            "done",
            4,
            "s2",
            "s3",
        )
        assert entries(within, map_id) == changed
        reasons = {each["reason"] for each in within.done("audit", "--json").document if each["plan"]}
        assert {"ticket 4411", "after all"} <= reasons
        assert "the map holds what the snapshot does" in within("restore", "s2", "--reason", "w", env=ON).complaint


def test_a_part_of_it(within: Within) -> None:
    with made() as (fd, map_id):
        within.snapshot(map_id)
        change(fd)
        within.done(
            "restore", f"{map_id}@0s", "--only", "key.saddr == 10.0.0.1", "--reason", "w", "--no-snapshot", env=ON
        )
        left = within.done("diff", "s1", map_id, "--json").document
        assert (len(left["added"]), len(left["removed"]), len(left["changed"])) == (1, 1, 1)
        assert left["changed"][0]["key"]["saddr"] >> 24 == 2
        assert len(within.done("snapshots", "--json").document) == 1


def test_fields_that_comparisons_ignore_stay_unless_all_is_wanted(within: Within) -> None:
    with made() as (fd, map_id):
        within.snapshot(map_id)
        within.done("history", "ignore", map_id, "value.packets")
        syscall.map_update(fd, KEYS[0], flow(99, b"curl"))
        syscall.map_update(fd, KEYS[1], flow(98, b"nginx"))
        done = within.done("restore", "s1", "--reason", "w", env=ON)
        assert "1 changed, 5 unchanged, of them 1 only where it does not matter" in done.text
        assert "value.packets" not in done.text
        now = {each["key"]["saddr"] >> 24: each["value"] for each in within.done("dump", map_id, "--json").document}
        assert [(now[n]["packets"], now[n]["comm"]) for n in (1, 2)] == [(99, "nginx"), (98, "nginx")]
        assert "the map holds what the snapshot does" in within("restore", "s1", "--reason", "w", env=ON).complaint
        within.done("restore", "s1", "--no-ignore", "--reason", "w", env=ON)
        assert entries(within, map_id) == entries(within, "s1")


def test_a_dry_run_shows_and_writes_nothing(within: Within) -> None:
    with made() as (fd, map_id):
        within.snapshot(map_id)
        change(fd)
        before = entries(within, map_id)
        done = within.done("restore", "s1", "--dry-run")
        assert "    value.packets  99 → 0" in done.text
        assert "nothing was written" in done.complaint
        document = within.done("restore", "s1", "--dry-run", "--json", "--only", "value.packets > 15").document
        assert (len(document["added"]), len(document["removed"]), len(document["changed"])) == (1, 0, 0)
        assert entries(within, map_id) == before
        assert len(within.done("snapshots", "--json").document) == 1
        assert within.done("plan", "list", "--json").document == []


def test_what_stands_in_the_way_is_said_before_anything_is_written(within: Within) -> None:
    with made() as (fd, map_id):
        within.snapshot(map_id)
        change(fd)
        before = entries(within, map_id)
        assert "--reason" in within.refused(2, "restore", "s1")
        assert "--allow-edits" in within.refused(3, "restore", "s1", "--reason", "w")
        assert "there is no snapshot s9" in within.refused(1, "restore", "s9", "--reason", "w", env=ON)
        assert "no field value.nope" in within.refused(
            2, "restore", "s1", "--only", "value.nope > 1", "--reason", "w", env=ON
        )
        assert "found the end" in within.refused(2, "restore", "s1", "--only", "value.x >", "--reason", "w", env=ON)
        assert "no map #" in within.refused(1, "restore", "s1", "--map", 4_000_000_000, "--reason", "w", env=ON)
        assert entries(within, map_id) == before
    with bare_map(type=BpfMapType.SOCKMAP, value_size=8) as slots:
        ref = within.snapshot(slots)
        assert "stands for a socket" in within.refused(2, "restore", ref, "--reason", "w", env=ON)


def test_into_the_successor_of_a_map_or_the_one_that_is_named(within: Within) -> None:
    with made() as (_fd, map_id):
        within.snapshot(map_id)
        was = entries(within, map_id)
    assert "no live map is it now" in within.refused(1, "restore", "s1", "--reason", "w", env=ON)
    with made() as (fd, first):
        change(fd)
        within.done("restore", "s1", "--reason", "w", env=ON)
        assert entries(within, first) == was
        with made() as (other_fd, second):
            change(other_fd)
            line = within.refused(1, "restore", "s1", "--reason", "w", "--dry-run", data=_without_boot(within))
            assert f"2 live maps may be the one, {first}, {second}; say by --map" in line
            within.done("restore", "s1", "--map", second, "--reason", "w", env=ON)
            assert entries(within, second) == was


def _without_boot(within: Within) -> Path:
    """A copy of the history whose maps were last seen before the host's last start."""
    from dataclasses import replace

    elsewhere = within.data.parent / "restarted"
    file = elsewhere.with_suffix(".db")
    within.done("history", "backup", file)
    within.done("history", "restore", file, data=elsewhere)
    writer = place.writer(Settings(data=elsewhere), "here")
    try:
        writer.touch(*(replace(each, boot_id="before") for each in writer.series()))
    finally:
        writer.close()
    return elsewhere


def plan_of(within: Within, map_id: int, *options: str) -> list[object]:
    rows = within.data.parent / "rows.json"
    rows.write_text('{"key": "10.0.0.1, 80, 0", "set": {"value.packets": 500}}\n')
    return ["plan", "make", map_id, rows, "--reason", "w", *options]


def test_a_plan_is_applied_after_a_snapshot(within: Within) -> None:
    with made() as (_fd, map_id):
        before = entries(within, map_id)
        done = within.done(*plan_of(within, map_id, "--apply", "--json"), env=ON)
        assert done.document["state"] == "done"
        assert done.complaint == f"bpf-atlas: s1 is what {NAME} held before\n"
        assert entries(within, "s1") == before
        syscall.map_update(_fd, KEYS[0], flow(0, b"nginx"))
        number = within.done(*plan_of(within, map_id, "--json"), env=ON).document["id"]
        assert len(within.done("snapshots", "--json").document) == 1  # nothing was applied yet
        assert "s2 is what" in within.done("plan", "apply", number, env=ON).complaint
        assert within("plan", "apply", number, env=ON).status == 1  # it is done
        assert len(within.done("snapshots", "--json").document) == 2
        syscall.map_update(_fd, KEYS[0], flow(0, b"nginx"))
        within.done(*plan_of(within, map_id, "--apply", "--no-snapshot"), env=ON)
        assert len(within.done("snapshots", "--json").document) == 2


def test_where_no_snapshot_can_be_taken_nothing_is_applied(within: Within, monkeypatch: pytest.MonkeyPatch) -> None:
    with made() as (_fd, map_id):
        within.snapshot(map_id)
        before = entries(within, map_id)
        number = within.done(*plan_of(within, map_id, "--json"), env=ON).document["id"]
        writer = place.writer(Settings(data=within.data), "here")
        try:
            line = within.refused(3, "plan", "apply", number, env=ON)
            assert "nothing was applied (another recorder writes" in line
            assert "--no-snapshot" in line
            assert "--no-snapshot" in within.refused(3, *plan_of(within, map_id, "--apply"), env=ON)
            restored = within("restore", "s1", "--reason", "w", env=ON)
        finally:
            writer.close()
        assert "holds what the snapshot does" in restored.complaint  # nothing was to be done: nobody was asked
        monkeypatch.setattr(reaching, "is_recorded", lambda _settings: True)
        monkeypatch.setattr(reaching, "PATIENCE_S", 0.1)
        assert "(the recorder does not answer" in within.refused(3, "plan", "apply", number, env=ON)
        assert entries(within, map_id) == before
        within.done("plan", "apply", number, "--no-snapshot", env=ON)
        assert entries(within, map_id) != before


def test_a_full_disk_is_one_of_the_reasons(within: Within, monkeypatch: pytest.MonkeyPatch) -> None:
    from app.history.errors import DatabaseUnusable
    from app.history.writer import Writer

    def full(*_arguments: object) -> None:
        raise DatabaseUnusable("history.db", "database or disk is full")

    with made() as (_fd, map_id):
        monkeypatch.setattr(Writer, "keep", full)
        line = within.refused(3, *plan_of(within, map_id, "--apply"), env=ON)
        assert "database or disk is full" in line
        assert "--no-snapshot" in line
        refused = within.refused(1, "snapshot", map_id)
        assert "database or disk is full" in refused


def test_a_type_that_cannot_be_kept_is_gone_on_with(within: Within, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    spec = {"type": BpfMapType.RINGBUF, "key_size": 0, "value_size": 0, "max_entries": 4096}
    with bare_map(**spec) as ring, Past(Settings(data=within.data, allow_edits=True)) as past:
        assert before_edit(past, ring) == ""
        said = capfdbinary.readouterr().err.decode()
        assert "no snapshot can be taken of this ring buffer" in said
        assert "the plan is applied without one" in said
    with Past(Settings(data=within.data, allow_edits=True)) as past:
        assert before_edit(past, ring) == ""  # the map is gone: the plan itself will say so
    assert capfdbinary.readouterr().err == b""


def test_values_of_each_cpu_come_back(within: Within) -> None:
    from app.uapi.cpus import possible_cpus

    n_cpus = possible_cpus()
    with bare_map(type=BpfMapType.PERCPU_HASH) as map_id:
        fd = objects.map_get_fd_by_id(map_id)
        try:
            for n in range(3):
                syscall.map_update(fd, u32(n), b"".join(u64(n * 100 + cpu) for cpu in range(n_cpus)))
            within.snapshot(map_id)
            syscall.map_update(fd, u32(1), u64(5) * n_cpus)
            syscall.map_delete(fd, u32(2))
            within.done("restore", "s1", "--reason", "w", env=ON)
        finally:
            os.close(fd)
        assert entries(within, map_id) == entries(within, "s1")


def pinned(path: Path, value: int) -> tuple[int, int]:
    """(descriptor, id) of a new map, pinned in the place of whichever was pinned there."""
    spec = MapSpec(type=BpfMapType.HASH, key_size=4, value_size=8, max_entries=4, name=b"cli_moves")
    fd = syscall.map_create(spec)
    syscall.map_update(fd, u32(0), u64(value))
    path.unlink(missing_ok=True)
    objects.obj_pin(str(path), fd)
    return fd, objects.map_info(fd).id


def test_into_the_map_that_the_pin_names_now_though_the_one_before_lives(
    within: Within, bpffs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BPF_ATLAS_BPFFS", str(bpffs))
    pin = bpffs / "cli_moves"
    old_fd, old = pinned(pin, 1)
    try:
        first = within.snapshot(old)
        new_fd, new = pinned(pin, 2)
        try:
            assert within.done("restore", first, "--dry-run", "--json").document["a"]["map_id"] == new
            second = within.snapshot(new)
            assert within.done("restore", first, "--dry-run", "--json").document["a"]["map_id"] == new
            listed = within.done("snapshots", pin, "--json").document
            assert [each["ref"] for each in listed] == [second, first]
        finally:
            os.close(new_fd)
        pin.unlink()
        # The one that the snapshot is of lives still.
        assert within.done("restore", first, "--dry-run", "--json").document["a"]["map_id"] == old
    finally:
        pin.unlink(missing_ok=True)
        os.close(old_fd)


def test_a_map_whose_pin_moved_is_found_with_what_is_newest_of_it(
    within: Within, bpffs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BPF_ATLAS_BPFFS", str(bpffs))
    before, after = bpffs / "cli_before", bpffs / "cli_z_after"
    fd, map_id = pinned(before, 1)
    try:
        first = within.snapshot(map_id)
        before.rename(after)
        syscall.map_update(fd, u32(0), u64(2))
        newest = within.snapshot(map_id)
        assert [each["ref"] for each in within.done("snapshots", map_id, "--json").document] == [newest]
        assert newest in within.done("dump", f"{map_id}@0s", "--json").complaint
        assert within.done("restore", first, "--dry-run", "--json").document["a"]["map_id"] == map_id
    finally:
        os.close(fd)
        for path in (before, after):
            path.unlink(missing_ok=True)
