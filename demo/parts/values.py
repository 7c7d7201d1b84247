"""Values of every shape: locks, timers, lists, trees, kernel pointers, and the zoo of C types."""

from __future__ import annotations

import mmap
import os
import random
import struct
import time

from demo.libbpf import Map, TypeWriter, UserRing, create_map
from demo.scene import U32, Scene

HASH, ARENA = 1, 33
MMAPABLE = 1 << 10
PACKET_BYTES = 64
ARENA_PAGES = 16
ZOO_IDS = 40
LIST_LENGTH = 8
COMMAND = struct.Struct("=IIQ")
COUNTER64 = struct.Struct("=qQQ")
POWERS = {"POWER_NONE": 0, "POWER_LOW": 1, "POWER_HIGH": 1 << 40, "POWER_ALL": (1 << 64) - 1}
BALANCES = {"BALANCE_DEBT": -(1 << 40), "BALANCE_EVEN": 0, "BALANCE_RICH": 1 << 40}

chance = random.Random(5)


def start_locks_and_timers(scene: Scene) -> None:
    """Load token buckets: a spin lock and a timer in each."""
    take = scene.load("special").program("take_token")
    scene.every(0.1, lambda: take.run(data=_packet(chance.randrange(12))))


def start_owned_objects(scene: Scene) -> None:
    """Load lists, trees (Linux 6.3) and references to tasks."""
    owned = scene.load("owned")
    for slot in range(2):
        owned.map("calendars").update(U32.pack(slot), bytes(40))
    for slot in range(4):
        owned.map("watched_tasks").update(U32.pack(slot), bytes(24))
    queue, deadline, watch = (owned.program(name) for name in ("queue_job", "add_deadline", "watch_task"))
    pids = (os.getpid(), max(os.getppid(), 2), 2, 3)
    for slot, pid in enumerate(pids):
        watch.run(data=_packet(slot, pid))
    for number in range(2 * LIST_LENGTH):
        queue.run(data=bytes(PACKET_BYTES + number % 2))
        deadline.run(data=bytes(PACKET_BYTES + number % 2))
    scene.every(0.5, lambda: queue.run(data=bytes(PACKET_BYTES + chance.randrange(2))))
    scene.every(0.5, lambda: deadline.run(data=bytes(PACKET_BYTES + chance.randrange(2))))
    scene.every(1, lambda: watch.run(data=_packet(*chance.choice(list(enumerate(pids))))))


def start_zoo(scene: Scene) -> None:
    """Every C type that clang emits."""
    zoo = scene.load("zoo")
    fill = zoo.program("fill_zoo")
    for number in range(ZOO_IDS):
        fill.run(data=_packet(number))
    scene.every(0.25, lambda: fill.run(data=_packet(chance.randrange(ZOO_IDS))))
    scene.pin(zoo.map("type_zoo"))


def start_commands(scene: Scene) -> None:
    """Load a user ring buffer (Linux 6.1)."""
    loaded = scene.load("commands")
    ring = scene.keep(UserRing(loaded.map("commands")))
    drain = loaded.program("drain_commands")

    def submit() -> None:
        for _ in range(chance.randrange(9)):
            ring.submit(COMMAND.pack(chance.randrange(1, 4), chance.randrange(16), chance.randrange(1 << 40)))

    scene.every(1, submit)
    scene.every(1, lambda: drain.run(data=bytes(PACKET_BYTES)))


def start_enum64(scene: Scene) -> None:
    """Make a hash keyed by a 64-bit enumeration, its BTF made by hand: clang has that kind since 15."""
    types = scene.keep(TypeWriter())
    u64 = types.integer("unsigned long long", 8)
    power = types.enum64("power", POWERS, signed=False)
    balance = types.enum64("balance", BALANCES, signed=True)
    members = [("balance", balance, 0), ("updates", u64, 8), ("updated_ns", u64, 16)]
    account = types.struct("account", COUNTER64.size, members)
    accounts = scene.keep(
        create_map(
            HASH,
            "enum64_accounts",
            key_size=8,
            value_size=COUNTER64.size,
            max_entries=16,
            btf_fd=types.load(),
            btf_key_type_id=power,
            btf_value_type_id=account,
        )
    )
    scene.maps.append(accounts)
    scene.every(0.5, lambda: _settle(accounts))
    scene.pin(accounts)


def _settle(accounts: Map) -> None:
    key = struct.pack("=Q", chance.choice([*POWERS.values(), 77]))
    before = accounts.lookup(key, COUNTER64.size)
    updates = COUNTER64.unpack(before)[1] if before else 0
    balance = chance.choice([*BALANCES.values(), -12345])
    accounts.update(key, COUNTER64.pack(balance, updates + 1, time.monotonic_ns()))


def start_arena(scene: Scene) -> None:
    """Make pages shared with a program's address space (Linux 6.9); the demo maps all of them itself, as an owner does."""
    arena = scene.keep(
        create_map(ARENA, "arena_pages", key_size=0, value_size=0, max_entries=ARENA_PAGES, map_flags=MMAPABLE)
    )
    scene.maps.append(arena)
    pages = scene.keep(mmap.mmap(arena.fd, ARENA_PAGES * mmap.PAGESIZE))
    pages[:18] = b"bpf-atlas's arena\0"
    scene.pin(arena)


def _packet(*words: int) -> bytes:
    """Return a packet whose first words are `words`: arguments of a program that the demo runs."""
    return struct.pack(f"={len(words)}I", *words).ljust(PACKET_BYTES, b"\0")
