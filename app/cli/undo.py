"""`bpf-atlas undo`."""

from __future__ import annotations

import click

from app.cli.changed import tell
from app.cli.service import CLI, connect, data_option
from app.settings import Settings


@click.command("undo")
@click.argument("audit_id", metavar="AUDIT_ID", type=click.IntRange(min=1))
@click.option(
    "--reason", default="", metavar="TEXT", help="Why; it stands in the audit log. Needed unless it is a dry run."
)
@click.option("--dry-run", is_flag=True, help="Say what would be done and how, and do nothing.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@data_option
def command(settings: Settings, *, audit_id: int, reason: str, dry_run: bool, as_json: bool) -> None:
    """Take one edit back, unless the value moved on: an edit of its own, checked and recorded like any other.

    \b
    Examples:
      bpf-atlas undo 17 --dry-run
      bpf-atlas undo 17 --reason 'it was the wrong tenant'
    """
    if not dry_run and not reason.strip():
        raise click.UsageError("say why with --reason: it stands in the audit log")
    from app.maps.undo import back_of

    with connect(settings) as client:
        edit, lines = back_of(client.record(CLI, audit_id))
        report = client.undo(CLI, audit_id, reason, dry_run=dry_run)
        tell(None, edit, report, lines, as_json=as_json, dry_run=dry_run)
