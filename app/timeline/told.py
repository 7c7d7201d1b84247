"""Snapshots and differences as the command line and the API print them: one JSON document each, in the forms of `dump`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.columns.json_text import template
from app.columns.plan import Plan
from app.columns.rows import ndjson_chunks
from app.columns.table import Table
from app.history.errors import Damaged, NoSuchSnapshot
from app.history.history import History, moment
from app.history.series import SeriesFacts
from app.history.snapshots import Kept
from app.maps.kinds import Counter
from app.maps.recorded import type_name
from app.timeline.differ import Diff, FieldDiff, field_texts
from app.timeline.naming import title
from app.timeline.sides import Side

BLOCK_ROWS = 4096
FEW_SERIES = 256
"""Of so many each is asked for by itself."""


def snapshot_facts(kept: Kept, series: SeriesFacts, entries: int) -> dict[str, Any]:
    """One snapshot as a JSON object."""
    return {
        "ref": kept.ref,
        "map_id": kept.map_id,
        "name": series.of.name,
        "entries": entries,
        "exact": kept.completeness == "exact",
        "bytes_added": kept.bytes_added,
        "completeness": kept.completeness,
        "taken_at": moment(kept.taken_ns),
        "taken_at_ns": kept.taken_ns,
        "took_ns": kept.took_ns,
        "trigger": kept.trigger,
        "author": kept.author,
        "label": kept.label,
        "notes": kept.notes.splitlines(),
        "series": series_facts(series),
        "boot_id": kept.boot_id,
    }


def series_facts(series: SeriesFacts) -> dict[str, Any]:
    """A map as the history knows it."""
    of = series.of
    return {
        "id": series.id,
        "title": title(of),
        "host": of.host,
        "pin": of.pin,
        "name": of.name,
        "type": type_name(of.type),
        "owner": of.owner,
        "ordinal": of.ordinal,
    }


def snapshots_told(history: History, kept: list[Kept]) -> list[dict[str, Any]]:
    """Several, with what their series are called; without those that were thinned since they were listed."""
    series = _series_of(history, {each.series_id for each in kept})
    counts = history.counts([each.root_id for each in kept])
    return [
        snapshot_facts(each, series[each.series_id], counts[each.root_id])
        for each in kept
        if each.series_id in series and each.root_id in counts
    ]


def _series_of(history: History, ids: set[int]) -> dict[int, SeriesFacts]:
    """Those that are sound, by id: there may be tens of thousands of others, which few lists need."""
    if len(ids) > FEW_SERIES:
        return {each.id: each for each in history.series()}
    found: dict[int, SeriesFacts] = {}
    for each in ids:
        with suppress(Damaged, NoSuchSnapshot):
            found[each] = history.one_series(each)
    return found


def side_facts(side: Side) -> dict[str, Any]:
    """One side of a comparison."""
    return {
        "ref": side.ref,
        "live": side.kept is None,
        "name": side.name,
        "map_id": side.map_id,
        "taken_at": moment(side.taken_ns),
        "taken_at_ns": side.taken_ns,
        "completeness": side.completeness,
    }


def counts(made: Diff) -> dict[str, int]:
    """How many entries."""
    return {
        "added": len(made.added),
        "removed": len(made.removed),
        "changed": len(made.old),
        "unchanged": made.unchanged,
        "ignored": made.ignored,
        "fields": made.fields_changed,
    }


def field_facts(made: Diff) -> list[dict[str, Any]]:
    """Each field that differs anywhere: in how many entries, and by how much altogether where it is a number."""
    told = []
    for field in made.fields:
        facts: dict[str, Any] = {"path": field.path, "changed": len(field.rows)}
        if field.numeric:
            total = sum_of(made.deltas(field))
            facts["delta"] = total
            facts["per_second"] = _finite(total / made.seconds) if total is not None and made.seconds > 0 else None
        told.append(facts)
    return told


def sum_of(deltas: NDArray[np.float64] | NDArray[np.int64]) -> float | int | None:
    """Differences added up, without a limit of 64 bits; None where some are no numbers, or endless."""
    if deltas.dtype.kind == "f":
        with np.errstate(over="ignore", invalid="ignore"):
            return _finite(float(deltas.sum()))
    # Each half of so many bits has room for the sum of as many entries as there can be.
    whole = deltas.astype(np.int64, copy=False)
    return (int((whole >> 32).sum()) << 32) + int((whole & 0xFFFF_FFFF).sum())


def _finite(number: float) -> float | None:
    """JSON has nothing else."""
    return number if isfinite(number) else None


def heading(made: Diff) -> dict[str, Any]:
    """All but the entries."""
    return {
        "a": side_facts(made.a),
        "b": side_facts(made.b),
        "exact": made.exact,
        "complete": made.a.is_complete and made.b.is_complete,
        "seconds": made.seconds,
        "schema_changes": list(made.schema_changes),
        "fields": field_facts(made),
        "counts": counts(made),
        "notes": notes(made),
    }


def notes(made: Diff) -> list[str]:
    """What cannot be said with certainty."""
    told = []
    if not made.b.is_complete:
        told.append(
            f"{made.b.ref} does not hold all entries: those that it lacks are not seen there, which is not to say removed"
        )
    if not made.a.is_complete:
        told.append(f"{made.a.ref} does not hold all entries: those that it lacks need not have been added since")
    if not made.exact and made.a.is_complete and made.b.is_complete and made.a.ref != made.b.ref:
        told.append(
            "at least one side was read while programs ran: values may be of slightly different moments"
            if made.a.recalled.kind.counter is Counter.FIXED
            else "at least one side was walked while programs ran: an entry that came or went meanwhile may be missing"
        )
    if made.a.recalled.kind.holds_ids and made.a.boot_id != made.b.boot_id:
        told.append(
            f"the host was started between the sides, or they are of two hosts: a number that stands for"
            f" {made.a.recalled.kind.meaning.value} may mean another one on either"
        )
    return told


def summary_json(made: Diff) -> bytes:
    """All but the entries, as a line. Sums may have more than the 64 bits of quicker writers."""
    return json.dumps(heading(made), separators=(",", ":"), allow_nan=False).encode() + b"\n"


def diff_json(made: Diff, said: dict[str, Any] | None = None) -> Iterator[bytes]:
    """The whole of it, in pieces; with another heading where `made` is only a part of what was compared."""
    # As `dump` has it: whatever could steer a terminal, or turn the writing direction, stands as an escape.
    head = json.dumps(heading(made) if said is None else said, separators=(",", ":"), allow_nan=False).encode()
    yield head[:-1] + b',"added":['
    yield from _listed(_entries(made.added))
    yield b'],"removed":['
    yield from _listed(_entries(made.removed))
    yield b'],"changed":['
    yield from _listed(changed_texts(made))
    yield b"]}\n"


def changed_texts(made: Diff) -> Iterator[bytes]:
    """``{"key": …, "fields": [{"path": …, "old": …, "new": …}]}`` for each entry that changed."""
    for start in range(0, len(made.old), BLOCK_ROWS):
        rows = np.arange(start, min(start + BLOCK_ROWS, len(made.old)))
        keys = key_texts(made.old.take(rows))
        parts: list[list[bytes]] = [[] for _ in rows]
        for field, here in fields_in(made, start, start + BLOCK_ROWS):
            path = json.dumps(field.path).encode()
            old, new = field_texts(field, made, here)
            for at, one, other in zip((here - start).tolist(), old, new, strict=True):
                parts[at].append(b'{"path":%b,"old":%b,"new":%b}' % (path, one, other))
        for key, fields in zip(keys, parts, strict=True):
            yield b'{"key":%b,"fields":[%b]}' % (key, b",".join(fields))


def fields_in(made: Diff, first: int, end: int) -> Iterator[tuple[FieldDiff, np.ndarray[Any, np.dtype[np.int64]]]]:
    """(field, rows) of the changed entries from `first` up to `end`."""
    for field in made.fields:
        low, high = np.searchsorted(field.rows, [first, end])
        if high > low:
            yield field, field.rows[low:high]


def key_texts(table: Table) -> list[bytes]:
    """Keys as JSON; null where there are none."""
    plan: Plan | None = table.layout.key
    if plan is None:
        return [b"null"] * len(table)
    return template(plan.root).render(np.ascontiguousarray(table.keys))


def _entries(table: Table) -> Iterator[bytes]:
    for chunk in ndjson_chunks(table):
        yield from (line for line in chunk.split(b"\n") if line)


def _listed(texts: Iterator[bytes]) -> Iterator[bytes]:
    between = b"\n"
    for text in texts:
        yield between + text
        between = b",\n"
