"""Entries of before the host was started, or of another host, at a terminal: they are not read with what this boot knows."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from app.uapi import syscall
from tests.cli.made import typed_map
from tests.cli.within import Within, within

__all__ = ["within"]
pytestmark = pytest.mark.kernel

SOURCE = """
typedef unsigned int __u32; typedef unsigned long long __u64;
struct who { __u32 pid; __u32 ifindex; };
struct seen { __u64 last_seen_ns; };
int use(struct who *key, struct seen *value) { return 0; }
"""
KEYS = [os.getpid().to_bytes(4, "little") + n.to_bytes(4, "little") for n in (1, 2)]
DATE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}")


def seen(seconds: int) -> bytes:
    return (seconds * 10**9).to_bytes(8, "little")


def test_a_snapshot_of_this_boot_has_dates_and_names(within: Within) -> None:
    with typed_map(SOURCE, "who", "seen", [(KEYS[0], seen(25))], key_size=8, value_size=8, name=b"cli_boot") as (
        _,
        map_id,
    ):
        text = within.done("dump", within.snapshot(map_id)).text
        assert DATE.search(text), text
        assert "1 lo" in text
        assert f"{os.getpid()} {Path('/proc/self/comm').read_text().strip()}" in text


def test_one_of_another_boot_has_none(within: Within, monkeypatch: pytest.MonkeyPatch) -> None:
    with typed_map(SOURCE, "who", "seen", [(KEYS[0], seen(25))], key_size=8, value_size=8, name=b"cli_boot") as (
        fd,
        map_id,
    ):
        first = within.snapshot(map_id)
        syscall.map_update(fd, KEYS[0], seen(35))
        syscall.map_update(fd, KEYS[1], seen(45))
        second = within.snapshot(map_id)
        # The host was started since.
        monkeypatch.setattr("app.maps.host_names.boot_id", lambda: "the next boot")
        text = within.done("dump", first).text
        assert re.search(rf"^{os.getpid()}\s+1\s+\+25\ss$", text, re.MULTILINE), text
        compared = within.done("diff", first, second).text
        assert f"+ {os.getpid()}, 2  last_seen_ns=+45\N{THIN SPACE}s" in compared
        assert f"~ {os.getpid()}, 1\n    value.last_seen_ns  +25\N{THIN SPACE}s → +35\N{THIN SPACE}s" in compared
