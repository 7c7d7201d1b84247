"""What became of one key over time, for people at a terminal and for scripts."""

from __future__ import annotations

from itertools import pairwise
from math import isfinite
from typing import TYPE_CHECKING, Any

import click

from app.cli.layout import columns

if TYPE_CHECKING:
    from app.cli.past import Past
    from app.columns.cell import Cell
    from app.history.keys import Point
    from app.timeline.story import Span, Story, Summary

SHOWN_SPANS = 50
"""Of the text."""


def story_of(past: Past, reference: str, key: str) -> Story:
    """One key of a map that lives or once did. raises NoSuchSeries, BadKey"""
    from app.columns.key_text import parse_key
    from app.columns.plan import plan_raw
    from app.history.errors import NoSuchSeries
    from app.timeline.story import Story

    series = past.series(reference)
    newest = past.timeline.history.newest(series.id)
    if newest is None:
        raise NoSuchSeries(reference)
    recalled = past.timeline.recalled(newest.layout_id)
    plan = recalled.schema.layout.key or recalled.schema.json_layout.key or plan_raw(recalled.facts.key_size)
    return Story(past.timeline, series, parse_key(plan, key))


def changing(story: Story, spans: list[Span], path: str) -> list[Span]:
    """Those at which a field came to hold something else. raises NoSuchField"""
    shown: list[Span] = []
    last: object = None
    for span in spans:
        held = [cell.raw for cell in _cells(story, span, path).values()]
        if held != last:
            shown.append(span)
        last = held
    return shown


def _cells(story: Story, span: Span, path: str) -> dict[str, Cell]:
    """What a span's value says, by labels: one field, or all of them; empty where the key was not there."""
    from app.columns.cell import cells, heads
    from app.maps.host_names import names_of

    table = story.table(span)
    if table is None:
        return {}
    chosen = heads(table.layout, columns=[path]) if path else [h for h in heads(table.layout) if h.group == "value"]
    (row,) = cells(table, chosen, None, names_of(span.at.boot_id))
    return {head.label: cell for head, cell in zip(chosen, row, strict=True)}


def _texts(story: Story, spans: list[Span], path: str) -> list[str]:
    """A line a span; a field that reads the same as in one of the lines beside, and is not, is told exactly."""
    from app.columns.cell import told_apart

    held = [_cells(story, span, path) for span in spans]
    shown = [dict(each) for each in held]
    for at, (before, after) in enumerate(pairwise(held)):
        for label in before.keys() & after.keys():
            old, new = told_apart(before[label], after[label])
            if old is not before[label]:
                shown[at][label], shown[at + 1][label] = old, new
    alone = bool(path)
    return [
        "  ".join(cell.text if alone else f"{label}={cell.text}" for label, cell in each.items())
        if span.value is not None
        else "(not there)"
        for span, each in zip(spans, shown, strict=True)
    ]


def print_story(story: Story, summary: Summary, spans: list[Span], path: str) -> None:
    """When it came, went and changed, and what it held from when on."""
    if summary.first_seen is None:
        parts = sum(not point.is_complete for point in story.points())
        more = f"; {parts:,} of them do not hold all entries" if parts else ""
        click.echo(f"this key is in none of {len(story.points()):,} snapshots{more}", err=True)
        return
    older = ""
    if summary.before_first is None:
        is_oldest = summary.first_seen == story.points()[0]
        older = f", {'the first snapshot' if is_oldest else 'no snapshot before says that it was not there'}: it may be older"
    rows = [
        ("first seen", f"{_point(summary.first_seen)}{older}"),
        ("last seen", _point(summary.last_seen)),
        ("gone by", _point(summary.gone)),
        ("not seen", f"{_point(summary.unseen)}, which does not hold all entries" if summary.unseen else ""),
        ("last changed", _point(summary.last_changed)),
        ("changes", f"{summary.changes:,}"),
    ]
    for name, text in rows:
        if text:
            click.echo(f"{name:>12}  {text}")
    last = spans[-SHOWN_SPANS:]
    body = [
        [each.at.ref, _point(each.at).partition("  ")[2], text + _unseen(each)]
        for each, text in zip(last, _texts(story, last, path), strict=True)
    ]
    click.echo()
    click.echo(columns(["FROM", "TIME (UTC)", path or "HOLDS"], body))
    if len(spans) > SHOWN_SPANS:
        click.echo(f"… {len(spans) - SHOWN_SPANS:,} earlier ones; --json prints all", err=True)


def _unseen(span: Span) -> str:
    """A remark on snapshots in between that lack the key and do not hold all entries."""
    if not span.unseen:
        return ""
    return f"  (not seen in {', '.join(point.ref for point in span.unseen[:3])}{', …' if len(span.unseen) > 3 else ''})"  # noqa: PLR2004


def _point(point: Point | None) -> str:
    from app.history.history import moment

    return "" if point is None else f"{point.ref}  {moment(point.taken_ns).replace('T', ' ').removesuffix('Z')}"


def document(story: Story, summary: Summary, spans: list[Span], path: str) -> dict[str, Any]:
    """The same for scripts."""
    from app.columns.decode import column
    from app.columns.rows import python_rows

    def at(point: Point | None) -> dict[str, Any] | None:
        from app.history.history import moment

        if point is None:
            return None
        return {"ref": point.ref, "taken_at": moment(point.taken_ns), "taken_at_ns": point.taken_ns}

    def held(span: Span) -> Any:
        table = story.table(span)
        if table is None:
            return None
        if path:
            value = column(table, path).tolist()[0]
            return None if isinstance(value, float) and not isfinite(value) else value  # as `dump` prints it
        (row,) = python_rows(table)
        return {name: part for name, part in row.items() if name != "key"}

    return {
        "snapshots": len(story.points()),
        "first_seen": at(summary.first_seen),
        "before_first": at(summary.before_first),
        "last_seen": at(summary.last_seen),
        "gone": at(summary.gone),
        "not_seen": at(summary.unseen),
        "last_changed": at(summary.last_changed),
        "changes": summary.changes,
        "steps": [
            {
                "from": at(each.at),
                "until": at(each.until),
                "there": each.value is not None,
                "held": held(each),
                "not_seen": [point.ref for point in each.unseen],
            }
            for each in spans
        ],
    }
