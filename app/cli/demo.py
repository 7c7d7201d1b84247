"""`bpf-atlas demo`."""

from __future__ import annotations

import sys

import click


@click.command("demo")
@click.pass_context
def command(context: click.Context) -> None:
    """Load real programs and maps of every loadable type with live traffic, until interrupted.

    All of it lives in network namespaces, a cgroup and a bpffs folder of its own, and goes when it stops; what a killed
    demo left behind goes when the next one starts.

    \b
    Example:
      bpf-atlas demo
    """
    from demo.run import main

    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    context.exit(main())
