"""eBPF instructions by hand: as much of an assembler as the broker's programs need.

source  Documentation/bpf/standardization/instruction-set.rst
"""

from __future__ import annotations

import struct
import sys
from dataclasses import dataclass, field

_INSN = struct.Struct("=BBhi")  # struct bpf_insn: opcode, two registers, offset, immediate

R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, R10 = range(11)

U8, U16, U32, U64 = 0x10, 0x08, 0x00, 0x18
"""Sizes of loads and stores: BPF_B, BPF_H, BPF_W, BPF_DW."""

EQ, NE, GT, GE, SLE, LT = 0x10, 0x50, 0x20, 0x30, 0xD0, 0xA0
"""Conditions of `jump`: BPF_JEQ, JNE, JGT, JGE, JSLE, JLT."""

SEQ_WRITE, GET_SOCKET_COOKIE, PROBE_READ_KERNEL, D_PATH, GET_CURRENT_PID_TGID = 127, 46, 113, 147, 14
"""Numbers of helpers: ``enum bpf_func_id``."""

_LDX, _STX, _ST, _ALU64, _JMP, _MEM = 0x61, 0x63, 0x62, 0x07, 0x05, 0x00
_PSEUDO_KFUNC_CALL = 2
_PSEUDO_MAP_FD, _PSEUDO_MAP_VALUE = 1, 2
_ATOMIC, _CMPXCHG = 0xC0, 0xF1


def _registers(destination: int, source: int) -> int:
    return destination | source << 4 if sys.byteorder == "little" else destination << 4 | source


@dataclass(slots=True)
class Assembly:
    """A program under construction; labels are resolved by `code`."""

    _insns: list[tuple[int, int, int | str, int]] = field(default_factory=list)
    _labels: dict[str, int] = field(default_factory=dict)

    def load(self, size: int, destination: int, source: int, offset: int) -> None:
        """Destination = *(size *)(source + offset)."""
        self._insns.append((_LDX | size, _registers(destination, source), offset, 0))

    def store(self, size: int, destination: int, offset: int, source: int) -> None:
        """*(size *)(destination + offset) = source."""
        self._insns.append((_STX | size, _registers(destination, source), offset, 0))

    def store_number(self, size: int, destination: int, offset: int, number: int) -> None:
        """*(size *)(destination + offset) = number."""
        self._insns.append((_ST | size, _registers(destination, 0), offset, number))

    def move(self, destination: int, source: int) -> None:
        """Destination = source."""
        self._insns.append((_ALU64 | 0xB8, _registers(destination, source), 0, 0))

    def number(self, destination: int, number: int) -> None:
        """Destination = a number of 32 bits, sign extended."""
        self._insns.append((_ALU64 | 0xB0, _registers(destination, 0), 0, number))

    def wide(self, destination: int, number: int) -> None:
        """Destination = a number of 64 bits; takes two instructions."""
        low, high = number & 0xFFFFFFFF, number >> 32 & 0xFFFFFFFF
        self._insns.append((0x18, _registers(destination, 0), 0, low - (low >> 31 << 32)))
        self._insns.append((0x00, 0, 0, high - (high >> 31 << 32)))

    def map_fd(self, destination: int, fd: int) -> None:
        """Destination = the map behind a descriptor of the loader's; takes two instructions."""
        self._insns.append((0x18, _registers(destination, _PSEUDO_MAP_FD), 0, fd))
        self._insns.append((0x00, 0, 0, 0))

    def map_value(self, destination: int, fd: int, offset: int) -> None:
        """Destination = address of a byte in the value of an array with one entry; takes two instructions."""
        self._insns.append((0x18, _registers(destination, _PSEUDO_MAP_VALUE), 0, fd))
        self._insns.append((0x00, 0, 0, offset))

    def add_register(self, destination: int, source: int) -> None:
        """Destination += source."""
        self._insns.append((_ALU64 | 0x08, _registers(destination, source), 0, 0))

    def and_register(self, destination: int, source: int) -> None:
        """Destination &= source."""
        self._insns.append((_ALU64 | 0x58, _registers(destination, source), 0, 0))

    def or_register(self, destination: int, source: int) -> None:
        """Destination |= source."""
        self._insns.append((_ALU64 | 0x48, _registers(destination, source), 0, 0))

    def xor_register(self, destination: int, source: int) -> None:
        """Destination ^= source."""
        self._insns.append((_ALU64 | 0xA8, _registers(destination, source), 0, 0))

    def compare_exchange(self, size: int, destination: int, offset: int, source: int) -> None:
        """If *(size *)(destination + offset) is R0 it becomes source, atomically; R0 = what it was. U32 and U64 only.

        BPF_ATOMIC came with Linux commit 5ffa25502b5a ("bpf: Add instructions for atomic_[cmp]xchg") (in v5.12).
        """
        self._insns.append((0x03 | _ATOMIC | size, _registers(destination, source), offset, _CMPXCHG))

    def atomic_add(self, size: int, destination: int, offset: int, source: int) -> None:
        """*(size *)(destination + offset) += source, atomically. U32 and U64 only."""
        self._insns.append((0x03 | _ATOMIC | size, _registers(destination, source), offset, 0))

    def add(self, destination: int, number: int) -> None:
        """Destination += number."""
        self._insns.append((_ALU64, _registers(destination, 0), 0, number))

    def shift_right(self, destination: int, bits: int) -> None:
        """Destination >>= bits, unsigned."""
        self._insns.append((_ALU64 | 0x70, _registers(destination, 0), 0, bits))

    def mask(self, destination: int, bits: int) -> None:
        """Destination &= bits."""
        self._insns.append((_ALU64 | 0x50, _registers(destination, 0), 0, bits))

    def jump(self, condition: int, register: int, number: int, label: str) -> None:
        """Go to `label` if the register compares so with a number."""
        self._insns.append((_JMP | condition, _registers(register, 0), label, number))

    def jump_registers(self, condition: int, left: int, right: int, label: str) -> None:
        """Go to `label` if two registers compare so."""
        self._insns.append((_JMP | condition | 0x08, _registers(left, right), label, 0))

    def go(self, label: str) -> None:
        """Go to `label`."""
        self._insns.append((_JMP, 0, label, 0))

    def call(self, helper: int) -> None:
        """Call a helper by number; R0 is the result, R1 to R5 are lost."""
        self._insns.append((0x85, 0, 0, helper))

    def call_kernel(self, func_id: int) -> None:
        """Call a kfunc of vmlinux by its BTF id."""
        self._insns.append((0x85, _registers(0, _PSEUDO_KFUNC_CALL), 0, func_id))

    def exit(self) -> None:
        """Return R0."""
        self._insns.append((0x95, 0, 0, 0))

    def label(self, name: str) -> None:
        """Name the next instruction."""
        self._labels[name] = len(self._insns)

    def code(self) -> bytes:
        """Give the ``struct bpf_insn`` array, host byte order."""
        parts = []
        for at, (opcode, registers, offset, immediate) in enumerate(self._insns):
            distance = self._labels[offset] - at - 1 if isinstance(offset, str) else offset
            parts.append(_INSN.pack(opcode, registers, distance, immediate))
        return b"".join(parts)
