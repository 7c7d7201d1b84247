"""Entries as a file: JSON, NDJSON or CSV of everything that a page's filter and order select, a block at a time.

The reading is a kept view, so the file shows the same moment as the page. What streams holds bytes, no descriptor.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from itertools import chain

import numpy as np
from flask import Response
from numpy.typing import NDArray

from app.columns.csv_text import csv_chunks
from app.columns.rows import block_rows, ndjson_chunks
from app.columns.table import Table
from app.maps.opening import OpenMap
from app.maps.page import parse_cursor, read_view, select
from app.maps.views import View, identity_of
from app.web.backend import Backend

TYPES = {"json": "application/json", "ndjson": "application/x-ndjson", "csv": "text/csv; charset=utf-8"}

STREAM_BYTES = 1 << 18
"""Raw bytes that are turned into text at once: a client that does not read holds that text for as long."""


def download(
    backend: Backend, opened: OpenMap, *, kind: str, where: str, sort: str, cursor: str, columns: list[str]
) -> Response:
    """All entries that match, in order.

    cursor   of the page that the link is on: its reading is used while it is kept
    columns  for CSV: the fields wanted, all when empty
    raises   what read_page raises, before the first byte
    """
    token, _, _ = parse_cursor(cursor)
    if token:
        view = backend.views.get(token, identity_of(opened))
    else:
        view = read_view(opened, backend.views, max_entries=backend.settings.max_read_entries)
    name = f"{opened.facts.name or 'map'}-{opened.facts.id}"
    return file_of(backend, view, kind=kind, where=where, sort=sort, columns=columns, name=name)


def file_of(
    backend: Backend, view: View, *, kind: str, where: str, sort: str, columns: list[str], name: str
) -> Response:
    """All entries of a reading that match, as a file of that name; its ending is added."""
    selected = select(backend.views, view, where=where, sort=sort)
    match kind:
        case "csv":
            chunks = _csv(view.sheet.table, selected, columns)
            chunks = chain((next(chunks),), chunks)  # a column that there is not is refused before the first byte
        case "ndjson":
            chunks = _ndjson(view.sheet.json_table, selected)
        case _:
            chunks = json_list(view.sheet.json_table, selected)
    response = Response(_held(view, chunks), content_type=TYPES[kind])
    safe = re.sub(r"[^A-Za-z0-9._-]+", "_", name)
    response.headers["Content-Disposition"] = f'attachment; filename="{safe}.{kind}"'
    response.headers["X-Entries"] = str(len(selected))
    response.headers["X-Completeness"] = view.sheet.reading.completeness.value
    return response


def _held(_view: View, chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The reading counts as in use until the last byte is written, or nobody wants it any more."""
    yield from chunks


def json_list(table: Table, indices: NDArray[np.int64]) -> Iterator[bytes]:
    """One JSON list of the entries at `indices`."""
    opening = b"[\n"
    for chunk in _ndjson(table, indices):
        # A line break inside of a string is escaped in JSON: what is left ends an entry.
        yield opening + chunk.rstrip(b"\n").replace(b"\n", b",\n")
        opening = b",\n"
    yield b"[]\n" if opening == b"[\n" else b"\n]\n"


def _ndjson(table: Table, indices: NDArray[np.int64]) -> Iterator[bytes]:
    step = _step(table)
    for start in range(0, len(indices), step):
        yield from ndjson_chunks(table.take(indices[start : start + step]))


def _csv(table: Table, indices: NDArray[np.int64], columns: list[str]) -> Iterator[bytes]:
    step = _step(table)
    for start in range(0, max(len(indices), 1), step):
        chunks = csv_chunks(table.take(indices[start : start + step]), columns or None)
        if start:
            chunks = _without_heading(chunks)
        yield from chunks


def _step(table: Table) -> int:
    row_bytes: int = table.keys.shape[-1] + math.prod(table.values.shape[1:])
    return min(block_rows(table), max(STREAM_BYTES // max(row_bytes, 1), 1))


def _without_heading(chunks: Iterator[bytes]) -> Iterator[bytes]:
    first = next(chunks, b"")
    yield first[first.index(b"\n") + 1 :] if b"\n" in first else b""
    yield from chunks
