"""Filter expressions answered for all entries at once."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.columns.condition import (
    Compare,
    Expr,
    Holds,
    Junction,
    Literal_,
    Not,
    Number,
    Octets,
    Op,
    Path,
    Range,
    Text,
    Within,
)  # fmt: skip
from app.columns.decode import Column, Field, fold, locate, native, read, text
from app.columns.errors import NoSuchField, NotOneColumn, WhereError
from app.columns.lenses import choose
from app.columns.node import REDACTED, Node, NodeKind, is_octets
from app.columns.table import Bytes, Layout, Table

Mask = NDArray[np.bool_]

_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
_HOST_NUMBERS = frozenset({1, 2, 4, 8})


def check(expr: Expr, layout: Layout) -> None:
    """Ask the expression of no entries: whatever would be wrong is wrong already. raises WhereError"""
    keys = np.zeros((0, 0 if layout.key is None else layout.key.size_bytes), np.uint8)
    value_bytes = 0 if layout.value is None else layout.value.size_bytes
    shape = (0, layout.n_cpus, value_bytes) if layout.n_cpus else (0, value_bytes)
    mask(expr, Table(layout, keys, np.zeros(shape, np.uint8)), {})


def mask(expr: Expr, table: Table, lenses: Mapping[str, str]) -> Mask:
    """bool[n]: the entries that ``expr`` holds for. raises WhereError"""
    match expr:
        case Junction(word, parts):
            both = np.logical_and if word == "and" else np.logical_or
            return reduce(both, (mask(part, table, lenses) for part in parts))
        case Not(of):
            return ~mask(of, table, lenses)
        case Compare(path, op, Path() as right):
            return _two_fields(table, path, op, right, lenses)
        case Compare(path, op, (Number() | Text() | Octets()) as literal):
            question = _Question(table, path, lenses)
            return question.folded(lambda data: question.compare(data, op, literal))
        case Within(path, options):
            question = _Question(table, path, lenses)
            return question.folded(lambda data: reduce(np.logical_or, (question.within(data, one) for one in options)))
        case Holds(path):
            question = _Question(table, path, lenses)
            if question.node.kind is not NodeKind.BOOL:
                raise WhereError(path.column, f"{path.text} alone is no condition; write {path.text} != 0 or the like")
            return question.folded(question.numbers)
        case _:
            raise WhereError(1, "the expression is empty")


class _Question:
    """One field of a table, about to be compared."""

    def __init__(self, table: Table, path: Path, lenses: Mapping[str, str]) -> None:
        try:
            self.field: Field = locate(table.layout, path.text)
        except (NoSuchField, NotOneColumn) as error:
            raise WhereError(path.column, str(error)) from None
        self.path = path
        self.node: Node = self.field.node
        if self.node.special == REDACTED:
            raise WhereError(
                path.column, f"{path.text} is hidden from your role by the policy; ask about another field"
            )
        plan = table.layout.key if self.field.group == "key" else table.layout.value
        lens = lenses.get(path.text) or ("" if plan is None else choose.default(self.node, plan))
        self._network = choose.reads_network_order(self.node, lens)
        self.data: Bytes = table.keys if self.field.group == "key" else table.values
        self.per_cpu = self.field.group == "value" and bool(table.layout.n_cpus)

    def folded(self, ask: Callable[[Bytes], Mask]) -> Mask:
        """The answer per entry: CPUs are added up (or chosen) before the comparison, or asked one by one."""
        how = self.how()
        if how.startswith("cpu"):
            return ask(self.data[:, int(how[3:])])
        answer = ask(self.data)
        if how == "any":
            return _any(answer, (1,))
        return ~_any(~answer, (1,)) if how == "all" else answer

    def numbers(self, data: Bytes) -> Column:
        """Numbers as the lens shows them; of a per-CPU sum, minimum or maximum that one."""
        values = read(self.node, data, 0)
        if self._network and values.dtype.itemsize > 1:
            values = native(values)
            values = values.byteswap() if self.node.byte_order == "little" else values
        values = native(values)
        return fold(self.field, values) if self.how() in {"sum", "min", "max"} else values

    def compare(self, data: Bytes, op: Op, literal: Literal_) -> Mask:
        """bool[n] (or [n, n_cpus]) of ``field op literal``."""
        if isinstance(literal, Octets):
            return self._octets(data, op, literal)
        kind = self.node.kind
        if kind is NodeKind.TEXT or ((kind is NodeKind.BYTES or is_octets(self.node)) and isinstance(literal, Text)):
            return self._text(data, op, literal)
        if kind is NodeKind.ARRAY and not is_octets(self.node):
            return self._contains(data, op, literal)
        if kind is NodeKind.BYTES and self.node.size_bytes in _HOST_NUMBERS and isinstance(literal, Number):
            order = "<" if self.node.byte_order == "little" else ">"
            span = self.span(data)
            whole = np.ascontiguousarray(span).view(f"{order}u{self.node.size_bytes}")[..., 0]
            return _ordered(whole, op, literal.value)
        if not self.node.scalar:
            what = f"{self.path.text} is {self.node.type_name}, not one number"
            raise WhereError(self.path.column, f"{what}; compare one of its fields, or its bytes with hex:…")
        if op in {"contains", "startswith"}:
            raise WhereError(self.path.column, f"{self.path.text} is a number; {op} asks about text and arrays")
        return _ordered(self.numbers(data), op, self._number(literal))

    def within(self, data: Bytes, option: Literal_ | Range) -> Mask:
        """bool[n] (or [n, n_cpus]) of ``field in option``."""
        if not isinstance(option, Range):
            return self.compare(data, "==", option)
        return self.compare(data, ">=", option.low) & self.compare(data, "<=", option.high)

    def how(self) -> str:
        if not self.per_cpu:
            return ""
        if "@" in self.path.text:
            return "any" if self.field.fold == "each" else self.field.fold
        return "sum" if self.field.fold == "sum" and self.node.scalar else "any"

    def span(self, data: Bytes) -> Bytes:
        return data[..., self.node.offset_bytes : self.node.end_bytes]

    def _number(self, literal: Number | Text) -> int | float:
        if isinstance(literal, Number):
            return literal.value
        word = literal.value
        if self.node.kind is NodeKind.ENUM:
            for enumerator in self.node.enum:
                if enumerator.name == word:
                    return _in_width(enumerator.value, self.node)
            known = ", ".join(enumerator.name for enumerator in self.node.enum[:8])
            raise WhereError(literal.column, f"{self.node.type_name} has no {word[:60]}; it has {known}")
        if self.node.kind is NodeKind.BOOL and word in {"true", "false"}:
            return int(word == "true")
        if self.node.kind is NodeKind.INT and self.node.size_bits == 8 and len(word) == 1 and ord(word) < 128:
            return ord(word)
        wanted = "true or false" if self.node.kind is NodeKind.BOOL else "a number"
        raise WhereError(
            literal.column, f"{self.path.text} is {self.node.type_name}: {wanted} was wanted, found {word[:60]!r}"
        )

    def _text(self, data: Bytes, op: Op, literal: Number | Text) -> Mask:
        if isinstance(literal, Number):
            raise WhereError(literal.column, f"{self.path.text} is text: write the text in quotes")
        wanted = literal.value.encode(errors="surrogateescape" if literal.value.isascii() else "replace")
        values = text(self.span(data))
        if op == "contains":
            return np.strings.find(values, wanted) >= 0
        if op == "startswith":
            return np.strings.startswith(values, wanted)
        return np.asarray(_COMPARE[op](values, np.bytes_(wanted)), bool)

    def _contains(self, data: Bytes, op: Op, literal: Number | Text) -> Mask:
        element = self.node.element
        while element is not None and element.kind is NodeKind.ARRAY:
            element = element.element
        if op != "contains" or element is None or not element.scalar:
            what = f"{self.path.text} is an array of {self.node.count}"
            raise WhereError(
                self.path.column, f"{what}; compare {self.path.text}[0] or ask whether it contains a number"
            )
        if not isinstance(literal, Number):
            raise WhereError(literal.column, f"{self.path.text} contains numbers, found {literal.value[:60]!r}")
        values = native(read(self.node, data, 0))
        axes = tuple(range(data.ndim - 1, values.ndim))
        return _any(_ordered(values, "==", literal.value), axes)

    def _octets(self, data: Bytes, op: Op, literal: Octets) -> Mask:
        span = self.span(data)
        want, bits = literal.data, literal.prefix_bits
        size_bytes = self.node.size_bytes
        if self.node.bitfield:
            raise WhereError(literal.column, f"{self.path.text} is a bit field, not a {literal.kind}")
        if op == "contains":
            raise WhereError(literal.column, "contains asks about text and arrays; use == or startswith with bytes")
        if op == "startswith":
            if len(want) > size_bytes:
                return np.zeros(span.shape[:-1], bool)
            return _same(span[..., : len(want)], want)
        if literal.kind == "IPv4 address" and size_bytes == 16:
            want, bits = bytes(10) + b"\xff\xff" + want, bits + 96
        if len(want) != size_bytes:
            what = f"{self.path.text} has {size_bytes} bytes"
            raise WhereError(literal.column, f"{what}, {_article(literal.kind)} has {len(want)}")
        if bits < len(want) * 8:
            return self._network_mask(span, op, want, bits, literal.column)
        return _byte_order(span, op, want)

    def _network_mask(self, span: Bytes, op: Op, want: bytes, bits: int, column: int) -> Mask:
        if op not in {"==", "!="}:
            raise WhereError(column, f"{op} wants one address; ask for a network with in")
        keep = ((1 << bits) - 1) << (len(want) * 8 - bits)
        kept = np.frombuffer(keep.to_bytes(len(want), "big"), np.uint8)
        inside = ~_any((span ^ np.frombuffer(want, np.uint8)) & kept, (-1,))
        return inside if op == "==" else ~inside


def _two_fields(table: Table, left: Path, op: Op, right: Path, lenses: Mapping[str, str]) -> Mask:
    one, other = _Question(table, left, lenses), _Question(table, right, lenses)
    if op in {"contains", "startswith"}:
        raise WhereError(right.column, f"{op} wants text in quotes or a number")
    if one.node.kind is NodeKind.TEXT and other.node.kind is NodeKind.TEXT and not (one.per_cpu or other.per_cpu):
        values = [text(question.span(question.data)) for question in (one, other)]
        return np.asarray(_COMPARE[op](*values), bool)
    for question in (one, other):
        if not question.node.scalar:
            what = f"{question.path.text} is {question.node.type_name}"
            raise WhereError(
                question.path.column, f"{what}; two fields are compared when both are numbers or both text"
            )
        if question.how() in {"any", "all"}:
            raise WhereError(question.path.column, f"write {question.path.text} of one CPU, such as value@cpu0, here")
    sides = [_side(question) for question in (one, other)]
    with np.errstate(invalid="ignore"):
        return np.asarray(_COMPARE[op](*sides), bool)


def _side(question: _Question) -> Column:
    how, data = question.how(), question.data
    return question.numbers(data[:, int(how[3:])] if how.startswith("cpu") else data)


def _ordered(values: Column, op: Op, wanted: float) -> Mask:
    """Exact whatever the two types are: an integer column against 2.5 is asked with the integers around it."""
    if not isinstance(wanted, int) and values.dtype.kind != "f":
        if wanted.is_integer():
            wanted = int(wanted)
        elif op in {"==", "!="}:
            return np.full(values.shape, op == "!=")
        else:
            wanted = math.floor(wanted) if op in {">", "<="} else math.ceil(wanted)
    if values.dtype.kind == "b":
        values = values.view(np.uint8)
    if values.dtype.kind == "f":  # in the field's own precision, so that 0.1 finds a float of 0.1
        with np.errstate(all="ignore"):
            wanted = values.dtype.type(wanted)
    with np.errstate(invalid="ignore"):  # signalling NaN
        return np.asarray(_COMPARE[op](values, wanted), bool)


def _byte_order(span: Bytes, op: Op, want: bytes) -> Mask:
    """Bytes compared from the first one on, as addresses are."""
    if op in {"==", "!="}:
        same = _same(span, want)
        return same if op == "==" else ~same
    ours = np.frombuffer(want, np.uint8)
    first = (span != ours).argmax(axis=-1)[..., None]
    theirs = np.take_along_axis(span, first, axis=-1)[..., 0]
    return np.asarray(_COMPARE[op](theirs, ours[first[..., 0]]), bool)


def _same(span: Bytes, want: bytes) -> Mask:
    return ~_any(span != np.frombuffer(want, np.uint8), (-1,))


def _any(values: NDArray[Any], axes: tuple[int, ...]) -> Mask:
    return np.asarray(values.any(axis=axes), bool)


def _in_width(number: int, node: Node) -> int:
    number &= (1 << node.size_bits) - 1
    return number - (number >> (node.size_bits - 1) << node.size_bits) if node.signed else number


def _article(kind: str) -> str:
    return {"bytes": "the literal", "MAC address": "a MAC address"}.get(kind, f"an {kind}")
