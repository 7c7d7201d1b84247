"""Any layout, any bytes: columns, JSON, filters and sorting agree with readers that share no code with them."""

from __future__ import annotations

import json
import math
import operator
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from app.columns.cell import cells, heads
from app.columns.csv_text import csv_chunks
from app.columns.decode import column
from app.columns.key_text import key_text, parse_key
from app.columns.order import order
from app.columns.plan import Plan, plan_type
from app.columns.rows import json_chunks, ndjson_chunks, python_rows
from app.columns.table import Layout, Table
from app.columns.where import WhereError, parse
from tests.btfs import Writer
from tests.columns.made import Leaf, Order, slow, table_of

N_ENTRIES = 7
COMPARES = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@st.composite
def structs(draw: st.DrawFn) -> tuple[Writer, int, int, list[Leaf]]:
    """(BTF, struct's number, its size, its leaves): members of every kind, one after the other, at any byte or bit."""
    writer = Writer(byte_order=draw(st.sampled_from(["little", "big"])))
    members: list[tuple[str, int, int]] = []
    leaves: list[Leaf] = []
    at_bits = 0
    widths: list[int] = []
    index_type = writer.integer("index", 4)
    for number in range(draw(st.integers(1, 6))):
        name = f"m{number}"
        kind = draw(st.sampled_from(["int", "bit field", "bool", "enum", "ptr", "float", "text", "array", "nested"]))
        signed = draw(st.booleans())
        bit_width = 0
        if kind == "bit field":
            size_bytes = draw(st.sampled_from([1, 2, 4, 8, 16]))
            bit_width = draw(st.integers(1, size_bytes * 8))
            type_id = writer.integer("int", size_bytes, encoding=int(signed))
            leaves.append(Leaf(name, "int", at_bits, bit_width, signed, bit_field=True))
        else:
            at_bits = -(-at_bits // 8) * 8 + 8 * draw(st.integers(0, 2))
            type_id, size_bytes = _member(draw, writer, kind, name, at_bits, signed, index_type, leaves)
        members.append((name, type_id, at_bits))
        widths.append(bit_width)
        at_bits += bit_width or size_bytes * 8
    size_bytes = -(-at_bits // 8) + draw(st.integers(0, 3))
    words = [
        w
        for (name, type_id, at), bits in zip(members, widths, strict=True)
        for w in (writer.string(name), type_id, bits << 24 | at)
    ]
    struct_id = writer.add(4, "made", size_bytes, *words, vlen=len(members), kind_flag=1)
    return writer, struct_id, size_bytes, leaves


def _member(
    draw: st.DrawFn, writer: Writer, kind: str, name: str, at: int, signed: bool, index: int, leaves: list[Leaf]
) -> tuple[int, int]:
    """(type, size in bytes) of a member that is no bit field; its leaves are appended."""
    match kind:
        case "int":
            size = draw(st.sampled_from([1, 2, 4, 8, 16]))
            leaves.append(Leaf(name, "int", at, size * 8, signed))
            return writer.integer("int", size, encoding=int(signed)), size
        case "bool":
            leaves.append(Leaf(name, "bool", at, 8))
            return writer.integer("_Bool", 1, encoding=4), 1
        case "enum":
            names = {0: "ZERO", 1: "ONE", 255: "LAST"}
            words = [word for value, text in names.items() for word in (writer.string(text), value)]
            leaves.append(Leaf(name, "enum", at, 32, names=names))
            return writer.add(6, "shade", 4, *words, vlen=3), 4
        case "ptr":
            leaves.append(Leaf(name, "ptr", at, 64))
            return writer.add(2, "", 0), 8
        case "float":
            size = draw(st.sampled_from([4, 8]))
            leaves.append(Leaf(name, "float", at, size * 8, signed=True))
            return writer.add(16, "real", size), size
        case "text":
            size = draw(st.integers(1, 9))
            leaves.append(Leaf(name, "text", at, size * 8))
            return writer.add(3, "", 0, writer.integer("char", 1, encoding=1), index, size), size
        case "array":
            size, rows, columns = draw(st.sampled_from([1, 2, 4, 8])), draw(st.integers(1, 3)), draw(st.integers(1, 3))
            inner = writer.add(3, "", 0, writer.integer("int", size, encoding=int(signed)), index, columns)
            for row in range(rows):
                for place in range(columns):
                    here = at + (row * columns + place) * size * 8
                    leaves.append(Leaf(f"{name}[{row}][{place}]", "int", here, size * 8, signed))
            return writer.add(3, "", 0, inner, index, rows), size * rows * columns
        case _:
            low, high = writer.integer("int", 2, encoding=int(signed)), writer.integer("int", 8)
            inner = writer.struct(f"in_{name}", 10, ("low", low, 0), ("high", high, 16))
            count = draw(st.integers(1, 3))
            for place in range(count):
                leaves.append(Leaf(f"{name}[{place}].low", "int", at + place * 80, 16, signed))
                leaves.append(Leaf(f"{name}[{place}].high", "int", at + place * 80 + 16, 64))
            return writer.add(3, "", 0, inner, index, count), 10 * count


def bytes_for(draw: st.DrawFn, size_bytes: int, n_entries: int = N_ENTRIES) -> np.ndarray:
    mostly = st.one_of(st.binary(min_size=size_bytes, max_size=size_bytes), st.just(bytes(size_bytes)), st.just(b"\xff" * size_bytes),
                       st.just((b"\x7f\xa0" * size_bytes)[:size_bytes]), st.just((b"\xa0\x7f" * size_bytes)[:size_bytes]),
                       st.lists(st.sampled_from(b"\0\1A\"\\z,"), min_size=size_bytes, max_size=size_bytes).map(bytes))  # fmt: skip
    rows = draw(st.lists(mostly, min_size=n_entries, max_size=n_entries))
    return np.frombuffer(b"".join(rows), np.uint8).reshape(n_entries, size_bytes)


@st.composite
def tables(draw: st.DrawFn) -> tuple[Table, list[Leaf], Order]:
    writer, type_id, size_bytes, leaves = draw(structs())
    plan = plan_type(writer.parse(), type_id, size_bytes)
    assert plan.typed, plan.note
    return table_of(plan, bytes_for(draw, size_bytes)), leaves, writer.byte_order


def plain(value: Any) -> Any:
    """A number of numpy's as Python's, NaN as a word since it equals nothing."""
    value = value.item() if hasattr(value, "item") else value
    return "nan" if isinstance(value, float) and math.isnan(value) else value


@given(tables())
@settings(max_examples=150, deadline=None)
def test_a_column_is_what_a_slow_reader_reads(made: tuple[Table, list[Leaf], Order]) -> None:
    table, leaves, byte_order = made
    for leaf in leaves:
        read = column(table, f"value.{leaf.path}")
        assert len(read) == len(table)
        expected = [plain(slow(leaf, row.tobytes(), byte_order)) for row in table.values]
        assert [plain(value) for value in read] == expected, leaf
        node = table.layout.value.find(leaf.path)  # type: ignore[union-attr]
        assert (node.offset_bits, node.size_bits) == (leaf.offset_bits, leaf.bits)


def dig(document: Any, path: str) -> Any:
    for step in path.replace("[", ".[").split("."):
        document = document[int(step[1:-1])] if step.startswith("[") else document[step]
    return document


def as_json(leaf: Leaf, data: bytes, byte_order: Order) -> Any:
    value = slow(leaf, data, byte_order)
    if leaf.kind == "float":
        return value if value - value == 0 else None
    if leaf.kind == "enum":
        return leaf.names.get(value, value - (value >> 31 << 32))
    if leaf.kind == "text":
        whole = data[leaf.offset_bits // 8 : (leaf.offset_bits + leaf.bits) // 8]
        if b"\0" in whole and all(0x20 <= byte < 0x7F for byte in value):
            return value.decode()
        return [byte - (byte >> 7 << 8) for byte in whole]
    return value


@given(tables())
@settings(max_examples=150, deadline=None)
def test_json_ndjson_and_dictionaries_say_the_same_and_what_the_bytes_say(
    made: tuple[Table, list[Leaf], Order],
) -> None:
    table, leaves, byte_order = made
    rows = python_rows(table)
    assert json.loads(b"".join(json_chunks(table))) == rows
    assert [json.loads(line) for line in b"".join(ndjson_chunks(table)).splitlines()] == rows
    for row, data in zip(rows, table.values, strict=True):
        for leaf in leaves:
            expected = as_json(leaf, data.tobytes(), byte_order)
            found = dig(row["value"], leaf.path)
            assert (found, type(found)) == (expected, type(expected)), leaf
    assert b"".join(csv_chunks(table)).count(b"\n") >= len(table) + 1


@given(tables(), st.data())
@settings(max_examples=200, deadline=None)
def test_a_filter_is_what_python_says(made: tuple[Table, list[Leaf], Order], data: st.DataObject) -> None:
    table, leaves, byte_order = made
    leaf = data.draw(st.sampled_from(leaves))
    values = [slow(leaf, row.tobytes(), byte_order) for row in table.values]
    op = data.draw(st.sampled_from(sorted(COMPARES)))
    if leaf.kind == "text":
        wanted: Any = data.draw(st.one_of(st.sampled_from(values), st.text("Az,", max_size=3).map(str.encode)))
        literal = '"' + "".join(f"\\x{byte:02x}" for byte in wanted) + '"'
        if any(byte > 0x7F for byte in wanted):
            return  # text in an expression is UTF-8; bytes are asked for by hex:
    elif leaf.kind == "float":
        wanted = float(np.float32(data.draw(st.floats(-1e6, 1e6))))
        literal = format(wanted, ".60f")
    elif leaf.kind == "bool":
        wanted, literal = data.draw(st.sampled_from([(True, "true"), (False, "false")]))
    else:
        near = data.draw(st.sampled_from(values))
        wanted = data.draw(st.sampled_from([near, near - 1, 0, 1.5, -(1 << 70), 1 << 66]))
        literal = str(wanted)
    expected = [COMPARES[op](value, wanted) for value in values]
    path = f"value.{leaf.path}"
    assert parse(f"{path} {op} {literal}").mask(table).tolist() == expected
    assert parse(f"not ({path} {op} {literal})").mask(table).tolist() == [not one for one in expected]
    assert parse(f"{path} in ({literal}, {literal})").mask(table).tolist() == [value == wanted for value in values]


@given(tables(), st.data())
@settings(max_examples=150, deadline=None)
def test_sorting_is_pythons_sorting(made: tuple[Table, list[Leaf], Order], data: st.DataObject) -> None:
    table, leaves, byte_order = made
    leaf = data.draw(st.sampled_from(leaves))
    values = [slow(leaf, row.tobytes(), byte_order) for row in table.values]
    if "nan" in map(plain, values):
        return
    up = sorted(range(len(values)), key=lambda index: values[index])
    down = sorted(range(len(values)), key=lambda index: values[index], reverse=True)
    assert order(table, f"value.{leaf.path}").tolist() == up
    assert order(table, f"value.{leaf.path}", descending=True).tolist() == down
    whole = [row.tobytes() for row in table.values]
    assert order(table, "value").tolist() == sorted(range(len(whole)), key=lambda index: whole[index])


@given(tables())
@settings(max_examples=100, deadline=None)
def test_a_key_is_found_again_by_its_text(made: tuple[Table, list[Leaf], Order]) -> None:
    table, _, _ = made
    plan: Plan = table.layout.value  # type: ignore[assignment]
    for row in table.values:
        assert parse_key(plan, key_text(plan, row.tobytes())) == row.tobytes()


@given(
    st.text(max_size=60)
    | st.from_regex(r"(value\.a|not|and|or|\(|\)|in|==|<|[0-9a-f:./x]{1,12}|\"a| ){1,12}", fullmatch=True)
)
@settings(max_examples=500, deadline=None)
def test_whatever_is_typed_a_filter_is_an_answer_or_an_error_with_its_place(text: str) -> None:
    writer = Writer()
    value = writer.struct("v", 4, ("a", writer.integer("unsigned int"), 0))
    table = table_of(plan_type(writer.parse(), value, 4), np.zeros((2, 4), np.uint8))
    error: WhereError | None = None
    try:
        assert parse(text).mask(table).shape == (2,)
    except WhereError as caught:
        error = caught
    assert error is None or 1 <= error.column <= len(text) + 1


@given(structs(), st.data())
@settings(max_examples=60, deadline=None)
def test_per_cpu_values_fold_as_python_folds_them(
    made: tuple[Writer, int, int, list[Leaf]], data: st.DataObject
) -> None:
    writer, type_id, size_bytes, leaves = made
    plan = plan_type(writer.parse(), type_id, size_bytes)
    n_cpus = 3
    values = bytes_for(data.draw, size_bytes, N_ENTRIES * n_cpus).reshape(N_ENTRIES, n_cpus, size_bytes)
    table = Table(Layout(None, plan, n_cpus), np.zeros((N_ENTRIES, 0), np.uint8), values)
    rows = python_rows(table)
    flat = python_rows(table_of(plan, values.reshape(-1, size_bytes)))
    assert [one["value"] for row in rows for one in row["values"]] == [row["value"] for row in flat]
    assert [one["cpu"] for one in rows[0]["values"]] == [0, 1, 2]
    for leaf in leaves:
        if leaf.kind != "int":
            continue
        each = [[slow(leaf, cpu.tobytes(), writer.byte_order) for cpu in row] for row in values]
        total = [sum(row) for row in each]
        if leaf.bits <= 64:
            sign = 1 << 63 if leaf.signed else 0
            total = [(((number + sign) & ((1 << 64) - 1)) - sign) for number in total]
        assert column(table, f"value.{leaf.path}").tolist() == total
        assert column(table, f"value@max.{leaf.path}").tolist() == [max(row) for row in each]
        assert column(table, f"value@cpu1.{leaf.path}").tolist() == [row[1] for row in each]
        assert column(table, f"value@each.{leaf.path}").tolist() == each
        assert parse(f"value@all.{leaf.path} >= 1").mask(table).tolist() == [min(row) >= 1 for row in each]
        assert parse(f"value@any.{leaf.path} >= 1").mask(table).tolist() == [max(row) >= 1 for row in each]


def test_floats_that_signal_are_read_without_a_sound() -> None:
    for byte_order, pattern in (("little", b"\x01\0\0\0\0\0\xf4\x7f"), ("big", b"\x7f\xf4\0\0\0\0\0\x01")):
        writer = Writer(byte_order=byte_order)  # type: ignore[arg-type]
        value = writer.struct("v", 12, ("a", writer.add(16, "double", 8), 0), ("b", writer.add(16, "float", 4), 64))
        plan = plan_type(writer.parse(), value, 12)
        row = np.frombuffer(pattern + (pattern[4:] if byte_order == "little" else b"\x7f\xa0\0\1"), np.uint8)
        for values in (np.stack([row, row]), np.stack([row, row]).reshape(1, 2, 12)):
            table = table_of(plan, values)
            assert str(python_rows(table)).count("None") == 4
            for path in ("value.a", "value.b"):
                assert not parse(f"{path} > 1 or {path} < value.a").mask(table).any()
                assert len(order(table, path)) == len(table)
                assert np.isnan(column(table, path)).all()
            assert {cell.text for line in cells(table, heads(table.layout)) for cell in line} == {"nan"}
            assert len(b"".join(csv_chunks(table)).splitlines()) == len(table) + 1
