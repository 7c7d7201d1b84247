"""Which entries of a comparison are listed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from app.columns import where as filtering
from app.columns.errors import NoSuchField
from app.columns.table import Table
from app.maps.hiding import Mask
from app.timeline.differ import Diff, Rows


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
