"""Where a field's bits lie in a value, and numbers put there and taken from there."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Literal

from app.broker.errors import BrokerError

Order = Literal["little", "big"]
WORD_BITS = 64


class BadField(BrokerError):
    """A field that no value of this map can have."""


class NumberTooLarge(BrokerError):
    """A number that the field has no room for."""

    def __init__(self, number: int, field: Field) -> None:
        super().__init__(f"the field takes {field.least} to {field.most}, not {number}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A number in a value: whole bytes in either byte order, or a bit field in the host's."""

    offset_bits: int
    """From the start of the value, counted as BTF counts: from the least significant bit on a little-endian host."""
    size_bits: int
    signed: bool = False
    byte_order: Order = sys.byteorder

    def __post_init__(self) -> None:
        if self.offset_bits < 0 or not 0 < self.size_bits <= WORD_BITS:
            raise BadField(
                f"a field of 1 to {WORD_BITS} bits is wanted; this has {self.size_bits} at bit {self.offset_bits}"
            )
        if self.byte_order != sys.byteorder and not self.whole_bytes:
            raise BadField(f"a bit field of {self.size_bits} bits can only be in the host's byte order")

    @property
    def whole_bytes(self) -> bool:
        """Whether it begins and ends between bytes."""
        return self.offset_bits % 8 == 0 and self.size_bits % 8 == 0

    @property
    def first_byte(self) -> int:
        """Offset of the first byte that holds some of it."""
        return self.offset_bits // 8

    @property
    def end_byte(self) -> int:
        """Offset after the last byte that holds some of it."""
        return (self.offset_bits + self.size_bits + 7) // 8

    @property
    def least(self) -> int:
        """The least number that it takes."""
        return -(1 << self.size_bits - 1) if self.signed else 0

    @property
    def most(self) -> int:
        """The greatest number that it takes."""
        return (1 << self.size_bits - self.signed) - 1

    def check(self, number: int) -> None:
        """Raise NumberTooLarge for one that it does not take."""
        if not self.least <= number <= self.most:
            raise NumberTooLarge(number, self)

    def wrapped(self, number: int) -> int:
        """The number as arithmetic of this width leaves it."""
        number &= (1 << self.size_bits) - 1
        return number - (1 << self.size_bits) if number > self.most else number

    def read(self, value: bytes | bytearray | memoryview) -> int:
        """The number that a value holds."""
        part = value[self.first_byte : self.end_byte]
        return self.wrapped(int.from_bytes(part, self.byte_order) >> self._shift)

    def write(self, value: bytearray | memoryview, number: int) -> None:
        """Put a number into a value; every other bit stays as it is."""
        self.check(number)
        first, end = self.first_byte, self.end_byte
        mask = ((1 << self.size_bits) - 1) << self._shift
        kept = int.from_bytes(value[first:end], self.byte_order) & ~mask
        value[first:end] = (kept | number << self._shift & mask).to_bytes(end - first, self.byte_order)

    @property
    def _shift(self) -> int:
        # Bits of the last byte (little-endian: of the first) that are not the field's.
        if self.byte_order == "little":
            return self.offset_bits % 8
        return self.end_byte * 8 - self.offset_bits - self.size_bits


@dataclass(frozen=True, slots=True)
class Word:
    """The aligned piece of a value that one atomic instruction reaches, and the field's place in it."""

    field: Field
    offset_bytes: int
    size_bytes: int

    @property
    def mask(self) -> int:
        """The field's bits in the word as a number in host order."""
        return self.placed(-1 if self.field.signed else self.field.most)

    def placed(self, number: int) -> int:
        """A number of the field as bits of the word, all others 0."""
        room = bytearray(self.offset_bytes + self.size_bytes)
        self.field.write(room, number)
        return int.from_bytes(room[self.offset_bytes :], sys.byteorder)

    def taken(self, word: int) -> int:
        """The field's number out of a word."""
        return self.field.read(bytes(self.offset_bytes) + word.to_bytes(self.size_bytes, sys.byteorder))


def word_of(field: Field, value_size: int, size_bytes: int) -> Word | None:
    """The aligned word of so many bytes within the value that holds all of the field, None if there is none."""
    start = field.first_byte // size_bytes * size_bytes
    return Word(field, start, size_bytes) if field.end_byte <= start + size_bytes <= value_size else None
