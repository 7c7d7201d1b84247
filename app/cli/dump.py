"""`bpf-atlas dump`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from app.cli.errors import CannotWrite
from app.cli.layout import harmless, stream
from app.cli.past import Past, is_past
from app.cli.progress import Progress
from app.cli.service import connect, data_option
from app.errors import UsageError
from app.settings import Settings

if TYPE_CHECKING:  # numpy is not needed for --help
    from app.columns.table import Table
    from app.maps.tabulate import Sheet

THREADS = 2
"""That make the text of large maps: one leaves a core idle, and a third gains nothing beside the one that writes."""
SWITCH_S = 0.0005
"""How long a thread that comes back from the kernel or from numpy may be kept waiting: Python's own 5 ms are a third of a batch."""
LIMIT_TEXT_ROWS = 1000
"""Rows of the plain table unless --limit says otherwise."""


@click.command("dump")
@click.argument("reference", metavar="MAP")
@click.option(
    "--json", "as_json", is_flag=True, help="One JSON list, in the form that bpftool gives under `formatted`."
)
@click.option("--ndjson", "as_ndjson", is_flag=True, help="One JSON object a line.")
@click.option("--csv", "as_csv", is_flag=True, help="Comma-separated, a column a field.")
@click.option(
    "--parquet", type=click.Path(path_type=Path, dir_okay=False), help="Write a Parquet file (needs pyarrow)."
)
@click.option("--where", default="", metavar="EXPR", help="Only entries for which EXPR holds.")
@click.option("--sort", default="", metavar="[-]PATH", help="By a field; - before it for the largest first.")
@click.option("--limit", type=click.IntRange(min=0), metavar="N", help="At most N entries.")
@click.option("--columns", default="", metavar="PATH,…", help="For --csv, --parquet and the plain table: these fields.")
@click.option("--lens", is_flag=True, help="With --json or --ndjson: human readings beside the values.")
@data_option
def command(  # noqa: PLR0913  (one parameter an option)
    settings: Settings,
    *,
    reference: str,
    as_json: bool,
    as_ndjson: bool,
    as_csv: bool,
    parquet: Path | None,
    where: str,
    sort: str,
    limit: int | None,
    columns: str,
    lens: bool,
) -> None:
    """Print the entries of a map, as it is now or was: MAP, a snapshot (s12), or MAP@WHEN.

    WHEN is an ISO time or 30s, 10m, 2h, 3d ago: the newest snapshot at or before it is printed, and named on stderr.
    Without a format: a table for people, of the first 1,000 entries unless --limit says otherwise.

    \b
    Examples:
      bpf-atlas dump 42 --json
      bpf-atlas dump name:flows --where 'value.packets > 1000 and key.saddr in 10.0.0.0/8' --sort -value.packets
      bpf-atlas dump /sys/fs/bpf/blocklist --csv --columns key.prefixlen,key.addr > blocklist.csv
      bpf-atlas dump s12 --json
      bpf-atlas dump name:flows@10m --where 'key.saddr in 10.0.0.0/8'
    """
    from app.columns import where as filtering

    if where:
        filtering.parse(where)  # a typing error is found before a large map is read
    forms = {"json": as_json, "ndjson": as_ndjson, "csv": as_csv, "parquet": parquet is not None}
    asked = [name for name, wanted in forms.items() if wanted]
    if len(asked) > 1:
        raise UsageError(f"one form at a time: {' and '.join(f'--{name}' for name in asked)} were asked for")
    form = asked[0] if asked else None
    if lens and form not in {"json", "ndjson"}:
        raise UsageError("--lens goes with --json and --ndjson; the plain table shows readings anyway")
    if form == "parquet":
        _need_pyarrow()  # this, too, before a large map is read
    paths = [path.strip() for path in columns.split(",") if path.strip()]
    if paths and form in {"json", "ndjson"}:
        raise UsageError("--columns goes with --csv, --parquet and the plain table; JSON prints whole entries")
    sys.setswitchinterval(SWITCH_S)
    shown = LIMIT_TEXT_ROWS if limit is None and form is None else limit
    bare = form in {"json", "ndjson"}
    read = _recall if is_past(reference) else _read
    table, left_out, boot = read(settings, reference, where=where, sort=sort, limit=shown, bare=bare)
    if parquet is not None:
        _write_parquet(table, parquet, paths)
    elif form is None:
        _print_text(table, paths, boot)
        if left_out:
            click.echo(f"… {left_out:,} more entries; --limit N shows more, --json all", err=True)
    else:
        stream(_chunks(table, form, paths, lens=lens))


def _read(
    settings: Settings, reference: str, *, where: str, sort: str, limit: int | None, bare: bool
) -> tuple[Table, int, str]:
    """The entries to print, how many are left out by the limit, and the boot of the host in which they were read.

    bare  as bpftool, without fields of the map type's own
    """
    from app.maps.catalog import resolve
    from app.maps.host_names import boot_id
    from app.maps.layouts import Btfs
    from app.maps.opening import open_map
    from app.maps.tabulate import read_sheet
    from app.maps.walk import Completeness

    with connect(settings) as client:
        map_id = resolve(client, reference)
        with open_map(client, Btfs(client), map_id) as opened:
            progress = Progress(f"reading map {map_id}", opened.entries)
            wanted = limit if limit is not None and not where and not sort else None
            everything = 1 << 40
            sheet = read_sheet(opened, limit=everything if wanted is None else max(wanted, 1), progress=progress)
            progress.done()
    capped = sheet.reading.completeness is Completeness.CAPPED
    if wanted is None and capped:
        click.echo("bpf-atlas: the map grew while it was read; what is printed is cut off", err=True)
    total = (opened.entries or len(sheet.table)) if wanted is not None and capped else len(sheet.table)
    return *_chosen(sheet, where=where, sort=sort, limit=limit, bare=bare, total=total), boot_id()


def _recall(
    settings: Settings, reference: str, *, where: str, sort: str, limit: int | None, bare: bool
) -> tuple[Table, int, str]:
    """The same out of the history."""
    from app.history.history import moment
    from app.maps.walk import Completeness

    with Past(settings) as past:
        kept = past.kept(reference)
        wanted = limit if limit is not None and not where and not sort else None
        sheet = past.timeline.sheet(kept, limit=None if wanted is None else max(wanted, 1))
        total = past.timeline.history.count(kept)
    found = _chosen(sheet, where=where, sort=sort, limit=limit, bare=bare, total=total)
    capped = ", which does not hold all entries" if kept.completeness == Completeness.CAPPED.value else ""
    click.echo(f"bpf-atlas: {kept.ref} of {moment(kept.taken_ns)}{capped}", err=True)
    return *found, kept.boot_id


def _chosen(sheet: Sheet, *, where: str, sort: str, limit: int | None, bare: bool, total: int) -> tuple[Table, int]:
    """What is to be printed of a reading, and how many entries are left out by the limit."""
    from app.maps.page import selection

    for note in sheet.notes:
        click.echo(f"bpf-atlas: {harmless(note)}", err=True)
    table = sheet.json_table if bare else sheet.table
    if where or sort:
        chosen = selection(sheet.table, where=where, sort=sort)
        left_out = max(len(chosen) - limit, 0) if limit is not None else 0
        return table.take(chosen[:limit]), left_out
    if limit is None or limit >= total:
        return table, 0
    return table.take(slice(0, limit)), total - limit


def _chunks(table: Table, form: str, paths: list[str], *, lens: bool) -> Iterator[bytes | memoryview]:
    from app.columns import rows

    if form == "csv":
        from app.columns import csv_text

        return csv_text.csv_chunks(table, columns=paths or None)
    if form == "ndjson":
        return rows.ndjson_chunks(table, lens=lens, threads=THREADS)
    return rows.json_chunks(table, lens=lens, threads=THREADS)


def _print_text(table: Table, paths: list[str], boot: str) -> None:
    from app.cli.layout import columns
    from app.columns.cell import cells, heads
    from app.maps.host_names import names_of

    chosen = heads(table.layout, columns=paths or None)
    if not len(table):
        click.echo("0 entries", err=True)
        return
    body = [[cell.text for cell in row] for row in cells(table, chosen, None, names_of(boot))]
    right = frozenset(head.path for head in chosen if head.numeric)
    click.echo(columns([head.path for head in chosen], body, right=right))


def _need_pyarrow() -> None:
    from importlib.util import find_spec

    if find_spec("pyarrow") is None:
        raise UsageError("--parquet needs pyarrow: pip install 'bpf-atlas[parquet]', or use --csv")


def _write_parquet(table: Table, target: Path, paths: list[str]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from app.columns.decode import column
    from app.columns.rows import column_paths

    names = paths or column_paths(table.layout)
    arrays = {name: pa.array(column(table, name).tolist()) for name in names}
    try:
        pq.write_table(pa.table(arrays), target)
    except OSError as problem:
        raise CannotWrite(target, problem.strerror or str(problem)) from problem
    click.echo(f"{len(table):,} entries written to {target}", err=True)
