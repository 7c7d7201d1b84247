"""What a comparison found, for people at a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from app.cli.layout import columns, harmless

if TYPE_CHECKING:
    from collections.abc import Iterator

    from app.columns.cell import Cell
    from app.columns.lenses.show import Names
    from app.columns.table import Layout, Table
    from app.timeline.differ import Bytes2d, Diff, FieldDiff, Rows
    from app.timeline.sides import Side

LIMIT_TEXT_ROWS = 1000
"""Entries of the text unless somebody wants another number of them."""
SHOWN_FIELDS = 8
"""Of an entry that was added or removed."""
BLOCK_ROWS = 1024


def print_heading(made: Diff) -> None:
    """Both sides, the counts, and each field that differs anywhere."""
    from app.timeline import told

    heads = ["", "", "MAP", "TIME (UTC)", "READ"]
    rows = [_side_row(name, side) for name, side in (("a", made.a), ("b", made.b))]
    click.echo(columns(heads, rows))
    for note in (*told.notes(made), *made.schema_changes):
        click.echo(harmless(f"note: {note}"))
    counts = told.counts(made)
    words = [f"{counts[name]:,} {name}" for name in ("added", "removed", "changed", "unchanged")]
    if not made.b.is_complete:
        words[1] = f"{counts['removed']:,} not seen"
    if counts["ignored"]:
        words[-1] += f", of them {counts['ignored']:,} only where it does not matter"
    click.echo("\n" + ", ".join(words))
    if made.fields:
        click.echo()
        heads = ["FIELD", "ENTRIES", "DELTA", "PER SECOND"]
        both = zip(told.field_facts(made), made.fields, strict=True)
        body = [_field_row(facts, counts=_counts(made.new.layout, field)) for facts, field in both]
        click.echo(columns(heads, body, right=frozenset(heads[1:])))


def _side_row(name: str, side: Side) -> list[str]:
    from app.history.history import moment

    at = moment(side.taken_ns).replace("T", " ").removesuffix("Z")
    return [name, side.ref if side.kept is not None else "live", f"{side.name} #{side.map_id}", at, side.completeness]


def _field_row(facts: dict[str, object], *, counts: bool) -> list[str]:
    delta, rate = (facts.get(name) if counts else None for name in ("delta", "per_second"))
    return [str(facts["path"]), f"{facts['changed']:,}", _signed(delta), _rate(rate)]


def _signed(number: object) -> str:
    if isinstance(number, float):
        return f"{number:+.6g}"
    return f"{number:+,}" if isinstance(number, int) else "-"


def _rate(number: object) -> str:
    if not isinstance(number, float):
        return "-"
    return f"{number:+,.0f}" if abs(number) >= 100 else f"{number:+.3g}"  # noqa: PLR2004  (three digits are enough)


def print_entries(shown: Diff, limit: int) -> None:
    """The entries: + added, - removed, ? not seen, ~ changed with their fields below.

    shown  in the layout for people
    limit  of all together, 0 for no limit
    """
    from app.maps.host_names import names_of
    from app.timeline.listing import in_order, order_note

    shown = in_order(shown)
    old, new = names_of(shown.a.boot_id), names_of(shown.b.boot_id)
    total = len(shown.added) + len(shown.removed) + len(shown.old)
    left = limit or total
    if total:
        click.echo()
    gone = "-" if shown.b.is_complete else "?"
    for mark, table, known in (("+", shown.added, new), (gone, shown.removed, old)):
        part = table.take(slice(0, left))
        left -= len(part)
        for line in _whole(mark, part, known):
            click.echo(harmless(line))
    for line in _changed(shown, min(left, len(shown.old)), old, new):
        click.echo(harmless(line))
    if total and (note := order_note(shown)):
        click.echo(f"bpf-atlas: {note}", err=True)
    if limit and total > limit:
        click.echo(f"… {total - limit:,} more entries; --limit N shows more, --limit 0 all", err=True)


def _whole(mark: str, table: Table, known: Names) -> Iterator[str]:
    """A line an entry, with its first fields."""
    from app.columns.cell import cells, heads

    every = [head for head in heads(table.layout) if head.group == "value"] if table.layout.value else []
    chosen = every[:SHOWN_FIELDS]
    more = f"  … {len(every) - SHOWN_FIELDS} more fields" if len(every) > SHOWN_FIELDS else ""
    for start in range(0, len(table), BLOCK_ROWS):
        part = table.take(slice(start, start + BLOCK_ROWS))
        for key, row in zip(_keys(part, known), cells(part, chosen, None, known), strict=True):
            fields = "  ".join(f"{head.label}={cell.text}" for head, cell in zip(chosen, row, strict=True))
            note = "  (not seen, which is not to say removed)" if mark == "?" else ""
            yield f"{mark} {key}  {fields}{more}{note}".rstrip()


def _changed(shown: Diff, count: int, old: Names, new: Names) -> Iterator[str]:
    """A line an entry, and one below it for each field that differs."""
    import numpy as np

    from app.timeline.told import fields_in

    for start in range(0, count, BLOCK_ROWS):
        end = min(start + BLOCK_ROWS, count)
        below: list[list[str]] = [[] for _ in range(start, end)]
        for field, rows in fields_in(shown, start, end):
            for at, line in zip((rows - start).tolist(), _field_lines(shown, field, rows, old, new), strict=True):
                below[at].append(line)
        for key, lines in zip(_keys(shown.new.take(np.arange(start, end)), new), below, strict=True):
            yield f"~ {key}"
            yield from lines


def _field_lines(shown: Diff, field: FieldDiff, rows: Rows, of_old: Names, of_new: Names) -> Iterator[str]:
    """`value.packets  5 → 9  (+4, +0.33 a second)`."""
    import numpy as np

    from app.columns.cell import told_apart

    counts = field.numeric and _counts(shown.new.layout, field)
    deltas: list[object] = [None] * len(rows)
    if counts:
        deltas = shown.deltas(field)[np.searchsorted(field.rows, rows)].tolist()
    sides = (
        _cells(table, field, values, known)
        for table, values, known in (
            (shown.old.take(rows), shown.old_values(field, rows), of_old),
            (shown.new.take(rows), shown.new_values(field, rows), of_new),
        )
    )
    for old, new, delta in zip(*sides, deltas, strict=True):
        before, after = told_apart(old, new)
        rate = (
            f", {_rate(delta / shown.seconds)} a second" if isinstance(delta, int | float) and shown.seconds > 0 else ""
        )
        yield f"    {field.path}  {before.text} → {after.text}" + (
            f"  ({_signed(delta)}{rate})" if delta is not None else ""
        )


def _counts(layout: Layout, field: FieldDiff) -> bool:
    """A difference of its values says something: it is shown as a number, not as an address or a name."""
    from app.columns.cell import head
    from app.columns.errors import NoSuchField

    try:
        return head(layout, field.path).numeric
    except NoSuchField:
        return False


def _cells(table: Table, field: FieldDiff, values: Bytes2d, known: Names) -> list[Cell]:
    """Readings of one field."""
    from app.columns.cell import Cell, column_cells, head, reading
    from app.columns.decode import locate
    from app.columns.errors import NoSuchField
    from app.timeline.differ import plain_path

    node = field.old_node
    try:
        named = locate(table.layout, plain_path(field.path)).node.kind is node.kind
    except NoSuchField:
        named = False
    if named:
        return column_cells(table, head(table.layout, field.path), known)
    texts = [reading(node, "octets", row.tobytes(), known) for row in values]
    return [Cell(text, "", "bytes", text) for text in texts]  # the whole value, where no field differs


def _keys(table: Table, known: Names) -> list[str]:
    """Keys as `--key` takes them: their fields in order."""
    from app.columns.key_text import shown_keys

    if table.layout.key is None or not table.layout.key.size_bytes:
        return ["(its one entry)"] * len(table)
    return shown_keys(table.layout.key, table.keys, known)
