"""How a field will be changed, decided before anything is written, with what that way can and cannot promise."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from app.broker.swap.field import BadField, Field, Word, word_of
from app.broker.swap.target import Kept, Target
from app.uapi.enums import BpfMapFlag, BpfMapType
from app.uapi.syscall import PER_CPU_TYPES


class Method(Enum):
    """Ways to change a field; the value says what each can and cannot promise."""

    KERNEL_SWAP = (
        "The kernel compares and swaps the field in one step: a field that has moved is a conflict and nothing is "
        "written, and what programs change beside it is never lost."
    )
    KERNEL_STORE = (
        "The kernel compares the field and stores it a moment later: nothing beside it is touched, but a program that "
        "changes the field itself within that moment, well under a microsecond, is overwritten."
    )
    MMAP_STORE = (
        "The field is compared and stored through a mapping of the array: nothing beside it is touched, but a program "
        "that changes the field itself in the microseconds between is overwritten."
    )
    LOCKED_UPDATE = (
        "The whole value is read, compared and written back, each under the value's lock: it is never seen half written, "
        "but what programs change anywhere in it in the microseconds between is lost."
    )
    UPDATE = (
        "The whole value is read, compared and written back: what programs change anywhere in it in the microseconds "
        "between is lost."
    )
    REFUSED = "Nothing will be written."

    @property
    def in_kernel(self) -> bool:
        """Whether a program does it."""
        return self in (Method.KERNEL_SWAP, Method.KERNEL_STORE)


@dataclass(frozen=True, slots=True)
class Plan:
    """The way chosen, and why none before it was."""

    method: Method
    why: str = ""
    """A clause for each way that was passed over, or the reason of a refusal."""
    word: Word | None = None
    lock_offset_bytes: int | None = None
    """Of the value's bpf_spin_lock."""

    @property
    def promise(self) -> str:
        """What the way can and cannot promise, for this map."""
        held = self.method.in_kernel and self.lock_offset_bytes is not None
        return self.method.value + (" The value's lock is held meanwhile." if held else "")


_BY_PROGRAM = frozenset(
    {
        BpfMapType.HASH,
        BpfMapType.ARRAY,
        BpfMapType.LRU_HASH,
        BpfMapType.LPM_TRIE,
        BpfMapType.PERCPU_HASH,
        BpfMapType.PERCPU_ARRAY,
        BpfMapType.LRU_PERCPU_HASH,
    }
)
"""Types in which any program can look a key up."""
_BY_UPDATE = _BY_PROGRAM | {
    BpfMapType.SK_STORAGE,
    BpfMapType.INODE_STORAGE,
    BpfMapType.TASK_STORAGE,
    BpfMapType.CGRP_STORAGE,
    BpfMapType.CGROUP_STORAGE,
    BpfMapType.PERCPU_CGROUP_STORAGE,
}
"""Types whose values are bytes that can be written back as they were read."""
UNHARMED = frozenset({"bpf_spin_lock", "bpf_res_spin_lock", "bpf_refcount"})
"""Kept parts that an update of the whole value leaves alone; all others it destroys."""


def plan(target: Target, field: Field, *, refused: str = "") -> Plan:
    """Choose the first way that this map and this field allow.

    refused  the kernel's words if it would not take a program for this map; then ways without one are left
    raises   BadField if the field ends behind the value
    """
    facts = target.facts
    if field.end_byte > facts.value_size:
        raise BadField(f"the field ends at byte {field.end_byte}, a value of this map has {facts.value_size}")
    if reason := _refusal(target, field):
        return Plan(Method.REFUSED, reason)
    lock = next((kept.offset_bytes for kept in target.kept if kept.name == "bpf_spin_lock"), None)

    passed = []
    if facts.type not in _BY_PROGRAM:
        passed.append("no program can look an entry of this type up by its key")
    elif facts.map_flags & (BpfMapFlag.RDONLY_PROG | BpfMapFlag.WRONLY_PROG):
        passed.append("programs may not both read and write this map")
    elif refused:
        passed.append(f"the kernel refused the program: {refused}")
    elif word := _word(target, field, (4, 8)):
        return Plan(Method.KERNEL_SWAP, "", word, lock)
    else:
        passed.append("no aligned word of 4 or 8 bytes holds all of the field and lies within the value")
        if word := _own_word(target, field, (1, 2)):
            return Plan(Method.KERNEL_STORE, passed[0], word, lock)
    return _without_program(target, field, lock, passed)


def _without_program(target: Target, field: Field, lock: int | None, passed: list[str]) -> Plan:
    facts = target.facts
    if facts.type == BpfMapType.ARRAY and facts.map_flags & BpfMapFlag.MMAPABLE:
        word = _own_word(target, field, (1, 2, 4, 8))
        if word and not facts.map_flags & BpfMapFlag.RDONLY_PROG:
            return Plan(Method.MMAP_STORE, "; ".join(passed), word)
        passed.append("a mapping can store aligned fields of 1, 2, 4 or 8 bytes, and only where programs may write")
    if destroyed := sorted({kept.name for kept in target.kept} - UNHARMED):
        passed.append(f"writing the whole value would destroy {', '.join(destroyed)} in it")
        return Plan(Method.REFUSED, "; ".join(passed))
    return Plan(Method.UPDATE if lock is None else Method.LOCKED_UPDATE, "; ".join(passed), None, lock)


def _refusal(target: Target, field: Field) -> str:
    if target.facts.type not in _BY_UPDATE:
        return "values of this map type are no bytes that could be written by field"
    if target.facts.frozen:
        return "the map is frozen: its owner allows no write from user space any more"
    for kept in _touched(target.kept, field.first_byte, field.end_byte):
        return f"{kept.name} at byte {kept.offset_bytes} is the kernel's own and is never written"
    return ""


def _touched(parts: Iterable[Kept], start: int, end: int) -> list[Kept]:
    return [kept for kept in parts if kept.offset_bytes < end and start < kept.offset_bytes + kept.size_bytes]


def _word(target: Target, field: Field, sizes: tuple[int, ...]) -> Word | None:
    """The smallest word that holds the field and nothing of the kernel's own."""
    facts = target.facts
    # struct lpm_trie_node keeps the value right behind the key's data, at whatever address that is, and the verifier
    # takes every value for aligned to 8 bytes: an atomic instruction must please both.
    base = (facts.key_size - 4) % 8 if facts.type == BpfMapType.LPM_TRIE else 0
    for size_bytes in sizes:
        word = word_of(field, facts.value_size, size_bytes)
        if (
            word
            and not base % size_bytes
            and not _touched(target.kept, word.offset_bytes, word.offset_bytes + size_bytes)
        ):
            return word
    return None


def _own_word(target: Target, field: Field, sizes: tuple[int, ...]) -> Word | None:
    """The word that is the field and nothing else."""
    if not field.whole_bytes or field.size_bits // 8 not in sizes:
        return None
    return _word(target, field, (field.size_bits // 8,))


def is_per_cpu(target: Target) -> bool:
    """Whether the map has a value for each CPU."""
    return target.facts.type in PER_CPU_TYPES
