"""From what a map holds to what it held: rows of a plan, each an edit of its own, of just the fields that differ."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np

from app.columns.decode import locate
from app.columns.encode import overlaid, unwritable
from app.columns.errors import NoSuchField
from app.columns.json_text import template
from app.columns.node import Node
from app.columns.rows import ndjson_chunks
from app.columns.table import Table
from app.maps.edit import MAX_CHANGES
from app.maps.host_names import boot_id
from app.maps.kinds import Enumerate, Kind, Meaning
from app.maps.owned import OWNED
from app.maps.page import selection
from app.timeline.differ import Bytes2d, Diff, FieldDiff, Rows, field_texts, mask_of, plain_path
from app.timeline.errors import CannotRestore
from app.timeline.listing import taken
from app.timeline.told import fields_in, key_texts
from app.wire.things import thing_text

BLOCK_ROWS = 4096


def check(kind: Kind, boot: str) -> None:
    """Whether a plan can bring entries of this type back at all.

    boot    boot id of the host when the snapshot was taken
    raises  CannotRestore
    """
    if kind.meaning is Meaning.SOCKET_COOKIE:
        raise CannotRestore(
            f"each value of this {kind.label} stands for a socket, and nothing tells which: put them back one by one, with"
            " `bpf-atlas edit --thing`"
        )
    if kind.holds_ids and boot != boot_id():
        raise CannotRestore(
            f"each value of this {kind.label} stands for {kind.meaning.value}, by a number that meant it until the host was last"
            " started: put them back one by one, with `bpf-atlas edit --thing`"
        )
    if (
        kind.enumerate in {Enumerate.PEEK, Enumerate.RING, Enumerate.NOTHING, Enumerate.SINGLE}
        or kind.meaning is Meaning.STACK
    ):
        raise CannotRestore(f"entries of this {kind.label} cannot be put back to where they were")


def remarks(kind: Kind) -> tuple[str, ...]:
    """What to know before a plan for this type is applied."""
    if kind.meaning is Meaning.DEVICE:
        return (
            "devices are those of the network namespace that the broker runs in, whichever the map's programs serve",
        )
    return ()


def plan_rows(made: Diff) -> Iterator[dict[str, Any]]:
    """Rows for app.maps.bulk that make side `a` hold what side `b` does: set, delete, or the whole entry.

    made    a comparison in the layout of `dump` (bare)
    raises  CannotRestore
    """
    kind = made.a.recalled.kind
    check(kind, made.b.boot_id)
    yield from _put(made, made.new) if kind.holds_ids else _changed(made)
    key_of = _owner_key if kind.enumerate in OWNED else _hex_key
    if made.b.is_complete:
        for start in range(0, len(made.removed), BLOCK_ROWS):
            part = made.removed.take(slice(start, start + BLOCK_ROWS))
            for key in key_of(part):
                yield {"key": key, "delete": True}
    if kind.holds_ids:
        yield from _put(made, made.added)
        return
    for start in range(0, len(made.added), BLOCK_ROWS):
        part = made.added.take(slice(start, start + BLOCK_ROWS))
        for key, line in zip(key_of(part), _lines(part), strict=True):
            yield {"key": key, **{name: line[name] for name in ("value", "values") if name in line}}


def patch(made: Diff) -> Iterator[bytes]:
    """The same rows as JSON, one a line: what `plan make MAP FILE` takes. raises CannotRestore"""
    for row in plan_rows(made):
        yield json.dumps(row, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def only(made: Diff, where: str) -> Diff:
    """Of a comparison what a filter selects: an entry counts as it is on side `b`, one that is not there as on side `a`.

    raises  WhereError and the filter's other errors
    """
    if not where.strip():
        return made
    added, removed, rows = (
        # By the paths that people see, whatever the layout of the comparison is.
        selection(Table(side.schema.layout, table.keys, table.values), where=where, sort="")
        for side, table in ((made.b, made.added), (made.a, made.removed), (made.b, made.new))
    )
    return taken(made, added, removed, rows)


def _put(made: Diff, entries: Table) -> Iterator[dict[str, Any]]:
    """What each slot held, opened anew: the ids that were read are no values to write."""
    map_type = made.b.recalled.facts.type
    for key, value in zip(_hex_key(entries), entries.values, strict=True):
        yield {"key": key, "thing": thing_text(map_type, value.tobytes())}


def _changed(made: Diff) -> Iterator[dict[str, Any]]:
    owned = made.a.recalled.kind.enumerate in OWNED
    for start in range(0, len(made.old), BLOCK_ROWS):
        rows = slice(start, start + BLOCK_ROWS)
        old = made.old.take(rows)
        keys = _owner_key(old) if owned else _hex_key(old)
        wanted: list[dict[str, Any]] = [{} for _ in range(len(old))]
        for field, here in fields_in(made, start, start + BLOCK_ROWS):
            if not _can_be_written(made, field):
                continue
            _, new = field_texts(field, made, here)
            for at, text in zip((here - start).tolist(), new, strict=True):
                wanted[at][plain_path(field.path) if field.cpu < 0 else field.path] = json.loads(text)
        per_cpu = old.layout.n_cpus > 0
        replaced = [
            at for at, fields in enumerate(wanted)
            if fields and (per_cpu or len(fields) > MAX_CHANGES or "value" in fields)
        ]  # fmt: skip
        merged = _merged(made, start).take(np.array(replaced, np.int64)) if replaced else made.old.take(slice(0, 0))
        whole = dict(zip(replaced, _lines(merged), strict=True))
        for at, (key, fields) in enumerate(zip(keys, wanted, strict=True)):
            if at in whole:
                yield {"key": key, **{name: whole[at][name] for name in ("value", "values") if name in whole[at]}}
            elif fields:
                yield {"key": key, "set": fields}


def _merged(made: Diff, start: int) -> Table:
    """A block of the changed entries as the live side has them, but for the fields that differ and may be written.

    What a comparison leaves out differs, too, and is to stay.
    """
    old = made.old.take(slice(start, start + BLOCK_ROWS))
    values = old.values.copy()
    for field, here in fields_in(made, start, start + BLOCK_ROWS):
        if _can_be_written(made, field):
            part = values if field.cpu < 0 else values[:, field.cpu]
            _put_in(part, here - start, field, made.new_values(field, here))
    return Table(old.layout, old.keys, values)


def _put_in(values: Bytes2d, rows: Rows, field: FieldDiff, new: Bytes2d) -> None:
    """A field of some rows as the other side has it, whose layout may be another."""
    node, other = field.old_node, field.new_node
    if _shape(node) != _shape(other) or (node.bitfield and node.byte_order == "big"):
        texts = template(other).render(np.ascontiguousarray(new))
        for row, text in zip(rows.tolist(), texts, strict=True):
            values[row] = np.frombuffer(overlaid(node, json.loads(text), values[row].tobytes()), np.uint8)
        return
    mask = mask_of(node)
    there, here = (slice(each.offset_bytes, each.end_bytes) for each in (other, node))
    values[rows, here] = (values[rows, here] & ~mask) | (new[:, there] & mask)


def _shape(node: Node) -> tuple[object, ...]:
    """Two fields that have the same one hold the same in the same bits."""
    return node.kind, node.size_bits, node.offset_bits % 8, node.byte_order, node.bitfield, node.count


def _can_be_written(made: Diff, field: FieldDiff) -> bool:
    """It is a field of the live side, and not the kernel's own."""
    node: Node = field.old_node
    try:
        node = locate(made.a.schema.layout, plain_path(field.path)).node
    except NoSuchField:
        return False
    return not unwritable(node)


def _hex_key(table: Table) -> list[Any]:
    return [f"hex:{key.tobytes().hex()}" for key in table.keys]


def _owner_key(table: Table) -> list[Any]:
    return [json.loads(text) for text in key_texts(table)]


def _lines(table: Table) -> Iterator[dict[str, Any]]:
    for chunk in ndjson_chunks(table):
        yield from (json.loads(line) for line in chunk.split(b"\n") if line)
