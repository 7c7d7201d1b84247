"""`bpf-atlas plan`."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from app.cli.errors import NotDone
from app.cli.layout import columns, harmless, print_json
from app.cli.past import Past, before_edit
from app.cli.progress import Progress
from app.cli.service import CLI, connect, data_option
from app.settings import Settings

if TYPE_CHECKING:
    from app.wire.ask import Client
    from app.wire.edits import PlanFacts

POLL_S = 0.2
STARTABLE = frozenset({"draft", "ready", "stopped"})
"""States of a plan that can be applied."""


@click.group("plan")
def command() -> None:
    """Many edits of one map: made from a file or a filter, checked, applied, gone on with.

    Rows come from a file, CSV or JSON, or from a filter. Each is an edit of its own, with its own record and its own undo.

    \b
    Examples:
      bpf-atlas plan make name:blocklist prefixes.csv --reason 'ticket 4411'
      bpf-atlas plan make name:flows --where 'value.packets == 0' --delete --reason 'stale'
      bpf-atlas plan check 3
      bpf-atlas plan apply 3
    """


@command.command("make")
@click.argument("reference", metavar="MAP")
@click.argument("file", required=False, type=click.Path(path_type=Path, exists=True, dir_okay=False, allow_dash=True))
@click.option("--where", default=None, metavar="EXPR", help="Instead of a file: every entry for which EXPR holds.")
@click.option("--set", "sets", multiple=True, metavar="PATH=VALUE", help="With --where: change this field in each.")
@click.option("--delete", is_flag=True, help="With --where: delete each.")
@click.option("--reason", required=True, metavar="TEXT", help="Why; it stands in every row's audit record.")
@click.option("--label", default="", metavar="TEXT", help="A name for the plan.")
@click.option("--apply", "and_apply", is_flag=True, help="Apply it at once.")
@click.option("--no-snapshot", is_flag=True, help="With --apply: do not keep what the map holds before.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@data_option
def make(  # noqa: PLR0913  (one parameter an option)
    settings: Settings, *, reference: str, file: Path | None, where: str | None, sets: tuple[str, ...], delete: bool,
    reason: str, label: str, and_apply: bool, no_snapshot: bool, as_json: bool,
) -> None:  # fmt: skip
    """Make a plan out of a file (- for standard input), or of the entries that a filter selects, and check it.

    \b
    Examples:
      printf 'key,value.reason\\n10.9.0.0/16,3\\n' | bpf-atlas plan make name:blocklist - --reason 'ticket 4411'
      bpf-atlas plan make 42 rows.json --reason 'new weights' --apply
    """
    if (file is None) == (where is None):
        raise click.UsageError("say where the rows come from: a file, or --where EXPR")
    if where is None and (sets or delete):
        raise click.UsageError("--set and --delete go with --where; a file says for each row what is to happen")
    if where is not None and bool(sets) == delete:
        raise click.UsageError("with --where say what is to happen: --set PATH=VALUE …, or --delete")
    from app.maps.bulk import edits_of, in_questions, selected
    from app.maps.catalog import resolve
    from app.maps.edit import argument, identity_of
    from app.maps.layouts import Btfs
    from app.maps.opening import open_map

    text = "" if file is None else _read(file)
    with Past(settings) as past:
        client = past.client
        with open_map(client, Btfs(client), resolve(client, reference)) as opened:
            if where is None:
                rows = edits_of(opened, text)
            else:
                pairs = dict(_pair(each) for each in sets)
                fields = {path: argument(opened, path, value) for path, value in pairs.items()}
                rows = selected(opened, where, fields=fields, delete=delete)
            of = identity_of(opened.facts)
        facts = client.plan_make(CLI, of, label=label or (file.name if file else where or ""), reason=reason)
        for some in in_questions(rows):
            facts = client.plan_rows(CLI, facts.id, some)
        facts = client.plan_step(CLI, facts.id, "check")
        if and_apply:
            if not no_snapshot:
                before_edit(past, of.id)
            facts = apply_plan(client, facts.id)
    print_plan(facts, as_json=as_json)
    check_done(facts, wanted=and_apply)


@command.command("check")
@click.argument("plan", type=int)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@data_option
def check(settings: Settings, *, plan: int, as_json: bool) -> None:
    """Try every row without writing, and say which would not work as things stand."""
    with connect(settings) as client:
        facts = client.plan_step(CLI, plan, "check")
        rows = client.plan(CLI, plan, first=1, limit=500).rows
    print_plan(facts, as_json=as_json)
    if not as_json:
        for row in rows:
            if row.sentence and row.state != "done":
                click.echo(f"row {row.number}: {harmless(row.sentence)}")


@command.command("apply")
@click.argument("plan", type=int)
@click.option("--no-snapshot", is_flag=True, help="Do not keep what the map holds before.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@data_option
def apply(settings: Settings, *, plan: int, no_snapshot: bool, as_json: bool) -> None:
    """Apply a plan, or go on with one that stopped. Ctrl-C stops it after the row at hand.

    What the map holds is kept as a snapshot first, which `restore` leads back to.
    """
    with Past(settings) as past:
        facts = past.client.plan(CLI, plan).facts
        if not no_snapshot and facts.state in STARTABLE:
            before_edit(past, facts.map.id)
        facts = apply_plan(past.client, plan)
    print_plan(facts, as_json=as_json)
    check_done(facts, wanted=True)


@command.command("show")
@click.argument("plan", type=int)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@data_option
def show(settings: Settings, *, plan: int, as_json: bool) -> None:
    """Show one plan and its first rows."""
    with connect(settings) as client:
        found = client.plan(CLI, plan, first=1, limit=500)
    print_plan(found.facts, as_json=as_json)
    if not as_json:
        body = [
            [
                str(row.number),
                row.edit.action,
                row.edit.key.hex() or row.edit.owner,
                row.state,
                str(row.audit or ""),
                row.sentence,
            ]
            for row in found.rows
        ]
        click.echo(columns(["row", "action", "key", "state", "audit", ""], body, right=frozenset({"row", "audit"})))


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON list on stdout.")
@data_option
def list_(settings: Settings, *, as_json: bool) -> None:
    """List plans, newest first."""
    with connect(settings) as client:
        plans = client.plans(CLI, limit=100).plans
    if as_json:
        print_json([document(each) for each in plans])
        return
    body = [
        [
            str(each.id),
            each.map.name or f"#{each.map.id}",
            each.state,
            f"{each.done}/{each.rows}",
            each.user,
            each.label,
        ]
        for each in plans
    ]
    click.echo(columns(["id", "map", "state", "done", "by", "label"], body, right=frozenset({"id"})))


@command.command("approve")
@click.argument("plan", type=int)
@data_option
def approve(settings: Settings, *, plan: int) -> None:
    """Agree, as the second person, to an edit that waits; it is made at once when nobody else is needed."""
    with connect(settings) as client:
        facts = _settled(client, client.plan_step(CLI, plan, "approve"))
    print_plan(facts, as_json=False)


@command.command("cancel")
@click.argument("plan", type=int)
@data_option
def cancel(settings: Settings, *, plan: int) -> None:
    """Give a plan up; rows that were done stay so."""
    with connect(settings) as client:
        print_plan(client.plan_step(CLI, plan, "cancel"), as_json=False)


def apply_plan(client: Client, plan: int) -> PlanFacts:
    """Start it, and wait for its end."""
    facts = client.plan_step(CLI, plan, "start")
    progress = Progress(f"plan {plan}", facts.rows)
    try:
        while facts.state == "running":
            time.sleep(POLL_S)
            facts = client.plan(CLI, plan).facts
            progress(facts.done)
    except KeyboardInterrupt:
        client.plan_step(CLI, plan, "stop")
        facts = _settled(client, facts)
    progress.done()
    return facts


def _settled(client: Client, facts: PlanFacts) -> PlanFacts:
    while facts.state == "running":
        time.sleep(POLL_S)
        facts = client.plan(CLI, facts.id).facts
    return facts


def check_done(facts: PlanFacts, *, wanted: bool) -> None:
    """Raises  NotDone where it was to be applied, and is not"""
    if wanted and facts.state != "done":
        raise NotDone(facts.sentence or f"plan {facts.id} is {facts.state}")


def print_plan(facts: PlanFacts, *, as_json: bool) -> None:
    """How far it is, for people or as JSON."""
    if as_json:
        print_json(document(facts))
        return
    click.echo(
        f"plan {facts.id}: {facts.state}, {facts.done} of {facts.rows} rows done, map #{facts.map.id} {harmless(facts.map.name)}"
    )
    if facts.sentence:
        click.echo(harmless(facts.sentence))


def document(facts: PlanFacts) -> dict[str, Any]:
    """The same for scripts."""
    plain = {name: getattr(facts, name) for name in type(facts).__struct_fields__}
    plain["map"] = {"id": facts.map.id, "name": facts.map.name}
    plain["approved_by"] = list(facts.approved_by)
    return plain


def _read(file: Path) -> str:
    from app.maps.bulk import BadRows

    data = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    try:
        return data.decode()
    except UnicodeDecodeError as problem:
        raise BadRows([f"byte {problem.start} is no UTF-8"], 0) from None


def _pair(text: str) -> tuple[str, str]:
    path, equals, value = text.partition("=")
    if not equals or not path:
        raise click.UsageError(f"--set wants PATH=VALUE, found {text!r}")
    return path, value
