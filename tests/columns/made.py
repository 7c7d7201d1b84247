"""Types and tables made for these tests: BTF written record by record, and a reader that shares nothing with the product."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from app.columns.plan import Plan, plan_type
from app.columns.table import Layout, Table
from tests.btfs import Writer

Order = Literal["little", "big"]


@dataclass(frozen=True)
class Leaf:
    """One scalar of a made struct, in plain numbers."""

    path: str
    kind: Literal["int", "bool", "enum", "ptr", "float", "text"]
    offset_bits: int
    bits: int
    signed: bool = False
    names: dict[int, str] = field(default_factory=dict)
    bit_field: bool = False


def slow(leaf: Leaf, data: bytes, order: Order) -> Any:
    """One value, bit by bit from the definition: bit 0 of a byte is its lowest on a little-endian machine, its highest on a
    big-endian one.
    """
    if leaf.kind == "text":
        return data[leaf.offset_bits // 8 : (leaf.offset_bits + leaf.bits) // 8].split(b"\0")[0]
    if leaf.kind == "float":
        piece = data[leaf.offset_bits // 8 : (leaf.offset_bits + leaf.bits) // 8]
        return struct.unpack(("<" if order == "little" else ">") + {16: "e", 32: "f", 64: "d"}[leaf.bits], piece)[0]
    number = 0
    for index in range(leaf.bits):
        at = leaf.offset_bits + index
        byte = data[at // 8]
        if order == "little":
            number |= (byte >> at % 8 & 1) << index
        elif leaf.bits >= 8 and leaf.offset_bits % 8 == 0 and leaf.bits % 8 == 0:
            number = int.from_bytes(data[leaf.offset_bits // 8 : (leaf.offset_bits + leaf.bits) // 8], "big")
            break
        else:
            number = number << 1 | (byte >> (7 - at % 8) & 1)
    if leaf.signed and number >> (leaf.bits - 1):
        number -= 1 << leaf.bits
    return number != 0 if leaf.kind == "bool" else number


def plan_of(writer: Writer, type_id: int, size_bytes: int) -> Plan:
    """The plan of a written type."""
    return plan_type(writer.parse(), type_id, size_bytes)


def table_of(value: Plan, values: np.ndarray, *, key: Plan | None = None, keys: np.ndarray | None = None) -> Table:
    """A table; without keys, of values alone."""
    given = np.zeros((len(values), 0), np.uint8) if keys is None else keys
    return Table(Layout(key, value, values.shape[1] if values.ndim == 3 else 0), given, values)
