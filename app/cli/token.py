"""`bpf-atlas token`."""

from __future__ import annotations

import click

from app.cli.layout import columns, harmless, print_json, when
from app.cli.service import CLI, connect, data_option
from app.settings import Settings


@click.group("token")
def command() -> None:
    """Make, list and revoke API tokens.

    A token is sent as `Authorization: Bearer VALUE` and may what its user's role may; of scope edit it needs no write session.

    \b
    Examples:
      bpf-atlas token create --user alice --label grafana --scope read --days 90
      bpf-atlas token list
      bpf-atlas token revoke 3f9c1a2b7d04
    """


@command.command("create")
@click.option("--user", metavar="NAME", default="", help="Whose it is.  [default: root]")
@click.option("--label", required=True, help="What it is for.")
@click.option("--scope", type=click.Choice(["read", "edit"]), default="read", show_default=True)
@click.option("--days", type=click.IntRange(1, 365), default=90, show_default=True, help="How long it lasts.")
@data_option
def create(settings: Settings, *, user: str, label: str, scope: str, days: int) -> None:
    """Make a token and print its value, this once.

    \b
    Example:
      bpf-atlas token create --user alice --label grafana --days 90
    """
    with connect(settings) as client:
        made = client.token_make(CLI, user=user, label=label, scope=scope, days=days)
    click.echo(
        f"token {made.token.id} of {harmless(made.token.user)}, {scope}, until {when(made.token.ends_at_s)}; shown this once:",
        err=True,
    )
    click.echo(made.value)


@command.command("revoke")
@click.argument("token_id", metavar="ID")
@data_option
def revoke(settings: Settings, *, token_id: str) -> None:
    """Revoke a token: it is worth nothing from here on.

    \b
    Example:
      bpf-atlas token revoke 3f9c1a2b7d04
    """
    with connect(settings) as client:
        client.token_revoke(CLI, token_id)
    click.echo(f"token {harmless(token_id)} is revoked")


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON list on stdout.")
@data_option
def show(settings: Settings, *, as_json: bool) -> None:
    """List tokens; their values are nowhere.

    \b
    Example:
      bpf-atlas token list
    """
    with connect(settings) as client:
        tokens = client.tokens(CLI)
    if as_json:
        import msgspec

        print_json([msgspec.structs.asdict(token) for token in tokens])
        return
    rows = [
        [
            token.id,
            token.user,
            token.label,
            token.scope,
            when(token.created_at_s),
            when(token.ends_at_s),
            when(token.seen_at_s),
        ]
        for token in tokens
    ]
    click.echo(columns(["ID", "USER", "LABEL", "SCOPE", "MADE", "ENDS", "LAST USED"], rows))
