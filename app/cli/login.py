"""`bpf-atlas login`."""

from __future__ import annotations

import click

from app.cli.errors import NoService
from app.cli.service import data_option, listens
from app.settings import Settings


@click.command("login")
@data_option
def command(settings: Settings) -> None:
    """Print a new one-time link to a running dashboard; an earlier unused one stops working.

    \b
    Example:
      bpf-atlas login
    """
    from app.web.login_link import link_to_running

    if not listens(settings.socket):
        raise NoService(settings.data)
    click.echo(link_to_running(settings))
