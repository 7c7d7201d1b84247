"""`make bench`: every ratio that the project promises, side by side in one run; also as build/bench.json."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from bench.browse import browse_rows
from bench.edits import edit_rows
from bench.history import history_rows
from bench.parts import part_rows
from bench.start import start_rows
from bench.table import Row, print_rows

TARGET = Path("build/bench.json")


def main() -> int:
    """Run, print, write. Exit status 1 when a promise is not kept."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Ratios, side by side in one run.")
    parser.add_argument(
        "--entries", type=int, default=1_000_000, help="entries of the large map (default: %(default)s)"
    )
    parser.add_argument("--runs", type=int, default=5, help="counted runs of each operation (default: %(default)s)")
    parser.add_argument("--without-bpftool", action="store_true", help="leave out the 15 s of bpftool")
    given = parser.parse_args()
    started = time.time()
    rows: list[Row] = []
    rows += browse_rows(given.entries, given.runs, with_bpftool=not given.without_bpftool)
    rows += start_rows(given.runs * 2)
    rows += part_rows(given.runs)
    rows += history_rows(given.entries, given.runs)
    rows += edit_rows(given.runs)
    print_rows(rows)
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(json.dumps({"taken_at": started, "rows": [row.as_dict() for row in rows]}, indent=1))
    return 0 if all(row.kept for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
