"""One field reads the same on every command, and what differs never reads as if it did not."""

from __future__ import annotations

import re

import pytest

from app.uapi import syscall
from tests.cli.made import typed_map
from tests.cli.within import ON, Within, within
from tests.livemaps import u32

__all__ = ["within"]
pytestmark = pytest.mark.kernel

SOURCE = """
typedef unsigned int __u32; typedef unsigned long long __u64;
struct seen { __u64 last_seen_ns; __u32 ifindex; };
int use(__u32 *key, struct seen *value) { return 0; }
"""
DATE = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}"


def seen(ns: int, ifindex: int = 1) -> bytes:
    return ns.to_bytes(8, "little") + u32(ifindex) + bytes(4)


def test_a_moment_reads_as_a_date_wherever_it_is_told(within: Within) -> None:
    spec = {"key_size": 4, "value_size": 16, "name": b"cli_reads"}
    with typed_map(SOURCE, "__u32", "seen", [(u32(1), seen(25 * 10**9))], **spec) as (fd, map_id):
        first = within.snapshot(map_id)
        syscall.map_update(fd, u32(1), seen(35 * 10**9, 2))
        within.snapshot(map_id)
        assert re.search(DATE, within.done("dump", map_id).text)
        found = within.done("history", "find", map_id, 1).text
        assert len(re.findall(rf"last_seen_ns={DATE}  ifindex=[12] \S", found)) == 2, found
        path = ("history", "find", map_id, 1, "--where-changed", "value.last_seen_ns")
        assert len(re.findall(rf"^s\d .*  {DATE}$", within.done(*path).text, re.MULTILINE)) == 2
        change = re.compile(rf"last_seen_ns\W+{DATE} → {DATE}")
        assert change.search(within.done("diff", first, map_id).text)
        assert change.search(within.done("restore", first, "--dry-run").text)
        edit = ("edit", map_id, "--key", 1, "--set", "value.last_seen_ns=45000000000", "--reason", "r")
        assert change.search(within.done(*edit, env=ON).text)
        audited = within.done("audit", "--json").document
        assert [re.fullmatch(DATE, audited[-1]["fields"][0][name]) is None for name in ("old_text", "new_text")] == [
            False
        ] * 2


def test_moments_of_one_millisecond_are_told_apart(within: Within) -> None:
    spec = {"key_size": 4, "value_size": 16, "name": b"cli_reads"}
    with typed_map(SOURCE, "__u32", "seen", [(u32(1), seen(25 * 10**9))], **spec) as (fd, map_id):
        first = within.snapshot(map_id)
        syscall.map_update(fd, u32(1), seen(25 * 10**9 + 1))
        second = within.snapshot(map_id)
        assert "value.last_seen_ns  25000000000 → 25000000001" in within.done("diff", first, second).text
        told = within.done("history", "find", map_id, 1, "--where-changed", "value.last_seen_ns").text
        assert [line.split()[-1] for line in told.splitlines()[-2:]] == ["25000000000", "25000000001"]
        edit = ("edit", map_id, "--key", 1, "--set", "value.last_seen_ns=25000000002", "--reason", "r", "--dry-run")
        assert "25000000001 → 25000000002" in within.done(*edit, env=ON).text
