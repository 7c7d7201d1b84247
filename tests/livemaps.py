"""Real maps for tests: made, filled and let go."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from app.uapi import syscall
from app.uapi.enums import BpfMapFlag, BpfMapType
from app.uapi.kernel import DescriptorReader
from app.uapi.syscall import MapSpec

_MAP_ID = re.compile(r"^map_id:\s*(\d+)$", re.MULTILINE)

HUGE_TRIE = MapSpec(
    type=BpfMapType.LPM_TRIE,
    key_size=8,
    value_size=(4 << 20) - 512,
    max_entries=100_000,
    flags=BpfMapFlag.NO_PREALLOC,
    name=b"huge_trie",
)
"""It might hold hundreds of gigabytes, and the kernel does not count what it does."""


def u32(number: int) -> bytes:
    return number.to_bytes(4, "little")


def u64(number: int) -> bytes:
    return number.to_bytes(8, "little")


@contextlib.contextmanager
def live_map(spec: MapSpec, entries: Sequence[tuple[bytes | None, bytes]] = ()) -> Iterator[int]:
    """A map's descriptor while the `with` lasts."""
    fd = syscall.map_create(spec)
    try:
        for key, value in entries:
            syscall.map_update(fd, key, value)
        yield fd
    finally:
        os.close(fd)


def reader_of(fd: int, spec: MapSpec) -> DescriptorReader:
    return DescriptorReader(fd, map_type=spec.type, key_size=spec.key_size, value_size=spec.value_size)


def open_in(process: Path) -> set[int]:
    """Ids of the maps that a process (its folder below /proc) has open."""
    found: set[int] = set()
    with contextlib.suppress(OSError):
        for descriptor in (process / "fdinfo").iterdir():
            with contextlib.suppress(OSError):
                found |= {int(number) for number in _MAP_ID.findall(descriptor.read_text())}
    return found
