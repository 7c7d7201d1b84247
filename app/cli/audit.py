"""`bpf-atlas audit`."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from app.cli.layout import columns, harmless, print_json
from app.cli.service import CLI, connect, data_option, listens
from app.settings import Settings
from app.wire.records import AskRecords

if TYPE_CHECKING:
    from app.web.audit_lines import Line
    from app.wire.ask import Client
    from app.wire.records import Verdict

LIMIT = 100
TEXT_CHARS = 60


@click.command("audit")
@click.option("--json", "as_json", is_flag=True, help="One JSON list on stdout.")
@click.option("--jsonl", is_flag=True, help="A JSON object a line, all that fit unless there is a --limit.")
@click.option("--verify", is_flag=True, help="Walk the whole chain; exit 1 and the first bad record if it is broken.")
@click.option("--map", "reference", metavar="MAP", default="", help="Only of this map.")
@click.option("--user", metavar="NAME", default="", help="Only of this person.")
@click.option("--since", metavar="WHEN", default="", help="Only after this: an ISO time, or 30s, 10m, 2h, 3d ago.")
@click.option("--limit", type=click.IntRange(0), metavar="N", help="At most so many, 0 for all.  [default: 100]")
@click.option("--file", type=click.Path(path_type=Path), help="With --verify: a copy of the database.")
@click.option("--key", type=click.Path(path_type=Path), help="With --file: the key; its head is looked for beside it.")
@data_option
def command(  # noqa: PLR0913  (one parameter an option)
    settings: Settings,
    *,
    as_json: bool,
    jsonl: bool,
    verify: bool,
    reference: str,
    user: str,
    since: str,
    limit: int | None,
    file: Path | None,
    key: Path | None,
) -> None:
    """Show the audit log, newest first, or verify its chain.

    An edit is one line here and two records in JSON: what was to be done, and what came of it.

    \b
    Examples:
      bpf-atlas audit --since 2h
      bpf-atlas audit --map name:flows --user alice --json
      bpf-atlas audit --verify
      bpf-atlas audit --verify --file backup/audit.db --key backup/audit.key
    """
    if as_json and jsonl:
        raise click.UsageError("one form at a time: --json and --jsonl")
    if verify:
        if reference or user or since or limit is not None or jsonl:
            raise click.UsageError("--verify walks all of the log: it takes neither a selection nor --jsonl")
        sys.exit(_verify(settings, file, key, as_json=as_json))
    if file or key:
        raise click.UsageError("--file and --key go with --verify")
    with connect(settings) as client:
        _show(client, _question(client, reference, user, since), limit, as_json=as_json, jsonl=jsonl)


def _question(client: Client, reference: str, user: str, since: str) -> AskRecords:
    from app.maps.catalog import resolve
    from app.maps.recorded import moment_ns

    return AskRecords(
        CLI,
        map_id=resolve(client, reference) if reference else 0,
        user=user,
        since_ns=moment_ns(since, time.time_ns()) if since else 0,
    )


def _show(client: Client, question: AskRecords, limit: int | None, *, as_json: bool, jsonl: bool) -> None:
    from app.maps.recorded import every, lines, record_facts

    if jsonl:
        for line in lines(client, question, limit or 0):
            click.echo(line.decode(), nl=False)
        return
    found = list(every(client, question, LIMIT if limit is None else limit))
    if as_json:
        print_json([record_facts(each) for each in found])
    elif found:
        from app.web.audit_lines import lines as rows

        heads = ["NUMBER", "TIME (UTC)", "USER", "WHAT", "MAP", "CHANGE", "RESULT", "REASON"]
        shown = rows(found, lambda number: client.record(CLI, number))
        click.echo(columns(heads, [_row(line) for line in shown], right=frozenset({"NUMBER"})))
    else:
        click.echo("no audit record fits", err=True)


def _row(line: Line) -> list[str]:
    record = line.record
    return [
        str(line.number),
        line.clock,
        record.actor.user or "-",
        line.what,
        f"{record.map.name or '-'} #{record.map.id}" if record.map.is_map else "-",
        _short(_change(line)) or "-",
        line.result or "-",
        _short(record.reason) or "-",
    ]


def _change(line: Line) -> str:
    parts = []
    for change in line.changes:
        what = f"{change.path} on {change.cpu}" if change.cpu else change.path
        parts.append(f"{what}: {'redacted' if change.redacted else f'{change.old} → {change.new}'}")
    if line.more:
        parts.append(f"{line.more} more")
    if not parts and line.record.key:
        parts.append(f"hex:{line.record.key.hex()}")
    return "; ".join([*parts, line.detail] if line.detail else parts)


def _short(text: str) -> str:
    return text if len(text) <= TEXT_CHARS else text[: TEXT_CHARS - 1] + "…"


def _verify(settings: Settings, file: Path | None, key: Path | None, *, as_json: bool) -> int:
    """Exit status."""
    if (file is None) != (key is None):
        raise click.UsageError("--file and --key go together")
    if file is None and listens(settings.socket):
        with connect(settings) as client:
            found, had_head = client.verify(CLI), True
    else:
        found, had_head = _of_files(settings, file, key)
    if as_json:
        print_json(_verdict_facts(found, had_head=had_head))
    elif found.ok:
        click.echo(f"{found.sentence}")
        if not had_head:
            click.echo(
                "bpf-atlas: there is no head beside the key, so nobody can tell whether the end is missing", err=True
            )
        if found.unfinished:
            numbers = ", ".join(map(str, found.unfinished[:20]))
            click.echo(f"without an outcome (running, or cut short by a crash): {numbers}")
    else:
        where = f"first bad record: {found.first_bad}" if found.first_bad else "the log was tampered with"
        click.echo(f"bpf-atlas: {where}: {harmless(found.sentence)}", err=True)
    return 0 if found.ok else 1


def _of_files(settings: Settings, file: Path | None, key: Path | None) -> tuple[Verdict, bool]:
    from app.broker.audit.files import verify_files

    database = file or settings.broker_folder / "audit.db"
    return verify_files(database, key or settings.within(settings.audit_key))


def _verdict_facts(found: Verdict, *, had_head: bool) -> dict[str, object]:
    return {
        "ok": found.ok,
        "records": found.records,
        "first_bad": found.first_bad or None,
        "sentence": found.sentence,
        "unfinished": list(found.unfinished),
        "head": had_head,
    }
