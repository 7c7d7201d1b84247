"""Which entries of a comparison are listed, and in which order: what is said of each stays with it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from app.timeline import listing
from app.timeline.differ import Diff, compare
from app.timeline.listing import either, in_order, order_note
from app.timeline.sides import side
from app.timeline.told import changed_texts
from app.uapi import syscall
from tests.columns.kernel_maps import compile_btf, created, parse
from tests.livemaps import u32, u64
from tests.timeline.conftest import Past

pytestmark = pytest.mark.kernel

SOURCE = """
struct key { int shard; unsigned short rank; char name[2]; };
struct held { unsigned long long hits, misses; };
int use_0(struct key *k, struct held *v) { return 0; }
"""
SHARDS, RANKS = (-97, 0, 256, 2), (6400, 5, 300)


def made(past: Past, folder: Path) -> Diff:
    """Every key's hits differ, and the misses of every other one."""
    data = compile_btf(SOURCE, folder)
    ids = [parse(data).find(name)[0] for name in ("key", "held")]
    keys = [(shard, rank) for shard in SHARDS for rank in RANKS]
    with created(data, *ids, key_size=8, value_size=16, max_entries=64, name=b"ranks") as (fd, map_id):
        refs = []
        for more in (0, 1):
            for number, (shard, rank) in enumerate(keys):
                value = u64(number + 100 * more) + u64(number + more * (number % 2))
                syscall.map_update(fd, shard.to_bytes(4, "little", signed=True) + u32(rank)[:2] + b"a\0", value)
            refs.append(past.take(map_id).ref)
    sides = (side(ref, past.timeline, past) for ref in refs)
    return compare(*sides, past.timeline, bare=False)


def told(diff: Diff) -> list[dict]:
    return [json.loads(text) for text in changed_texts(diff)]


def test_numbers_are_in_order_field_by_field_and_changes_stay_with_their_keys(past: Past, tmp_path: Path) -> None:
    before = made(past, tmp_path)
    after = in_order(before)
    keys = [(each["key"]["shard"], each["key"]["rank"]) for each in told(after)]
    assert keys == [(shard, rank) for shard in sorted(SHARDS) for rank in sorted(RANKS)]
    by_key = {json.dumps(each["key"]): each for each in told(before)}
    assert len(by_key) == 12
    assert all(each == by_key[json.dumps(each["key"])] for each in told(after))
    assert (after.unchanged, len(after.fields)) == (before.unchanged, 2)


def test_too_many_rows_stay_as_they_are_and_that_is_said(
    past: Past, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = made(past, tmp_path)
    assert order_note(before) == ""
    monkeypatch.setattr(listing, "ORDERED_ROWS", 11)
    assert in_order(before) is before
    assert "the keys' bytes" in order_note(before)


def test_a_filter_asks_both_sides(past: Past, tmp_path: Path) -> None:
    before = made(past, tmp_path)
    for where, fitting in (
        ("value.hits == 3", 1),
        ("value.hits == 103", 1),
        ("value.hits < 105", 12),
        ("value.hits == 50", 0),
    ):
        assert len(either(before, where).old) == fitting, where
    assert either(before, " ") is before
