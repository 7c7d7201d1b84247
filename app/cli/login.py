"""`bpf-atlas login`."""

from __future__ import annotations

import click

from app.cli.service import data_option
from app.settings import Settings


@click.command("login")
@data_option
def command(settings: Settings) -> None:
    """Print a new one-time link to a running dashboard; an earlier unused one stops working.

    \b
    Example:
      bpf-atlas login
    """
    from app.web.login_link import new_login_link

    click.echo(new_login_link(settings))
