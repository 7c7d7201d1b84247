"""`bpf-atlas`: finds the command, runs it, and turns errors into one line and an exit status."""

from __future__ import annotations

import errno
import importlib
import os
import sys

import click

from app import __version__
from app.errors import AppError

COMMANDS: dict[str, tuple[str, str]] = {
    "serve": ("app.cli.serve", "Start the dashboard: broker, recorder and web."),
    "maps": ("app.cli.maps", "List every map of this host."),
    "show": ("app.cli.show", "Show one map in full, with its schema."),
    "dump": ("app.cli.dump", "Print the entries of a map, as it is now or was."),
    "edit": ("app.cli.edit", "Change one entry of a map, or the map itself, on record."),
    "undo": ("app.cli.undo", "Take one edit back, unless the value moved on."),
    "plan": ("app.cli.plan", "Many edits of one map: made from a file or a filter, checked, applied, gone on with."),
    "snapshot": (
        "app.cli.snapshot",
        "Take a snapshot of each map, export and import snapshots, label and delete them.",
    ),
    "snapshots": ("app.cli.snapshots", "List the snapshots of one map, or of all, newest first."),
    "diff": ("app.cli.diff", "Compare two sides: which entries were added, removed, changed, and in which fields."),
    "restore": ("app.cli.restore", "Bring a map back to a snapshot (s12, or MAP@WHEN), or part of it."),
    "history": (
        "app.cli.history",
        "Look after the history: how its recorder is, verify, back up, put back, tidy.",
    ),
    "doctor": ("app.cli.doctor", "Say what this host allows, what is missing, and what to do about it."),
    "demo": (
        "app.cli.demo",
        "Load real programs and maps of every loadable type with live traffic, until interrupted.",
    ),
    "login": ("app.cli.login", "Print a new one-time link to a running dashboard."),
    "user": ("app.cli.user", "Add and remove users, give them roles and passwords."),
    "token": ("app.cli.token", "Make, list and revoke API tokens."),
    "audit": ("app.cli.audit", "Show the audit log, newest first, or verify its chain."),
    "policy": ("app.cli.policy", "Check the policy file, or show what it says."),
}
"""Name → module and its one line. The line stands here so that --help imports no command."""


READER_GONE = 141
"""As a shell tells of a program that SIGPIPE ended."""


class Commands(click.Group):
    """Loads a command's module only when it is the one that runs: the others may cost more than it does."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of the table."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a name."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(COMMANDS[cmd_name][0]).command
        return command

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; whoever reads its output may stop doing so at any time."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            _give_up_stdout()
            sys.exit(READER_GONE)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The table, without loading anything."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_module, line) in COMMANDS.items()])


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="bpf-atlas")
def group() -> None:
    """The live eBPF maps of this host, decoded to their C types.

    MAP is a map id, a pin path, or name:NAME. Each command has --help with examples.

    \b
    Examples:
      bpf-atlas serve
      bpf-atlas maps
      bpf-atlas dump name:flows --where 'value.packets > 1000' --sort -value.packets --limit 20
    """


def main() -> None:
    """The console script.

    Exit: 0 done; 1 the thing asked for is not so; 2 usage; 3 the kernel or a privilege refused.
    """
    try:
        status = group.main(prog_name="bpf-atlas", standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.exceptions.NoArgsIsHelpError as problem:
        problem.show()
        sys.exit(problem.exit_code)
    except click.ClickException as problem:
        where = getattr(problem, "ctx", None)
        _complain(
            f"{problem.format_message().rstrip('.')}: see `{where.command_path if where else 'bpf-atlas'} --help`"
        )
        sys.exit(problem.exit_code)
    except AppError as problem:
        from app.cli.exits import status_of

        _complain(str(problem))
        sys.exit(status_of(problem))
    except OSError as problem:
        if problem.errno not in _CANNOT_WRITE:
            raise
        _give_up_stdout()
        _complain(f"the output cannot be written: {problem.strerror}")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(status if isinstance(status, int) else 0)


_CANNOT_WRITE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})


def _complain(sentence: str) -> None:
    """One line, whatever is in it."""
    from app.cli.layout import harmless

    print(f"bpf-atlas: {harmless(sentence)}", file=sys.stderr)


def _give_up_stdout() -> None:
    """The interpreter must not complain about what is still in its buffer while it shuts down."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
