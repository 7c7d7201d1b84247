"""A comparison as a file: the document of `diff --json`, a table of changes, or rows that a plan takes. Streamed."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain

import numpy as np
import orjson
from flask import Response

from app.columns.csv_text import csv_chunks
from app.columns.json_text import template
from app.columns.rows import column_paths
from app.columns.table import Layout, Table
from app.timeline.differ import Diff, field_texts
from app.timeline.restore import patch
from app.timeline.told import diff_json, fields_in
from app.web.blocks import blocks

TYPES = {"json": "application/json", "csv": "text/csv; charset=utf-8", "patch": "application/x-ndjson"}
ENDINGS = {"json": "json", "csv": "csv", "patch": "ndjson"}
BLOCK_ROWS = 1024
COLUMNS = ("change", "field", "old", "new", "delta")


def file_of(made: Diff, kind: str) -> Response:
    """The file of a comparison in the layout of `dump` (bare). raises CannotRestore before the first byte"""
    pieces = {"json": diff_json, "csv": csv_pieces, "patch": patch}[kind](made)
    first = next(pieces, b"")
    response = Response(blocks(chain((first,), pieces)), content_type=TYPES[kind])
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", f"{made.a.ref}-{made.b.ref}")
    response.headers["Content-Disposition"] = f'attachment; filename="diff-{name}.{ENDINGS[kind]}"'
    return response


def csv_pieces(made: Diff) -> Iterator[bytes]:
    """A heading, then a line for each field of each entry that differs; entries that one side lacks have one, `value`.

    Old and new are JSON, as `dump` prints values; the key has a column for each of its fields.
    """
    plan = made.new.layout.key
    layout = Layout(key=plan, value=None)
    yield _lines([[*(column_paths(layout) if plan is not None else []), *COLUMNS]])
    for change, table in (("added", made.added), ("removed", made.removed)):
        for start in range(0, len(table), BLOCK_ROWS):
            part = table.take(slice(start, start + BLOCK_ROWS))
            values = _values(part)
            yield _lines(
                [*key, change, "value", *(("", value) if change == "added" else (value, "")), ""]
                for key, value in zip(_keys(layout, part), values, strict=True)
            )
    for start in range(0, len(made.new), BLOCK_ROWS):
        keys = _keys(layout, made.new.take(slice(start, start + BLOCK_ROWS)))
        rows: list[list[list[str]]] = [[] for _ in keys]
        for field, here in fields_in(made, start, start + BLOCK_ROWS):
            old, new = field_texts(field, made, here)
            deltas = made.deltas(replace(field, rows=here)).tolist() if field.numeric else [""] * len(here)
            for at, one, other, delta in zip((here - start).tolist(), old, new, deltas, strict=True):
                rows[at].append([*keys[at], "changed", field.path, one.decode(), other.decode(), str(delta)])
        yield _lines(row for entry in rows for row in entry)


def _keys(layout: Layout, part: Table) -> list[list[str]]:
    """Cells of the keys' columns, row by row."""
    if layout.key is None:
        return [[] for _ in range(len(part))]
    text = b"".join(csv_chunks(Table(layout, part.keys, np.zeros((len(part), 0), np.uint8)))).decode()
    return list(csv.reader(io.StringIO(text, newline="")))[1:]


def _values(part: Table) -> list[str]:
    plan = part.layout.value
    if plan is None:
        return [""] * len(part)
    if not part.layout.n_cpus:
        return [text.decode() for text in template(plan.root).render(np.ascontiguousarray(part.values))]
    each = [template(plan.root).render(np.ascontiguousarray(part.values[:, cpu])) for cpu in range(part.layout.n_cpus)]
    return [
        orjson.dumps([orjson.Fragment(text) for text in row]).decode() for row in zip(*each, strict=True)
    ]  # in the order of the CPUs


def _lines(rows: Iterator[list[str]] | list[list[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()
