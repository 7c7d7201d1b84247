"""`bpf-atlas restore`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from app.cli.compared import LIMIT_TEXT_ROWS, print_entries, print_heading
from app.cli.diff import kept_patterns
from app.cli.errors import HistoryAlone, WhichMap
from app.cli.layout import print_json, stream
from app.cli.past import Past, before_edit
from app.cli.plan import apply_plan, check_done, document, print_plan
from app.cli.progress import Progress
from app.cli.service import CLI, data_option
from app.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.history.snapshots import Kept
    from app.maps.opening import OpenMap
    from app.timeline.differ import Diff
    from app.timeline.sides import Side
    from app.wire.edits import Edit


@click.command("restore")
@click.argument("reference", metavar="SNAP")
@click.option("--only", default="", metavar="EXPR", help="Only entries for which EXPR holds in the snapshot.")
@click.option("--map", "target", default="", metavar="MAP", help="Into this map; else into the one that it is of.")
@click.option(
    "--reason", default="", metavar="TEXT", help="Why; it stands in the audit log. Needed unless it is a dry run."
)
@click.option("--no-ignore", is_flag=True, help="Bring back what `history ignore` keeps out of comparisons, too.")
@click.option("--dry-run", is_flag=True, help="Say what would change, and do nothing.")
@click.option("--no-snapshot", is_flag=True, help="Do not keep what the map holds before.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout: of a dry run that of `diff`.")
@data_option
def command(  # noqa: PLR0913  (one parameter an option)
    settings: Settings,
    *,
    reference: str,
    only: str,
    target: str,
    reason: str,
    no_ignore: bool,
    dry_run: bool,
    no_snapshot: bool,
    as_json: bool,
) -> None:
    """Bring a map back to a snapshot (s12, or MAP@WHEN), or part of it. It is a plan of edits, each of them on record.

    Only what differs is written, field by field where that can be; fields that comparisons of the map ignore stay as they
    are. What the map holds is kept as a snapshot first.

    \b
    Examples:
      bpf-atlas restore s12 --dry-run
      bpf-atlas restore name:flows@2h --only 'key.saddr in 10.0.0.0/8' --reason 'ticket 4411'
      bpf-atlas restore s12 --map 57 --reason 'the loader started anew'
    """
    if not dry_run and not reason.strip():
        raise click.UsageError("say why with --reason: it stands in the audit log")
    if only:
        from app.columns import where as filtering

        filtering.parse(only)
    with Past(settings) as past:
        if past.is_alone:
            raise HistoryAlone(Path(settings.history_file))
        kept = past.kept(reference)
        map_id = past.resolve(target) if target else living(past, kept)
        if not dry_run:
            _check_allowed(past, map_id)
        with past.open_map(map_id) as opened:
            a, b = _sides(past, opened, kept)
            ignore = () if no_ignore else kept_patterns(a, b)
            made, rows = _planned(past, opened, a, b, only, ignore, as_json=as_json, dry_run=dry_run)
        if dry_run:
            if not as_json:
                click.echo("\nnothing was written: this was a dry run", err=True)
            return
        facts = _apply(past, made, rows, reason, with_snapshot=not no_snapshot, as_json=as_json)
    check_done(facts, wanted=True)


def _check_allowed(past: Past, map_id: int) -> None:
    """Before anything is read or printed. raises EditsOff, NoSuchMap"""
    from app.maps.errors import NoSuchMap
    from app.uapi.errors import ObjectGone
    from app.wire.errors import EditsOff

    try:
        may = past.client.may(CLI, map_id)
    except ObjectGone as gone:
        raise NoSuchMap(f"#{map_id}") from gone
    if not may.edits:
        raise EditsOff(may.why)


def living(past: Past, kept: Kept) -> int:
    """Id of the live map that goes on with a snapshot's series. raises WhichMap"""
    from app.maps.catalog import listing
    from app.maps.host_names import boot_id
    from app.timeline.naming import live_map, title

    series = past.timeline.history.one_series(kept.series_id)
    of = series.of
    rows = listing(past.client).rows
    live = [one for one in (live_map(row) for row in rows) if (one.name, one.type) == (of.name, of.type)]
    pinned = {row.facts.id for row in rows if of.pin in {pin.path for pin in row.pins}}
    # The pin comes before the number: it may have gone to a successor since.
    found = [one.id for one in live if one.id in pinned]
    for last in (series, kept):
        if not found and last.boot_id == boot_id():
            found = [one.id for one in live if one.id == last.map_id]
    if not found and not of.pin:
        found = [one.id for one in live if one.owner == of.owner] or [one.id for one in live]
    if len(found) != 1:
        raise WhichMap(title(of), tuple(found))
    return found[0]


def _sides(past: Past, opened: OpenMap, kept: Kept) -> tuple[Side, Side]:
    """The map as it is, and the snapshot. raises CannotRestore"""
    from app.timeline import restore, sides

    restore.check(opened.kind, kept.boot_id)
    for remark in restore.remarks(opened.kind):
        click.echo(f"note: {remark}", err=True)
    progress = Progress(f"reading map {opened.facts.id}", opened.entries)
    a = sides.live(opened, past.timeline, progress=progress)
    progress.done()
    return a, sides.stored(kept, past.timeline, past)


def _planned(
    past: Past, opened: OpenMap, a: Side, b: Side, only: str, ignore: Sequence[str], *, as_json: bool, dry_run: bool
) -> tuple[Diff, tuple[Edit, ...]]:
    """What leads from the map to the snapshot, printed, and as edits. raises CannotRestore, NothingToRestore, BadRows"""
    from app.maps.bulk import edits_of
    from app.timeline import restore, told
    from app.timeline.differ import compare
    from app.timeline.errors import NothingToRestore

    made = restore.only(compare(a, b, past.timeline, ignore=ignore), only)
    if as_json and dry_run:
        stream(told.diff_json(made))
    if not as_json:
        shown = restore.only(compare(a, b, past.timeline, ignore=ignore, bare=False), only)
        print_heading(shown)
        print_entries(shown, LIMIT_TEXT_ROWS)
    if dry_run:
        return made, ()
    text = b"".join(restore.patch(made)).decode()
    if not text:
        raise NothingToRestore
    return made, edits_of(opened, text)


def _apply(past: Past, made: Diff, rows: tuple[Edit, ...], reason: str, *, with_snapshot: bool, as_json: bool) -> Any:
    from app.maps.bulk import in_questions

    client, ref = past.client, made.b.ref
    facts = client.plan_make(CLI, rows[0].map, label=f"restore {ref}", reason=reason)
    for some in in_questions(rows):
        facts = client.plan_rows(CLI, facts.id, some)
    client.plan_step(CLI, facts.id, "check")
    before = before_edit(past, rows[0].map.id) if with_snapshot else ""
    facts = apply_plan(client, facts.id)
    if as_json:
        print_json({**document(facts), "snapshot": ref, "before": before or None})
    else:
        click.echo()
        print_plan(facts, as_json=False)
    return facts
