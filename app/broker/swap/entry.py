"""Edits without a program: an entry read, compared, and stored through a mapping or written back whole."""

from __future__ import annotations

import mmap
import sys
from collections.abc import Sequence
from typing import Literal

from app.broker.swap.edit import Edit, Outcome, Result, becomes
from app.broker.swap.field import Field
from app.broker.swap.plan import Method, Plan, is_per_cpu
from app.broker.swap.program import Operation
from app.broker.swap.target import Target
from app.uapi.enums import BpfUpdateFlag
from app.uapi.errors import NoSuchKey
from app.uapi.kernel import cpu_stride, stride
from app.uapi.syscall import map_lookup, map_update

_FORMATS: dict[int, Literal["B", "H", "I", "Q"]] = {1: "B", 2: "H", 4: "I", 8: "Q"}


def read(map_fd: int, target: Target, edit: Edit, flags: int = 0) -> bytes | None:
    """The entry's value, on the CPU that the edit names; None when there is no such entry."""
    whole = _whole(map_fd, target, edit.key, flags)
    return None if whole is None else bytes(_on_cpu(whole, target, edit))


def change(map_fd: int, target: Target, field: Field, plan: Plan, edit: Edit) -> Outcome:
    """Do what MMAP_STORE, LOCKED_UPDATE and UPDATE promise; the entry is read again."""
    return change_all(map_fd, target, field, plan, (edit,))[0]


def change_all(map_fd: int, target: Target, field: Field, plan: Plan, edits: Sequence[Edit]) -> tuple[Outcome, ...]:
    """Edits of one entry on several CPUs, which one write brings all at once; one outcome if nothing was written."""
    flags = BpfUpdateFlag.LOCK if plan.method is Method.LOCKED_UPDATE else BpfUpdateFlag.ANY
    whole = _whole(map_fd, target, edits[0].key, flags)
    if whole is None:
        return (Outcome(result=Result.NO_ENTRY, method=plan.method),)
    changes = []
    for edit in edits:
        part = _on_cpu(whole, target, edit)
        current = field.read(part)
        unlike = edit.operation is Operation.COMPARE_AND_SWAP and current != edit.expected
        if unlike or (edit.seen is not None and edit.seen != bytes(part)):
            return (
                Outcome(result=Result.CONFLICT, method=plan.method, before=current, now=current, value=bytes(part)),
            )
        changes.append((current, becomes(field, edit, current)))
        field.write(part, changes[-1][1])
    if plan.method is Method.MMAP_STORE:
        _store(map_fd, target, plan, edits[0], changes[0][1])
    else:
        try:
            # EXIST: an entry deleted meanwhile stays deleted, and a trie changes the very prefix or none.
            map_update(map_fd, edits[0].key, whole, flags | BpfUpdateFlag.EXIST)
        except NoSuchKey:
            return (Outcome(result=Result.NO_ENTRY, method=plan.method),)
    return tuple(
        _after(map_fd, target, field, plan, edit, *change) for edit, change in zip(edits, changes, strict=True)
    )


def _after(map_fd: int, target: Target, field: Field, plan: Plan, edit: Edit, before: int, written: int) -> Outcome:
    value = read(map_fd, target, edit)
    now = None if value is None else field.read(value)
    result = Result.DONE if now == written else Result.REPLACED if value is None else Result.OVERTAKEN
    return Outcome(result=result, method=plan.method, before=before, written=written, now=now, value=value)


def _whole(map_fd: int, target: Target, key: bytes, flags: int) -> bytearray | None:
    facts = target.facts
    whole = bytearray(stride(facts.type, facts.value_size))
    return whole if map_lookup(map_fd, key, whole, flags) else None


def _on_cpu(whole: bytearray, target: Target, edit: Edit) -> memoryview:
    size_bytes = target.facts.value_size
    start = (edit.cpu or 0) * cpu_stride(size_bytes) if is_per_cpu(target) else 0
    return memoryview(whole)[start : start + size_bytes]


def _store(map_fd: int, target: Target, plan: Plan, edit: Edit, number: int) -> None:
    """One aligned store. The mapping is gone right after: while there is one, the map cannot be frozen."""
    if plan.word is None:
        return
    at = int.from_bytes(edit.key, sys.byteorder) * ((target.facts.value_size + 7) // 8 * 8) + plan.word.offset_bytes
    page = at // mmap.PAGESIZE * mmap.PAGESIZE
    with mmap.mmap(map_fd, mmap.PAGESIZE, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE, offset=page) as area:
        whole = memoryview(area)
        cells = whole.cast(_FORMATS[plan.word.size_bytes])
        cells[(at - page) // plan.word.size_bytes] = plan.word.placed(number)
        cells.release()
        whole.release()
