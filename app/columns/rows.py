"""Entries as JSON, NDJSON, CSV and Python dictionaries: the same values in each, a block of rows at a time."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar

import numpy as np
import orjson
from numpy.typing import NDArray

from app.columns import matrix
from app.columns.decode import full_path
from app.columns.json_text import Reader, Template, Texts, concatenate, template
from app.columns.node import Node, NodeKind
from app.columns.plan import Plan
from app.columns.table import Layout, Table

BLOCK_ROWS = 1 << 16
BLOCK_BYTES = 8 << 20
"""Raw bytes of a block at most (one row at least): JSON text and Python objects are a few times that."""

Given = TypeVar("Given")
Made = TypeVar("Made")

LENS_ROWS = 1 << 12
"""Rows at a time where people's readings go along, each of which is a cell first."""


def json_chunks(table: Table, *, lens: bool = False, threads: int = 1) -> Iterator[bytes | memoryview]:
    """One JSON list, an entry a line, in pieces; joined they are the document.

    Each entry is ``{"key": …, "value": …}``, in per-CPU maps ``{"key": …, "values": [{"cpu": 0, "value": …}, …]}``; a part
    that the layout does not have is left out. With ``lens`` an object "lens" follows: path to human reading.
    """
    opening = b"[\n"
    for text in _texts(table, b",\n", lens=lens, threads=threads):
        yield opening
        yield text
        opening = b",\n"
    yield b"[]\n" if opening == b"[\n" else b"\n]\n"


def ndjson_chunks(table: Table, *, lens: bool = False, threads: int = 1) -> Iterator[bytes]:
    """The same entries, each on a line of its own."""
    for text in _texts(table, b"\n", lens=lens, threads=threads):
        yield b"".join((text, b"\n"))


def python_rows(
    table: Table, indices: NDArray[np.int64] | slice | None = None, *, lens: bool = False
) -> list[dict[str, Any]]:
    """The same entries as dictionaries, exact; for a page's worth of them."""
    chosen = table if indices is None else table.take(indices)
    text = b"[" + b",".join(row for rows in _blocks(chosen, lens=lens) for row in rows) + b"]"
    exact = any(_has_wide(plan.root) for plan in (table.layout.key, table.layout.value) if plan is not None)
    return json.loads(text) if exact else orjson.loads(text)  # type: ignore[no-any-return]


def python_value(plan: Plan, data: bytes) -> Any:
    """One key or value as `python_rows` shows it. data has plan.size_bytes bytes"""
    text = template(plan.root).render(np.frombuffer(data, np.uint8).reshape(1, -1))[0]
    return json.loads(text)


def block_rows(table: Table) -> int:
    """Rows rendered at a time."""
    row_bytes: int = table.keys.shape[-1] + math.prod(table.values.shape[1:])
    return max(1, min(BLOCK_ROWS, BLOCK_BYTES // max(1, row_bytes)))


def _blocks(table: Table, *, lens: bool) -> Iterator[Texts]:
    render = _Renderer(table.layout)
    step = min(block_rows(table), LENS_ROWS) if lens else block_rows(table)
    for start in range(0, len(table), step):
        block = table.take(slice(start, start + step))
        rows = render.rows(block)
        if lens:
            from app.columns.readings import readings

            rows = [row[:-1] + b',"lens":' + reading + b"}" for row, reading in zip(rows, readings(block), strict=True)]
        yield rows


def _texts(table: Table, between: bytes, *, lens: bool, threads: int = 1) -> Iterator[bytes | memoryview]:
    """Rows a block at a time, joined by `between`."""
    render = _Renderer(table.layout)
    if lens or not render.tabular:
        yield from (between.join(rows) for rows in _blocks(table, lens=lens))
        return
    # Threads wait for each other's Python between two calls into numpy: the longer a call, the less often.
    step = min(block_rows(table), matrix.BLOCK_ROWS * threads)
    yield from in_order(
        lambda start: render.joined(table.take(slice(start, start + step)), between),
        range(0, len(table), step),
        threads,
    )


def in_order(work: Callable[[Given], Made], given: Sequence[Given], threads: int) -> Iterator[Made]:
    """What `work` makes of each, in order, by so many threads; two results a thread wait at most."""
    if threads < 2 or len(given) <= threads:
        yield from map(work, given)
        return
    from collections import deque
    from concurrent.futures import Future, ThreadPoolExecutor

    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[Made]] = deque()
        for each in given:
            waiting.append(pool.submit(work, each))
            if len(waiting) > 2 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


class _Renderer:
    """The templates of one layout, made once."""

    def __init__(self, layout: Layout) -> None:
        none = Template((b"",), ())
        self._key = none if layout.key is None else concatenate((b'"key":', template(layout.key.root)))
        self._value = none if layout.value is None else template(layout.value.root)
        self._n_cpus = layout.n_cpus
        self._scratch = matrix.Scratch()
        comma = b"," if layout.key is not None and layout.value is not None else b""
        name = b"" if layout.value is None else b'"values":[' if layout.n_cpus else b'"value":'
        if layout.n_cpus and layout.value is not None:
            hole = Template((b"", b"]"), (Reader(lambda _: []),))
            self._row = concatenate((b"{", self._key, comma, name, hole, b"}"))
        else:
            self._row = concatenate((b"{", self._key, comma, name, self._value, b"}"))

    @property
    def tabular(self) -> bool:
        """Most of a row are numbers: a byte matrix is quicker than an object a number."""
        readers = self._row.readers
        return not self._n_cpus and sum(reader.column is not None for reader in readers) * 2 > len(readers)

    def joined(self, block: Table, between: bytes) -> memoryview:
        """All rows as one text, `between` between two."""
        of_key = len(self._key.readers)
        columns = []
        for index, reader in enumerate(self._row.readers):
            data = block.keys if index < of_key else block.values
            columns.append(matrix.texts(reader.texts(data)) if reader.column is None else reader.column(data))
        literals = [*self._row.literals[:-1], self._row.literals[-1] + between]
        return memoryview(matrix.join(literals, columns, self._scratch).data)[: -len(between)]

    def rows(self, block: Table) -> Texts:
        columns = [reader(block.keys) for reader in self._key.readers]
        if block.layout.value is None:
            pass
        elif self._n_cpus:
            columns.append(self._per_cpu(block))
        else:
            columns += [reader(block.values) for reader in self._value.readers]
        return self._row.fill(columns, len(block))

    def _per_cpu(self, block: Table) -> Texts:
        n_rows, n_cpus, size_bytes = block.values.shape
        texts = iter(self._value.render(block.values.reshape(n_rows * n_cpus, size_bytes)))
        pattern = b",".join(b'{"cpu":%d,"value":%%b}' % cpu for cpu in range(n_cpus))
        return [pattern % tuple(islice(texts, n_cpus)) for _ in range(n_rows)]


def _has_wide(node: Node) -> bool:
    if node.kind is NodeKind.INT and node.size_bits > 64:
        return True
    below = (*node.children, *(() if node.element is None else (node.element,)))
    return any(_has_wide(child) for child in below)


def column_paths(layout: Layout) -> list[str]:
    """The leaves of key and value, as CSV and Parquet have them by default."""
    return [
        full_path(group, node.path)
        for group, plan in (("key", layout.key), ("value", layout.value))
        if plan is not None
        for node in plan.leaves()
    ]
