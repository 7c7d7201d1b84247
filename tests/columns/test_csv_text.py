"""CSV that a spreadsheet opens without running it."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest

from app.columns.csv_text import csv_chunks
from app.columns.errors import NoSuchField
from app.columns.plan import plan_made
from app.columns.table import Table
from tests.columns.made import table_of


def made(texts: list[bytes], numbers: list[int]) -> Table:
    plan = plan_made([("name", "text", 12), ("n", "i64", 8), ("raw", "bytes", 2)])
    rows = [
        text.ljust(12, b"\0") + number.to_bytes(8, "little", signed=True) + b"\1\2"
        for text, number in zip(texts, numbers, strict=True)
    ]
    return table_of(plan, np.frombuffer(b"".join(rows), np.uint8).reshape(-1, 22))


@pytest.mark.parametrize(("text", "shown"), [
    (b"plain", "plain"),
    (b"=1+1", "'=1+1"),
    (b"@SUM(A1)", "'@SUM(A1)"),
    (b"+1", "'+1"),
    (b"-1", "'-1"),
    (b"\tx", "'\tx"),
    (b'a,"b"', 'a,"b"'),
    (b"two\nlines", "two\nlines"),
    (b"\xff\xc3\xa4", "\\xffä"),
    (b"", ""),
])  # fmt: skip
def test_t23_text_never_becomes_a_formula(text: bytes, shown: str) -> None:
    document = b"".join(csv_chunks(made([text], [-5]))).decode()
    header, row = csv.reader(io.StringIO(document, newline=""))
    assert header == ["value.name", "value.n", "value.raw"]
    assert row == [shown, "-5", "[1,2]"]


def test_only_the_columns_that_are_asked_for() -> None:
    assert (
        b"".join(csv_chunks(made([b"a", b"b"], [1, -(1 << 63)]), ["value.n"])) == b"value.n\n1\n-9223372036854775808\n"
    )
    with pytest.raises(NoSuchField):
        list(csv_chunks(made([b"a"], [1]), ["value.m"]))


def test_no_entries_are_a_header() -> None:
    assert b"".join(csv_chunks(made([], []))) == b"value.name,value.n,value.raw\n"
