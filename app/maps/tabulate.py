"""An open map → the one table that every surface consumes."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from app.columns.table import Layout, Table
from app.maps import owners, rings
from app.maps.errors import CannotList
from app.maps.hiding import NOTE, Mask, cleared, hide
from app.maps.kinds import Enumerate, Kind, Meaning
from app.maps.layouts import Schema, hides_values
from app.maps.opening import OpenMap
from app.maps.walk import Completeness, Progress, Reading, read_all, read_first
from app.uapi.enums import BpfMapFlag
from app.uapi.errors import KernelError, NotSupported
from app.uapi.kernel import MapReader
from app.wire.bodies import MapFacts

DEFAULT_LIMIT = 4_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """A reading, and the two ways to lay it out."""

    table: Table
    """For people and filters."""
    json_layout: Layout
    reading: Reading
    notes: tuple[str, ...]

    @property
    def json_table(self) -> Table:
        """The same bytes, as `dump` prints them."""
        return Table(self.json_layout, self.table.keys, self.table.values)

    @property
    def nbytes(self) -> int:
        """Memory that keeping it costs."""
        return self.reading.keys.nbytes + self.reading.values.nbytes


def read_sheet(opened: OpenMap, *, limit: int = DEFAULT_LIMIT, progress: Progress | None = None) -> Sheet:
    """Every entry of a map, up to `limit`.

    raises  CannotList where the type does not let anybody enumerate them
    """
    kind, facts = opened.kind, opened.facts
    say = progress or (lambda _entries: None)
    match kind.enumerate:
        case Enumerate.NOTHING:
            raise CannotList(kind.label, kind.why, kind.instead)
        case Enumerate.RING:
            backlog = rings.look(opened.client, facts.id)
            reading, layout = rings.as_reading(backlog)
            layout, mask = hide(layout, opened.hidden)
            reading = cleared(reading, mask)
            return Sheet(
                table=Table(layout, reading.keys, reading.values),
                json_layout=layout,
                reading=reading,
                notes=reading.notes,
            )
        case Enumerate.SOCKETS:
            reading = owners.read_sockets(opened.client, facts.id, facts.value_size)
        case Enumerate.INODES:
            reading = owners.read_inodes(opened.client, facts.id, facts.value_size)
        case Enumerate.TASKS | Enumerate.CGROUPS if opened.brokered:
            raise CannotList(
                kind.label, "its owners are known by descriptors, and this host lets only the broker look them up", ""
            )
        case Enumerate.TASKS:
            reading = owners.read_tasks(opened.reader, limit=limit, progress=say)
        case Enumerate.CGROUPS:
            reading = owners.read_cgroups(opened.reader, limit=limit, progress=say)
        case _:
            reading = _kernel_walk(opened, limit, say)
    return sheet_of(opened, reading)


def first_sheet(opened: OpenMap, *, count: int) -> Sheet | None:
    """About the first `count` entries at a cost that does not depend on the map's size; None where that cannot be."""
    reading = read_first(opened.reader, opened.kind, count=count)
    return None if reading is None else sheet_of(opened, reading)


def sheet_of(opened: OpenMap, reading: Reading) -> Sheet:
    """Lay out a reading of this map."""
    return lay_out(opened.schema, opened.kind, opened.facts, opened.mask, reading)


def lay_out(schema: Schema, kind: Kind, facts: MapFacts, mask: Mask, reading: Reading) -> Sheet:
    """Lay out a reading of a map, live or stored; what `mask` hides is zeroed."""
    reading = cleared(reading, mask)
    if reading.completeness is Completeness.WALKED and cannot_change(facts, kind):
        reading = dataclasses.replace(reading, completeness=Completeness.EXACT)
    values, size = reading.values, facts.value_size
    if kind.per_cpu:
        n_cpus = schema.layout.n_cpus
        values = values.reshape(len(reading), n_cpus, values.shape[1] // n_cpus)[:, :, :size]
    elif values.shape[1] != size:  # a type newer than ours: room for every CPU was made
        values = values[:, :size]
    table = Table(schema.layout, reading.keys, values)
    notes = (*reading.notes, *schema.notes, *((NOTE,) if mask.any() else ()))
    return Sheet(table=table, json_layout=schema.json_layout, reading=reading, notes=notes)


def cannot_change(facts: MapFacts, kind: Kind) -> bool:
    """What a map holds is the same for ever.

    BPF_MAP_FREEZE stops user space alone; programs are stopped by BPF_F_RDONLY_PROG. Neither stops the kernel, which takes a
    device or a program that goes away out of its slot.
    """
    return facts.frozen and bool(facts.map_flags & BpfMapFlag.RDONLY_PROG) and kind.meaning is Meaning.BYTES


class _KeysOnly:
    """A reader of a map that refuses to show its values: what refuses is there."""

    def __init__(self, reader: MapReader) -> None:
        self._reader = reader
        self.key_size, self.value_stride = reader.key_size, reader.value_stride
        self.next_key, self.lookup_batch = reader.next_key, reader.lookup_batch

    def lookup(self, key: bytes | None, value: bytearray | memoryview) -> bool:
        """See MapReader; `value` stays as it is."""
        try:
            return self._reader.lookup(key, value)
        except NotSupported:
            return True


def _kernel_walk(opened: OpenMap, limit: int, progress: Progress) -> Reading:
    kind, facts = opened.kind, opened.facts
    reader = _KeysOnly(opened.reader) if hides_values(facts, kind) else opened.reader
    try:
        reading = read_all(
            reader, kind, max_entries=facts.max_entries, expected=opened.entries, limit=limit, progress=progress
        )
    except KernelError as refusal:
        why = kind.why or str(refusal)
        raise CannotList(kind.label, why, kind.instead) from refusal
    if kind.enumerate is Enumerate.PEEK:
        return dataclasses.replace(reading, notes=(kind.why,))
    return reading
