"""`bpf-atlas user`."""

from __future__ import annotations

import sys

import click

from app.cli.layout import columns, harmless, print_json, when
from app.cli.service import CLI, connect, data_option
from app.settings import Settings

ROLES = ("viewer", "editor", "admin", "auditor")


@click.group("user")
def command() -> None:
    """Add and remove users, give them roles and passwords.

    viewer reads maps; editor also edits them, in a write session and as far as the policy goes; admin also manages users;
    auditor reads the audit log and no values.

    \b
    Examples:
      bpf-atlas user add alice --role editor
      bpf-atlas user passwd alice
      bpf-atlas user role alice viewer
      bpf-atlas user list --json
    """


@command.command("add")
@click.argument("name")
@click.option("--role", type=click.Choice(ROLES), default="viewer", show_default=True)
@click.option("--no-password", is_flag=True, help="They come in by `bpf-atlas login --user NAME`, a proxy or OIDC.")
@click.option("--password-stdin", is_flag=True, help="Read the password from the first line of standard input.")
@data_option
def add(settings: Settings, *, name: str, role: str, no_password: bool, password_stdin: bool) -> None:
    """Add a user. On a terminal the password is asked for, twice; elsewhere there is none without --password-stdin.

    \b
    Examples:
      bpf-atlas user add alice --role editor
      pass show atlas/bob | bpf-atlas user add bob --role auditor --password-stdin
    """
    if no_password and password_stdin:
        raise click.UsageError("one at a time: --no-password and --password-stdin")
    password = None if no_password else _password(from_stdin=password_stdin)
    with connect(settings) as client:
        client.user_add(CLI, name, role, password)
    click.echo(f"{harmless(name)} is {role}{'' if password else ', without a password'}")


@command.command("passwd")
@click.argument("name")
@click.option("--password-stdin", is_flag=True, help="Read the password from the first line of standard input.")
@data_option
def passwd(settings: Settings, *, name: str, password_stdin: bool) -> None:
    """Give a user another password; all of their sessions end.

    \b
    Example:
      bpf-atlas user passwd alice
    """
    password = _password(from_stdin=password_stdin)
    if password is None:
        raise click.UsageError("there is no terminal to ask for a password: give it by --password-stdin")
    with connect(settings) as client:
        client.password(CLI, name, new=password)
    click.echo(f"{harmless(name)} has a new password")


@command.command("role")
@click.argument("name")
@click.argument("role", type=click.Choice(ROLES))
@data_option
def role(settings: Settings, *, name: str, role: str) -> None:
    """Give a user another role; their sessions end, their API tokens follow the role.

    \b
    Example:
      bpf-atlas user role alice viewer
    """
    with connect(settings) as client:
        client.user_role(CLI, name, role)
    click.echo(f"{harmless(name)} is {role}")


@command.command("remove")
@click.argument("name")
@data_option
def remove(settings: Settings, *, name: str) -> None:
    """Remove a user with all sessions and API tokens; what they did stays in the audit log.

    \b
    Example:
      bpf-atlas user remove alice
    """
    with connect(settings) as client:
        client.user_remove(CLI, name)
    click.echo(f"{harmless(name)} is removed")


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON list on stdout.")
@data_option
def show(settings: Settings, *, as_json: bool) -> None:
    """List users.

    \b
    Example:
      bpf-atlas user list
    """
    with connect(settings) as client:
        users = client.users(CLI)
    if as_json:
        import msgspec

        print_json([msgspec.structs.asdict(user) for user in users])
        return
    rows = [
        [user.name, user.role, "yes" if user.has_password else "no", when(user.created_at_s), when(user.seen_at_s)]
        for user in users
    ]
    click.echo(columns(["NAME", "ROLE", "PASSWORD", "ADDED", "LAST SEEN"], rows))


def _password(*, from_stdin: bool) -> str | None:
    """What was typed twice on a terminal, or the first line of standard input; None where there is neither."""
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if not sys.stdin.isatty():
        return None
    typed: str = click.prompt("Password", hide_input=True, confirmation_prompt="Again", err=True)
    return typed
