"""Which entries of a comparison are listed, and in which order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from app.columns import where as filtering
from app.columns.decode import full_path
from app.columns.errors import NoSuchField, NotOneColumn
from app.columns.node import leaves
from app.columns.order import order
from app.columns.table import Layout, Table
from app.maps.hiding import Mask
from app.timeline.differ import Diff, Rows

ORDERED_ROWS = 200_000
"""Of more the rows stay in the order of their bytes: putting them in order would take as long as comparing them."""
KEY_FIELDS = 16


def in_order(made: Diff) -> Diff:
    """The same with its entries in the order of their keys as people read them: numbers by value, field by field."""
    if order_note(made):
        return made
    return taken(made, *(_by_key(table) for table in (made.added, made.removed, made.new)))


def order_note(made: Diff) -> str:
    """What to say of the order of the rows where it is not that of the keys; empty where it is."""
    rows = len(made.added) + len(made.removed) + len(made.new)
    return f"of more than {ORDERED_ROWS:,} rows the order is that of the keys' bytes" if rows > ORDERED_ROWS else ""


def _by_key(table: Table) -> Rows:
    rows: Rows = np.arange(len(table))
    if table.layout.key is None or len(table) < 2:  # noqa: PLR2004
        return rows
    keys = Table(Layout(key=table.layout.key, value=None), table.keys, np.zeros((len(table), 0), np.uint8))
    for node in list(leaves(table.layout.key.root, KEY_FIELDS))[:KEY_FIELDS][::-1]:
        try:
            rows = rows[order(keys.take(rows), full_path("key", node.path))]
        except NotOneColumn:  # arrays of what has no order
            continue
    return rows


def either(made: Diff, where: str) -> Diff:
    """Of a comparison the entries for which a filter holds on either side.

    raises  WhereError and the filter's other errors
    """
    if not where.strip():
        return made
    return taken(made, *(np.flatnonzero(rows) for rows in fitting(made, filtering.parse(where))))


def fitting(made: Diff, expression: filtering.Expr) -> tuple[Mask, Mask, Mask]:
    """Which of the added, removed and changed entries a filter is true of, on either side.

    raises  NoSuchField where neither side has a field of that name, and the filter's other errors
    """
    # By the paths that people see, whatever the layout of the comparison is.
    tables = [
        Table(side.schema.layout, table.keys, table.values)
        for side, table in ((made.b, made.added), (made.a, made.removed), (made.a, made.old), (made.b, made.new))
    ]
    found = [_mask(expression, table) for table in tables]
    if all(mask is None for mask in found):
        expression.mask(tables[-1])  # says what there is
    added, removed, old, new = (
        np.zeros(len(table), bool) if mask is None else mask for mask, table in zip(found, tables, strict=True)
    )
    return added, removed, old | new


def _mask(expression: filtering.Expr, table: Table) -> Mask | None:
    """Rows that fit; None where the table's side has no such field."""
    try:
        return expression.mask(table)
    except NoSuchField:
        return None


def taken(made: Diff, added: Rows, removed: Rows, changed: Rows) -> Diff:
    """Some entries of a comparison, in this order; changed ones that are left out count as unchanged."""
    place = np.full(len(made.old), -1)
    place[changed] = np.arange(len(changed))
    fields = tuple(replace(field, rows=np.sort(place[field.rows][place[field.rows] >= 0])) for field in made.fields)
    return replace(
        made,
        added=made.added.take(added),
        removed=made.removed.take(removed),
        old=made.old.take(changed),
        new=made.new.take(changed),
        fields=tuple(field for field in fields if len(field.rows)),
        unchanged=made.unchanged + len(made.old) - len(changed),
    )
