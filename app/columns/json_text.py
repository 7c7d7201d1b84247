"""A field of many entries to JSON text, column by column; see bench/ before reshaping.

One column of numbers becomes text in one call of orjson and one split at the commas; a row is a bytes template filled
from the columns. What is printed follows bpftool 7.1 (``src/btf_dumper.c``), with the differences that docs name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice

import numpy as np
import orjson
from numpy.typing import NDArray

from app.columns.decode import Column, native, read, text
from app.columns.matrix import chosen
from app.columns.node import MADE_TEXT, REDACTED, Node, NodeKind
from app.columns.table import Bytes

Texts = list[bytes]


@dataclass(frozen=True, slots=True)
class Reader:
    """One hole of a template: uint8[n, size], beginning at the base it was made for, to n texts."""

    texts: Callable[[Bytes], Texts]
    column: Callable[[Bytes], Column] | None = None
    """The same as matrix.join takes it, integers [n] or words [n, k], where that is quicker than texts."""

    def __call__(self, data: Bytes) -> Texts:
        """N texts."""
        return self.texts(data)


_WIDE = 64


@dataclass(frozen=True, slots=True)
class Template:
    """JSON text with a hole for each column: ``literals`` has one piece more than ``readers``."""

    literals: tuple[bytes, ...]
    readers: tuple[Reader, ...]

    def fill(self, columns: Iterable[Texts], n_rows: int) -> Texts:
        """n_rows texts."""
        if not self.readers:
            return [self.literals[0]] * n_rows
        pattern = b"%b".join(literal.replace(b"%", b"%%") for literal in self.literals)
        return list(map(pattern.__mod__, zip(*columns, strict=True)))

    def render(self, data: Bytes) -> Texts:
        """uint8[n, size] to n texts."""
        return self.fill((reader(data) for reader in self.readers), len(data))


def template(node: Node, base_bytes: int = 0) -> Template:
    """The JSON of ``node``, out of bytes that begin at ``base_bytes`` of the key or value."""
    literals = [b""]
    readers: list[Reader] = []
    _compile(node, base_bytes, literals, readers)
    return Template(tuple(literals), tuple(readers))


def concatenate(parts: Iterable[bytes | Template]) -> Template:
    """Literal text and templates, one after the other; the readers keep their order."""
    literals = [b""]
    readers: list[Reader] = []
    for part in parts:
        if isinstance(part, bytes):
            literals[-1] += part
        else:
            literals[-1] += part.literals[0]
            literals.extend(part.literals[1:])
            readers.extend(part.readers)
    return Template(tuple(literals), tuple(readers))


def numbers(values: Column) -> Texts:
    """Integers, booleans or floats [n] or [n, count, …] to n texts; a float that is not finite is null."""
    if values.dtype == object:
        return _objects(values)
    if values.dtype.kind == "f":
        with np.errstate(invalid="ignore"):  # signalling NaN
            values = values.astype(np.float64)  # the exact value: 0.1f is 0.10000000149011612
    if len(values) == 0:
        return []
    if values.size == 0:
        return [orjson.dumps(values[0].tolist())] * len(values)
    printed = orjson.dumps(np.ascontiguousarray(native(values)), option=orjson.OPT_SERIALIZE_NUMPY)
    depth = values.ndim
    if depth == 1:
        return printed[1:-1].split(b",")
    opening, closing = b"[" * (depth - 1), b"]" * (depth - 1)
    rows = printed[depth:-depth].split(closing + b"," + opening)
    pattern = opening + b"%b" + closing
    return [pattern % row for row in rows]


def hex_lists(span: Bytes) -> Texts:
    """uint8[n, size] to n lists of ``"0x.."``, as bpftool prints bytes that it has no type for."""
    n_rows, size_bytes = span.shape
    if size_bytes == 0 or n_rows == 0:
        return [b"[]"] * n_rows
    out = np.empty((n_rows, 1 + 7 * size_bytes), np.uint8)
    out[:, 0] = ord("[")
    out[:, 1:] = _HEX[span].reshape(n_rows, -1)
    out[:, -1] = ord("]")
    return out.view(f"S{out.shape[1]}")[:, 0].tolist()  # type: ignore[no-any-return]


def strings(texts: Iterable[bytes]) -> Texts:
    """Printable ASCII to JSON strings."""
    return [b'"%b"' % one if b'"' not in one and b"\\" not in one else _quoted(one) for one in texts]


_HEX = np.frombuffer(b"".join(b'"0x%02x",' % byte for byte in range(256)), np.uint8).reshape(256, 7)


def _compile(node: Node, base: int, literals: list[bytes], readers: list[Reader]) -> None:
    match node.kind:
        case _ if node.special == REDACTED:
            literals[-1] += b"null"
        case NodeKind.STRUCT | NodeKind.UNION:
            _compile_members(node, base, literals, readers, b"{", b"}", named=True)
        case NodeKind.DATASEC:
            literals[-1] += b"{" + _quoted(node.name.encode()) + b":["
            for index, child in enumerate(node.children):
                literals[-1] += (b",{" if index else b"{") + _quoted(child.name.encode()) + b":"
                _compile(child, base, literals, readers)
                literals[-1] += b"}"
            literals[-1] += b"]}"
        case NodeKind.ARRAY if node.count == 0:
            literals[-1] += b"[]"
        case _:
            readers.append(_reader(node, base))
            literals.append(b"")


def _compile_members(
    node: Node, base: int, literals: list[bytes], readers: list[Reader], opening: bytes, closing: bytes, *, named: bool
) -> None:
    literals[-1] += opening
    for index, child in enumerate(node.members()):
        if index:
            literals[-1] += b","
        if named:
            literals[-1] += _quoted(child.name.encode()) + b":"
        _compile(child, base, literals, readers)
    literals[-1] += closing


def _reader(node: Node, base: int) -> Reader:
    match node.kind:
        case NodeKind.ENUM if not node.bitfield:
            return Reader(
                lambda data: _enum(node, read(node, data, base)), lambda data: _enum_words(node, read(node, data, base))
            )
        case NodeKind.INT if node.char and not node.bitfield:
            return Reader(lambda data: _chars(read(node, data, base)))
        case NodeKind.TEXT:
            return Reader(lambda data: _text(node, data[:, node.offset_bytes - base : node.end_bytes - base]))
        case NodeKind.ARRAY:
            return Reader(_array_reader(node, base))
        case NodeKind.BYTES:
            return Reader(lambda data: hex_lists(data[:, node.offset_bytes - base : node.end_bytes - base]))
        case NodeKind.BOOL if not node.bitfield:
            return Reader(
                lambda data: numbers(read(node, data, base)),
                lambda data: chosen((b"false", b"true"), read(node, data, base).astype(np.intp)),
            )
        case NodeKind.FLOAT | NodeKind.BOOL:
            return Reader(lambda data: numbers(read(node, data, base)))
        case _ if node.size_bits > _WIDE:
            return Reader(lambda data: numbers(read(node, data, base)))
        case _:
            return Reader(lambda data: numbers(read(node, data, base)), lambda data: read(node, data, base))


def _array_reader(node: Node, base: int) -> Callable[[Bytes], Texts]:
    inner = node.element
    while inner is not None and inner.kind is NodeKind.ARRAY:
        inner = inner.element
    if inner is not None and _plain(inner) and node.size_bits:
        return lambda data: numbers(read(node, data, base))
    element = node.element
    if element is None:
        return lambda data: [b"[]"] * len(data)
    each = template(element, node.offset_bytes)
    stride_bytes = node.stride_bits // 8

    def joined(data: Bytes) -> Texts:
        span = data[:, node.offset_bytes - base : node.end_bytes - base]
        texts = iter(each.render(span.reshape(len(data) * node.count, stride_bytes)))
        return [b"[" + b",".join(islice(texts, node.count)) + b"]" for _ in range(len(data))]

    return joined


def _plain(node: Node) -> bool:
    """Whether orjson's own text of the numbers is what is wanted."""
    if node.kind in {NodeKind.BOOL, NodeKind.PTR, NodeKind.FLOAT}:
        return True
    return node.kind is NodeKind.INT and not node.char and node.size_bits <= _WIDE


def _enum(node: Node, values: Column) -> Texts:
    """Names where one matches, the first of several; else the number."""
    texts, where = _named(node, values)
    return [texts[index] for index in where.tolist()]


def _enum_words(node: Node, values: Column) -> Column:
    texts, where = _named(node, values)
    return chosen(texts, where)


def _named(node: Node, values: Column) -> tuple[Texts, NDArray[np.intp]]:
    """The distinct texts, and which of them each row has.

    As bpftool has it, the field is read as signed and compared with the enumerator's 32 bits (64 of an ENUM64), as signed
    too: 200 in an enum of one byte is -56 and finds no name. `app.columns.cell` names it.
    """
    values = native(values)
    signed = values.view(f"i{values.dtype.itemsize}")
    bits = 64 if node.wide_enum else 32
    names: dict[int, bytes] = {}
    for enumerator in node.enum:
        number = enumerator.value & ((1 << bits) - 1)
        names.setdefault(number - (number >> (bits - 1) << bits), _quoted(enumerator.name.encode()))
    distinct, where = np.unique(signed, return_inverse=True)
    texts = [names.get(number) or b"%d" % number for number in distinct.tolist()]
    return texts, where.reshape(-1)


def _chars(values: Column) -> Texts:
    """BTF's character encoding: a string of one character, escaped where it is not printable."""
    return [_CHARS[byte] for byte in values.view(np.uint8).tolist()]


def _text(node: Node, span: Bytes) -> Texts:
    """A string where a NUL ends printable ASCII, value by value; else a list of the characters."""
    if node.type_name == MADE_TEXT:
        return [_quoted(word) for word in text(span).tolist()]
    ended = np.logical_or.accumulate(span == 0, axis=1)
    good = ended[:, -1] & (ended | ((span > 0x1F) & (span < 0x7F))).all(axis=1)
    shown: Bytes = np.where(ended, np.uint8(0), span)
    words: list[bytes] = shown.view(f"S{span.shape[1]}")[:, 0].tolist()
    texts = strings(words)
    bad = np.flatnonzero(~good)
    if len(bad):
        element = node.element
        rows = np.ascontiguousarray(span[bad])
        if element is not None and element.char:
            lists = [b"[" + b",".join(_CHARS[byte] for byte in row) + b"]" for row in rows.tolist()]
        else:
            lists = numbers(rows.view(np.int8) if element is not None and element.signed else rows)
        for index, one in zip(bad.tolist(), lists, strict=True):
            texts[index] = one
    return texts


def _objects(values: Column) -> Texts:
    if values.ndim == 1:
        return [b"%d" % number for number in values.tolist()]
    return [b"[" + b",".join(_objects(row)) + b"]" for row in values]


def _quoted(text: bytes) -> bytes:
    return orjson.dumps(text.decode(errors="backslashreplace"))


_CHARS = [orjson.dumps(chr(byte)) if 0x20 <= byte < 0x7F else b'"\\u%04x"' % byte for byte in range(256)]
