"""One field over time: points for the page's table and for its drawing, and a rate for what counts."""

from __future__ import annotations

from dataclasses import dataclass

import orjson
from flask import Response

from app.columns.cell import Head, head
from app.columns.decode import full_path, locate
from app.columns.errors import NotOneColumn
from app.columns.lenses import show
from app.columns.lenses.show import Names
from app.columns.node import leaves
from app.columns.plan import ARRAY_LIMIT
from app.columns.table import Layout
from app.timeline.story import Series
from app.web import times

TABLE_ROWS = 100
"""Of the text alternative; the drawing has all."""
MOST_FIELDS = 64


@dataclass(frozen=True, slots=True)
class Row:
    """One point in words."""

    at: str
    text: str
    title: str
    rate: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """One field over time."""

    path: str
    label: str
    points: int
    held: int
    """Points at which the entry was there."""
    thinned: bool
    rows: list[Row]
    """The newest TABLE_ROWS points at which something changed, newest first."""
    rated: bool
    least: str
    most: str


def fields_of(layout: Layout) -> list[Head]:
    """Fields of a value that can be drawn: numbers."""
    if layout.value is None:
        return []
    found: list[Head] = []
    for node in leaves(layout.value.root, ARRAY_LIMIT):
        if node.scalar and node.numeric and not node.special and len(found) < MOST_FIELDS:
            found.append(head(layout, full_path("value", node.path)))
    return found


def check(layout: Layout, path: str) -> Head:
    """How the field is shown. raises NoSuchField, NotOneColumn where it is no number"""
    node = locate(layout, path).node
    if not (node.scalar and node.numeric) or node.special:
        raise NotOneColumn(f"{path} is no number: a chart is drawn of one")
    return head(layout, path)


def chart_of(found: Series, layout: Layout, names: Names) -> Chart:
    """The points in words."""
    shown = check(layout, found.path)
    node = locate(layout, found.path).node
    rates = rates_of(found)

    def text(number: float | int) -> str:
        return show.floating(number) if isinstance(number, float) else show.integer(shown.lens, node, number, names)

    rows: list[Row] = []
    for at in range(len(found.values) - 1, -1, -1):
        value, rate = found.values[at], rates[at]
        if at and value == found.values[at - 1]:
            continue
        if len(rows) == TABLE_ROWS:
            break
        told = "" if rate is None else f"{rate:+.3g}/s".replace("-", "\N{MINUS SIGN}")
        exact = "" if value is None or text(value) == str(value) else str(value)
        rows.append(Row(times.utc(found.taken_ns[at]), "" if value is None else text(value), exact, told))
    there = [value for value in found.values if value is not None]
    return Chart(
        path=found.path,
        label=found.path.partition(".")[2] or found.path,
        points=len(found.values),
        held=len(there),
        thinned=found.thinned,
        rows=rows,
        rated=any(rate is not None for rate in rates),
        least=text(min(there)) if there else "",
        most=text(max(there)) if there else "",
    )


def rates_of(found: Series) -> list[float | None]:
    """So much a second since the point before; None at the first, and beside gaps."""
    rates: list[float | None] = [None] * len(found.values)
    for at in range(1, len(rates)):
        before, now = found.values[at - 1], found.values[at]
        seconds = (found.taken_ns[at] - found.taken_ns[at - 1]) / 1e9
        if before is not None and now is not None and seconds > 0:
            rates[at] = (now - before) / seconds
    return rates


def points_json(found: Series) -> Response:
    """What the drawing asks for: milliseconds of CLOCK_REALTIME, values, rates; null in gaps."""
    body = {
        "field": found.path,
        "at_ms": [each // 1_000_000 for each in found.taken_ns],
        "values": [float(each) if isinstance(each, int) and abs(each) >> 63 else each for each in found.values],
        "per_second": rates_of(found),
        "thinned": found.thinned,
    }
    return Response(orjson.dumps(body), content_type="application/json")
