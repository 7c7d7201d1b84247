"""The maps that everything is measured on, made by the kernel's own system call."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from app.uapi import loading, objects, syscall
from app.uapi.enums import BpfMapType
from app.uapi.syscall import MapSpec
from bench.types import btf_of

KEY_BYTES, VALUE_BYTES = 16, 48

SOURCE = """
enum tcp_state { TCP_NONE, TCP_ESTABLISHED, TCP_SYN_SENT, TCP_SYN_RECV, TCP_FIN_WAIT1, TCP_CLOSE };
struct flow_key { unsigned int saddr, daddr; unsigned short sport, dport; unsigned int proto; };
struct flow_stats {
    unsigned long long packets, bytes, first_seen, last_seen;
    unsigned int drops, limit; enum tcp_state state; unsigned int mark;
};
int use(struct flow_key *key, struct flow_stats *value) { return 0; }
"""


@dataclass(frozen=True, slots=True)
class Subject:
    """A filled hash map of 16 + 48 bytes with BTF: 5 + 8 fields."""

    fd: int
    map_id: int
    entries: int

    @property
    def nbytes(self) -> int:
        return self.entries * (KEY_BYTES + VALUE_BYTES)


@contextlib.contextmanager
def flow_map(entries: int) -> Iterator[Subject]:
    """A hash map with `entries` random flows."""
    data, ids = btf_of(SOURCE, "flow_key", "flow_stats")
    btf_fd = loading.btf_load(data)
    spec = MapSpec(
        type=BpfMapType.HASH,
        key_size=KEY_BYTES,
        value_size=VALUE_BYTES,
        max_entries=entries,
        name=f"bench_{entries}".encode(),
        btf_fd=btf_fd,
        btf_key_type_id=ids["flow_key"],
        btf_value_type_id=ids["flow_stats"],
    )
    fd = syscall.map_create(spec)
    try:
        rng = np.random.default_rng(entries)
        keys = rng.integers(0, 256, (entries, KEY_BYTES), np.uint8)
        keys[:, :4] = np.arange(entries, dtype=np.uint32)[:, None].view(np.uint8)  # no two alike
        values = np.zeros(
            entries,
            [("packets", "<u8"), ("bytes", "<u8"), ("first", "<u8"), ("last", "<u8"), ("drops", "<u4"), ("limit", "<u4"),
             ("state", "<u4"), ("mark", "<u4")],
        )  # fmt: skip
        values["packets"] = rng.integers(1, 1 << 20, entries)
        values["bytes"] = values["packets"] * rng.integers(40, 1500, entries).astype(np.uint64)
        values["first"] = rng.integers(1 << 40, 1 << 41, entries)
        values["last"] = values["first"] + rng.integers(1, 1 << 36, entries).astype(np.uint64)
        values["drops"] = rng.integers(0, 3, entries)
        values["limit"] = rng.choice([0, 64, 128], entries)
        values["state"] = rng.integers(0, 6, entries)
        values["mark"] = rng.integers(0, 1 << 32, entries)
        written = syscall.map_update_batch(fd, keys, values.view(np.uint8), entries)
        if written != entries:
            raise RuntimeError(f"{written} of {entries} entries were written")
        yield Subject(fd, objects.map_info(fd).id, entries)
    finally:
        os.close(fd)
        os.close(btf_fd)
