"""A swap beside a running timer, a kernel pointer and a list leaves each alive; a whole-value update kills them."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.broker.swap.edit import Edit, Result
from app.broker.swap.field import Field
from app.broker.swap.plan import Method, plan
from app.broker.swap.run import Editor
from app.broker.swap.target import target_of
from app.uapi import objects
from app.uapi.loading import prog_test_run
from app.uapi.syscall import map_lookup, map_update
from tests.broker.swapping import FRAME, KEY

pytestmark = pytest.mark.kernel

SOURCE = Path(__file__).parent.parent / "data" / "kept.bpf.c"


class Loaded:
    """The programs and maps of kept.bpf.c, by name, as descriptors."""

    def __init__(self, pins: Path) -> None:
        self._pins = pins
        self._fds: dict[str, int] = {}

    def map(self, name: str) -> int:
        return self._open(f"maps/{name}")

    def run(self, name: str) -> int:
        return prog_test_run(self._open(f"progs/{name}"), FRAME)

    def _open(self, path: str) -> int:
        if path not in self._fds:
            self._fds[path] = objects.obj_get(str(self._pins / path))
        return self._fds[path]

    def close(self) -> None:
        for fd in self._fds.values():
            os.close(fd)


@pytest.fixture
def loaded(tmp_path: Path, bpffs: Path) -> Iterator[Loaded]:
    built, pins = tmp_path / "kept.o", bpffs / "kept"
    include = f"-I/usr/include/{platform.machine()}-linux-gnu"
    compile_it = ["clang", "-g", "-O2", "-w", "-target", "bpf", include, "-c", str(SOURCE), "-o", str(built)]
    subprocess.run(compile_it, check=True)
    load = ["bpftool", "prog", "loadall", str(built), str(pins / "progs"), "pinmaps", str(pins / "maps")]
    pins.mkdir()
    subprocess.run(load, check=True, capture_output=True)
    found = Loaded(pins)
    yield found
    found.close()
    for pin in (*pins.glob("*/*"), *pins.glob("*"), pins):
        pin.unlink() if pin.is_file() else pin.rmdir()


def ticks(fd: int) -> int:
    """Ticks that the timer counts in 60 ms."""
    value = bytearray(32)
    assert map_lookup(fd, KEY, value)
    before = int.from_bytes(value[:8], "little")
    time.sleep(0.06)
    assert map_lookup(fd, KEY, value)
    return int.from_bytes(value[:8], "little") - before


CASES: list[tuple[str, str, int, Field, Callable[[Loaded], bool]]] = [
    ("timer", "bpf_timer", 32, Field(offset_bits=192, size_bits=32), lambda it: ticks(it.map("timers")) > 0),
    ("kptr", "kptr", 16, Field(offset_bits=8, size_bits=16), lambda it: it.run("see_kptr") == 4711),
    ("list", "bpf_list_head", 24, Field(offset_bits=32, size_bits=32), lambda it: it.run("see_list") == 4712),
]


@pytest.mark.parametrize(("name", "kept", "size_bytes", "field", "alive"), CASES, ids=[case[0] for case in CASES])
def test_what_the_kernel_keeps_beside_a_field_lives_through_swaps_and_not_through_an_update(
    loaded: Loaded, name: str, kept: str, size_bytes: int, field: Field, alive: Callable[[Loaded], bool]
) -> None:
    fd = loaded.map(f"{name}s")
    map_update(fd, KEY, bytes(size_bytes))
    assert loaded.run(f"put_{name}") == 0
    assert alive(loaded)

    target = target_of(fd)
    assert kept in {part.name for part in target.kept}
    with Editor(fd, target, field) as editor:
        assert editor.plan.method is Method.KERNEL_SWAP
        for number in range(100):
            assert editor.run(Edit(key=KEY, number=number + 1, expected=number)).result is Result.DONE
    assert alive(loaded)

    without = plan(target, field, refused="to see the next way")
    assert without.method is Method.REFUSED
    assert f"would destroy {kept}" in without.why

    # Why that is refused: the very same bytes, written back, end it.
    value = bytearray(size_bytes)
    assert map_lookup(fd, KEY, value)
    map_update(fd, KEY, value)
    assert not alive(loaded)
