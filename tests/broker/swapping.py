"""Maps with typed values and programs beside an edit, for tests of swap."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator

from app.broker.assembly import EQ, R0, R1, R2, R6, R7, U64, Assembly
from app.broker.swap.program import private_size
from app.btf.parse import parse
from app.btf.types import Kind
from app.uapi import loading
from app.uapi.enums import BpfMapType, BpfProgType
from app.uapi.syscall import MapSpec, map_create
from tests.btfs import compile_blob

FRAME = bytes(14)
KEY = (7).to_bytes(4, "little")


@contextlib.contextmanager
def typed_map(
    declarations: str, type_: BpfMapType = BpfMapType.HASH, *, max_entries: int = 8, flags: int = 0
) -> Iterator[int]:
    """A map whose values are `struct v`."""
    blob = compile_blob(declarations + " int f(struct v *p) { return 0; }")
    btf = parse(blob)
    (value,) = btf.find("v", Kind.STRUCT)
    (number,) = btf.find("int", Kind.INT)
    btf_fd = loading.btf_load(blob)
    map_fd = map_create(
        MapSpec(
            type=type_,
            key_size=4,
            value_size=btf.size_bytes(value),
            max_entries=max_entries,
            flags=flags,
            name=b"atlas_swap",
            btf_fd=btf_fd,
            btf_key_type_id=number,
            btf_value_type_id=value,
        )
    )
    os.close(btf_fd)
    try:
        yield map_fd
    finally:
        os.close(map_fd)


def on_element(map_fd: int, key: bytes, then: Callable[[Assembly], None]) -> int:
    """A program that finds the element (its address in R7 and R0) and does something with it; R1 is what it returns."""
    asm = Assembly()
    asm.store_number(0, 10, -4, int.from_bytes(key, "little"))
    asm.map_fd(R1, map_fd)
    asm.move(R2, 10)
    asm.add(R2, -4)
    asm.call(1)
    asm.number(R1, 1000)
    asm.jump(EQ, R0, 0, "out")
    asm.move(R7, R0)
    then(asm)
    asm.label("out")
    asm.move(R0, R1)
    asm.exit()
    return loading.prog_load(
        loading.ProgSpec(type=BpfProgType.SCHED_CLS, insns=asm.code(), log_bytes=1 << 16, name=b"beside")
    )


def counting(map_fd: int, key: bytes, offset_bytes: int, *, step: int = 1) -> int:
    """A program that adds `step` to a u64 of the value."""

    def add(asm: Assembly) -> None:
        asm.wide(R1, step)
        asm.atomic_add(U64, R7, offset_bytes, R1)
        asm.number(R1, 0)

    return on_element(map_fd, key, add)


def copying_update(map_fd: int, key_at: int = 48) -> Callable[[Assembly], None]:
    """What a program does that replaces the element under the key of an edit, between its look-up and its swap."""

    def update(asm: Assembly) -> None:
        for at in range(8, 40, 8):
            asm.store_number(U64, 10, -at, 0x11)
        asm.map_fd(R1, map_fd)
        asm.move(R2, R6)
        asm.add(R2, key_at)
        asm.move(3, 10)
        asm.add(3, -32)
        asm.number(4, 0)
        asm.call(2)  # bpf_map_update_elem

    return update


def deletion(map_fd: int, key_at: int = 48) -> Callable[[Assembly], None]:
    """As `copying_update`, for a program that deletes the entry."""

    def delete(asm: Assembly) -> None:
        asm.map_fd(R1, map_fd)
        asm.move(R2, R6)
        asm.add(R2, key_at)
        asm.call(3)  # bpf_map_delete_elem

    return delete


@contextlib.contextmanager
def busy(prog_fd: int, threads: int, *, repeat: int) -> Iterator[list[int]]:
    """The program run again and again in threads; afterwards the list has how often each of them ran it."""
    stop = threading.Event()
    counts: list[int] = []

    def work() -> None:
        done = 0
        while not stop.is_set():
            loading.prog_test_run(prog_fd, FRAME, repeat=repeat)
            done += repeat
        counts.append(done)

    running = [threading.Thread(target=work) for _ in range(threads)]
    for thread in running:
        thread.start()
    try:
        yield counts
    finally:
        stop.set()
        for thread in running:
            thread.join()


__all__ = ["FRAME", "KEY", "busy", "copying_update", "counting", "deletion", "on_element", "private_size", "typed_map"]
