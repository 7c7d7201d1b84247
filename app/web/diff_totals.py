"""Fields of a comparison added up over all entries, and how a difference reads: a sign, a number, so much a second."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from app.columns.cell import Head, head
from app.columns.errors import ColumnsError
from app.columns.lenses import show
from app.columns.node import NodeKind
from app.timeline.differ import Diff, FieldDiff, Rows, plain_path

COUNTED = {"number": "number", "plain": "number", "float": "float", "bytes": "bytes", "duration": "duration",
           "seconds": "seconds", "ktime": "duration"}  # fmt: skip
"""Lenses of fields whose difference means something, and the lens that it is shown through."""
RATED = frozenset({"number", "float", "bytes"})
_MOST_EXACT = 1 << 62


@dataclass(frozen=True, slots=True)
class Step:
    """How a number moved."""

    mark: str = ""
    """`▲` or `▼`; empty where the difference is no number, or nothing."""
    text: str = ""
    """`+12`."""
    rate: str = ""
    """`0.2/s`; empty where time says nothing."""


NO_STEP = Step()


@dataclass(frozen=True, slots=True)
class Total:
    """One field over all entries, its CPUs together."""

    path: str
    entries: int
    """In which it differs."""
    cells: int
    """The same, each CPU counted."""
    step: Step


def totals(made: Diff) -> list[Total]:
    """By path, in the order of the fields."""
    by_path: dict[str, list[FieldDiff]] = {}
    for field in made.fields:
        by_path.setdefault(plain_path(field.path), []).append(field)
    return [_total(made, path, fields) for path, fields in by_path.items()]


def _total(made: Diff, path: str, fields: list[FieldDiff]) -> Total:
    cells = sum(len(field.rows) for field in fields)
    entries = cells
    if len(fields) > 1:
        touched = np.zeros(len(made.old), bool)
        for field in fields:
            touched[field.rows] = True
        entries = int(touched.sum())
    shown = head_of(made, fields[0].path)
    step = NO_STEP
    if shown is not None and all(is_counted(field, shown) for field in fields):
        step = step_of(shown, sum(_sum(made, field) for field in fields), seconds_of(made))
    return Total(path, entries, cells, step)


def _sum(made: Diff, field: FieldDiff) -> float:
    deltas = made.deltas(field)
    if deltas.dtype.kind == "f":
        return float(deltas.sum())
    least, most = int(deltas.min(initial=0)), int(deltas.max(initial=0))
    if max(-least, most) * len(deltas) < _MOST_EXACT:
        return int(deltas.sum())
    return float(deltas.astype(np.float64).sum())


def head_of(made: Diff, path: str) -> Head | None:
    """How people see a field; None where neither side has one of that path."""
    for table in (made.new, made.old):
        try:
            return head(table.layout, path)
        except ColumnsError:
            continue
    return None


def is_counted(field: FieldDiff, shown: Head) -> bool:
    """Its difference means something."""
    return field.numeric and shown.lens in COUNTED and field.new_node.kind is not NodeKind.ENUM


def seconds_of(made: Diff) -> float:
    """Over which a rate can be told; 0 where it cannot: two maps, or no time in between."""
    same = made.a.series is not None and made.b.series is not None and made.a.series.id == made.b.series.id
    same = same or (made.a.kept is None and made.b.kept is None and made.a.map_id == made.b.map_id)
    return max(made.seconds, 0.0) if same else 0.0


def steps(made: Diff, field: FieldDiff, rows: Rows, shown: Head) -> list[Step]:
    """Of some of a field's rows."""
    if not is_counted(field, shown):
        return [NO_STEP] * len(rows)
    deltas = made.deltas(replace(field, rows=rows)).tolist()
    return [step_of(shown, delta, seconds_of(made)) for delta in deltas]


def step_of(shown: Head, delta: float, seconds: float) -> Step:
    """`▲ +12`, and a rate where there is a time."""
    if delta != delta:  # not a number  # noqa: PLR0124
        return NO_STEP
    if delta == 0:
        return Step("", "±0")
    mark, sign = ("▲", "+") if delta > 0 else ("▼", "\N{MINUS SIGN}")
    rate = ""
    if seconds > 0 and COUNTED[shown.lens] in RATED:
        rate = f"{sign}{_amount(COUNTED[shown.lens], abs(delta) / seconds)}/s"
    return Step(mark, sign + _amount(COUNTED[shown.lens], abs(delta)), rate)


def _amount(lens: str, amount: float) -> str:
    if lens == "bytes":
        return show.size(round(amount))
    if lens in {"duration", "seconds"}:
        return show.duration(round(amount * (10**9 if lens == "seconds" else 1)))
    if isinstance(amount, int):
        return show.grouped(amount)
    if lens == "number" and amount >= 100:  # noqa: PLR2004
        return show.grouped(round(amount))
    return f"{amount:.3g}" if amount < 1000 else show.grouped(round(amount))  # noqa: PLR2004
