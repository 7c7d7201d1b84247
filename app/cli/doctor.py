"""`bpf-atlas doctor`."""

from __future__ import annotations

import os

import click

from app.cli.exits import REFUSED
from app.cli.layout import harmless, print_json
from app.cli.service import connect, data_option
from app.settings import Settings


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@data_option
@click.pass_context
def command(context: click.Context, settings: Settings, *, as_json: bool) -> None:
    """Say what this host allows, what is missing, and what to do about it.

    Everything is tried, nothing is guessed from a version. Exit status 3 when maps cannot be listed at all.

    \b
    Examples:
      bpf-atlas doctor
      bpf-atlas doctor --json | jq '.capabilities[] | select(.works | not)'
    """
    with connect(settings) as client:
        hello = client.hello()
    if as_json:
        print_json(_document(hello, settings))
    else:
        click.echo(
            f"{harmless(hello.hostname)}, Linux {harmless(hello.kernel_release)}, {hello.possible_cpus} possible CPUs"
        )
        click.echo(f"broker {hello.version}, pid {hello.pid}, CapEff {hello.effective_capabilities}\n")
        for each in hello.capabilities:
            click.echo(f"{'ok ' if each.works else 'NO '} {each.name}: {harmless(each.found)}")
            if not each.works and each.remedy:
                click.echo(f"    → {harmless(each.remedy)}")
    essential = [each for each in hello.capabilities if each.name in ESSENTIAL and not each.works]
    context.exit(REFUSED if essential else 0)


ESSENTIAL = frozenset({"bpf", "list", "open"})
"""Without these there is nothing to see."""


def _document(hello: object, settings: Settings) -> dict[str, object]:
    import msgspec

    plain = {name: getattr(hello, name) for name in type(hello).__struct_fields__}  # type: ignore[attr-defined]
    plain["capabilities"] = [
        {name: getattr(each, name) for name in type(each).__struct_fields__} for each in plain["capabilities"]
    ]
    plain["data"] = str(settings.data)
    plain["euid"] = os.geteuid()
    return msgspec.to_builtins(plain)  # type: ignore[no-any-return]
