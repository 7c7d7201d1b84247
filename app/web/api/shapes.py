"""Shapes of the API's answers; openapi.json is made from these, and every answer is checked against its shape."""

from __future__ import annotations

import msgspec


class Shape(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Root of all of them."""


class Program(Shape, frozen=True, kw_only=True):
    """A program that uses a map."""

    id: int
    type: str
    name: str


class Holder(Shape, frozen=True, kw_only=True):
    """A descriptor that a process holds."""

    pid: int
    comm: str
    fd: int


class Map(Shape, frozen=True, kw_only=True):
    """One live map."""

    id: int
    type: str
    """As the kernel spells it: `lru_hash`."""
    name: str
    key_size: int
    value_size: int
    max_entries: int
    flags: int
    flag_names: list[str]
    frozen: bool
    memory_bytes: int
    entries: int | None
    """Null where it is not known without reading the map."""
    btf: bool
    btf_id: int
    map_extra: int
    pins: list[str]
    progs: list[Program]
    pids: list[Holder]


class MapList(Shape, frozen=True, kw_only=True):
    """Every map of the host at one moment."""

    maps: list[Map]
    taken_at_ns: int
    """CLOCK_REALTIME."""
    problems: list[str]
    """What the list may lack, and why."""


class Link(Shape, frozen=True, kw_only=True):
    """What a program is attached to."""

    id: int
    type: str
    prog_id: int
    target: str


class ProgPin(Shape, frozen=True, kw_only=True):
    """A pin of a program that uses the map."""

    path: str
    prog_id: int


class Slot(Shape, frozen=True, kw_only=True):
    """A key whose value names another object."""

    key: str
    id: int
    name: str


class NamedMap(Shape, frozen=True, kw_only=True):
    """A map by id and name."""

    id: int
    name: str


class Listing(Shape, frozen=True, kw_only=True):
    """How the entries are found."""

    how: str
    why: str
    """Why they cannot be listed, or what a list cannot tell; may be empty."""
    instead: str


class Types(Shape, frozen=True, kw_only=True):
    """Key and value as C with offsets and sizes."""

    source: str
    notes: list[str]
    key: str
    value: str
    prog_types: list[str]


class MapDetail(Map, frozen=True, kw_only=True):
    """One map in full."""

    links: list[Link]
    prog_pins: list[ProgPin]
    inner_maps: list[Slot]
    outer_maps: list[NamedMap]
    slot_progs: list[Slot]
    listing: Listing
    schema: Types


class Entries(Shape, frozen=True, kw_only=True):
    """One page of entries."""

    map_id: int
    entries: list[msgspec.Raw]
    """Each as `dump --json` prints it."""
    taken_at_ns: int
    """When the reading ended, CLOCK_REALTIME."""
    completeness: str
    """`exact`, `walked`, `capped` or `partial`."""
    matched: int | None
    """Entries that match; null while only the first batch of a large map was read."""
    total: int | None
    """Entries that were read; null as above."""
    next_cursor: str
    """Empty on the last page; the pages of one cursor show one moment."""
    notes: list[str]
