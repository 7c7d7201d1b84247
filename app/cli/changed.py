"""What came of an edit, for people at a terminal and for scripts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from app.cli.errors import EditRefused, NotDone
from app.cli.layout import harmless, print_json

if TYPE_CHECKING:
    from app.maps.opening import OpenMap
    from app.maps.report import FieldLine
    from app.wire.edits import Edit, Report

METHODS = {
    "kernel_swap": "compare-and-swap in the kernel",
    "kernel_store": "compare and store in the kernel",
    "mmap_store": "compare and store through a mapping",
    "locked_update": "whole value under its lock",
    "update": "whole value read, compared, written back",
}
"""Ways to write, as people say them; others are called what they do."""


def tell(
    opened: OpenMap | None, edit: Edit, report: Report, lines: list[FieldLine], *, as_json: bool, dry_run: bool
) -> None:
    """Print it.

    raises  NotDone where nothing, or not what was asked for, was written; EditRefused where it may not be
    """
    if as_json:
        from app.maps.report import document

        print_json(document(opened, edit, report, lines, dry_run=dry_run))
    else:
        for line in text_of(edit, report, lines, dry_run=dry_run):
            click.echo(harmless(line))
    if report.result == "refused":
        raise EditRefused(report.sentence)
    if report.result not in {"done", "planned"} or (dry_run and report.result != "planned"):
        raise NotDone(report.sentence)


def text_of(edit: Edit, report: Report, lines: list[FieldLine], *, dry_run: bool) -> list[str]:
    """The preview, and what was done, a line each."""
    what = f"map #{edit.map.id} {edit.map.name}".rstrip() if edit.map.is_map else "a new map"
    told = [_row("map" if edit.map.is_map else "make", what.removeprefix("map "))]
    if edit.key:
        told.append(_row("entry", f"hex:{edit.key.hex()}"))
    told += [
        _row(name, value) for name, value in (("owner", edit.owner), ("gets", edit.thing), ("path", edit.path)) if value
    ]
    told.append(_row("action", edit.action))
    for line in lines:
        now = f"  (now {line.now})" if line.now else ""
        told.append(_row("field", f"{line.where}  {line.old or '∅'} → {line.new or '∅'}{now}"))
    if report.method:
        told.append(_row("how", METHODS.get(report.method, report.method)))
    if report.promise:
        told.append(_row("promise", report.promise))
    if report.why:
        told.append(_row("because", report.why))
    told += [_row("warning", warning) for warning in report.warnings]
    if report.approvals:
        told.append(
            _row("waits for", f"{report.approvals} more to agree" + (f", plan {report.plan}" if report.plan else ""))
        )
    if report.result in {"done", "planned"}:
        told.append(_row("result", report.sentence))
    if report.new_map_id:
        told.append(_row("new map", f"#{report.new_map_id}"))
    if report.audit:
        told.append(_row("audit", str(report.audit)))
    if dry_run:
        told.append(_row("dry run", "nothing was written"))
    return told


def _row(name: str, text: str) -> str:
    return f"{name:>10}  {text}"
