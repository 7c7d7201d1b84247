"""What a user types as a key (or value) to its bytes, and back."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np

from app.columns.cell import column_cells, head
from app.columns.decode import full_path
from app.columns.encode import from_text
from app.columns.errors import BadKey, BadValue
from app.columns.json_text import template
from app.columns.lenses import choose
from app.columns.lenses.show import NO_NAMES, Names
from app.columns.node import Node, NodeKind, is_in6_addr, is_octets
from app.columns.plan import Plan
from app.columns.table import Bytes, Layout, Table
from app.columns.written import INTEGER, MAX_DIGITS, Writer, octets, shown, write

MAX_TEXT = 1 << 20
SHOWN_FIELDS = 64
_EXACT = frozenset({"number", "plain", "hex", "pointer", "be", "port_be", "ipv4", "proto"})
_BYTE = re.compile(r"0x[0-9a-fA-F]{2}")
_SPLIT = re.compile(r'"(?:[^"\\]|\\.)*"|[^,]+')


def parse_key(plan: Plan, text: str) -> bytes:
    """The bytes of what ``text`` says, in any of four forms.

    JSON as ``dump`` prints it; ``hex:0a000001`` (spaces and colons allowed between bytes); fields in order with commas,
    ``10.0.0.1, 10.0.0.2, 443, 5000, 6``, as the cells show them or plain; a single field alone, ``10.0.0.0/8`` for a
    longest-prefix-match key. Padding is zero.
    raises  BadKey saying which field, what was wanted and what was found
    """
    text = text.strip()
    if not text or len(text) > MAX_TEXT:
        raise BadKey(f"a key of {plan.size_bytes} bytes was wanted, such as {_example(plan)}; found {shown(text)}")
    if text.lower().startswith("hex:"):
        return _from_hex(plan, text[4:])
    if text[0] in '{["':
        try:
            document = json.loads(text)
            json.dumps(document, ensure_ascii=False).encode()  # JSON can spell half of a surrogate pair
        except UnicodeEncodeError:
            raise BadKey(f"{shown(text)!a} holds half of a character") from None
        except (ValueError, RecursionError):
            if text[0] != '"':
                raise BadKey(f"{shown(text)} is not JSON; a key here looks like {_example(plan)}") from None
        else:
            return from_json(plan, document)
    try:
        return _from_fields(plan, text) if plan.typed else _raw_text(plan, text)
    except BadKey:
        raise
    except BadValue as bad:
        raise BadKey(str(bad), bad.path) from None


def key_text(plan: Plan, data: bytes) -> str:
    """``data`` as `parse_key` reads it: JSON on one line, hex:… without a type."""
    if not plan.typed:
        return "hex:" + data.hex()
    row = np.frombuffer(data, np.uint8).reshape(1, -1)
    text = template(plan.root).render(row)[0].decode()
    # Floats that are not numbers are null in JSON, and padding is not in it at all: only bytes bring those back.
    try:
        return text if from_json(plan, json.loads(text)) == data else "hex:" + data.hex()
    except BadKey:
        return "hex:" + data.hex()


def shown_keys(plan: Plan, keys: Bytes, names: Names = NO_NAMES) -> list[str]:
    """Keys uint8[n, size] as people read them, the fields in order, and such that `parse_key` gives back their bytes.

    A key of which a cell does not say all (a rounded length of time, text with a comma in it) is told as by `key_text`.
    """
    layout = Layout(key=plan, value=None)
    fields = list(islice(_fields(plan.root), SHOWN_FIELDS + 1))
    if len(fields) > SHOWN_FIELDS:
        return [key_text(plan, key.tobytes()) for key in keys]
    page = Table(layout, keys, np.zeros((len(keys), 0), np.uint8))
    columns = [column_cells(page, head(layout, full_path("key", node.path)), names) for node in fields]
    texts = [", ".join(cell.text for cell in row) for row in zip(*columns, strict=True)]
    if sum(node.size_bytes for node in fields if _says_all(node, plan)) == plan.size_bytes:
        return texts  # trying each of a million would take minutes
    return [_sure(plan, text, key.tobytes()) for text, key in zip(texts, keys, strict=True)]


def _says_all(node: Node, plan: Plan) -> bool:
    """Whatever number the field holds, its cell gives it back."""
    plain = node.kind is NodeKind.INT and node.size_bits <= 64 and not node.bitfield and not node.special
    return plain and choose.default(node, plan) in _EXACT


def _sure(plan: Plan, text: str, key: bytes) -> str:
    try:
        return text if parse_key(plan, text) == key else key_text(plan, key)
    except BadKey:
        return key_text(plan, key)


def from_json(plan: Plan, document: Any) -> bytes:
    """The bytes of one key or value as `rows` prints it.

    Of members that share bytes (unions) some may be left out; those that are there must agree. raises BadKey
    """
    if (data := _dumped_bytes(plan, document)) is not None:
        return data
    if not plan.typed and isinstance(document, int) and not isinstance(document, bool):
        try:
            return _raw_text(plan, str(document))
        except BadValue as bad:
            raise BadKey(str(bad), bad.path) from None
    writer = Writer(plan.size_bytes)
    try:
        write(writer, plan.root, document)
    except RecursionError:
        raise BadKey("the key is nested deeper than its type") from None
    except BadValue as bad:
        raise BadKey(str(bad), bad.path) from None
    missing = writer.missing()
    if missing is not None:
        raise BadKey(f"{missing.path} is missing; a key here looks like {_example(plan)}", missing.path)
    return bytes(writer.data)


def _dumped_bytes(plan: Plan, document: Any) -> bytes | None:
    """Bytes as `dump` prints those of maps without types: of an array the index is known to be a number all the same."""
    if plan.root.kind is NodeKind.ARRAY or not isinstance(document, list) or len(document) != plan.size_bytes:
        return None
    if not all(isinstance(each, str) and _BYTE.fullmatch(each) for each in document):
        return None
    return bytes(int(each, 16) for each in document)


def _from_hex(plan: Plan, digits: str) -> bytes:
    try:
        data = bytes.fromhex(digits.replace(":", " "))
    except ValueError:
        raise BadKey(f"hex: wants two digits a byte, found {shown(digits)}") from None
    if len(data) != plan.size_bytes:
        raise BadKey(f"hex: {plan.size_bytes} bytes were wanted, found {len(data)}")
    return data


def _raw_text(plan: Plan, text: str) -> bytes:
    """Without a type: an integer in the host's order, or bytes."""
    if INTEGER.fullmatch(text) and plan.size_bytes in {1, 2, 4, 8} and len(text) < MAX_DIGITS:
        number = int(text, 16) if "x" in text.lower() else int(text)
        bits = plan.size_bytes * 8
        if -(1 << (bits - 1)) <= number < 1 << bits:
            return (number & ((1 << bits) - 1)).to_bytes(plan.size_bytes, plan.root.byte_order)
    return octets(plan.root, text)


def _from_fields(plan: Plan, text: str) -> bytes:
    fields = list(_fields(plan.root))
    parts = [part.strip() for part in _SPLIT.findall(text)]
    if len(parts) == 1 and "/" in text and len(fields) == 2 and fields[0].name.startswith("prefix"):
        address, _, bits = text.partition("/")
        parts = [bits, address]
    if len(parts) == 1 and len(fields) > 1 and (is_octets(plan.root) or is_in6_addr(plan.root)):
        fields = [plan.root]
    if len(parts) != len(fields):
        raise BadKey(f"{len(fields)} fields were wanted ({_field_names(fields)}), found {len(parts)} in {shown(text)}")
    writer = Writer(plan.size_bytes)
    for node, part in zip(fields, parts, strict=True):
        words = (
            json.loads(part) if part[:1] == '"' and part[-1:] == '"' and len(part) > 1 and "\\" not in part else part
        )
        if not node.special:
            _put_text(writer, node, words, choose.default(node, plan))
    return bytes(writer.data)


def _put_text(writer: Writer, node: Node, words: str, lens: str) -> None:
    """One field as its cell shows it, or as plainly as people write it. raises BadValue"""
    try:
        found = from_text(node, words, lens)
    except BadValue as unread:
        try:
            write(writer, node, words)  # characters for octets, for one
        except BadValue:
            raise unread from None
        return
    if isinstance(found, int):
        writer.put(node, found)
    else:
        writer.put_bytes(node, found)


def _fields(node: Node) -> Iterator[Node]:
    """The leaves that a user gives in order: of a union its first member."""
    if node.kind is NodeKind.UNION and node.children and not is_in6_addr(node):
        yield from _fields(node.children[0])
    elif node.kind is NodeKind.STRUCT and not is_in6_addr(node):
        end_bits = -1
        for child in node.children:
            if child.offset_bits >= end_bits:  # a nameless union's further members share the bytes of its first
                yield from _fields(child)
                end_bits = child.offset_bits + child.size_bits
    elif node.kind is NodeKind.ARRAY and not is_octets(node) and not is_in6_addr(node):
        for child in node.members():
            yield from _fields(child)
    else:
        yield node


def _field_names(fields: list[Node]) -> str:
    names = [node.path or node.type_name for node in fields]
    return ", ".join(names[:8]) + (", …" if len(names) > 8 else "")


def _example(plan: Plan) -> str:
    """What dump prints for a key of zeros, or its beginning."""
    zeros = np.zeros((1, plan.size_bytes), np.uint8)
    return shown(template(plan.root).render(zeros)[0].decode(), 120)
