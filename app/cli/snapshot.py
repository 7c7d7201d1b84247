"""`bpf-atlas snapshot`."""

from __future__ import annotations

import os
import shutil
import sys
import uuid
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from app.cli.exits import NOT_SO, REFUSED
from app.cli.layout import harmless, print_json
from app.cli.past import NOT_KEPT, SNAPSHOT, Past, is_recorded, new_file, private, recorder, take, told, wait, writing
from app.cli.progress import Progress
from app.cli.service import CLI, data_option
from app.errors import AppError, UsageError
from app.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.history.errors import Damaged
    from app.history.snapshots import Kept

EVERYTHING = 1 << 40
GONE = ": no map #"
"""In the sentence about a map that went away; see app.maps.errors.NoSuchMap."""
MOST_LABEL_CHARS = 200
SQLITE_MAGIC = b"SQLite format 3\0"


class SnapshotCommand(click.Command):
    """Takes snapshots; a first word that names one of `more` is a command of its own instead."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.more: dict[str, click.Command] = {}

    def add(self, command: click.Command) -> click.Command:
        """One more."""
        self.more[command.name or ""] = command
        return command

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Its own, or that of the command that the first word names."""
        if args and args[0] in self.more:
            return self.more[args[0]].make_context(f"{info_name} {args[0]}", args[1:], parent, **extra)
        return super().make_context(info_name, args, parent, **extra)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The options, then the commands."""
        super().format_options(ctx, formatter)
        with formatter.section("Commands"):
            formatter.write_dl([(name, one.get_short_help_str(90)) for name, one in self.more.items()])


@click.command("snapshot", cls=SnapshotCommand)
@click.argument("references", metavar="MAP...", nargs=-1)
@click.option("--all", "every", is_flag=True, help="Of every map whose entries can be kept.")
@click.option("--label", default="", metavar="TEXT", help="A name; what has one is not thinned by age.")
@click.option("--json", "as_json", is_flag=True, help="One JSON list on stdout.")
@data_option
def command(settings: Settings, *, references: tuple[str, ...], every: bool, label: str, as_json: bool) -> None:
    """Take a snapshot of each map, export and import snapshots, label and delete them.

    Prints the reference of each, such as s12; on a terminal its map and number of entries beside it. The recorder of the
    running service takes them; without a service this command does.

    \b
    Examples:
      bpf-atlas snapshot 42 name:flows
      bpf-atlas snapshot --all --label 'before the rollout'
      bpf-atlas snapshot export s12 s15 --output flows.atlas
      bpf-atlas snapshot import flows.atlas
      bpf-atlas snapshot label s12 'known good'
      bpf-atlas snapshot delete s13
    """
    if bool(references) == every:
        raise click.UsageError("say of which maps: MAP …, or --all")
    _check_label(label)
    with Past(settings) as past:
        ids, problems = _every(past) if every else _resolved(past, references)
        taken = take(past, ids, label=label)
    problems += [(sentence, _status(sentence)) for sentence in taken.problems]
    if as_json and (taken.facts or not problems):
        print_json(taken.facts)
    elif not as_json:
        for facts in taken.facts:
            click.echo(harmless(_line(facts)))
    for sentence, _ in problems:
        click.echo(f"bpf-atlas: {harmless(sentence)}", err=True)
    # What went away, or turned out not to be of a kind that can be kept, is no failure of "all".
    statuses = {
        status for sentence, status in problems if not every or not any(part in sentence for part in (NOT_KEPT, GONE))
    }
    if statuses:
        sys.exit(REFUSED if statuses == {REFUSED} else NOT_SO)


def _check_label(label: str) -> None:
    if len(label) > MOST_LABEL_CHARS:
        raise click.UsageError(f"a label has at most {MOST_LABEL_CHARS} characters, this one has {len(label)}")


def _resolved(past: Past, references: tuple[str, ...]) -> tuple[list[int], list[tuple[str, int]]]:
    """(ids, what is wrong with other references). raises BadReference"""
    from app.cli.exits import status_of

    ids: list[int] = []
    problems: list[tuple[str, int]] = []
    for reference in references:
        try:
            ids.append(past.resolve(reference))
        except UsageError:
            raise
        except AppError as problem:
            problems.append((str(problem), status_of(problem)))
    return list(dict.fromkeys(ids)), problems


def _every(past: Past) -> tuple[list[int], list[tuple[str, int]]]:
    from app.maps.kinds import Enumerate, kind_of

    unlisted = {Enumerate.NOTHING, Enumerate.RING}
    return [facts.id for facts in past.client.maps().maps if kind_of(facts.type).enumerate not in unlisted], []


def _status(sentence: str) -> int:
    return REFUSED if NOT_KEPT in sentence else NOT_SO


def _line(facts: dict[str, Any]) -> str:
    if not sys.stdout.isatty():
        return str(facts["ref"])
    rest = "" if facts["exact"] else f", {facts['completeness']}"
    return f"{facts['ref']:<8}{facts['series']['title']}  {facts['entries']:,} entries{rest}"


# ---- files -----------------------------------------------------------------------------------------------------------


@click.command("export")
@click.argument("references", metavar="SNAP...", nargs=-1)
@click.option("--map", "of", default="", metavar="MAP", help="Instead: every snapshot of this map.")
@click.option(
    "--output",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="The file to make; a small history.",
)
@data_option
def export(settings: Settings, *, references: tuple[str, ...], of: str, output: Path) -> None:
    """Write snapshots into one file, to keep or to attach to a report.

    It holds what the maps held, with their types. `bpf-atlas serve --history FILE` opens it anywhere, without root.

    \b
    Examples:
      bpf-atlas snapshot export s12 s15 --output flows.atlas
      bpf-atlas snapshot export --map name:flows --output flows.atlas
    """
    if bool(references) == bool(of):
        raise click.UsageError("say what to export: SNAP …, or --map MAP")
    with Past(settings) as past:
        new_file(output)
        damaged: list[Damaged] = []
        if of:
            series = past.series(of)
            kept = past.timeline.history.snapshots(series_id=series.id, limit=EVERYTHING, damaged=damaged)
        else:
            kept = [past.kept(reference) for reference in references]
        unique = list({each.id: each for each in kept}.values())
        from app.history import archive

        progress = Progress("exporting", None)
        with private():
            archive.export(
                past.timeline.history, unique, output, lambda done, of: progress.say(f"{done:,} of {of:,} snapshots")
            )
        progress.done()
    click.echo(f"{len(unique):,} {_snapshots(len(unique))} written to {output}", err=True)
    _tell([str(each) for each in damaged])


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--json", "as_json", is_flag=True, help="One JSON list on stdout.")
@data_option
def import_(settings: Settings, *, file: Path, as_json: bool) -> None:
    """Take the snapshots of a file into the history; those that it has already are left out.

    Prints the references that they have here.

    \b
    Examples:
      bpf-atlas snapshot import flows.atlas
    """
    _check_file(file)
    with Past(settings) as past:
        facts, problems = _imported(past, file)
    if as_json:
        print_json(facts)
    else:
        for each in facts:
            click.echo(harmless(_line(each)))
        if not facts and not problems:
            click.echo("nothing is new in it: the history has these snapshots already", err=True)
    _tell(problems)


def _tell(problems: Sequence[str]) -> None:
    """Say what was left out, and that it is not all."""
    for sentence in problems:
        click.echo(f"bpf-atlas: {harmless(sentence)}", err=True)
    if problems:
        sys.exit(NOT_SO)


def _check_file(file: Path) -> None:
    """Look at its first bytes only: as root nothing more is made of a stranger's file. raises NotAHistory"""
    from app.history.errors import NotAHistory

    with file.open("rb") as opened:
        if opened.read(len(SQLITE_MAGIC)) != SQLITE_MAGIC:
            raise NotAHistory(str(file), "it is no SQLite database")
    wal = file.with_name(f"{file.name}-wal")
    if wal.exists() and wal.stat().st_size:
        raise NotAHistory(str(file), f"it is in use, with {wal.name} beside it: take `bpf-atlas history backup`")


def _imported(past: Past, file: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """(snapshots that are new, what is wrong with those that were left out)."""
    from app.timeline.told import snapshots_told

    if not past.is_alone and is_recorded(past.settings):
        refs, left_out = _by_recorder(past.settings, file)
        history = past.timeline.history
        return snapshots_told(history, [history.snapshot(ref) for ref in refs]), left_out
    from app.timeline import changes, strangers

    most_bytes = past.settings.record_memory_mib << 20
    progress = Progress("importing", None)
    with closing(strangers.opened(file.absolute(), most_bytes)) as source, writing(past) as writer:
        kept, problems = strangers.listed(source)
        told(past, "import", changes.taken_in(source, kept))
        made, left_out = strangers.take_in(
            source,
            writer,
            kept,
            lambda done, of: progress.say(f"{done:,} of {of:,} snapshots"),
            most_bytes=most_bytes,
        )
        progress.done()
        return snapshots_told(writer, made), [*problems, *left_out]


def _by_recorder(settings: Settings, file: Path) -> tuple[tuple[str, ...], list[str]]:
    """(references of what the recorder took in, what it left out): it reads a copy, with its own few rights.

    raises  CannotWrite
    """
    from app.cli.errors import CannotWrite

    folder = settings.data / "recorder"
    copy = folder / f"import-{uuid.uuid4().hex}.db"
    try:
        with private():
            shutil.copyfile(file, copy)
        owner = folder.stat()
        os.chown(copy, owner.st_uid, owner.st_gid)
        with recorder(settings) as client:
            done = wait(client, client.import_file(CLI, copy.name), "importing")
    except OSError as problem:
        copy.unlink(missing_ok=True)
        raise CannotWrite(copy, problem.strerror or str(problem)) from problem
    except AppError:
        copy.unlink(missing_ok=True)
        raise
    return done.refs, [each.replace(str(copy), str(file)) for each in done.problems]


# ---- one by one ------------------------------------------------------------------------------------------------------


@click.command("label")
@click.argument("reference", metavar="SNAP")
@click.argument("text")
@data_option
def label_(settings: Settings, *, reference: str, text: str) -> None:
    """Give a snapshot a label, or take it away with ''. What has one is not thinned by age.

    \b
    Examples:
      bpf-atlas snapshot label s12 'known good'
      bpf-atlas snapshot label name:flows@2h 'before the incident'
    """
    _check_label(text)
    from app.timeline import changes

    with Past(settings) as past:
        kept: Kept = past.kept(reference)
        if is_recorded(settings):
            with recorder(settings) as client:
                client.label(CLI, kept.ref, text)
        else:
            with writing(past) as writer:
                told(past, "label", changes.labelled(writer, kept.ref, text))
                writer.label(kept.ref, text)
    click.echo(f"{kept.ref} {'is labelled ' + harmless(text) if text else 'has no label'}")


@click.command("delete")
@click.argument("references", metavar="SNAP...", nargs=-1, required=True)
@data_option
def delete(settings: Settings, *, references: tuple[str, ...]) -> None:
    """Delete snapshots for good; nothing is deleted where one of them is not there.

    \b
    Examples:
      bpf-atlas snapshot delete s13 s14
    """
    refs = tuple(dict.fromkeys(references))
    for reference in refs:
        if not SNAPSHOT.fullmatch(reference):
            raise click.UsageError(f"{harmless(reference)!r} is no reference of a snapshot, such as s12")
    from app.history.errors import Damaged
    from app.timeline import changes

    with Past(settings) as past:
        for reference in refs:
            try:
                past.timeline.history.snapshot(reference)
            except Damaged:
                continue  # it is there, and may well be what is to go
        if is_recorded(settings):
            with recorder(settings) as client:
                gone = sum(client.forget(CLI, refs[start : start + 1000]) for start in range(0, len(refs), 1000))
        else:
            with writing(past) as writer:
                told(past, "forget", changes.named(writer, refs))
                gone = writer.forget(list(refs))
    click.echo(f"{gone:,} {_snapshots(gone)} deleted")


def _snapshots(count: int) -> str:
    return "snapshot" if count == 1 else "snapshots"


if isinstance(command, SnapshotCommand):
    for each in (export, import_, label_, delete):
        command.add(each)
