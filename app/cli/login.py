"""`bpf-atlas login`."""

from __future__ import annotations

import click

from app.cli.errors import NoService
from app.cli.service import data_option, listens
from app.settings import Settings


@click.command("login")
@click.option("--user", metavar="NAME", default="", help="Who comes in by it.  [default: root]")
@data_option
def command(settings: Settings, *, user: str) -> None:
    """Print a new one-time link to a running dashboard; an earlier unused one of the same user stops working.

    It works within 30 minutes. Who comes in by it and has no password yet may choose one.

    \b
    Examples:
      bpf-atlas login
      bpf-atlas login --user alice
    """
    from app.web.address import as_running, login_link
    from app.wire.connection import connect

    if not listens(settings.socket):
        raise NoService(settings.data)
    with connect(settings.socket) as client:
        token = client.link_make(user).value
    click.echo(login_link(as_running(settings), token))
