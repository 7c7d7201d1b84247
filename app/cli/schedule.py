"""`bpf-atlas history schedule`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from app.cli.errors import NoService, NotDone
from app.cli.layout import columns, harmless, print_json, size
from app.cli.past import Past, is_recorded, recorder
from app.cli.service import data_option
from app.settings import Settings
from app.wire.errors import Declined

if TYPE_CHECKING:
    from app.wire.recorder import ScheduleFacts


@click.command("schedule")
@click.option(
    "--try", "file", type=click.Path(path_type=Path, exists=True, dir_okay=False), metavar="FILE",
    help="As it would be under the rules of a file; nothing is changed.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@data_option
def command(settings: Settings, *, file: Path | None, as_json: bool) -> None:
    """Which maps are recorded, how often and by which rule, and what 30 days of that take.

    Rules are a file in the data directory, record.toml, or are written on the page What is recorded.

    \b
    Examples:
      bpf-atlas history schedule
      bpf-atlas history schedule --try record.toml
    """
    if not is_recorded(settings):
        raise NoService(settings.data)
    with recorder(settings) as client:
        try:
            found = client.schedule(file.read_text() if file else None)
        except (Declined, UnicodeDecodeError) as refusal:
            raise NotDone(f"{file}: {refusal}") from refusal
    with Past(settings) as past:
        rows = _rows(past, found)
    if as_json:
        told = {"rules": found.told, "source": found.source, "file": found.file}
        print_json({**told, "month_bytes": sum(each["month_bytes"] or 0 for each in rows), "maps": rows})
        return
    recorded = [each for each in rows if not each["why_not"]]
    if recorded:
        heads = ["MAP", "EVERY", "BY", "KEPT IN A DAY", "A DAY TAKES", "30 DAYS TAKE"]
        click.echo(columns(heads, [_cells(each) for each in recorded], right=frozenset(heads[3:])))
    for each in rows:
        if each["why_not"]:
            click.echo(f"not recorded: {harmless(each['map'])}: {harmless(each['why_not'])}")
    click.echo(harmless(f"{_total(recorded)}; {f'tried: {file}' if file else found.told}"))


def _total(recorded: list[dict[str, Any]]) -> str:
    known = [each["month_bytes"] for each in recorded if each["month_bytes"] is not None]
    total = f"{len(recorded):,} maps"
    if known:
        total += f", about {size(sum(known))} in 30 days"
    if len(known) < len(recorded):
        total += (
            f", {len(recorded) - len(known):,} with less than ten minutes of history{' not counted' if known else ''}"
        )
    return total


def _rows(past: Past, found: ScheduleFacts) -> list[dict[str, Any]]:
    """One for each map, those that take most first."""
    from app.timeline.forecast import forecasts

    rows = [
        {
            "map": each.title,
            "map_id": each.paced.map_id,
            "every_s": each.paced.interval_s or None,
            "lately_s": each.paced.lately_s or None,
            "by": each.paced.by,
            "why_not": each.paced.why_not,
            "kept_in_a_day": each.snapshots,
            "day_bytes": each.day_bytes,
            "month_bytes": each.month_bytes,
        }
        for each in forecasts(past.timeline_or_none(), found.maps, time.time_ns())
    ]
    return sorted(rows, key=lambda each: (-(each["month_bytes"] or 0), each["map"]))


def _cells(row: dict[str, Any]) -> list[str]:
    unknown = row["month_bytes"] is None
    return [
        row["map"],
        f"{row['every_s']:,.0f} s" + (f", lately {row['lately_s']:,.0f} s" if row["lately_s"] else ""),
        row["by"] or "no rule",
        f"{row['kept_in_a_day']:,}",
        "-" if unknown else size(row["day_bytes"]),
        "-" if unknown else size(row["month_bytes"]),
    ]
