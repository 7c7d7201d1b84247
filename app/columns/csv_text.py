"""Entries as CSV, a block of rows at a time."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from app.columns.decode import Field, fold, locate, read_field
from app.columns.json_text import Texts, numbers, template
from app.columns.node import NodeKind
from app.columns.rows import block_rows, column_paths
from app.columns.table import Table

_NEEDS_QUOTES = re.compile(rb'[",\r\n]')
_STEERS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""Controls that a terminal obeys, and marks that turn the writing direction."""
_FORMULA = b"=+-@\t\r"
"""A spreadsheet takes a cell that starts with one of these for a formula."""


def csv_chunks(table: Table, columns: Sequence[str] | None = None) -> Iterator[bytes]:
    """A header of paths, then a line per entry (RFC 4180, but for LF), in pieces.

    Numbers are exact, enumerators by name, arrays and structs as JSON. Text that a spreadsheet would take for a formula
    gets an apostrophe before it; numbers never do. Per-CPU values as `decode.column` folds them.
    raises  NoSuchField before the first piece is asked for more than the header
    """
    fields = [locate(table.layout, path) for path in (column_paths(table.layout) if columns is None else columns)]
    yield b",".join(_text_cell(field.path.encode()) for field in fields) + b"\n"
    line = b",".join([b"%b"] * len(fields)) + b"\n"
    step = block_rows(table)
    for start in range(0, len(table), step):
        block = table.take(slice(start, start + step))
        texts = [_column(block, field) for field in fields]
        if texts:
            yield b"".join(map(line.__mod__, zip(*texts, strict=True)))


def _column(block: Table, field: Field) -> Texts:
    node = field.node
    if node.scalar and node.kind is not NodeKind.ENUM and not node.char and field.fold != "each":
        return [b"" if text == b"null" else text for text in numbers(fold(field, read_field(block, field)))]
    data = block.keys if field.group == "key" else block.values
    if field.fold in {"sum", "min", "max", "each"}:
        return [_text_cell(text) for text in numbers(fold(field, read_field(block, field)))]
    if field.fold:
        data = data[:, int(field.fold[3:])]
    if node.kind is NodeKind.TEXT:
        words = read_field(block, field) if not field.fold else fold(field, read_field(block, field))
        return [_text_cell(word) for word in words.tolist()]
    plain = [text[1:-1] if text[:1] == b'"' and b"\\" not in text else text for text in template(node).render(data)]
    return plain if node.kind is NodeKind.ENUM else [_text_cell(text) for text in plain]


def _text_cell(text: bytes) -> bytes:
    if text[:1] and text[:1] in _FORMULA:
        text = b"'" + text
    if _NEEDS_QUOTES.search(text):
        text = b'"' + text.replace(b'"', b'""') + b'"'
    shown = text.decode(errors="backslashreplace")
    return _STEERS.sub(lambda match: match[0].encode("unicode_escape").decode(), shown).encode()
