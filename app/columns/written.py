"""Values as `dump` prints them, or as people write one of them, to bytes: what keys and edited fields share."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np

from app.columns.errors import BadValue
from app.columns.node import Node, NodeKind, is_octets, leaves

INTEGER = re.compile(r"[+-]?(?:0[xX][0-9A-Fa-f]+|[0-9]+)")
MAX_DIGITS = 50
_HEX_BYTE = re.compile(r"0x[0-9A-Fa-f]{1,2}")


class Writer:
    """Bytes being put together; a bit that is written twice must be the same both times."""

    def __init__(self, size_bytes: int) -> None:
        self.data = bytearray(size_bytes)
        self.known = bytearray(size_bytes)
        """Which bits were written."""
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

    def missing(self) -> Node | None:
        """The first member that was left out and has bytes that no other one gave."""
        for node in self._missing:
            for leaf in leaves(node, len(self.data)):
                if leaf.size_bits and not leaf.special and not all(self.known[leaf.offset_bytes : leaf.end_bytes]):
                    return leaf
        return None

    def over(self, base: bytes) -> bytes:
        """What was written, and everything else as it is in ``base``."""
        mixed = zip(self.data, self.known, base, strict=True)
        return bytes(byte | (old & ~known & 0xFF) for byte, known, old in mixed)

    def _merge(self, node: Node, data: bytes, mask: bytes) -> None:
        for index, (byte, bits) in enumerate(zip(data, mask, strict=True), node.offset_bytes):
            if (self.data[index] ^ byte) & bits & self.known[index]:
                told = f"{node.path} shares its bytes with a member given before it, which says otherwise"
                raise BadValue(told, node.path)
            self.data[index] |= byte
            self.known[index] |= bits


def write(writer: Writer, node: Node, given: Any) -> None:
    """Put ``given``, as `rows` prints ``node`` or as people write it, where it belongs.

    What the kernel keeps for itself is left out, whatever was given for it.
    raises  BadValue
    """
    if node.special:
        return
    match node.kind:
        case NodeKind.STRUCT | NodeKind.UNION:
            _members(writer, node, given)
        case NodeKind.DATASEC:
            if not (isinstance(given, dict) and isinstance(given.get(node.name), list)):
                raise unfit(node, f'an object {{"{node.name}": […]}}', given)
            merged = {name: value for one in given[node.name] if isinstance(one, dict) for name, value in one.items()}
            _members(writer, node, merged)
        case NodeKind.TEXT if isinstance(given, str):
            encoded = _utf8(node, given)
            if len(encoded) > node.count:
                raise unfit(node, f"at most {node.count} bytes of text", given)
            writer.put_bytes(node, encoded.ljust(node.count, b"\0"))
        case NodeKind.ARRAY | NodeKind.TEXT:
            if isinstance(given, str) and is_octets(node):
                writer.put_bytes(node, octets(node, given))
                return
            if not isinstance(given, list) or len(given) != node.count:
                raise unfit(node, f"a list of {node.count}", given)
            for element, value in zip(node.members(), given, strict=True):
                write(writer, element, value)
        case NodeKind.BYTES:
            writer.put_bytes(node, _hex_list(node, given))
        case NodeKind.FLOAT:
            writer.put_bytes(node, floating(node, given))
        case _:
            writer.put(node, integer(node, given))


def _members(writer: Writer, node: Node, given: Any) -> None:
    if not isinstance(given, dict):
        if isinstance(given, str) and node.size_bytes in {4, 16}:
            writer.put_bytes(node, octets(node, given))
            return
        raise unfit(node, "an object", given)
    unknown = set(given) - {child.name for child in node.children}
    if unknown:
        known = ", ".join(child.name for child in node.children[:8])
        raise BadValue(f"{name_of(node)} has no field {shown(min(unknown))}; it has {known}", node.path)
    for child in node.children:
        if child.name in given:
            write(writer, child, given[child.name])
        else:
            writer.left_out(child)


def integer(node: Node, given: Any) -> int:
    """The number of a field that was given as a number or as text. raises BadValue"""
    if isinstance(given, str):
        given = _from_text(node, given)
    if isinstance(given, bool):
        given = int(given)
    if isinstance(given, float) and given.is_integer() and abs(given) < 1 << 53:
        given = int(given)
    if not isinstance(given, int):
        raise unfit(node, _wanted(node), given)
    signed = node.signed or node.kind is NodeKind.ENUM
    low = -(1 << (node.size_bits - 1)) if signed else 0
    high = (1 << (node.size_bits - (1 if node.signed else 0))) - 1
    if node.kind is NodeKind.BOOL:
        high = 1
    if not low <= given <= high:
        raise unfit(node, f"{node.type_name} from {low} to {high}", given)
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
    if INTEGER.fullmatch(text) and len(text) < MAX_DIGITS:
        return int(text, 16) if "x" in text.lower() else int(text)
    if node.kind is NodeKind.BOOL and text in {"true", "false"}:
        return text == "true"
    if node.char and len(text) == 1 and ord(text) < 0x80:
        return ord(text)
    if node.kind is NodeKind.INT and node.size_bits == 32 and text.count(".") == 3:
        number = int.from_bytes(octets(node, text), node.byte_order)
        return number - (number >> 31 << 32) if node.signed else number
    return text


def octets(node: Node, text: str) -> bytes:
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
            raise unfit(node, f"{size_bytes} bytes as an address or hex:…", text) from None
        data = data.ljust(size_bytes, b"\0")
    if len(data) != size_bytes:
        raise unfit(node, f"{size_bytes} bytes", text)
    return data


def _utf8(node: Node, text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        raise unfit(node, "text", ascii(text)) from None


def floating(node: Node, given: Any) -> bytes:
    """A float's bytes. raises BadValue"""
    if isinstance(given, str):
        try:
            given = float(given)
        except ValueError:
            raise unfit(node, "a number", given) from None
    if isinstance(given, bool) or not isinstance(given, int | float) or abs(given) > 1e308:
        raise unfit(node, "a number", given)
    mark = "<" if node.byte_order == "little" else ">"
    with np.errstate(over="ignore"):
        return np.array(given, f"{mark}f{node.size_bytes}").tobytes()


def _hex_list(node: Node, given: Any) -> bytes:
    if isinstance(given, str):
        return octets(node, given)
    good = isinstance(given, list) and len(given) == node.size_bytes
    if not good or not all(isinstance(byte, str) and _HEX_BYTE.fullmatch(byte) for byte in given):
        raise unfit(node, f'a list of {node.size_bytes} bytes such as "0x0a"', given)
    return bytes(int(byte, 16) for byte in given)


def _wanted(node: Node) -> str:
    if node.enum:
        return f"one of {', '.join(value.name for value in node.enum[:8])} or a number"
    return "true or false" if node.kind is NodeKind.BOOL else "an integer"


def unfit(node: Node, wanted: str, given: Any) -> BadValue:
    """The error that says what was wanted and what was found."""
    try:
        found = given if isinstance(given, str) else json.dumps(given, default=str)
    except RecursionError:
        found = "lists in lists without end"
    return BadValue(f"{name_of(node)}: {wanted} was wanted, found {shown(found) or 'nothing'}", node.path)


def name_of(node: Node) -> str:
    """Its path; a node without one is the whole of a key."""
    return node.path or "the key"


def shown(text: str, limit: int = 60) -> str:
    """Text cut to what a sentence has room for."""
    return text if len(text) <= limit else text[: limit - 1] + "…"
