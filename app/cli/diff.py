"""`bpf-atlas diff`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from app.cli.compared import LIMIT_TEXT_ROWS, print_entries, print_heading
from app.cli.layout import harmless, stream
from app.cli.past import Past, is_past
from app.cli.progress import Progress
from app.cli.service import data_option
from app.errors import AppError
from app.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.timeline.differ import Diff
    from app.timeline.sides import Side
    from app.timeline.timeline import Timeline

KINDS = ("added", "removed", "changed")


@click.command("diff")
@click.argument("a", metavar="SIDE")
@click.argument("b", metavar="SIDE")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@click.option("--summary", is_flag=True, help="Counts, and each field that differs anywhere; no entries.")
@click.option(
    "--patch", is_flag=True, help="Rows for `plan make`, one a line, that make the first side hold the second."
)
@click.option("--ignore", multiple=True, metavar="PATTERN", help="Leave out these paths, such as value.packets, too.")
@click.option("--no-ignore", is_flag=True, help="Heed no pattern that is kept for the map.")
@click.option("--only", type=click.Choice(KINDS), help="List these entries alone.")
@click.option("--where", default="", metavar="EXPR", help="List only entries for which EXPR holds on either side.")
@click.option("--limit", type=click.IntRange(0), metavar="N", help="Of the text: at most so many entries, 0 for all.")
@data_option
def command(  # noqa: PLR0913  (one parameter an option)
    settings: Settings,
    *,
    a: str,
    b: str,
    as_json: bool,
    summary: bool,
    patch: bool,
    ignore: tuple[str, ...],
    no_ignore: bool,
    only: str | None,
    where: str,
    limit: int | None,
) -> None:
    """Compare two sides: which entries were added, removed, changed, and in which fields.

    A side is a snapshot (s12), a map now (42, name:flows, a pin path) or a map at a time (MAP@WHEN). Layouts that differ are
    compared by the names of their fields.

    \b
    Examples:
      bpf-atlas diff s12 name:flows
      bpf-atlas diff name:flows@2h name:flows@10m --ignore value.last_seen --summary
      bpf-atlas diff 42 43 --json
      bpf-atlas diff 42 s12 --patch | bpf-atlas plan make 42 - --reason 'back to s12'
    """
    if as_json and patch:
        raise click.UsageError("one form at a time: --json and --patch")
    if summary and (patch or only or where):
        raise click.UsageError("--summary counts all: it goes with neither --patch nor --only nor --where")
    if where:
        from app.columns import where as filtering

        filtering.parse(where)  # a typing error is found before a large map is read
    with Past(settings) as past:
        timeline = _timeline(past, a, b)
        made = compared(past, timeline, a, b, ignore=ignore, kept_rules=not no_ignore, bare=as_json or patch)
        shown = narrowed(made, only, where)
        if patch:
            _print_patch(shown)
        elif as_json:
            _print_json(made, shown, summary=summary)
        else:
            print_heading(made)
            if not summary:
                print_entries(shown, LIMIT_TEXT_ROWS if limit is None else limit)


def _timeline(past: Past, *texts: str) -> Timeline | None:
    """The history; two live maps do without one. raises what opening it raises, where a side needs it"""
    if any(is_past(text.strip()) for text in texts):
        return past.timeline
    try:
        return past.timeline_or_none()
    except AppError as problem:
        click.echo(f"bpf-atlas: what is to be left out of comparisons is not known: {harmless(str(problem))}", err=True)
        return None


def compared(
    past: Past, timeline: Timeline | None, a: str, b: str, *, ignore: Sequence[str], kept_rules: bool, bare: bool
) -> Diff:
    """The two sides that two texts name, compared. raises BadSide, BadWhen, Unlike and what maps and snapshots raise"""
    from app.timeline.differ import compare
    from app.timeline.sides import side

    sides = []
    for text in (a, b):
        progress = Progress(f"reading {harmless(text)}", None)
        sides.append(side(text, timeline, past, progress=progress))
        progress.done()
    rules = [*ignore, *(kept_patterns(*sides) if kept_rules else ())]
    return compare(sides[0], sides[1], timeline, ignore=rules, bare=bare)


def kept_patterns(*sides: Side) -> list[str]:
    """What comparisons of these maps leave out, as `history ignore` set it."""
    from app.timeline.series_settings import settings_of

    series = {side.series.id: side.series for side in sides if side.series is not None}
    return [pattern for each in series.values() for pattern in settings_of(each).ignore]


def narrowed(made: Diff, only: str | None, where: str) -> Diff:
    """What is to be listed of it. raises WhereError and the filter's other errors"""
    from dataclasses import replace

    from app.timeline.listing import either

    chosen = either(made, where)
    nothing = slice(0, 0)
    if only in {"removed", "changed"}:
        chosen = replace(chosen, added=chosen.added.take(nothing))
    if only in {"added", "changed"}:
        chosen = replace(chosen, removed=chosen.removed.take(nothing))
    if only in {"added", "removed"}:
        chosen = replace(chosen, old=chosen.old.take(nothing), new=chosen.new.take(nothing), fields=())
    return chosen


def _print_patch(shown: Diff) -> None:
    from app.timeline.restore import patch

    stream(patch(shown))
    if len(shown.removed) and not shown.b.is_complete:
        click.echo(
            f"bpf-atlas: {len(shown.removed):,} entries are not seen in {harmless(shown.b.ref)}, which does not hold all; they stay",
            err=True,
        )


def _print_json(made: Diff, shown: Diff, *, summary: bool) -> None:
    from app.timeline import told

    stream([told.summary_json(made)] if summary else told.diff_json(shown, told.heading(made)))
