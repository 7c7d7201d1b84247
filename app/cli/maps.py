"""`bpf-atlas maps`."""

from __future__ import annotations

import click

from app.cli.layout import columns, harmless, print_json, size
from app.cli.service import connect, data_option
from app.maps.catalog import MapRow, listing
from app.maps.counting import with_counts
from app.maps.facts import flag_names, map_facts
from app.maps.kinds import Counter
from app.settings import Settings


@click.command("maps")
@click.option("--json", "as_json", is_flag=True, help="One JSON list on stdout.")
@data_option
def command(settings: Settings, *, as_json: bool) -> None:
    """List every map of this host.

    Entries are the kernel's own count where it keeps one, and a short walk for small maps of other types; "-" means that
    nobody knows without reading the map.

    \b
    Examples:
      bpf-atlas maps
      bpf-atlas maps --json | jq '.[] | select(.pins == [])'
    """
    with connect(settings) as client:
        listed = with_counts(client, listing(client))
    if as_json:
        print_json([map_facts(row) for row in listed.rows])
        return
    heads = ["ID", "TYPE", "NAME", "KEY", "VALUE", "ENTRIES", "MAX", "MEMORY", "FLAGS", "USED BY", "PINNED AT"]
    rows = [_cells(row) for row in listed.rows]
    if rows:
        click.echo(columns(heads, rows, right=frozenset({"ID", "KEY", "VALUE", "ENTRIES", "MAX", "MEMORY"})))
    else:
        click.echo("no eBPF map on this host; `bpf-atlas demo` loads some", err=True)
    for problem in listed.problems:
        click.echo(f"bpf-atlas: {harmless(problem)}", err=True)


def _cells(row: MapRow) -> list[str]:
    facts = row.facts
    entries = "-" if row.entries is None else "all" if row.kind.counter is Counter.FIXED else str(row.entries)
    flags = [name.lower() for name in flag_names(facts.map_flags)]
    if facts.frozen:
        flags.append("frozen")
    if not row.has_btf:
        flags.append("no-btf")
    users = [prog.name or f"prog {prog.id}" for prog in row.progs]
    users += sorted({f"{holder.comm}({holder.pid})" for holder in row.holders})
    return [
        str(facts.id),
        row.kind.name,
        facts.name or "-",
        str(facts.key_size),
        str(facts.value_size),
        entries,
        str(facts.max_entries),
        size(facts.memlock_bytes),
        ",".join(flags) or "-",
        _short(users),
        row.pins[0].path if row.pins else "-",
    ]


def _short(names: list[str]) -> str:
    shown = ", ".join(names[:2])
    return f"{shown} +{len(names) - 2}" if len(names) > 2 else shown or "-"  # noqa: PLR2004  (two fit a line)
