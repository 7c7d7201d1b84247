"""Digits and rows through byte matrices read as Python prints them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from app.columns.digits import decimal, groups_of
from app.columns.matrix import Scratch, chosen, join, literal, texts

INTEGERS = ["u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8"]


def printed(values):
    out = np.full((len(values), groups_of(values) + 2), 0x58585858, np.uint32)
    decimal(values, out[:, 1:-1])
    rows = out.view(np.uint8).reshape(len(values), -1)
    return [row.tobytes()[4:-4].replace(b"\0", b"").decode() for row in rows]


@pytest.mark.parametrize("dtype", INTEGERS)
def test_edges_of_every_width(dtype):
    info = np.iinfo(dtype)
    edges = {info.min, info.max, 0, 1, *(10**power + step for power in range(20) for step in (-1, 0, 1))}
    values = np.array(sorted(edge for edge in edges if info.min <= edge <= info.max), dtype)
    assert printed(values) == [str(value) for value in values.tolist()]


@given(st.sampled_from(INTEGERS).flatmap(lambda dtype: npst.arrays(dtype, st.integers(1, 50))))
def test_digits_are_what_python_prints(values):
    assert printed(values) == [str(value) for value in values.tolist()]


@given(npst.arrays(np.dtype(">u4"), 7))
def test_the_byte_order_of_the_column_does_not_matter(values):
    assert printed(values) == [str(value) for value in values.tolist()]


@given(
    st.integers(1, 30).flatmap(
        lambda n: st.tuples(
            npst.arrays(np.int64, n),
            st.lists(
                st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=9), min_size=n, max_size=n
            ),
            npst.arrays(np.intp, n, elements=st.integers(0, 2)),
        )
    ),
    st.lists(st.binary(max_size=9).map(lambda text: text.replace(b"\0", b"0")), min_size=4, max_size=4),
)
def test_a_row_is_its_pieces_in_order(columns, literals):
    numbers, words, index = columns
    encoded = [word.encode() for word in words]
    table = [b"", b"name", b"a longer name"]
    expected = b"".join(
        literals[0] + str(number).encode() + literals[1] + word + literals[2] + table[which] + literals[3]
        for number, word, which in zip(numbers.tolist(), encoded, index.tolist(), strict=True)
    )
    assert join(literals, [numbers, texts(encoded), chosen(table, index)], Scratch()).tobytes() == expected


def test_a_literal_fills_whole_words():
    assert literal(b"abcde").tobytes() == b"\0\0\0abcde"
    assert len(literal(b"")) == 0
