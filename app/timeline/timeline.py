"""Snapshots as the tables that live maps are, with what the policy hides from whoever looks left out. Safe between threads."""

from __future__ import annotations

import re
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from app.columns.table import Layout, Table
from app.history.content import Entries
from app.history.errors import Damaged
from app.history.history import History
from app.history.snapshots import Kept
from app.maps.errors import BadMoment
from app.maps.hiding import Mask, cleared, hide
from app.maps.layouts import Schema
from app.maps.recorded import moment_ns
from app.maps.tabulate import Sheet, lay_out
from app.maps.walk import Completeness, Reading
from app.timeline.errors import BadWhen
from app.timeline.kept_layout import Recalled, recall

KEPT_LAYOUTS = 64
MILLISECOND_NS = 1_000_000
_UNITS = "smhdw"
_FINER = re.compile(r"[.,][0-9]{4}")
LAST_NS = (1 << 63) - 1
"""What a database can compare with; in the year 2262."""


@dataclass(frozen=True, slots=True)
class Moment:
    """One snapshot, and what its bytes mean to whoever looks."""

    kept: Kept
    recalled: Recalled
    schema: Schema
    """With what is hidden marked."""
    mask: Mask
    """Which bytes of a value are hidden."""

    def sheet(self, entries: Entries) -> Sheet:
        """Lay out some of its entries."""
        return lay_out(self.schema, self.recalled.kind, self.recalled.facts, self.mask, reading_of(self.kept, entries))


@dataclass(slots=True)
class Timeline:
    """A history, and the schemas that were recalled lately."""

    history: History
    _recalled: OrderedDict[int, Recalled] = field(default_factory=OrderedDict)
    _lock: Lock = field(default_factory=Lock)

    def moment(self, kept: Kept, hidden: tuple[str, ...] = ()) -> Moment:
        """A snapshot to look at. hidden: patterns of paths that whoever looks may not see.

        raises  NoSuchSnapshot where it is gone by now, Damaged
        """
        try:
            recalled = self.recalled(kept.layout_id)
        except Damaged:
            self.history.check_there(kept)
            raise
        schema, mask = hide_in(recalled.schema, hidden)
        return Moment(kept, recalled, schema, mask)

    def sheet(self, kept: Kept, hidden: tuple[str, ...] = (), *, limit: int | None = None) -> Sheet:
        """Its entries, as a live map's would be. raises Damaged"""
        return self.moment(kept, hidden).sheet(self.history.entries(kept, limit=limit))

    def recalled(self, layout_id: int) -> Recalled:
        """What bytes mean. raises Damaged"""
        with self._lock:
            found = self._recalled.get(layout_id)
            if found is not None:
                self._recalled.move_to_end(layout_id)
                return found
        found = recall(self.history, layout_id)
        with self._lock:
            self._recalled[layout_id] = found
            while len(self._recalled) > KEPT_LAYOUTS:
                self._recalled.popitem(last=False)
        return found

    def close(self) -> None:
        """Let the database go."""
        self.history.close()


def hide_in(schema: Schema, hidden: tuple[str, ...]) -> tuple[Schema, Mask]:
    """A schema in which some fields show nothing, and the bytes that they are."""
    layout, of_people = hide(schema.layout, hidden)
    json_layout, of_dump = hide(schema.json_layout, hidden)
    return replace(schema, layout=layout, json_layout=json_layout), of_people | of_dump


def reading_of(kept: Kept, entries: Entries) -> Reading:
    """Entries as if they had just been read."""
    return Reading(
        keys=entries.keys,
        values=entries.values,
        completeness=Completeness(kept.completeness),
        started_at_ns=kept.taken_ns - kept.took_ns,
        ended_at_ns=kept.taken_ns,
        notes=tuple(kept.notes.splitlines()),
    )


def without_hidden(values: NDArray[np.uint8], mask: Mask) -> NDArray[np.uint8]:
    """Raw values uint8[n, width], each CPU's padded to 8 bytes, with what a mask of one value hides zeroed."""
    if not mask.any():
        return values
    keys = np.zeros((len(values), 0), np.uint8)
    reading = Reading(keys=keys, values=values, completeness=Completeness.EXACT, started_at_ns=0, ended_at_ns=0)
    return cleared(reading, mask).values


def rows_of(layout: Layout, recalled: Recalled, entries: Entries) -> Table:
    """Raw entries under a layout of theirs: per-CPU values apart, the kernel's padding cut off."""
    values, size = entries.values, recalled.facts.value_size
    if recalled.kind.per_cpu and layout.n_cpus:
        values = values.reshape(len(entries), layout.n_cpus, values.shape[1] // layout.n_cpus)[:, :, :size]
    elif values.shape[1] != size:
        values = values[:, :size]
    return Table(layout, entries.keys, values)


def when_ns(text: str, now_ns: int) -> int:
    """CLOCK_REALTIME of a WHEN. raises BadWhen

    Times are printed in milliseconds, so one without finer digits means all of its millisecond: it names what was printed.
    """
    try:
        at_ns = moment_ns(text, now_ns)
    except BadMoment:
        raise BadWhen(text) from None
    if text.strip()[-1:] not in _UNITS and not _FINER.search(text):
        at_ns += MILLISECOND_NS - 1
    return min(at_ns, LAST_NS)
