"""`bpf-atlas`: finds the command, runs it, and turns errors into one line and an exit status."""

from __future__ import annotations

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
    "dump": ("app.cli.dump", "Print the entries of a map."),
    "doctor": ("app.cli.doctor", "Say what this host allows, what is missing, and what to do about it."),
    "demo": ("app.cli.demo", "Load real programs and maps with live traffic, until interrupted."),
    "login": ("app.cli.login", "Print a new one-time link to a running dashboard."),
}
"""Name → module and its one line. The line stands here so that --help imports no command."""


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
        status = group.main(standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as problem:
        problem.show()
        sys.exit(problem.exit_code)
    except AppError as problem:
        from app.cli.exits import status_of

        print(f"bpf-atlas: {problem}", file=sys.stderr)
        sys.exit(status_of(problem))
    except BrokenPipeError:
        # Whoever read our output has seen enough; the interpreter must not complain about it while it shuts down.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(status if isinstance(status, int) else 0)


if __name__ == "__main__":
    main()
