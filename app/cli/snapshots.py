"""`bpf-atlas snapshots`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from app.cli.layout import columns, harmless, print_json, size
from app.cli.past import Past
from app.cli.service import data_option
from app.settings import Settings

if TYPE_CHECKING:
    from app.history.errors import Damaged

LIMIT = 100
EVERYTHING = 1 << 40


@click.command("snapshots")
@click.argument("reference", metavar="[MAP]", required=False)
@click.option("--json", "as_json", is_flag=True, help="One JSON list on stdout, of all unless there is a --limit.")
@click.option("--limit", type=click.IntRange(0), metavar="N", help="At most so many, 0 for all.  [default: 100]")
@data_option
def command(settings: Settings, *, reference: str | None, as_json: bool, limit: int | None) -> None:
    """List the snapshots of one map, or of all, newest first.

    The map may be gone by now: a pin path or name:NAME names its history all the same.

    \b
    Examples:
      bpf-atlas snapshots
      bpf-atlas snapshots name:flows --limit 10
      bpf-atlas snapshots --json | jq '.[] | select(.label != "")'
    """
    shown = limit if limit is not None else 0 if as_json else LIMIT
    damaged: list[Damaged] = []
    with Past(settings) as past:
        facts, more = _listed(past, reference, shown or EVERYTHING, damaged)
    if as_json:
        print_json(facts)
    elif facts:
        heads = ["SNAP", "TIME (UTC)", "MAP", "ENTRIES", "READ", "WHY", "BY", "ADDED", "LABEL"]
        click.echo(columns(heads, [_row(each) for each in facts], right=frozenset({"ENTRIES", "ADDED"})))
        if more:
            click.echo("… there are older ones; --limit N shows more, --limit 0 all", err=True)
    else:
        click.echo("no snapshot yet; `bpf-atlas serve` takes them, and so does `bpf-atlas snapshot`", err=True)
    for each in damaged:
        click.echo(f"bpf-atlas: {harmless(str(each))}", err=True)


def _listed(past: Past, reference: str | None, limit: int, damaged: list[Damaged]) -> tuple[list[dict[str, Any]], bool]:
    """(facts, whether there are more)."""
    from app.timeline.told import snapshots_told

    if reference is None:
        timeline = past.timeline_or_none()
        if timeline is None:
            return [], False
        series_id = 0
    else:
        timeline = past.timeline
        series_id = past.series(reference).id
    kept = timeline.history.snapshots(series_id=series_id, limit=limit + 1, damaged=damaged)
    return snapshots_told(timeline.history, kept[:limit]), len(kept) > limit


def _row(facts: dict[str, Any]) -> list[str]:
    return [
        facts["ref"],
        facts["taken_at"].replace("T", " ").removesuffix("Z"),
        facts["series"]["title"],
        f"{facts['entries']:,}",
        facts["completeness"],
        facts["trigger"],
        facts["author"] or "-",
        size(facts["bytes_added"]),
        facts["label"] or "-",
    ]
