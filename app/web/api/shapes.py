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
    """Of a snapshot: the id that its map had then."""
    snapshot: str = ""
    """Reference of the snapshot that they are of; empty: they are of the live map."""
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


class Series(Shape, frozen=True, kw_only=True):
    """A map as the history knows it, over restarts of programs and hosts."""

    id: int
    title: str
    host: str
    pin: str
    """That identifies it; empty: name, type and owner do."""
    name: str
    type: str
    owner: str
    ordinal: int
    """0, but for further maps of the same name, type and owner."""


class Snapshot(Shape, frozen=True, kw_only=True):
    """The entries of one map at one time, without the entries."""

    ref: str
    map_id: int
    """That its map had then."""
    name: str
    entries: int
    exact: bool
    """It is one moment."""
    bytes_added: int
    """By which the history grew."""
    completeness: str
    """`exact`, `walked`, `capped` or `partial`."""
    taken_at: str
    taken_at_ns: int
    """When the reading ended, CLOCK_REALTIME."""
    took_ns: int
    trigger: str
    """`schedule`, `manual`, `pre-edit` or `import`."""
    author: str
    label: str
    notes: list[str]
    series: Series
    boot_id: str


class SnapshotList(Shape, frozen=True, kw_only=True):
    """Snapshots, newest first."""

    snapshots: list[Snapshot]
    next_before: int | None
    """`before` of the next page; null on the last one."""


class SnapshotJob(Shape, frozen=True, kw_only=True):
    """Snapshots that are still being taken."""

    job: int
    state: str
    """`waiting`, `running` or `done`."""
    done: int
    total: int
    refs: list[str]
    """Those that were taken."""
    problems: list[str]
    """A sentence for each map of which none could be taken."""


class AuditedMap(Shape, frozen=True, kw_only=True):
    """The map that an audit record is about, as it was then: its id may be another one's by now."""

    id: int
    name: str
    type: str
    key_size: int
    value_size: int
    max_entries: int
    flags: int
    btf_id: int
    tag: str
    """Of its boot and identity: equal tags, the same map."""


class AuditedField(Shape, frozen=True, kw_only=True):
    """One field of an edit; `old` and `new` are its bytes in hexadecimal."""

    path: str
    offset_bits: int
    size_bits: int
    cpu: int | None
    old: str | None
    new: str | None
    old_text: str
    new_text: str
    redacted: bool
    """The policy left the values out."""


class AuditRecord(Shape, frozen=True, kw_only=True):
    """One record. An edit has two: its intent (`map.set.intent`) and its outcome, which names the intent."""

    number: int
    chain: str
    """Last digits of its link in the chain."""
    at: str
    at_ns: int
    """CLOCK_REALTIME."""
    code: str
    user: str
    role: str
    how: str
    """`password`, `link`, `proxy`, `oidc`, `token`, `root`."""
    session: str
    source: str
    uid: int
    pid: int
    request_id: str
    approved_by: str
    map: AuditedMap | None
    action: str
    key: str | None
    """In hexadecimal."""
    owner: str
    fields: list[AuditedField]
    old_value: str | None
    new_value: str | None
    detail: str
    reason: str
    intent: int | None
    """Of an outcome: the number of its intent."""
    undo_of: int | None
    plan: int | None
    method: str
    result: str
    duration_ns: int
    redacted: bool
    boot_id: str


class AuditRecords(Shape, frozen=True, kw_only=True):
    """A page of records, newest first."""

    records: list[AuditRecord]
    before: int | None
    """Asks for the next page; null at the end. A page can be empty before that: so many records were looked at."""
    total: int
    """Of the whole log."""


class EditedField(Shape, frozen=True, kw_only=True):
    """One field that changes, or changed."""

    path: str
    cpu: int | str | None
    """Of per-CPU maps: whose, or `all`."""
    old: int | str | None
    """A number, or `hex:…`."""
    new: int | str | None
    old_text: str
    """As people read it."""
    new_text: str
    now_text: str
    """What it holds by now, where that is neither."""
    method: str
    result: str


class EditReport(Shape, frozen=True, kw_only=True):
    """What would come, or came, of an edit."""

    result: str
    """`planned`, `done`, `pending` (202), `replaced`, `overtaken` or `partial`; others are problems."""
    sentence: str
    audit: int
    """Number of its record; 0 of a dry run."""
    dry_run: bool
    map_id: int
    action: str
    key: str
    """In hexadecimal."""
    owner: str
    method: str
    """`kernel_swap`, `kernel_store`, `mmap_store`, `locked_update`, `update`, or what was done."""
    promise: str
    """What that way can and cannot promise."""
    why: str
    """Why none before it was chosen."""
    fields: list[EditedField]
    before: str | None
    """The whole value, in hexadecimal."""
    after: str | None
    warnings: list[str]
    approvals: int
    """How many more people must agree first."""
    plan: int
    """That waits for them."""
    new_map_id: int
    duration_ns: int
