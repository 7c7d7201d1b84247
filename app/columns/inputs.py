"""What a form has for a field: the kind of input, its range in words, and the text that it begins with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from app.columns.encode import UNITS, bits_of, bounds, encode, held, is_big_endian, plain_lens, unwritable
from app.columns.errors import BadValue
from app.columns.json_text import template
from app.columns.lenses import show
from app.columns.node import Node, NodeKind, is_octets

InputKind = Literal["number", "select", "checkbox", "text", "address", "hex", "area", "readonly"]
AREA_BYTES = 32
"""Longer octets and lists get several lines …"""
FORM_BYTES = 4096
"""… and what is longer than this is no matter for a form."""
MAX_OPTIONS = 256
NUMBER_CHARS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """How one field is asked for."""

    kind: InputKind
    least: int | None = None
    """Of a number."""
    most: int | None = None
    options: tuple[tuple[str, str], ...] = ()
    """Of a select: what is sent, what people read."""
    hint: str = ""
    """``u32, 0 to 4 294 967 295``."""
    maxlength: int = 0
    """Characters; 0: no matter."""
    note: str = ""
    """Why it is readonly."""


def input_of(node: Node, lens: str = "") -> Input:
    """The input that suits a field shown through ``lens``."""
    lens = lens or plain_lens(node)
    note = unwritable(node)
    if note:
        return Input(kind="readonly", hint=node.type_name, note=note)
    if node.size_bytes > FORM_BYTES:
        told = f"{show.size(node.size_bytes)} are too many for a form: `bpf-atlas edit` takes them"
        return Input(kind="readonly", hint=node.type_name, note=told)
    if node.kind is NodeKind.FLOAT:
        return Input(kind="number", hint=node.type_name, maxlength=NUMBER_CHARS)
    if node.scalar:
        return _of_number(node, lens)
    if node.kind is NodeKind.TEXT or lens == "text":
        told = f"{node.type_name}, at most {show.grouped(node.size_bytes)} bytes, or hex:…"
        return Input(kind="text", hint=told, maxlength=max(2 * node.size_bytes + 4, 16))
    if lens in {"mac", "ipv4", "ipv6"}:
        return Input(kind="address", hint=f"{node.type_name}, {_ADDRESSES[lens]}, or hex:…", maxlength=64)
    if node.kind is NodeKind.BYTES or is_octets(node):
        told = f"{node.type_name}, {show.grouped(node.size_bytes)} bytes in hexadecimal"
        if not node.path and node.size_bytes in {1, 2, 4, 8}:
            told += ", or a number"
        kind: InputKind = "hex" if node.size_bytes <= AREA_BYTES else "area"
        return Input(kind=kind, hint=told, maxlength=4 * node.size_bytes + 16)
    return Input(kind="area", hint=f"{node.type_name}, as JSON or hex:…")


_ADDRESSES = {"mac": "six bytes with colons", "ipv4": "an IPv4 address", "ipv6": "an IPv6 address"}


def _of_number(node: Node, lens: str) -> Input:
    low, high = bounds(node)
    name = node.type_name or f"{'i' if node.signed else 'u'}{node.size_bits}"
    if node.bitfield:
        name += f":{node.size_bits}"
    told = f"{name}, {show.grouped(low)} to {show.grouped(high)}"
    if node.kind is NodeKind.BOOL:
        return Input(kind="checkbox", least=0, most=1, hint=name)
    if 0 < len(node.enum) <= MAX_OPTIONS:
        options = tuple((value.name, f"{show.printable(value.name)} · {value.value}") for value in node.enum)
        return Input(kind="select", least=low, most=high, options=options, hint=told)
    if lens == "ipv4":
        return Input(kind="address", least=low, most=high, hint=f"{name}, an IPv4 address", maxlength=NUMBER_CHARS)
    if lens in {"hex", "pointer"}:
        return Input(kind="hex", least=low, most=high, hint=told, maxlength=NUMBER_CHARS)
    if lens in UNITS:
        told += f" {_UNIT_OF[lens]}, or with a unit"
    elif lens in {"be", "port_be"} or (lens == "ethertype" and is_big_endian(node)):
        told += ", kept in network order"
    return Input(kind="number", least=low, most=high, hint=told, maxlength=NUMBER_CHARS)


_UNIT_OF = {"duration": "ns", "ktime": "ns since boot", "seconds": "s", "bytes": "bytes"}


def edit_text(node: Node, data: bytes, lens: str = "") -> str:
    """What an input shows to begin with, such that `encode` gives back what the field holds.

    data  one whole key or value (of a per-CPU map: one CPU's)
    """
    if unwritable(node):
        return ""
    lens = lens or plain_lens(node)
    wanted = held(node, data)
    text = ""
    for text in _texts(node, data, lens):
        try:
            if encode(node, text, lens) == wanted:
                return text
        except BadValue:
            continue
    return text


def _texts(node: Node, data: bytes, lens: str) -> Iterator[str]:
    """From the one that people like best to the one that is surely right."""
    span = data[node.offset_bytes : node.end_bytes]
    if node.kind is NodeKind.FLOAT:
        mark = "<" if node.byte_order == "little" else ">"
        yield repr(float(np.frombuffer(span, f"{mark}f{node.size_bytes}")[0]))
        yield f"{bits_of(node, span):#0{node.size_bits // 4 + 2}x}"
    elif node.scalar:
        yield from _number_texts(node, bits_of(node, span), lens)
    else:
        if node.kind is NodeKind.TEXT or lens == "text":
            shown = span.rstrip(b"\0").decode(errors="replace")
            yield shown if shown.isprintable() else "hex:" + span.hex()
        elif lens in {"mac", "ipv4", "ipv6"}:
            yield show.octets(lens, span)
        elif node.kind is not NodeKind.BYTES and not (is_octets(node) and lens == "octets"):
            yield template(node).render(np.frombuffer(data, np.uint8).reshape(1, -1))[0].decode()
        yield span.hex(" ")
        yield "hex:" + span.hex()


def _number_texts(node: Node, number: int, lens: str) -> Iterator[str]:
    digits = f"{number & ((1 << node.size_bits) - 1):#x}"
    match lens:
        case "ipv4":
            yield show.integer(lens, node, number, show.NO_NAMES)
        case "be" | "port_be":
            yield str(show.network_number(node, number))
        case "ethertype" if is_big_endian(node):
            yield f"{show.network_number(node, number):#06x}"
        case "hex" | "pointer" | "ethertype":
            yield digits
        case "enum":
            yield show.enum_name(node, number) or str(number)
        case "bool":
            yield {0: "false", 1: "true"}.get(number, str(number))
        case "char":
            yield show.integer(lens, node, number, show.NO_NAMES)
        case "proto":
            yield show.PROTOCOLS.get(number, str(number))
        case _:
            pass
    yield str(number)
    if node.kind is not NodeKind.BOOL:
        yield digits
