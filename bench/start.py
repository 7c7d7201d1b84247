"""How quickly commands start, as whole processes."""

from __future__ import annotations

import subprocess
import sys

from bench.clock import in_turns, ratio
from bench.table import Row


def _run(*arguments: str) -> None:
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def start_rows(runs: int) -> list[Row]:
    """--help and maps against importing click alone."""
    timings = in_turns(
        {
            "click": lambda: _run("-c", "import click"),
            "help": lambda: _run("-m", "app.cli.main", "--help"),
            "maps": lambda: _run("-m", "app.cli.main", "maps", "--data", "/nonexistent"),
        },
        runs=runs,
    )
    rows = []
    for name, promised in (("help", 2.0), ("maps", 4.0)):
        least, median, largest = ratio(timings[name], timings["click"])
        rows.append(
            Row(
                what=f"bpf-atlas {'--help' if name == 'help' else name}",
                against="python -c 'import click'",
                promised=promised,
                measured=median,
                least=least,
                largest=largest,
                note=f"{timings[name].median_s * 1e3:.0f} ms",
            )
        )
    return rows
