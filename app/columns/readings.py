"""The human readings that ``--lens`` adds to JSON: path to text, where a lens says more than the number."""

from __future__ import annotations

import orjson

from app.columns.cell import HEAD_LIMIT, column_cells, heads
from app.columns.lenses.show import NO_NAMES, Names
from app.columns.table import Layout, Table

_SAYS_NO_MORE = frozenset(
    {"number", "plain", "text", "octets", "bool", "float", "list", "bars", "struct", "opaque", "enum"}
)


def reading_paths(layout: Layout) -> list[str]:
    """The fields that get one."""
    if layout.datasec:
        return []
    return [head.path for head in heads(layout, limit=HEAD_LIMIT) if head.lens not in _SAYS_NO_MORE]


def readings(block: Table, names: Names = NO_NAMES) -> list[bytes]:
    """One JSON object per entry, such as ``{"key.saddr":"10.0.0.1"}``."""
    chosen = [head for head in heads(block.layout, limit=HEAD_LIMIT) if head.path in set(reading_paths(block.layout))]
    columns = [[cell.text for cell in column_cells(block, head, names)] for head in chosen]
    if not columns:
        return [b"{}"] * len(block)
    paths = [head.path for head in chosen]
    return [orjson.dumps(dict(zip(paths, row, strict=True))) for row in zip(*columns, strict=True)]
