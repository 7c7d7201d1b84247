"""What a user types as a key (or value) to its bytes, and back."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from app.columns.errors import BadKey
from app.columns.json_text import template
from app.columns.lenses import choose
from app.columns.node import Node, NodeKind, is_in6_addr, is_octets, leaves
from app.columns.plan import Plan

MAX_TEXT = 1 << 20
_HEX_BYTE = re.compile(r"0x[0-9A-Fa-f]{1,2}")
_INTEGER = re.compile(r"[+-]?(?:0[xX][0-9A-Fa-f]+|[0-9]+)")
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
        raise BadKey(f"a key of {plan.size_bytes} bytes was wanted, such as {_example(plan)}; found {_shown(text)}")
    if text.lower().startswith("hex:"):
        return _from_hex(plan, text[4:])
    if text[0] in '{["':
        try:
            document = json.loads(text)
            json.dumps(document, ensure_ascii=False).encode()  # JSON can spell half of a surrogate pair
        except UnicodeEncodeError:
            raise BadKey(f"{_shown(text)!a} holds half of a character") from None
        except (ValueError, RecursionError):
            if text[0] != '"':
                raise BadKey(f"{_shown(text)} is not JSON; a key here looks like {_example(plan)}") from None
        else:
            return from_json(plan, document)
    if not plan.typed:
        return _raw_text(plan, text)
    return _from_fields(plan, text)


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


def from_json(plan: Plan, document: Any) -> bytes:
    """The bytes of one key or value as `rows` prints it.

    Of members that share bytes (unions) some may be left out; those that are there must agree. raises BadKey
    """
    writer = _Writer(plan.size_bytes)
    try:
        _write(writer, plan.root, document)
    except RecursionError:
        raise BadKey("the key is nested deeper than its type") from None
    writer.finish(plan)
    return bytes(writer.data)


class _Writer:
    """Bytes being put together; a bit that is written twice must be the same both times."""

    def __init__(self, size_bytes: int) -> None:
        self.data = bytearray(size_bytes)
        self._known = bytearray(size_bytes)
        self._missing: list[Node] = []

    def put(self, node: Node, number: int) -> None:
        """The low size_bits of ``number`` at the node's place."""
        n_bytes, order = node.size_bytes, node.byte_order
        lead = node.offset_bits % 8
        low = lead if order == "little" else n_bytes * 8 - lead - node.size_bits
        mask = (1 << node.size_bits) - 1
        self._merge(node, ((number & mask) << low).to_bytes(n_bytes, order), (mask << low).to_bytes(n_bytes, order))

    def put_bytes(self, node: Node, data: bytes) -> None:
        """Whole bytes from the node's place on."""
        self._merge(node, data, b"\xff" * len(data))

    def left_out(self, node: Node) -> None:
        """Remember a member that was not given: its bytes must come from another one."""
        self._missing.append(node)

    def finish(self, plan: Plan) -> None:
        """Raises BadKey if a member that was left out has bytes that no other one gave"""
        for node in self._missing:
            for leaf in leaves(node, plan.size_bytes):
                here = self._known[leaf.offset_bytes : leaf.end_bytes]
                if leaf.size_bits and not all(here):
                    raise BadKey(f"{leaf.path} is missing; a key here looks like {_example(plan)}")

    def _merge(self, node: Node, data: bytes, mask: bytes) -> None:
        for index, (byte, bits) in enumerate(zip(data, mask, strict=True), node.offset_bytes):
            if (self.data[index] ^ byte) & bits & self._known[index]:
                raise BadKey(f"{node.path} shares its bytes with a member given before it, which says otherwise")
            self.data[index] |= byte
            self._known[index] |= bits


def _write(writer: _Writer, node: Node, given: Any) -> None:
    match node.kind:
        case NodeKind.STRUCT | NodeKind.UNION:
            _write_members(writer, node, given)
        case NodeKind.DATASEC:
            if not (isinstance(given, dict) and isinstance(given.get(node.name), list)):
                raise _unfit(node, f'an object {{"{node.name}": […]}}', given)
            merged = {name: value for one in given[node.name] if isinstance(one, dict) for name, value in one.items()}
            _write_members(writer, node, merged)
        case NodeKind.TEXT if isinstance(given, str):
            encoded = _utf8(node, given)
            if len(encoded) > node.count:
                raise _unfit(node, f"at most {node.count} bytes of text", given)
            writer.put_bytes(node, encoded.ljust(node.count, b"\0"))
        case NodeKind.ARRAY | NodeKind.TEXT:
            if isinstance(given, str) and is_octets(node):
                writer.put_bytes(node, _octets(node, given))
                return
            if not isinstance(given, list) or len(given) != node.count:
                raise _unfit(node, f"a list of {node.count}", given)
            for element, value in zip(node.members(), given, strict=True):
                _write(writer, element, value)
        case NodeKind.BYTES:
            writer.put_bytes(node, _hex_list(node, given))
        case NodeKind.FLOAT:
            writer.put_bytes(node, _float(node, given))
        case _:
            writer.put(node, _integer(node, given))


def _write_members(writer: _Writer, node: Node, given: Any) -> None:
    if not isinstance(given, dict):
        if isinstance(given, str) and node.size_bytes in {4, 16}:
            writer.put_bytes(node, _octets(node, given))
            return
        raise _unfit(node, "an object", given)
    unknown = set(given) - {child.name for child in node.children}
    if unknown:
        known = ", ".join(child.name for child in node.children[:8])
        raise BadKey(f"{_name(node)} has no field {_shown(min(unknown))}; it has {known}")
    for child in node.children:
        if child.name in given:
            _write(writer, child, given[child.name])
        else:
            writer.left_out(child)


def _integer(node: Node, given: Any) -> int:
    if isinstance(given, str):
        given = _from_text(node, given)
    if isinstance(given, bool):
        given = int(given)
    if isinstance(given, float) and given.is_integer() and abs(given) < 1 << 53:
        given = int(given)
    if not isinstance(given, int):
        raise _unfit(node, _wanted(node), given)
    signed = node.signed or node.kind is NodeKind.ENUM
    low = -(1 << (node.size_bits - 1)) if signed else 0
    high = (1 << (node.size_bits - (1 if node.signed else 0))) - 1
    if node.kind is NodeKind.BOOL:
        high = 1
    if not low <= given <= high:
        raise _unfit(node, f"{node.type_name} from {low} to {high}", given)
    return given


def _from_text(node: Node, text: str) -> Any:
    text = text.strip()
    for value in node.enum:
        if value.name == text:
            return (
                value.value & ((1 << (node.size_bits - (1 if node.signed else 0))) - 1)
                if value.value >= 0
                else value.value
            )
    if _INTEGER.fullmatch(text) and len(text) < 50:
        return int(text, 16) if "x" in text.lower() else int(text)
    if node.kind is NodeKind.BOOL and text in {"true", "false"}:
        return text == "true"
    if node.char and len(text) == 1 and ord(text) < 0x80:
        return ord(text)
    if node.kind is NodeKind.INT and node.size_bits == 32 and text.count(".") == 3:
        number = int.from_bytes(_octets(node, text), node.byte_order)
        return number - (number >> 31 << 32) if node.signed else number
    return text


def _octets(node: Node, text: str) -> bytes:
    """An address, a MAC address or hex:… of just the node's size; text for other octets."""
    from ipaddress import ip_address

    text = text.strip()
    size_bytes = node.size_bytes
    try:
        if text.lower().startswith("hex:"):
            data = bytes.fromhex(text[4:].replace(":", ""))
        elif size_bytes == 6 and re.fullmatch(r"[0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){5}", text):
            data = bytes.fromhex(text.replace("-", ":").replace(":", ""))
        elif re.fullmatch(r"[0-9A-Fa-f]{2}( ?[0-9A-Fa-f]{2})*", text) and len(text.replace(" ", "")) == size_bytes * 2:
            data = bytes.fromhex(text)
        else:
            data = ip_address(text).packed
            if len(data) == 4 and size_bytes == 16:
                data = bytes(10) + b"\xff\xff" + data
    except ValueError:
        data = _utf8(node, text)
        if size_bytes in {4, 6, 16} or len(data) > size_bytes:
            raise _unfit(node, f"{size_bytes} bytes as an address or hex:…", text) from None
        data = data.ljust(size_bytes, b"\0")
    if len(data) != size_bytes:
        raise _unfit(node, f"{size_bytes} bytes", text)
    return data


def _utf8(node: Node, text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        raise _unfit(node, "text", ascii(text)) from None


def _float(node: Node, given: Any) -> bytes:
    if isinstance(given, str):
        try:
            given = float(given)
        except ValueError:
            raise _unfit(node, "a number", given) from None
    if isinstance(given, bool) or not isinstance(given, int | float) or abs(given) > 1e308:
        raise _unfit(node, "a number", given)
    mark = "<" if node.byte_order == "little" else ">"
    with np.errstate(over="ignore"):
        return np.array(given, f"{mark}f{node.size_bytes}").tobytes()


def _hex_list(node: Node, given: Any) -> bytes:
    if isinstance(given, str):
        return _octets(node, given)
    good = isinstance(given, list) and len(given) == node.size_bytes
    if not good or not all(isinstance(byte, str) and _HEX_BYTE.fullmatch(byte) for byte in given):
        raise _unfit(node, f'a list of {node.size_bytes} bytes such as "0x0a"', given)
    return bytes(int(byte, 16) for byte in given)


def _from_hex(plan: Plan, digits: str) -> bytes:
    try:
        data = bytes.fromhex(digits.replace(":", " "))
    except ValueError:
        raise BadKey(f"hex: wants two digits a byte, found {_shown(digits)}") from None
    if len(data) != plan.size_bytes:
        raise BadKey(f"hex: {plan.size_bytes} bytes were wanted, found {len(data)}")
    return data


def _raw_text(plan: Plan, text: str) -> bytes:
    """Without a type: an integer in the host's order, or bytes."""
    if _INTEGER.fullmatch(text) and plan.size_bytes in {1, 2, 4, 8} and len(text) < 50:
        number = int(text, 16) if "x" in text.lower() else int(text)
        bits = plan.size_bytes * 8
        if -(1 << (bits - 1)) <= number < 1 << bits:
            return (number & ((1 << bits) - 1)).to_bytes(plan.size_bytes, plan.root.byte_order)
    return _octets(plan.root, text)


def _from_fields(plan: Plan, text: str) -> bytes:
    fields = list(_fields(plan.root))
    parts = [part.strip() for part in _SPLIT.findall(text)]
    if len(parts) == 1 and "/" in text and len(fields) == 2 and fields[0].name.startswith("prefix"):
        address, _, bits = text.partition("/")
        parts = [bits, address]
    if len(parts) == 1 and len(fields) > 1 and (is_octets(plan.root) or is_in6_addr(plan.root)):
        fields = [plan.root]
    if len(parts) != len(fields):
        raise BadKey(f"{len(fields)} fields were wanted ({_field_names(fields)}), found {len(parts)} in {_shown(text)}")
    writer = _Writer(plan.size_bytes)
    for node, part in zip(fields, parts, strict=True):
        words = (
            json.loads(part) if part[:1] == '"' and part[-1:] == '"' and len(part) > 1 and "\\" not in part else part
        )
        if choose.default(node, plan) == "port_be" and _INTEGER.fullmatch(words):
            words = str(int.from_bytes(_port(node, words), node.byte_order))
        if is_in6_addr(node):
            writer.put_bytes(node, _octets(node, words))
        else:
            _write(writer, node, words)
    return bytes(writer.data)


def _port(node: Node, text: str) -> bytes:
    number = int(text, 16) if "x" in text.lower() else int(text[:20])
    if not 0 <= number < 1 << node.size_bits:
        raise _unfit(node, "a port", text)
    return number.to_bytes(node.size_bytes, "big")


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


def _wanted(node: Node) -> str:
    if node.enum:
        return f"one of {', '.join(value.name for value in node.enum[:8])} or a number"
    return "true or false" if node.kind is NodeKind.BOOL else "an integer"


def _unfit(node: Node, wanted: str, given: Any) -> BadKey:
    found = given if isinstance(given, str) else json.dumps(given, default=str)
    return BadKey(f"{_name(node)}: {wanted} was wanted, found {_shown(found)}")


def _name(node: Node) -> str:
    return node.path or "the key"


def _field_names(fields: list[Node]) -> str:
    names = [node.path or node.type_name for node in fields]
    return ", ".join(names[:8]) + (", …" if len(names) > 8 else "")


def _example(plan: Plan) -> str:
    """What dump prints for a key of zeros, or its beginning."""
    zeros = np.zeros((1, plan.size_bytes), np.uint8)
    return _shown(template(plan.root).render(zeros)[0].decode(), 120)


def _shown(text: str, limit: int = 60) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
