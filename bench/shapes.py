"""Sixty maps of the shapes that well-known programs have: their C types, their sizes, and what a minute does to them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import numpy as np

from app.timeline.kept_layout import LayoutBody, ToKeep
from app.uapi.enums import BpfMapType
from bench.types import btf_of

Bytes2d = np.ndarray[tuple[int, int], np.dtype[np.uint8]]
Rng = np.random.Generator
CPUS = 4
TYPES = """
typedef unsigned char u8; typedef unsigned short u16; typedef unsigned int u32; typedef int s32; typedef unsigned long long u64;
struct limits { u64 of[80]; };
struct tuple { u32 daddr, saddr; u16 dport, sport; u8 protocol, direction; } __attribute__((packed));
struct flow { u64 packets, bytes; u32 expires_s; u16 flags, service; u32 identity, node; u64 first_ns, last_ns; u8 seen[8]; };
struct traffic { u64 packets, bytes; };
struct disk { u32 cgroup, device; };
struct hist { u32 slots[27]; };
struct prefix { u32 length; u16 cluster; u8 pad, family; u32 address[4]; };
struct endpoint { u32 identity, tunnel; u16 pad; u8 key, flags; };
struct backend { u32 address; u16 port; u8 protocol, flags; u16 cluster; u8 zone, pad; };
struct counters { u64 handled, dropped, errors, retries; char version[32]; u64 more[24]; };
struct task { u32 pid, tid; };
struct started { u64 at_ns; char comm[16]; u32 uid; s32 result; u64 took_ns; };
struct bucket { u64 tokens, last_ns; };
struct rule { u32 identity; u16 port; u8 protocol, egress; };
struct verdict { u64 packets, bytes; u16 proxy_port; u8 deny, pad[5]; };
"""


@dataclass(slots=True, kw_only=True)
class Simulated:
    """One map: its entries, kept in the order of their keys, and what a minute does to them."""

    name: str
    type: int
    c_types: tuple[str, str]
    """Of key and value, in TYPES."""
    keys: Bytes2d
    values: Bytes2d
    a_minute: float
    """Chance that a minute changes it."""
    live: Callable[[Simulated, Rng], None]

    def digest(self) -> bytes:
        return digest(self.keys, self.values)


def digest(keys: Bytes2d, values: Bytes2d) -> bytes:
    """Of entries in the order of their keys."""
    state = hashlib.blake2b(keys.tobytes(), digest_size=16)
    state.update(values.tobytes())
    return state.digest()


def in_order(keys: Bytes2d) -> Bytes2d:
    """Distinct keys, ascending."""
    return np.unique(keys, axis=0)


def count(part: float, offset: int = 0, counters: int = 2) -> Callable[[Simulated, Rng], None]:
    """Some rows count on: packets, then bytes of them, in 64 bits each."""

    def live(of: Simulated, rng: Rng) -> None:
        rows = np.flatnonzero(rng.random(len(of.values)) < part)
        rows = rows if len(rows) else rng.integers(0, len(of.values), 1)
        words = of.values[:, offset : offset + 8 * counters].copy().view("<u8")
        more = rng.integers(1, 400, len(rows)).astype(np.uint64)
        for column in range(counters):
            words[rows, column] += more * np.uint64(1 if column % 2 == 0 else 700)
        of.values[:, offset : offset + 8 * counters] = words.view(np.uint8)

    return live


def churn(part: float, counting: float) -> Callable[[Simulated, Rng], None]:
    """Entries go and others come, as an LRU's do; of those that stay, some count."""
    counted = count(counting)

    def live(of: Simulated, rng: Rng) -> None:
        n, width = of.keys.shape
        some = max(1, int(n * part))
        stay = np.ones(n, bool)
        stay[rng.choice(n, some, replace=False)] = False
        fresh = in_order(rng.integers(0, 256, (some, width), np.uint8))
        values = np.zeros((len(fresh), of.values.shape[1]), np.uint8)
        values[:, :4] = rng.integers(1, 256, (len(fresh), 4))
        keys = np.concatenate([of.keys[stay], fresh])
        keys, order = np.unique(keys, axis=0, return_index=True)
        of.keys, of.values = keys, np.concatenate([of.values[stay], values])[order]
        if counting:
            counted(of, rng)

    return live


def rewrite(rows: int) -> Callable[[Simulated, Rng], None]:
    """A few values are replaced, as by a control plane."""

    def live(of: Simulated, rng: Rng) -> None:
        at = rng.integers(0, len(of.values), rows)
        of.values[at] = rng.integers(0, 256, (rows, of.values.shape[1]), np.uint8)

    return live


def slots(width: int) -> Callable[[Simulated, Rng], None]:
    """Buckets of 32 bits of some histograms go up."""

    def live(of: Simulated, rng: Rng) -> None:
        words = of.values.view("<u4")
        row = rng.integers(0, len(words), 3)
        words[row, np.minimum(rng.poisson(width / 3, 3), width - 1)] += rng.integers(1, 900, 3).astype(np.uint32)

    return live


def sixty(rng: Rng) -> list[Simulated]:
    """Sixty maps, each of the shape that a family of programs has."""
    made: list[Simulated] = []

    def add(
        n: int,
        name: str,
        type_: int,
        shape: tuple[int, int, int],
        c_types: tuple[str, str],
        chances: tuple[float, ...],
        live: Callable[[Simulated, Rng], None],
    ) -> None:
        entries, key_width, value_width = shape
        for number in range(n):
            if type_ in {2, 6}:
                keys = in_order(np.arange(entries, dtype="<u4").view(np.uint8).reshape(-1, 4))
            else:
                keys = in_order(rng.integers(0, 256, (entries, key_width), np.uint8))
            values = np.zeros((len(keys), value_width), np.uint8)
            values[:, : value_width // 2] = rng.integers(0, 256, (1, value_width // 2))
            made.append(Simulated(
                name=f"{name}_{number}", type=type_, c_types=c_types, keys=keys, values=values, a_minute=chances[number % len(chances)], live=live,
            ))  # fmt: skip

    # .rodata of libbpf programs, Cilium's .rodata.config: constant until the program is loaded anew.
    add(8, "rodata", 2, (1, 4, 640), ("u32", "limits"), (1 / 10_000,), rewrite(1))
    # Cilium's cilium_ct4_global (tuple of 14 bytes, entry of 56): LRU hashes whose flows come, count and go.
    add(2, "ct4_global", 9, (1500, 14, 56), ("tuple", "flow"), (1.0, 0.3), churn(0.01, 0.10))
    add(4, "ct_any4", 9, (600, 14, 56), ("tuple", "flow"), (0.1,), churn(0.01, 0.10))
    # xdp-tools' and Katran's statistics: per-CPU arrays of packets and bytes, here of four CPUs.
    add(8, "rxq_stats", 6, (64, 4, 64), ("u32", "traffic"), (0.3, 0.05, 0.02, 0.05), count(0.1, counters=8))
    # BCC's biolatency and runqlat: a hash from disk or cgroup to 27 slots, running now and then.
    add(8, "hists", 1, (12, 8, 108), ("disk", "hist"), (0.05, 0.01), slots(27))
    # Cilium's ipcache and Calico's routes: LPM tries that follow a cluster's addresses.
    add(6, "ipcache", 11, (3000, 24, 12), ("prefix", "endpoint"), (0.1, 0.02), churn(0.0005, 0.0))
    # Cilium's lb4_backends and lb4_services, Katran's reals: rewritten when something is deployed.
    add(8, "lb4_backends", 1, (400, 4, 12), ("u32", "backend"), (1 / 30,), rewrite(2))
    # .bss and .data of any program: one value, some counters at its start.
    add(6, "bss", 2, (1, 4, 256), ("u32", "counters"), (1.0, 0.05, 0.05, 0.05, 0.05, 0.05), count(1.0, counters=4))
    # BCC's tcplife and opensnoop: a hash by task, short-lived.
    add(4, "start", 1, (150, 8, 40), ("task", "started"), (0.1,), churn(0.08, 0.0))
    # Token buckets of rate limiters: an array that is written when somebody is limited.
    add(4, "buckets", 2, (256, 4, 16), ("u32", "bucket"), (0.1,), count(0.05))
    # Cilium's policy maps: rules that count what they met.
    add(2, "policy", 1, (300, 8, 24), ("rule", "verdict"), (0.3,), count(0.2))
    return made


def layouts(maps: list[Simulated]) -> list[ToKeep]:
    """What the bytes of each mean, as the recorder keeps it of a program that has these types."""
    structs = re.findall(r"struct (\w+) {", TYPES)
    members = "".join(f"struct {name} {name}; " for name in structs)
    source = f"{TYPES}struct all {{ u32 number; {members}}};\nint keep(struct all *of) {{ return of->number; }}\n"
    blob, ids = btf_of(source, "u32", *structs)
    found = []
    for one in maps:
        key, value = one.c_types
        n_cpus = CPUS if one.type == BpfMapType.PERCPU_ARRAY else 0
        body = LayoutBody(
            type=one.type, name=one.name, key_size=one.keys.shape[1], value_size=one.values.shape[1] // max(n_cpus, 1),
            max_entries=2 * len(one.keys), map_flags=0, has_btf=True, key_type_id=ids[key], value_type_id=ids[value],
            n_cpus=n_cpus,
        )  # fmt: skip
        found.append(ToKeep(msgspec.msgpack.encode(body), blob, None))
    return found
