"""One edited field to what is written: the inverse of what cells show.

Fields of up to 64 bits that are one number (integers, bit fields, truth values, enums, pointers, floats by their bits)
become that number as the machine reads it; everything else becomes its bytes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal, InvalidOperation
from typing import Any

import numpy as np

from app.columns.errors import BadValue
from app.columns.lenses import choose, show
from app.columns.node import REDACTED, Node, NodeKind, is_in6_addr, is_octets, moved
from app.columns.plan import plan_raw
from app.columns.written import INTEGER, MAX_DIGITS, Writer, floating, octets, unfit, write

NUMBER_BITS = 64
MAX_TEXT = 1 << 20
_GROUPED = re.compile(r"[+-]?[0-9]{1,3}(?:[ _\u00a0\u2009\u202f][0-9]{3})+")
_AMOUNT = re.compile(r"([+-]?[0-9]+(?:\.[0-9]+)?)[ \u00a0\u2009\u202f]?([A-Za-zµ]+)")
_NUMBERED = re.compile(r"([0-9]+)(?: .*)?", re.DOTALL)
_PROCESS = re.compile(r"([0-9]+) (?:.*? )?(?:/ ([0-9]+)|[^/]*)", re.DOTALL)
_HEX_PAIRS = re.compile(r"[0-9A-Fa-f]{2}(?:[ :-]?[0-9A-Fa-f]{2})*")
_NS = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9, "min": 60 * 10**9, "h": 3600 * 10**9}
_SECONDS = {unit: Decimal(ns) / 10**9 for unit, ns in _NS.items()}
_BYTES = {unit: 1 << 10 * power for power, unit in enumerate(("B", "KiB", "MiB", "GiB", "TiB", "PiB"))}
UNITS: dict[str, Mapping[str, int | Decimal]] = {"duration": _NS, "ktime": _NS, "seconds": _SECONDS, "bytes": _BYTES}
"""By lens: what a number may be followed by, and how many of the field's own units that is."""


def encode(node: Node, given: Any, lens: str = "") -> int | bytes:
    """What ``given`` is in the field's own terms.

    given    text as people read and write it through ``lens`` ("10.0.0.1", "443", "0x1f", "ESTABLISHED", "1.5 ms",
             ``hex:…`` for bytes), or a number, truth value, list or object as `dump` prints the field
    returns  a number for fields that are one of up to 64 bits; else the field's bytes, padding in it zero
    raises   BadValue naming the field, what was wanted with its range, and what was found
    """
    why = unwritable(node)
    if why:
        raise BadValue(f"{node.path or 'the value'} is never written: {why}", node.path)
    if isinstance(given, str):
        if len(given) > MAX_TEXT:
            raise unfit(node, f"at most {MAX_TEXT} characters", given)
        return from_text(node, given, lens or plain_lens(node))
    if node.scalar:
        if node.kind is NodeKind.FLOAT:
            return bits_of(node, floating(node, given))
        return _sized(node, _exact(node, given), given)
    return _from_document(node, given)


def held(node: Node, data: bytes) -> int | bytes:
    """What the field holds in a whole key or value, as `encode` would give it."""
    span = data[node.offset_bytes : node.end_bytes]
    return bits_of(node, span) if is_number(node) else span


def is_number(node: Node) -> bool:
    """Whether `encode` gives a number."""
    return node.scalar and node.size_bits <= NUMBER_BITS


def unwritable(node: Node) -> str:
    """Why nobody may write the field, in a clause; empty for one that can be written."""
    if node.special == REDACTED:
        return "the policy hides it from your role"
    if node.special:
        return f"only the kernel can use the bytes of a {node.special}"
    if not node.size_bits:
        return "it has no bytes"
    if node.size_bits > NUMBER_BITS and (node.offset_bits % 8 or node.size_bits % 8):
        return "a bit field of more than 64 bits"
    return ""


def bounds(node: Node) -> tuple[int, int]:
    """Least and greatest number of an integer field."""
    if node.kind is NodeKind.BOOL:
        return 0, 1
    if node.signed:
        return -(1 << node.size_bits - 1), (1 << node.size_bits - 1) - 1
    return 0, (1 << node.size_bits) - 1


def plain_lens(node: Node) -> str:
    """The lens that name and type suggest for a field by itself."""
    raw = node.kind is NodeKind.BYTES or (node.kind is NodeKind.INT and node.type_name in _VIEWS)
    return choose.default(node, plan_raw(0) if raw else replace(plan_raw(0), typed=True))


_VIEWS = frozenset(f"{sign}{bits}" for sign in "ui" for bits in (8, 16, 32, 64))


def in_group(node: Node, group: str) -> Node:
    """The same field with "key" or "value" at the head of every path, as errors are to name it."""
    if not node.path:
        below = (in_group(child, group) for child in node.children)
        element = None if node.element is None else in_group(node.element, group)
        return replace(node, path=group, children=tuple(below), element=element)
    return moved(node, 0, 0, group if node.path[0] == "[" else f"{group}.", skip=0)


def wanted_of(node: Node) -> str:
    """What an integer field takes, with its range."""
    low, high = bounds(node)
    if node.kind is NodeKind.BOOL:
        return "true or false"
    name = node.type_name or f"{'i' if node.signed else 'u'}{node.size_bits}"
    if node.bitfield:
        name += f":{node.size_bits}"
    told = f"{name} from {low} to {high}"
    if node.enum:
        names = ", ".join(value.name for value in node.enum[:8])
        return f"one of {names}{', …' if len(node.enum) > 8 else ''}, or {told}"
    return told


# ---- text to numbers ---------------------------------------------------------------------------------------------------


def from_text(node: Node, text: str, lens: str) -> int | bytes:
    """What text says through a lens, see `encode`. raises BadValue"""
    if node.kind is NodeKind.FLOAT:
        return _float(node, text)
    if node.scalar:
        number = _number(node, text.strip(), lens)
        if number is None:
            raise unfit(node, wanted_of(node), text)
        return _sized(node, number, text)
    if text.lower().startswith("hex:"):
        return _hex(node, text[4:])
    if node.kind is NodeKind.TEXT or (lens == "text" and not text.startswith("[")):
        return _characters(node, text)
    if text.lstrip()[:1] in {"{", "["}:
        return _from_document(node, _json(node, text))
    packed = re.sub(r"\s+", " ", text.strip())
    if _HEX_PAIRS.fullmatch(packed) and len(re.sub(r"[ :-]", "", packed)) == 2 * node.size_bytes:
        return bytes.fromhex(re.sub(r"[ :-]", "", packed))
    if node.kind is NodeKind.BYTES or is_octets(node) or is_in6_addr(node) or node.size_bytes in {4, 16}:
        if "." not in packed and ":" not in packed:
            raise unfit(node, _octets_wanted(node), text)
        return octets(node, packed)
    raise unfit(node, "JSON as `dump` prints it, or hex:…", text)


def _number(node: Node, text: str, lens: str) -> int | None:
    for value in node.enum:
        if value.name == text:
            return _wrapped(node, value.value)
    read = _READERS.get(lens)
    number = read(node, text) if read is not None else None
    if number is None and lens in UNITS:
        number = _amount(text, UNITS[lens])
    if number is None and node.kind is NodeKind.BOOL and text.lower() in {"true", "false"}:
        number = int(text.lower() == "true")
    if number is None and node.char and len(text) == 1 and not text.isdecimal():
        number = ord(text)
    return _digits(node, text) if number is None else number


def _digits(node: Node, text: str) -> int | None:
    if len(text) >= MAX_DIGITS:
        return None
    if _GROUPED.fullmatch(text):
        return int(re.sub(r"[^0-9+-]", "", text))
    if not INTEGER.fullmatch(text):
        return None
    if "x" not in text.lower():
        return int(text)
    number = int(text, 16)
    # Hexadecimal spells the bits: 0xffffffff is -1 in a signed field of 32.
    return _wrapped(node, number) if 0 <= number < 1 << node.size_bits else number


def _wrapped(node: Node, number: int) -> int:
    """A number in the field's width, with its sign if it has one."""
    number &= (1 << node.size_bits) - 1
    return number - (number >> node.size_bits - 1 << node.size_bits) if node.signed else number


def _network(node: Node, text: str) -> int | None:
    """A number that people read in network order, as the machine reads its bytes."""
    number = _digits(node, text)
    if number is None:
        return None
    low, high = bounds(node)
    if not low <= number <= high:
        raise unfit(node, wanted_of(node), text)
    return show.network_number(node, number)


def _ipv4(node: Node, text: str) -> int | None:
    if text.count(".") != 3:
        return None
    return _wrapped(node, int.from_bytes(octets(replace(node, kind=NodeKind.BYTES), text), node.byte_order))


def _protocol(_: Node, text: str) -> int | None:
    return next((number for number, name in show.PROTOCOLS.items() if name.lower() == text.lower()), None)


def _ethertype(node: Node, text: str) -> int | None:
    named = next((number for number, name in show.ETHERTYPES.items() if name.lower() == text.lower()), None)
    if not is_big_endian(node):
        return named
    return _network(node, text if named is None else str(named))


def is_big_endian(node: Node) -> bool:
    """Whether its type says that it is in network order."""
    return any("__be" in name for name in (node.type_name, *node.chain))


def _character(_: Node, text: str) -> int | None:
    if len(text) == 3 and text[0] == text[2] == "'":
        return ord(text[1])
    return ord(text) if len(text) == 1 and not text.isdecimal() else None


def _numbered(_: Node, text: str) -> int | None:
    """``812 nginx``: the number that a name stands behind."""
    match = _NUMBERED.fullmatch(text)
    return int(match[1]) if match and len(match[1]) < MAX_DIGITS and not _GROUPED.fullmatch(text) else None


def _process_and_thread(_: Node, text: str) -> int | None:
    """``812 nginx / 813``; without a thread it is the one with the number of its process. A number alone is both at once."""
    match = _PROCESS.fullmatch(text)
    if not match or _GROUPED.fullmatch(text) or max(len(each or "") for each in match.groups()) >= MAX_DIGITS:
        return None
    process, thread = int(match[1]), int(match[2] or match[1])
    return process << 32 | thread if max(process, thread) < 1 << 32 else None


_READERS: dict[str, Callable[[Node, str], int | None]] = {
    "be": _network,
    "port_be": _network,
    "ipv4": _ipv4,
    "proto": _protocol,
    "ethertype": _ethertype,
    "char": _character,
    "pid": _numbered,
    "pid_tgid": _process_and_thread,
    "ifindex": _numbered,
    "cgroup": _numbered,
}


def _amount(text: str, units: Mapping[str, int | Decimal]) -> int | None:
    match = _AMOUNT.fullmatch(text)
    if not match or match[2] not in units or len(match[1]) >= MAX_DIGITS:
        return None
    try:
        exact = Decimal(match[1]) * Decimal(units[match[2]])
    except InvalidOperation:
        return None
    return int(exact) if exact == exact.to_integral_value() else None


def _exact(node: Node, given: Any) -> int:
    """A number as `dump` prints it."""
    if isinstance(given, bool):
        return int(given)
    if isinstance(given, float) and given.is_integer() and abs(given) < 1 << 53:
        return int(given)
    if not isinstance(given, int):
        raise unfit(node, wanted_of(node), given)
    return given


def _sized(node: Node, number: int, given: Any) -> int | bytes:
    low, high = bounds(node)
    if node.kind is NodeKind.ENUM and not node.signed and -(1 << node.size_bits - 1) <= number < 0:
        number = _wrapped(node, number)
    if not low <= number <= high:
        raise unfit(node, wanted_of(node), given)
    if is_number(node):
        return number
    return (number & ((1 << node.size_bits) - 1)).to_bytes(node.size_bytes, node.byte_order)


def _float(node: Node, text: str) -> int | bytes:
    stripped = text.strip()
    if INTEGER.fullmatch(stripped) and "x" in stripped.lower() and len(stripped) < MAX_DIGITS:
        bits = int(stripped, 16)
        if not 0 <= bits < 1 << node.size_bits:
            raise unfit(node, f"0x and at most {node.size_bits // 4} digits for a float's bits", text)
        return bits
    try:
        number = float(re.sub(r"[\u00a0\u2009\u202f_]", "", stripped))
    except ValueError:
        raise unfit(node, f"{node.type_name or 'float'}, a number such as 0.5", text) from None
    dtype = np.dtype(f"{'<' if node.byte_order == 'little' else '>'}f{node.size_bytes}")
    with np.errstate(over="ignore"):
        data = np.array(number, dtype)
    if np.isinf(data) and np.isfinite(number):
        raise unfit(node, f"{node.type_name or 'float'} of at most {float(np.finfo(dtype).max):.8g}", text)
    return bits_of(node, data.tobytes())


# ---- text to bytes -----------------------------------------------------------------------------------------------------


def _hex(node: Node, digits: str) -> bytes:
    try:
        data = bytes.fromhex(re.sub(r"[:\s-]", "", digits))
    except ValueError:
        raise unfit(node, "hex: with two digits a byte", digits) from None
    if len(data) != node.size_bytes:
        raise unfit(node, f"{node.size_bytes} bytes", f"{len(data)}")
    return data


def _characters(node: Node, text: str) -> bytes:
    try:
        data = text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        raise unfit(node, "text", ascii(text)) from None
    if len(data) > node.size_bytes:
        raise unfit(node, f"at most {node.size_bytes} bytes of text", f"{len(data)}")
    return data.ljust(node.size_bytes, b"\0")


def _json(node: Node, text: str) -> Any:
    try:
        document = json.loads(text)
        json.dumps(document, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise unfit(node, "JSON as `dump` prints it", text) from None
    return document


def _from_document(node: Node, document: Any) -> bytes:
    writer = Writer(node.end_bytes)
    try:
        write(writer, node, document)
    except RecursionError:
        raise unfit(node, "JSON as `dump` prints it", "one that is nested deeper") from None
    missing = writer.missing()
    if missing is not None:
        raise BadValue(f"{missing.path} is missing: give all fields, or change them one by one", missing.path)
    return bytes(writer.data[node.offset_bytes :])


def overlaid(node: Node, document: Any, base: bytes) -> bytes:
    """A whole key or value in which ``document``, as `dump` prints ``node``, stands over ``base``.

    Padding, what the kernel keeps for itself, and members that the document leaves out stay as they are in ``base``.
    raises  BadValue
    """
    writer = Writer(len(base))
    try:
        write(writer, node, document)
    except RecursionError:
        raise unfit(node, "JSON as `dump` prints it", "one that is nested deeper") from None
    return writer.over(base)


def _octets_wanted(node: Node) -> str:
    named = {4: "an IPv4 address or ", 6: "a MAC address or ", 16: "an IPv6 address or "}.get(node.size_bytes, "")
    return f"{named}{node.size_bytes} bytes in hexadecimal"


def bits_of(node: Node, span: bytes) -> int:
    """The number in a field's own bytes; of a float its bits."""
    lead = node.offset_bits % 8
    low = lead if node.byte_order == "little" else len(span) * 8 - lead - node.size_bits
    number = int.from_bytes(span, node.byte_order) >> low & ((1 << node.size_bits) - 1)
    return _wrapped(node, number) if node.kind is not NodeKind.FLOAT else number
