"""The program that changes one field of one entry: looked up, compared and swapped within one run.

Key, operands and result are in a private array of one entry, so that one program serves every key of a map and any
number of edits of a field. Nothing but the word that holds the field is read or written in the value.

source  Documentation/bpf/standardization/instruction-set.rst, kernel/bpf/verifier.c
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, IntEnum

from app.broker.assembly import EQ, LT, NE, R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, U8, U16, U32, U64, Assembly
from app.broker.swap.field import Word

TRIES = 16
"""Rounds of the loop in one run: each lost round means that another CPU changed the word meanwhile.

The verifier walks through all of them: 64 take 0.7 ms to load, 16 take 0.25 ms."""

EXCHANGE = struct.Struct("=QQQQQII")
"""The private map before its keys: status, word before, word written, expected bits, operand bits, CPU, length of prefix."""
_STATUS, _BEFORE, _WRITTEN, _EXPECTED, _OPERAND, _CPU, _PREFIX, _KEY = 0, 8, 16, 24, 32, 40, 44, 48

_MAP_LOOKUP, _SPIN_LOCK, _SPIN_UNLOCK, _MAP_LOOKUP_PERCPU = 1, 93, 94, 195  # enum bpf_func_id
_SIZES = {1: U8, 2: U16, 4: U32, 8: U64}


class Operation(Enum):
    """What becomes of the field."""

    COMPARE_AND_SWAP = "if it holds what was expected, a new number"
    EXCHANGE = "a new number, whatever it holds"
    ADD = "the sum, wrapped to its width"
    AND = "the bits that are in both"
    OR = "the bits that are in either"


class Status(IntEnum):
    """What the program says of its run."""

    NOT_RUN = 0
    WRITTEN = 1
    CONFLICT = 2
    NO_ENTRY = 3
    CONTENDED = 4
    REPLACED = 5
    """Written, but the key leads to another element now, or to none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """All that a program is made from."""

    map_fd: int
    private_fd: int
    key_size: int
    word: Word
    operation: Operation
    atomic: bool = True
    """False: compared and stored by two instructions, for words of 1 and 2 bytes that no atomic one reaches."""
    per_cpu: bool = False
    longest_prefix: bool = False
    lock_offset_bytes: int | None = None
    """Of the value's bpf_spin_lock, which is then held from comparing to writing."""
    meanwhile: Callable[[Assembly], None] | None = None
    """Instructions between look-up and swap: what a program on another CPU may do just then, for tests. R6, R7 must last."""


def private_size(key_size: int) -> int:
    """Bytes of the private map's value: EXCHANGE, the key, and for tries the same key with one bit less of prefix."""
    return _KEY + 2 * _room(key_size)


def _room(key_size: int) -> int:
    return (key_size + 7) // 8 * 8


def pack(*, key: bytes, expected: int, operand: int, cpu: int, longest_prefix: bool) -> bytes:
    """The private map's value before a run; `expected` and `operand` are bits of the word."""
    shorter, prefix = b"", 0
    if longest_prefix:
        (prefix,) = struct.unpack_from("=I", key)
        shorter = struct.pack("=I", max(prefix - 1, 0)) + key[4:]
    head = EXCHANGE.pack(Status.NOT_RUN, 0, 0, expected, operand, cpu, prefix)
    room = _room(len(key))
    return head + key.ljust(room, b"\0") + shorter.ljust(room, b"\0")


def code(recipe: Recipe) -> bytes:
    """The program's instructions, host byte order. It leaves a Status and two words in the private map."""
    asm = Assembly()
    asm.map_value(R6, recipe.private_fd, 0)
    if recipe.longest_prefix:
        _look_up_exactly(asm, recipe)
    else:
        _look_up(asm, recipe, _KEY)
        asm.jump(EQ, R0, 0, "missing")
        asm.move(R7, R0)
    if recipe.meanwhile:
        recipe.meanwhile(asm)
    if recipe.lock_offset_bytes is not None:
        _lock(asm, recipe, _SPIN_LOCK)
    _swap(asm, recipe)

    asm.label("written")
    if recipe.lock_offset_bytes is not None:
        # The call loses R1 to R5, where the two words are.
        asm.move(R8, R4)
        asm.move(R9, R3)
        _lock(asm, recipe, _SPIN_UNLOCK)
        asm.move(R4, R8)
        asm.move(R3, R9)
    asm.store(U64, R6, _BEFORE, R4)
    asm.store(U64, R6, _WRITTEN, R3)
    # A hash map's update puts a new element in the old one's place: was it the element, all the while?
    _look_up(asm, recipe, _KEY)
    asm.number(R1, Status.WRITTEN)
    asm.jump_registers(EQ, R0, R7, "end")
    asm.number(R1, Status.REPLACED)
    asm.go("end")

    # The verifier refuses instructions that nothing leads to.
    ends = []
    if recipe.operation is Operation.COMPARE_AND_SWAP:
        ends.append(("conflict", Status.CONFLICT))
    if recipe.atomic:
        ends.append(("contended", Status.CONTENDED))
    for name, status in ends:
        asm.label(name)
        if recipe.lock_offset_bytes is not None:
            asm.move(R8, R0)
            _lock(asm, recipe, _SPIN_UNLOCK)
            asm.move(R0, R8)
        asm.store(U64, R6, _BEFORE, R0)
        asm.number(R1, status)
        asm.go("end")

    asm.label("missing")
    asm.number(R1, Status.NO_ENTRY)
    asm.label("end")
    asm.store(U64, R6, _STATUS, R1)
    asm.number(R0, 0)
    asm.exit()
    return asm.code()


def _swap(asm: Assembly, recipe: Recipe) -> None:
    """Leave the word before in R4 and the one written in R3, and go on; or the current one in R0 and go elsewhere."""
    size, at = _SIZES[recipe.word.size_bytes], recipe.word.offset_bytes
    asm.load(U64, R8, R6, _EXPECTED)
    asm.wide(R9, recipe.word.mask)
    asm.number(R5, 0)
    asm.load(size, R0, R7, at)
    asm.label("again")
    asm.move(R1, R0)
    asm.and_register(R1, R9)  # the field alone
    if recipe.operation is Operation.COMPARE_AND_SWAP:
        asm.jump_registers(NE, R1, R8, "conflict")
    asm.move(R3, R0)
    asm.xor_register(R3, R1)  # its neighbours alone
    asm.load(U64, R2, R6, _OPERAND)
    match recipe.operation:
        case Operation.ADD:
            asm.add_register(R2, R1)
        case Operation.AND:
            asm.and_register(R2, R1)
        case Operation.OR:
            asm.or_register(R2, R1)
        case _:
            pass
    asm.and_register(R2, R9)
    asm.or_register(R3, R2)
    asm.move(R4, R0)
    if not recipe.atomic:
        asm.store(size, R7, at, R3)
        return
    asm.compare_exchange(size, R7, at, R3)
    asm.jump_registers(EQ, R0, R4, "written")
    asm.add(R5, 1)
    asm.jump(LT, R5, TRIES, "again")
    asm.go("contended")


def _look_up(asm: Assembly, recipe: Recipe, key_at: int) -> None:
    asm.map_fd(R1, recipe.map_fd)
    asm.move(R2, R6)
    asm.add(R2, key_at)
    if recipe.per_cpu:
        asm.load(U32, R3, R6, _CPU)
        asm.call(_MAP_LOOKUP_PERCPU)
    else:
        asm.call(_MAP_LOOKUP)


def _look_up_exactly(asm: Assembly, recipe: Recipe) -> None:
    """A trie answers with the longest prefix that fits, which is the key's own entry only if a shorter key finds another.

    Asked for on both sides of the key's own look-up, so that an entry replaced between two questions is not taken for two.
    """
    shorter_at = _KEY + _room(recipe.key_size)
    _look_up(asm, recipe, shorter_at)
    asm.move(R8, R0)
    _look_up(asm, recipe, _KEY)
    asm.jump(EQ, R0, 0, "missing")
    asm.move(R7, R0)
    asm.load(U32, R1, R6, _PREFIX)
    asm.jump(EQ, R1, 0, "exact")  # nothing is shorter than no prefix at all
    asm.jump_registers(EQ, R7, R8, "missing")
    _look_up(asm, recipe, shorter_at)
    asm.jump_registers(EQ, R7, R0, "missing")
    asm.label("exact")


def _lock(asm: Assembly, recipe: Recipe, helper: int) -> None:
    asm.move(R1, R7)
    asm.add(R1, recipe.lock_offset_bytes or 0)
    asm.call(helper)
