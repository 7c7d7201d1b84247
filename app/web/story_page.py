"""One key through the history of its map: when it came and went, what it held, who changed it, one field as a chart."""

from __future__ import annotations

from dataclasses import dataclass, field
from http import HTTPStatus
from itertools import islice

import numpy as np
from flask import Blueprint, Response, g, redirect, request

from app.columns.cell import Cell, Head, cells, column_cells, head, told_apart
from app.columns.decode import full_path
from app.columns.errors import ColumnsError
from app.columns.key_text import parse_key
from app.columns.lenses import show
from app.columns.lenses.show import NO_NAMES, Names
from app.columns.node import Node, leaves
from app.columns.plan import plan_raw
from app.columns.table import Layout, Table
from app.errors import AppError
from app.history.keys import Point
from app.history.series import SeriesFacts
from app.maps.host_names import names_of
from app.timeline.naming import title
from app.timeline.story import Span, Story, Summary
from app.timeline.timeline import Timeline
from app.web import arguments, chart, gate, times
from app.web.backend import Backend
from app.web.diff_rows import parts_of
from app.web.diff_sides import live_map
from app.web.diff_totals import COUNTED, NO_STEP, Step, step_of
from app.web.errors import status_of
from app.web.permissions import Need
from app.web.problems import BadArgument, NotHere
from app.web.rendering import as_response, page_or_fragment
from app.web.stories import Stories, over_time
from app.web.words import FILLER
from app.wire.records import AskRecords, NumberedRecord

PAGE_SPANS = 100
MOST_HEADS = 256
SHOWN_FIELDS = 6
MOST_RECORDS = 500
MOST_EDITS = 5
"""Of one span that are named."""
ARRAY_ELEMENTS = 64


@dataclass(frozen=True, slots=True)
class Moved:
    """One field of a span that is not as it was in the one before."""

    path: str
    label: str
    old: Cell
    new: Cell
    step: Step


@dataclass(slots=True, kw_only=True)
class SpanLine:
    """What the key held from one snapshot to another."""

    at: Point
    until: Point
    clock: str
    lasted: str
    there: bool
    unseen: int
    """Snapshots in between that lack the key and do not hold all entries."""
    first: bool
    """Nothing is known of what was before."""
    back: bool
    """It was not there in the span before."""
    moved: list[Moved] = field(default_factory=list)
    more: int = 0
    parts: list[tuple[str, Cell]] = field(default_factory=list)
    """What it held, where it was not there before."""
    edits: list[NumberedRecord] = field(default_factory=list)
    before: str = ""
    """The snapshot before it began."""


def blueprint(backend: Backend) -> Blueprint:
    """GET /series/ID/entries/KEYHEX, GET /series/ID/find."""
    bp = Blueprint("story", __name__)
    kept = Stories()

    @bp.get("/series/<series_id>/entries/<key_hex>")
    def show(series_id: str, key_hex: str) -> Response:
        timeline, series = _series(backend, series_id)
        story = Story(timeline, series, _bytes(key_hex), backend.looker.hidden(series))
        path = arguments.words("field")
        if arguments.choice("format", ("points",)):
            chart.check(_layout(story), path)
            return chart.points_json(over_time(story, kept.spans(story), path))
        return _page(backend, story, kept.spans(story), path)

    @bp.get("/series/<series_id>/find")
    def find(series_id: str) -> Response:
        timeline, series = _series(backend, series_id)
        story = Story(timeline, series, b"", backend.looker.hidden(series))
        return _find(story, arguments.words("key"))

    return bp


def _series(backend: Backend, text: str) -> tuple[Timeline, SeriesFacts]:
    number = arguments.map_id(text)
    timeline = backend.past.timeline()
    return timeline, timeline.history.one_series(number)


def _bytes(text: str) -> bytes:
    try:
        return bytes.fromhex(text) if text.isascii() and " " not in text else b""
    except ValueError:
        raise BadArgument("key", text, "bytes in hexadecimal, two digits each") from None


def _layout(story: Story) -> Layout:
    """Of the newest snapshot. raises NotHere for a series without any"""
    points = story.points()
    if not points:
        raise NotHere("snapshot of this map any more")
    return story.meaning(points[-1].layout_id).schema.layout


def _find(story: Story, text: str) -> Response:
    layout = _layout(story)
    size = story.meaning(story.points()[-1].layout_id).recalled.facts.key_size
    plan = layout.key or plan_raw(size)
    problem: ColumnsError | None = None
    if text:
        try:
            key = parse_key(plan, text)
        except ColumnsError as error:
            problem = error
        else:
            return as_response(redirect(f"/series/{story.series.id}/entries/{key.hex()}", code=HTTPStatus.SEE_OTHER))
    wanted = [node.path or node.type_name for node in plan.leaves() if not node.special] if plan.typed else []
    response = page_or_fragment(
        "story/find.html", "story/_find.html", series=story.series, title=title(story.series.of), text=text,
        problem=str(problem) if problem else "", wanted=", ".join(wanted[:8]) or "hex:… or bytes",
    )  # fmt: skip
    if problem is not None:
        response.status_code = status_of(problem)
    return response


def _page(backend: Backend, story: Story, spans: list[Span], path: str) -> Response:
    layout = _layout(story)
    pages = max(-(-len(spans) // PAGE_SPANS), 1)
    page = min(arguments.whole("page", default=1, least=1, most=1 << 24), pages)
    at = arguments.words("at") or story.points()[-1].ref
    drawn: chart.Chart | None = None
    problem: AppError | None = None
    steps: list[tuple[str, str, str]] = []
    try:
        if path:
            drawn = chart.chart_of(over_time(story, spans, path), layout, _names_over(story))
        steps = _steps(story, at, path)
    except ColumnsError as error:
        problem = error
    summary = story.summary(spans)
    response = page_or_fragment(
        "story/page.html",
        "story/_page.html",
        series=story.series,
        title=title(story.series.of),
        key_hex=story.key.hex(),
        key_words=_key_words(story, layout),
        key_cells=_key_cells(story, layout),
        fits=layout.key is None or layout.key.size_bytes == len(story.key),
        live_link=_live_link(backend, story),
        snapshots=len(story.points()),
        incomplete=sum(not point.is_complete for point in story.points()),
        summary=summary,
        told=_told(story, summary),
        lines=_lines(backend, story, spans, page),
        number=page,
        pages=pages,
        spans=len(spans),
        turn=lambda number: _address(
            story, at=request.args.get("at", ""), field=path, page=number if number > 1 else ""
        ),
        at=at,
        at_known=any(point.ref == at for point in story.points()),
        steps=steps,
        fields=chart.fields_of(layout),
        field=path,
        chart=drawn,
        points_link=_address(story, field=path, format="points") if drawn else "",
        address=lambda **change: _address(story, **change),
        clock=times.utc,
        problem=str(problem) if problem else "",
    )
    if problem is not None:
        response.status_code = status_of(problem)
    return response


def _address(story: Story, **arguments_: object) -> str:
    return arguments.link(f"/series/{story.series.id}/entries/{story.key.hex()}", **arguments_)


def _names_over(story: Story) -> Names:
    """For all of it at once: none where it is longer than one boot, or of another one."""
    boots = {point.boot_id for point in story.points()}
    return names_of(boots.pop()) if len(boots) == 1 else NO_NAMES


def _key_words(story: Story, layout: Layout) -> str:
    if layout.key is None or not layout.key.typed or layout.key.size_bytes != len(story.key):
        return f"hex:{story.key.hex()}"
    return " · ".join(cell.text for one, cell in _key_cells(story, layout) if not FILLER.fullmatch(one.label))


def _key_cells(story: Story, layout: Layout) -> list[tuple[Head, Cell]]:
    plan, key = layout.key, story.key
    if plan is None or plan.size_bytes != len(key):
        return []
    alone = Layout(key=plan, value=None)
    table = Table(alone, np.frombuffer(key, np.uint8).reshape(1, -1), np.zeros((1, 0), np.uint8))
    found = [head(alone, full_path("key", node.path)) for node in plan.leaves()[:MOST_HEADS]]
    return list(zip(found, cells(table, found, None, _names_over(story))[0], strict=True))


def _live_link(backend: Backend, story: Story) -> str:
    """The entry as it is now; empty where the map is gone."""
    if backend.past.is_alone:
        return ""
    try:
        number = live_map(story.series, story.timeline, backend.looker)
    except AppError:
        return ""
    return f"/maps/{number}/entries/{story.key.hex()}"


def _told(story: Story, summary: Summary) -> list[tuple[str, str, str, str]]:
    """(what, when, snapshot, remark)"""
    told = []
    first, last = summary.first_seen, summary.last_seen
    if first is not None:
        remark = (
            f"not yet in {summary.before_first.ref}, {times.utc(summary.before_first.taken_ns)}"
            if summary.before_first is not None
            else "no snapshot before says that it was not there: it may be older"
            if first != story.points()[0]
            else "the oldest snapshot has it: it may be older"
        )
        told.append(("first seen", times.utc(first.taken_ns), first.ref, remark))
    if last is not None:
        remark = "the newest snapshot has it"
        if summary.gone is not None:
            remark = f"vanished by {summary.gone.ref}, {times.utc(summary.gone.taken_ns)}"
        elif summary.unseen is not None:
            remark = f"not seen in {summary.unseen.ref}, which does not hold all entries"
        told.append(("last seen", times.utc(last.taken_ns), last.ref, remark))
    changed = summary.last_changed
    if first is not None:
        told.append(
            ("last changed", times.utc(changed.taken_ns), changed.ref, f"{times.ago(changed.taken_ns)} ago")
            if changed is not None
            else ("last changed", "never", "", "in all that is recorded")
        )
    return told


def _steps(story: Story, at: str, path: str) -> list[tuple[str, str, str]]:
    """(words, snapshot, when) of the changes beside a moment."""
    found = []
    what = f"change of {path.partition('.')[2] or path}" if path else "change"
    for back, words in ((True, f"previous {what}"), (False, f"next {what}")):
        step = story.change(at, path=path, back=back)
        if step is not None:
            found.append((words, step.at.ref, times.utc(step.at.taken_ns)))
    return found


def _lines(backend: Backend, story: Story, spans: list[Span], page: int) -> list[SpanLine]:
    """A page of the spans, newest first."""
    end = len(spans) - (page - 1) * PAGE_SPANS
    start = max(end - PAGE_SPANS, 0)
    records = _records(backend, story)
    lines = []
    places = {point.id: index for index, point in enumerate(story.points())}
    for at in range(end - 1, start - 1, -1):
        span, before = spans[at], spans[at - 1] if at else None
        until = span.until or span.at
        checked_ns = max(until.taken_ns, story.series.checked_ns)
        following = spans[at + 1].at.taken_ns if at + 1 < len(spans) else checked_ns
        line = SpanLine(
            at=span.at,
            until=until,
            clock=times.utc(span.at.taken_ns),
            lasted=show.duration(following - span.at.taken_ns) if following > span.at.taken_ns else "",
            there=span.value is not None,
            unseen=len(span.unseen),
            first=before is None,
            back=before is not None and before.value is None,
        )
        place = places[span.at.id]
        if place:
            earlier = story.points()[place - 1]
            line.before = earlier.ref
            within = [each for each in records if earlier.taken_ns < each.record.at_ns <= span.at.taken_ns]
            line.edits = within[:MOST_EDITS]
        _fill(story, line, before, span)
        lines.append(line)
    return lines


def _fill(story: Story, line: SpanLine, before: Span | None, span: Span) -> None:
    table = story.table(span)
    if table is None or table.layout.value is None:
        return
    earlier = story.table(before) if before is not None else None
    if earlier is None:
        line.parts = parts_of(table, names_of(span.at.boot_id))[0]
        return
    now, then = (names_of(each.at.boot_id) for each in (span, before or span))
    seconds = (span.at.taken_ns - before.at.taken_ns) / 1e9 if before is not None else 0
    same_layout = earlier.layout is table.layout
    for one, node in _heads(table.layout):
        here = slice(node.offset_bytes, node.end_bytes)
        if same_layout and bool((earlier.values[..., here] == table.values[..., here]).all()):
            continue
        new = column_cells(table, one, now)[0]
        try:
            old = column_cells(earlier, one, then)[0]
        except ColumnsError:  # the field came with another layout
            old = Cell("", "", "text", "")
        if (old.raw, old.title) == (new.raw, new.title):
            continue
        if len(line.moved) == SHOWN_FIELDS:
            line.more += 1
            continue
        step = NO_STEP
        if one.lens in COUNTED and _is_number(old.raw) and _is_number(new.raw):
            step = step_of(one, int(new.raw) - int(old.raw), seconds)
        line.moved.append(Moved(one.path, one.label, *told_apart(old, new), step))


def _heads(layout: Layout) -> list[tuple[Head, Node]]:
    if layout.value is None:
        return []
    nodes = list(islice(leaves(layout.value.root, ARRAY_ELEMENTS), MOST_HEADS))
    return [(head(layout, full_path("value", node.path)), node) for node in nodes]


def _is_number(text: str) -> bool:
    return text.removeprefix("-").isdecimal()


def _records(backend: Backend, story: Story) -> list[NumberedRecord]:
    """Edits of this key that the audit log knows, for those who may read it."""
    of = story.series.of
    if g.session is None or g.session.role not in Need.AUDIT.value or backend.past.is_alone:
        return []
    try:
        question = AskRecords(gate.credential(), limit=MOST_RECORDS, code="map.", key_hex=story.key.hex())
        found = backend.client.records(question).records
    except AppError:  # the history is there all the same
        return []
    return [
        each
        for each in found
        if (each.record.map.name, each.record.map.type) == (of.name, of.type) and each.record.code.endswith(".ok")
    ]
