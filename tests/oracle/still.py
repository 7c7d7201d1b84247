"""Maps of real programs, held open after their programs are gone: nothing changes while two tools read them."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.maps.keys import walk_keys
from app.uapi import objects, syscall
from app.uapi.enums import BpfMapType
from app.uapi.errors import KernelError
from app.uapi.kernel import DescriptorReader, stride
from tests.livemaps import open_in

ROOT = Path(__file__).parents[2]
ATLAS = [sys.executable, "-m", "app.cli.main"]
TYPED = {
    BpfMapType.HASH,
    BpfMapType.ARRAY,
    BpfMapType.PERCPU_HASH,
    BpfMapType.PERCPU_ARRAY,
    BpfMapType.LRU_HASH,
    BpfMapType.LRU_PERCPU_HASH,
}


_TESTING = re.compile(rb"\0-m\0(?:pytest|app\.)")


@dataclass(frozen=True)
class Held:
    """One map and our descriptor of it."""

    fd: int
    info: objects.MapInfo

    @property
    def label(self) -> str:
        return f"{self.info.name.decode()} (#{self.info.id}, type {self.info.type})"


def map_ids() -> set[int]:
    """Maps of this host but those of other tests, which run beside these and may hold a million entries."""
    return set(objects.ids(objects.map_get_next_id)) - _elsewhere()


def _elsewhere() -> set[int]:
    """Maps that other test sessions, and services that they started, have open."""
    found: set[int] = set()
    for process in Path("/proc").iterdir():
        if not process.name.isdecimal() or int(process.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            if _TESTING.search((process / "cmdline").read_bytes()):
                found |= open_in(process)
    return found


@contextlib.contextmanager
def hold(wanted: Callable[[], set[int]]) -> Iterator[list[Held]]:
    """Descriptors of the maps of these ids."""
    held = []
    for map_id in sorted(wanted()):
        with contextlib.suppress(KernelError):
            fd = objects.map_get_fd_by_id(map_id)
            held.append(Held(fd, objects.map_info(fd)))
    try:
        yield held
    finally:
        for each in held:
            os.close(each.fd)


@contextlib.contextmanager
def maps_of(command: Sequence[str], *, run_s: float, at_least: int = 1) -> Iterator[list[Held]]:
    """The maps that a program makes, after it ran for a while and was killed."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
    opened = Path("/proc") / str(process.pid)
    try:
        deadline = time.monotonic() + 15
        while len(open_in(opened)) < at_least:
            if process.poll() is not None or time.monotonic() > deadline:
                output = process.stdout.read1().decode() if process.stdout else ""
                raise AssertionError(f"{command[0]} made no maps, status {process.poll()}: {output[-400:]}")
            time.sleep(0.1)
        time.sleep(run_s)
        with hold(lambda: open_in(opened)) as held:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            _settle()
            yield held
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdout:
            process.stdout.close()


def _settle() -> None:
    """Wait until the programs are gone: the kernel frees them after their last user, not at once."""
    for _ in range(50):
        if not list(objects.ids(objects.link_get_next_id)):
            return
        time.sleep(0.05)


def dump(map_id: int) -> list[Any]:
    """`bpf-atlas dump ID --json`, as a user runs it."""
    done = subprocess.run(
        [*ATLAS, "dump", str(map_id), "--json", "--data", "/nonexistent"], cwd=ROOT, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    found: list[Any] = json.loads(done.stdout)
    return found


def fill_at_random(held: Held, seed: int, number: int = 40) -> int:
    """Overwrite or add entries with random bytes; returns how many took."""
    info, rng = held.info, random.Random(seed)
    if info.type not in TYPED:
        return 0
    took = 0
    for index in range(min(number, info.max_entries)):
        key = index.to_bytes(4, "little") if info.type in {2, 6} else rng.randbytes(info.key_size)
        # Bytes below 128 now and then, so that char arrays are texts as often as not.
        value = bytearray(rng.randbytes(stride(info.type, info.value_size)))
        if index % 3 == 0:
            value = bytearray(rng.choice(b"abc XYZ_09\0") for _ in value)
        try:
            syscall.map_update(held.fd, key, value)
        except KernelError:  # frozen, or full
            continue
        took += 1
    return took


def stop_timers(held: Held) -> None:
    """Write every value back as it is: that cancels the timers in them, which go on when their program is gone."""
    reader = DescriptorReader(
        held.fd, map_type=held.info.type, key_size=held.info.key_size, value_size=held.info.value_size
    )
    value = bytearray(reader.value_stride)
    for key in list(walk_keys(reader, 2 * held.info.max_entries)):  # an update moves an entry to its bucket's front
        if reader.lookup(key, value):
            syscall.map_update(held.fd, key, value)
