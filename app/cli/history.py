"""`bpf-atlas history`."""

from __future__ import annotations

import json
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from app.cli import schedule
from app.cli.errors import HistoryAlone, HistoryDamaged, NotDone, NotOnPostgresql
from app.cli.layout import harmless, print_json, size
from app.cli.past import Past, is_recorded, new_file, private, recorder, told, wait, writing
from app.cli.progress import Progress
from app.cli.service import CLI, data_option
from app.cli.story import changing, document, print_story, story_of
from app.settings import Settings

if TYPE_CHECKING:
    from app.history.history import History
    from app.history.series import SeriesFacts
    from app.history.verify import Problem
    from app.wire.recorder import RecorderFacts


@click.group("history")
def command() -> None:
    """Look after the history: how its recorder is, verify, back up, put back, tidy.

    And follow one key through it.

    \b
    Examples:
      bpf-atlas history state
      bpf-atlas history schedule
      bpf-atlas history verify
      bpf-atlas history backup history-monday.db
      bpf-atlas history ignore name:flows value.packets value.last_seen
      bpf-atlas history find name:flows '10.0.0.1, 80, 0'
    """


# ---- the recorder ----------------------------------------------------------------------------------------------------


@command.command("state")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@data_option
def state(settings: Settings, *, as_json: bool) -> None:
    """Say what is recorded and what is not, at what cost, and what is wrong.

    \b
    Examples:
      bpf-atlas history state
    """
    if not is_recorded(settings):
        from app.cli.errors import NoService

        raise NoService(settings.data)
    with recorder(settings) as client:
        facts = client.state()
    if as_json:
        print_json(_state_document(facts))
        return
    rows = [
        ("records", "all the time" if facts.recording else "on demand alone"),
        ("maps", f"{facts.maps:,} recorded, {len(facts.left_out):,} left out"),
        (
            "taken",
            f"{facts.taken:,} snapshots since the start" + (f", {facts.failed:,} failed" if facts.failed else ""),
        ),
        (
            "processor",
            f"{facts.cpu_share:.2%} of one core; {facts.cpu_budget:.0%} over time, of which 20 s may be saved up",
        ),
        ("disk", f"{size(facts.used_bytes)} of {size(facts.budget_bytes)}"),
        ("thinning", facts.retention),
        ("read", f"{facts.scrub} (once a day, for damage)"),
        ("rules", facts.rules),
        ("problem", facts.problem),
    ]
    rows += [
        ("stretched", f"{each.name}: every {each.actual_s:,.0f} s instead of {each.wanted_s:,.0f}")
        for each in facts.stretched
    ]
    rows += [("damaged", each) for each in facts.damaged]
    rows += [("left out", f"{name}: {why}") for name, why in facts.left_out]
    for name, text in rows:
        if text:
            click.echo(f"{name:>10}  {harmless(text)}")


def _state_document(facts: RecorderFacts) -> dict[str, Any]:
    plain = {name: getattr(facts, name) for name in type(facts).__struct_fields__}
    plain["left_out"] = [{"map": name, "why": why} for name, why in facts.left_out]
    plain["stretched"] = [
        {"map": each.name, "wanted_s": each.wanted_s, "actual_s": each.actual_s} for each in facts.stretched
    ]
    return plain


@command.command("tidy")
@data_option
def tidy(settings: Settings) -> None:
    """Thin by age and collect what nothing needs any more, now instead of within the hour.

    \b
    Examples:
      bpf-atlas history tidy
    """
    with Past(settings) as past:
        if is_recorded(settings):
            with recorder(settings) as client:
                done = wait(client, client.tidy(), "tidying")
                if done.problems:
                    raise NotDone(done.problems[0])
                click.echo(harmless(client.state().retention))
            return
        from app.history import retention

        with writing(past) as writer:
            database = writer.database
            gone = retention.thin(database, time.time_ns())
            collected = retention.collect(database)
            database.shrink()
            database.checkpoint()
            used = retention.used_bytes(database)
    click.echo(
        f"{gone:,} snapshots thinned, {collected.chunks:,} chunks of {size(collected.bytes)} collected; it takes {size(used)} now"
    )


# ---- the database ----------------------------------------------------------------------------------------------------


@command.command("verify")
@click.option("--file", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="A copy, or an export.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@data_option
def verify(settings: Settings, *, file: Path | None, as_json: bool) -> None:
    """Read all of the history, and name whatever is not what was stored, with the snapshots that need it.

    \b
    Examples:
      bpf-atlas history verify
      bpf-atlas history verify --file history-monday.db
    """
    with Past(settings) as past:
        if file is None:
            problems, snapshots = _verified(past.timeline.history)
            where = "the history"
        else:
            problems, snapshots = _verified_file(file)
            where = str(file)
    if as_json:
        print_json(
            {"ok": not problems, "snapshots": snapshots, "problems": [_problem_facts(each) for each in problems]}
        )
    else:
        for each in problems:
            touched = f" ({', '.join(each.snapshots)})" if each.snapshots else ""
            click.echo(harmless(f"{each.what}: {each.why}{touched}"))
    if problems:
        raise HistoryDamaged(where, len(problems))
    if not as_json:
        click.echo(f"{snapshots:,} snapshots, and all of them is what was stored")


def _problem_facts(problem: Problem) -> dict[str, Any]:
    return {"what": problem.what, "why": problem.why, "snapshots": list(problem.snapshots)}


def _verified(history: History) -> tuple[list[Problem], int]:
    """(problems, how many snapshots there are)."""
    from app.history import verify as verifying

    progress = Progress("verifying", None)
    with history.reading() as connection:
        problems = list(
            verifying.verify(connection, lambda what, done, of: progress.say(f"{what}, {done:,} of {of:,}"))
        )
    progress.done()
    extents = {} if problems else history.extents()
    return problems, sum(each.snapshots for each in extents.values())


def _verified_file(file: Path) -> tuple[list[Problem], int]:
    from app.history.database import open_reading, sqlite_url
    from app.history.history import History

    with closing(History(open_reading(sqlite_url(file.absolute())))) as history:
        return _verified(history)


@command.command("backup")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@data_option
def backup(settings: Settings, *, file: Path) -> None:
    """Copy the history as of one moment into a file, also while it is written.

    \b
    Examples:
      bpf-atlas history backup /var/backups/history-monday.db
    """
    _check_sqlite(settings, "pg_dump")
    from app.history import migrate

    with Past(settings) as past:
        source = past.timeline.history.database.path
        with private():
            migrate.copy(source, new_file(file))
    click.echo(f"{size(file.stat().st_size)} written to {file}", err=True)


@command.command("restore")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--force", is_flag=True, help="Also a file in which something is damaged.")
@data_option
def restore(settings: Settings, *, file: Path, force: bool) -> None:
    """Put a backup in the place of the history, while no service runs. What was there is kept beside it.

    \b
    Examples:
      bpf-atlas history restore /var/backups/history-monday.db
    """
    _check_sqlite(settings, "pg_restore")
    if settings.is_alone:
        raise HistoryAlone(Path(settings.history_file))
    if is_recorded(settings):
        from app.cli.errors import DataTaken

        raise DataTaken(settings.data)
    from app.history import backup as backups
    from app.history.errors import TooOld
    from app.timeline import place

    try:
        problems, snapshots = _verified_file(file)
    except TooOld:
        problems, snapshots = [], 0  # it is brought up to date, and kept as it was, when the service starts
    if problems and not force:
        raise HistoryDamaged(f"{file}, which was not put in place (--force does that),", len(problems))
    with Past(settings) as past:
        told(past, "restore", f"{file}, with {snapshots:,} snapshots")
    kept = backups.replace(Path(settings.history_url.removeprefix("sqlite:///")), file)
    place.prepare(settings)
    click.echo(f"{file} is the history now, with {snapshots:,} snapshots")
    if kept is not None:
        click.echo(f"what was there is kept as {kept}", err=True)


def _check_sqlite(settings: Settings, program: str) -> None:
    """Raises  NotOnPostgresql"""
    if not settings.history_url.startswith("sqlite:"):
        raise NotOnPostgresql(program)


# ---- one map's -------------------------------------------------------------------------------------------------------


@command.command("ignore")
@click.argument("reference", metavar="MAP")
@click.argument("patterns", metavar="[PATTERN]...", nargs=-1)
@click.option("--clear", is_flag=True, help="Leave out nothing any more.")
@click.option("--json", "as_json", is_flag=True, help="One JSON list on stdout.")
@data_option
def ignore(settings: Settings, *, reference: str, patterns: tuple[str, ...], clear: bool, as_json: bool) -> None:
    """Show or set what comparisons of a map leave out: counters, timestamps. Patterns take the place of those before.

    \b
    Examples:
      bpf-atlas history ignore name:flows
      bpf-atlas history ignore name:flows value.packets 'value.slots[*]'
      bpf-atlas history ignore name:flows --clear
    """
    if patterns and clear:
        raise click.UsageError("one at a time: patterns, or --clear")
    from app.timeline.series_settings import settings_of

    with Past(settings) as past:
        series = past.series(reference)
        if patterns or clear:
            _set_ignored(past, series, patterns)
        else:
            patterns = settings_of(series).ignore
    if as_json:
        print_json(list(patterns))
    else:
        for pattern in patterns:
            click.echo(harmless(pattern))
        if not patterns:
            click.echo("comparisons of this map leave out nothing", err=True)


def _set_ignored(past: Past, series: SeriesFacts, patterns: tuple[str, ...]) -> None:
    for pattern in patterns:
        if not pattern.startswith(("value", "key", "*")):
            raise click.UsageError(
                f"{harmless(pattern)!r} is no pattern of paths, such as value.packets or value.*.bytes"
            )
    if is_recorded(past.settings):
        with recorder(past.settings) as client:
            client.ignore(CLI, series.id, patterns)
        return
    import msgspec

    from app.timeline import changes
    from app.timeline.series_settings import settings_of

    with writing(past) as writer:
        now = writer.one_series(series.id)
        told(past, "ignore", changes.left_out(now, patterns))
        changed = msgspec.structs.replace(settings_of(now), ignore=patterns)
        writer.touch(replace(now, settings=msgspec.msgpack.encode(changed)))


@command.command("find")
@click.argument("reference", metavar="MAP")
@click.argument("key", metavar="KEY")
@click.option(
    "--where-changed", "path", default="", metavar="PATH", help="Only the moments at which this field changed."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@data_option
def find(settings: Settings, *, reference: str, key: str, path: str, as_json: bool) -> None:
    """Follow one key through the history of its map: first seen, last seen, last changed, and what it held when.

    KEY is JSON as `dump` prints keys, hex:…, or the fields in order.

    \b
    Examples:
      bpf-atlas history find name:flows '10.0.0.1, 80, 0'
      bpf-atlas history find 42 7 --where-changed value.limit
    """
    with Past(settings) as past:
        story = story_of(past, reference, key)
        spans = story.spans()
        summary = story.summary(spans)
        shown = changing(story, spans, path) if path else spans
        if path:  # the field's changes, not those of its neighbours
            last = shown[-1].at if len(shown) > 1 else None
            summary = replace(summary, last_changed=last, changes=max(len(shown) - 1, 0))
        if as_json:
            # Not by print_json, which ends at 64 bits.
            click.echo(json.dumps(document(story, summary, shown, path), indent=2))
        else:
            print_story(story, summary, shown, path)


command.add_command(schedule.command)
