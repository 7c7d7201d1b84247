"""`bpf-atlas show`."""

from __future__ import annotations

from typing import Any

import click

from app.cli.layout import harmless, print_json, size
from app.cli.service import connect, data_option
from app.settings import Settings


@click.command("show")
@click.argument("reference", metavar="MAP")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@data_option
def command(settings: Settings, *, reference: str, as_json: bool) -> None:
    """Show one map in full, with its schema.

    \b
    Examples:
      bpf-atlas show 42
      bpf-atlas show name:flows --json
    """
    from app.maps.catalog import resolve
    from app.maps.description import describe
    from app.maps.layouts import Btfs
    from app.maps.opening import open_map

    with connect(settings) as client, open_map(client, Btfs(client), resolve(client, reference)) as opened:
        found = describe(opened)
    if as_json:
        print_json(found)
    else:
        _print(found)


def _print(found: dict[str, Any]) -> None:
    entries = "not known without reading" if found["entries"] is None else f"{found['entries']:,}"
    lines = [
        ("map", f"#{found['id']} {found['name'] or '(no name)'}"),
        ("type", found["type"]),
        ("key, value", f"{found['key_size']} B, {found['value_size']} B"),
        ("entries", f"{entries}, max_entries {found['max_entries']:,}"),
        ("memory", size(found["memory_bytes"])),
        ("flags", " ".join(found["flag_names"]) or "none"),
        ("frozen", "yes" if found["frozen"] else "no"),
        ("how listed", found["listing"]["how"]),
        ("programs", ", ".join(f"{prog['name']} (#{prog['id']}, {prog['type']})" for prog in found["progs"]) or "none"),
        ("links", ", ".join(f"#{link['id']} {link['type']} {link['target']}" for link in found["links"]) or "none"),
        ("pins", ", ".join(found["pins"]) or "none"),
        ("held by", ", ".join(f"{pid['comm']} ({pid['pid']})" for pid in found["pids"]) or "no process"),
        ("inner maps", ", ".join(f"#{slot['id']} {slot['name']}" for slot in found["inner_maps"])),
        ("outer maps", ", ".join(f"#{outer['id']} {outer['name']}" for outer in found["outer_maps"])),
        ("types from", found["schema"]["source"]),
    ]
    for name, text in lines:
        if text:
            click.echo(f"{name:>12}  {harmless(text)}")
    if found["listing"]["why"]:
        click.echo(f"{'note':>12}  {found['listing']['why']}. {found['listing']['instead']}".rstrip(". ") + ".")
    for note in found["schema"]["notes"]:
        click.echo(f"{'note':>12}  {harmless(note)}")
    for part in ("key", "value"):
        text = found["schema"][part]
        if text:
            click.echo(f"\n/* {part} */")
            click.echo("\n".join(harmless(line.expandtabs(4)) for line in text.rstrip().split("\n")))
