"""Blocks of text made by several threads come in order, few at a time."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from app.btf.parse import parse
from app.columns import matrix
from app.columns.plan import plan_type
from app.columns.rows import in_order, json_chunks, ndjson_chunks
from app.columns.table import Layout, Table
from tests.btfs import compile_blob

SOURCE = "struct value { unsigned long long packets; unsigned int limit; char name[8]; }; int f(struct value *v) { return 0; }"


def test_results_come_in_the_order_of_what_was_given() -> None:
    def slow_at_first(number: int) -> int:
        time.sleep(0.002 * (number % 3 == 0))
        return number * 2

    assert list(in_order(slow_at_first, range(50), 3)) == list(range(0, 100, 2))


def test_a_slow_reader_holds_the_threads_back() -> None:
    made: list[int] = []
    results = in_order(lambda number: made.append(number) or number, range(100), 2)
    assert next(results) == 0
    time.sleep(0.05)
    assert len(made) <= 5
    assert list(results) == list(range(1, 100))


def test_an_error_reaches_the_reader() -> None:
    def fails(number: int) -> int:
        if number == 7:
            raise ValueError(number)
        return number

    results = in_order(fails, range(20), 2)
    assert [next(results) for _ in range(7)] == list(range(7))
    with pytest.raises(ValueError, match="7"):
        next(results)
    assert threading.active_count() == 1


@pytest.fixture
def table() -> Table:
    btf = parse(compile_blob(SOURCE))
    plan = plan_type(btf, btf.find("value")[0], 24)
    values = np.random.default_rng(4).integers(0, 255, (5000, plan.size_bytes), np.uint8)
    values[:, 12:20] %= 64  # short of what JSON has to escape and what is no UTF-8
    return Table(Layout(key=None, value=plan), np.empty((5000, 0), np.uint8), values)


def test_two_threads_write_what_one_writes(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = b"".join(json_chunks(table))
    lines = b"".join(ndjson_chunks(table))
    monkeypatch.setattr(matrix, "BLOCK_ROWS", 64)
    assert b"".join(json_chunks(table, threads=2)) == whole
    assert b"".join(ndjson_chunks(table, threads=2)) == lines
