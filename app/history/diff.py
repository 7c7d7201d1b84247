"""What differs between two roots: lists of chunks are compared first, and only what is not the same chunk is opened.

Where both sides have the same keys and their values are deltas of each other, or of one chunk, the deltas themselves say
which rows differ.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from sqlalchemy import Connection

from app.history import chunks, content, roots
from app.history.chunks import Decoder, Stored
from app.history.codec import Bytes2d, Rows
from app.history.content import Entries
from app.history.errors import Unlike
from app.history.roots import Pieces

THREADS = 2
THREADED_PAIRS = 8
BATCH_PAIRS = 64


@dataclass(frozen=True, slots=True)
class Changed:
    """Entries that both sides have, with other values."""

    keys: Bytes2d
    old: Bytes2d
    new: Bytes2d

    def __len__(self) -> int:
        return len(self.keys)


@dataclass(frozen=True, slots=True)
class Difference:
    """From one side to the other, each part in the order of the keys."""

    added: Entries
    removed: Entries
    changed: Changed
    unchanged: int
    """Entries that are the same."""
    opened: int
    """Chunks that had to be opened."""


def compare(connection: Connection, decoder: Decoder, old_root: int, new_root: int) -> Difference:
    """What changed from one root to another.

    raises  Unlike where keys or values have other sizes; Damaged
    """
    old, new = (roots.load(connection, each) for each in (old_root, new_root))
    check_alike(old, new)
    left, right = _unlike(old, new)
    unchanged = old.entries - int(old.rows[left].sum() if left else 0)
    # Of what is left: pieces of the same keys are compared row by row, all others are joined by key.
    aligned = _of_same_keys(old, new, left, right)
    left_over = sorted(set(left) - {one for one, _ in aligned})
    right_over = sorted(set(right) - {other for _, other in aligned})
    parts: list[Changed] = []
    for part, rows in _aligned(connection, decoder, old, new, aligned):
        parts.append(part)
        unchanged += rows - len(part)
    before = content.read_pieces(connection, decoder, old, left_over)
    after = content.read_pieces(connection, decoder, new, right_over)
    joined = compare_entries(before, after)
    parts.append(joined.changed)
    return Difference(
        joined.added,
        joined.removed,
        _together(parts, old.key_width, old.value_width),
        unchanged + joined.unchanged,
        len({each for side, some in ((old, left), (new, right)) for at in some for each in _pairs(side)[at] if each}),
    )


def compare_entries(old: Entries, new: Entries) -> Difference:
    """The same of entries that are in memory, each side in the order of its keys."""
    source = chunks.sources(new.keys, old.keys)
    there = source >= 0
    gone = np.ones(len(old), bool)
    gone[source[there]] = False
    rows = np.flatnonzero(there)
    differs = (new.values[rows] != old.values[source[rows]]).any(axis=1)
    at = rows[differs]
    return Difference(
        Entries(new.keys[~there], new.values[~there]),
        Entries(old.keys[gone], old.values[gone]),
        Changed(new.keys[at], old.values[source[at]], new.values[at]),
        int(len(rows) - len(at)),
        0,
    )


def check_alike(old: Pieces, new: Pieces) -> None:
    """Raises  Unlike"""
    if old.key_width != new.key_width:
        raise Unlike(f"keys of {old.key_width} bytes on one side, of {new.key_width} on the other")
    if old.value_width != new.value_width:
        raise Unlike(f"values of {old.value_width} bytes on one side, of {new.value_width} on the other")


def _pairs(pieces: Pieces) -> list[tuple[int, int]]:
    return list(zip(pieces.key_ids.tolist(), pieces.value_ids.tolist(), strict=True))


def _unlike(old: Pieces, new: Pieces) -> tuple[list[int], list[int]]:
    """Pieces of either side that the other does not have; where entries have no keys, not in the same place."""
    ours, theirs = _pairs(old), _pairs(new)
    if old.key_width:
        both = set(ours) & set(theirs)
        return [at for at, pair in enumerate(ours) if pair not in both], [
            at for at, pair in enumerate(theirs) if pair not in both
        ]
    same = {at for at, (one, other) in enumerate(zip(ours, theirs, strict=False)) if one == other}
    return [at for at in range(len(ours)) if at not in same], [at for at in range(len(theirs)) if at not in same]


def _of_same_keys(old: Pieces, new: Pieces, left: list[int], right: list[int]) -> list[tuple[int, int]]:
    if not old.key_width:
        # Only the last piece of a side may be shorter than the others: what comes before lies in the same places.
        there = set(right)
        return [(at, at) for at in left if at in there and old.rows[at] == new.rows[at]]
    by_keys = {int(new.key_ids[at]): at for at in right}
    return [(at, by_keys[int(old.key_ids[at])]) for at in left if int(old.key_ids[at]) in by_keys]


def _aligned(
    connection: Connection, decoder: Decoder, old: Pieces, new: Pieces, pairs: list[tuple[int, int]]
) -> Iterator[tuple[Changed, int]]:
    """(what differs, rows) of pieces with the same keys."""

    def one(pair: tuple[int, int], found: dict[int, Stored]) -> tuple[Changed, int]:
        before, after = pair
        rows = int(old.rows[before])
        one, other = (found[int(ids[at])] for ids, at in ((old.value_ids, before), (new.value_ids, after)))
        at, old_values, new_values = values_that_differ(decoder, one, other, found, old.value_width)
        number = int(old.key_ids[before])
        keys = decoder.some(found[number], found, at, old.key_width) if number else np.zeros((len(at), 0), np.uint8)
        return Changed(keys, old_values, new_values), rows

    with ThreadPoolExecutor(THREADS) as pool:
        for start in range(0, len(pairs), BATCH_PAIRS):
            some = pairs[start : start + BATCH_PAIRS]
            ids = {int(ids[at]) for pair in some for ids, at in ((old.value_ids, pair[0]), (new.value_ids, pair[1]))}
            ids |= {int(old.key_ids[before]) for before, _ in some}
            found = chunks.fetch(connection, ids - {0})
            if len(pairs) < THREADED_PAIRS:
                yield from (one(pair, found) for pair in some)
            else:
                yield from pool.map(lambda pair, found=found: one(pair, found), some)


def values_that_differ(
    decoder: Decoder, one: Stored, other: Stored, found: dict[int, Stored], width: int
) -> tuple[Rows, Bytes2d, Bytes2d]:
    """(rows, old, new) of two chunks of values, each of `width` bytes, with the same keys."""
    told = _by_deltas(decoder, one, other, found) if one.width == other.width == width else None
    if told is not None:
        rows, xor = told
        old = decoder.some(one, found, rows, width)
        return rows, old, old ^ xor
    before, after = decoder.rows(one, found, width), decoder.rows(other, found, width)
    rows = np.flatnonzero((before != after).any(axis=1))
    return rows, before[rows], after[rows]


def _by_deltas(decoder: Decoder, one: Stored, other: Stored, found: dict[int, Stored]) -> tuple[Rows, Bytes2d] | None:
    """(rows, their XOR) by the deltas that lead from one to the other; None where none do."""
    above = chunks.chain_of(one, found)
    numbers = [each.id for each in above]
    beside = chunks.chain_of(other, found)
    meeting = next((at for at, each in enumerate(beside) if each.id in numbers), None)
    if meeting is None:
        return None
    links = [*above[: numbers.index(beside[meeting].id)], *beside[:meeting]]
    changes = [decoder.change(each) for each in links]
    if any(each.source is not None or each.units != 1 or each.rows != one.rows for each in changes):
        return None
    rows = np.unique(np.concatenate([each.changed for each in changes])) if changes else np.zeros(0, np.int64)
    xor = np.zeros((len(rows), one.width), np.uint8)
    for each in changes:
        xor[np.searchsorted(rows, each.changed)] ^= each.xor
    differs = xor.any(axis=1)
    return rows[differs], xor[differs]


def _together(parts: list[Changed], key_width: int, value_width: int) -> Changed:
    keys = np.concatenate([np.zeros((0, key_width), np.uint8), *(part.keys for part in parts)])
    old = np.concatenate([np.zeros((0, value_width), np.uint8), *(part.old for part in parts)])
    new = np.concatenate([np.zeros((0, value_width), np.uint8), *(part.new for part in parts)])
    if len(parts) < 2 or not key_width:  # noqa: PLR2004  (one part is in order by itself)
        return Changed(keys, old, new)
    order = np.argsort(chunks.sortable(keys), kind="stable")
    return Changed(keys[order], old[order], new[order])
