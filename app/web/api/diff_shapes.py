"""Shape of a comparison, as the API and `diff --json` give it."""

from __future__ import annotations

import msgspec

from app.web.api.shapes import Shape


class DiffSide(Shape, frozen=True, kw_only=True):
    """One side."""

    ref: str
    """`s12`, or the id of a live map."""
    live: bool
    name: str
    map_id: int
    taken_at: str
    taken_at_ns: int
    completeness: str


class DiffField(Shape, frozen=True, kw_only=True):
    """One field over all entries."""

    path: str
    changed: int
    """Entries in which it differs."""
    delta: int | float | None = None
    """New less old, added up; only of numbers."""
    per_second: float | None = None


class DiffCounts(Shape, frozen=True, kw_only=True):
    """How many entries."""

    added: int
    removed: int
    changed: int
    unchanged: int
    ignored: int
    """Of the unchanged: those that differ in what the map's rules leave out."""
    fields: int
    """Cells that differ."""


class DiffChange(Shape, frozen=True, kw_only=True):
    """One field of one entry."""

    path: str
    old: msgspec.Raw
    new: msgspec.Raw


class DiffEntry(Shape, frozen=True, kw_only=True):
    """An entry that both sides have."""

    key: msgspec.Raw
    fields: list[DiffChange]


class Difference(Shape, frozen=True, kw_only=True):
    """What leads from side `a` to side `b`."""

    a: DiffSide
    b: DiffSide
    exact: bool
    """Both sides are one moment."""
    complete: bool
    """Both sides hold all entries; else what is removed is only not seen."""
    seconds: float
    schema_changes: list[str]
    fields: list[DiffField]
    counts: DiffCounts
    notes: list[str]
    added: list[msgspec.Raw] | msgspec.UnsetType = msgspec.UNSET
    """Each as `dump --json` prints it. A summary has none of these three lists."""
    removed: list[msgspec.Raw] | msgspec.UnsetType = msgspec.UNSET
    changed: list[DiffEntry] | msgspec.UnsetType = msgspec.UNSET
