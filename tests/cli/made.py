"""Maps for these tests, with types compiled by clang and with bytes that no sane program would put there."""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Iterator, Sequence
from typing import Any

from app.btf.types import Kind
from app.uapi import loading, objects
from app.uapi.enums import BpfMapType
from app.uapi.syscall import MapSpec
from tests.btfs import Writer, compile_blob, compile_btf
from tests.livemaps import live_map

FLOWS = """
typedef unsigned int __u32; typedef unsigned long long __u64; typedef unsigned short __u16; typedef unsigned char __u8;
typedef __u32 __be32; typedef __u16 __be16;
enum verdict { PASS, DROP, REDIRECT };
struct flow_key { __be32 saddr; __be16 dport; __u16 zone; };
struct flow { __u64 packets; long long balance; char comm[16]; enum verdict verdict; __u32 slots[4]; };
int use(struct flow_key *key, struct flow *value) { return 0; }
"""


def flow_key(address: str, port: int, zone: int = 0) -> bytes:
    return bytes(map(int, address.split("."))) + port.to_bytes(2, "big") + zone.to_bytes(2, "little")


def flow(
    packets: int, comm: bytes = b"", verdict: int = 0, balance: int = 0, slots: Sequence[int] = (0, 0, 0, 0)
) -> bytes:
    return struct.pack("<Qq16sI4I4x", packets, balance, comm, verdict, *slots)


@contextlib.contextmanager
def typed_map(
    source: str, key: str | None, value: str, entries: Sequence[tuple[bytes | None, bytes]] = (), **spec: Any
) -> Iterator[tuple[int, int]]:
    """(descriptor, id) of a map whose key and value are those types of the source."""
    btf = compile_btf(source)
    btf_fd = loading.btf_load(compile_blob(source))
    made = MapSpec(
        **{
            "type": BpfMapType.HASH,
            "max_entries": 1024,
            "btf_fd": btf_fd,
            "btf_key_type_id": btf.find(key)[0] if key else 0,
            "btf_value_type_id": btf.find(value)[0],
            **spec,
        }
    )
    try:
        with live_map(made, entries) as fd:
            yield fd, objects.map_info(fd).id
    finally:
        os.close(btf_fd)


@contextlib.contextmanager
def flows(entries: Sequence[tuple[bytes, bytes]] = (), *, name: str = "cli_flows", **spec: Any) -> Iterator[int]:
    """Id of a hash of flows."""
    with typed_map(FLOWS, "flow_key", "flow", entries, key_size=8, value_size=56, name=name.encode(), **spec) as (
        _,
        map_id,
    ):
        yield map_id


@contextlib.contextmanager
def bare_map(entries: Sequence[tuple[bytes | None, bytes]] = (), **spec: Any) -> Iterator[int]:
    """Id of a map without BTF, u32 -> u64 unless said otherwise."""
    made = MapSpec(
        **{"type": BpfMapType.HASH, "key_size": 4, "value_size": 8, "max_entries": 16, "name": b"cli_bare", **spec}
    )
    with live_map(made, entries) as fd:
        yield objects.map_info(fd).id


@contextlib.contextmanager
def section() -> Iterator[int]:
    """Id of a map of global variables: counter = 7, big = 2**64 - 1, as libbpf makes it."""
    blob = Writer()
    number = blob.integer("int", 4, encoding=1)
    big = blob.integer("unsigned long long", 8)
    counter_var = blob.add(Kind.VAR, "counter", number, 1)
    big_var = blob.add(Kind.VAR, "big", big, 1)
    words = [counter_var, 0, 4, big_var, 8, 8]
    data = blob.add(Kind.DATASEC, ".data", 16, *words, vlen=2)
    btf_fd = loading.btf_load(blob.blob())
    made = MapSpec(
        type=BpfMapType.ARRAY, key_size=4, value_size=16, max_entries=1, name=b"cli.data", btf_fd=btf_fd,
        btf_key_type_id=0, btf_value_type_id=data,
    )  # fmt: skip
    value = (7).to_bytes(8, "little") + b"\xff" * 8
    try:
        with live_map(made, [(bytes(4), value)]) as fd:
            yield objects.map_info(fd).id
    finally:
        os.close(btf_fd)
