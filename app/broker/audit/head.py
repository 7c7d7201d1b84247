"""The head: how far the chain goes, kept beside the key so that records cut off at the end are missed.

Two fixed slots are written in turn, each synced: a crash can tear the one that is being written and never both. A record
is committed before its head, so the database may be ahead of the head and never behind.
"""

from __future__ import annotations

import hmac
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from app.broker.audit.chain import GENESIS, LINK_BYTES, head_tag
from app.broker.audit.key import sync_directory
from app.broker.database import StoreUnusable

SLOT_BYTES = 4096
"""A slot each block: a torn write reaches only one."""
_SLOT = struct.Struct(f">Q{LINK_BYTES}s{LINK_BYTES}s")
_FILE_BYTES = 2 * SLOT_BYTES


def head_path(key_path: Path) -> Path:
    """Where the head of a key's log is."""
    return key_path.with_name(key_path.stem + ".head")


@dataclass(frozen=True, slots=True)
class Head:
    """Where the chain ended when this was written."""

    number: int
    mac: bytes
    torn: bool = False
    """The other slot is none of ours: so a later head was being written, and the database must have a later record."""


class HeadFile:
    """Stays open: the broker opens nothing for writing once it is confined."""

    def __init__(self, path: Path, descriptor: int, key: bytes) -> None:
        """See `open` and `make`."""
        self.path = path
        self._descriptor = descriptor
        self._key = key

    @classmethod
    def open(cls, path: Path, key: bytes) -> Self:
        """Open an existing one for writing. raises FileNotFoundError, StoreUnusable"""
        try:
            return cls(path, os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW), key)
        except FileNotFoundError:
            raise
        except OSError as problem:
            raise StoreUnusable(path, str(problem.strerror)) from problem

    @classmethod
    def make(cls, path: Path, key: bytes) -> Self:
        """Make the head of a log without records. raises StoreUnusable"""
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
            descriptor = os.open(path, flags, 0o600)
            os.posix_fallocate(descriptor, 0, _FILE_BYTES)
            made = cls(path, descriptor, key)
            made.write(0, GENESIS)
            os.fsync(descriptor)
            sync_directory(path.parent)
        except OSError as problem:
            raise StoreUnusable(path, str(problem.strerror)) from problem
        return made

    def write(self, number: int, mac: bytes) -> None:
        """Put the new head into the older slot, synced. raises OSError"""
        slot = _SLOT.pack(number, mac, head_tag(self._key, number, mac))
        if os.pwrite(self._descriptor, slot, number % 2 * SLOT_BYTES) != len(slot):
            raise OSError("the head of the audit log was written in part")
        os.fdatasync(self._descriptor)

    def read(self) -> Head | None:
        """Give the newest head that is ours; None if neither slot is. raises OSError"""
        return parse(os.pread(self._descriptor, _FILE_BYTES, 0), self._key)

    def close(self) -> None:
        """Let it go."""
        os.close(self._descriptor)


def parse(data: bytes, key: bytes) -> Head | None:
    """Read both slots."""
    found: list[tuple[int, bytes]] = []
    spoiled = 0
    for at in (0, SLOT_BYTES):
        part = data[at : at + SLOT_BYTES]
        if len(part) < _SLOT.size:
            spoiled += 1
            continue
        number, mac, tag = _SLOT.unpack_from(part)
        if hmac.compare_digest(tag, head_tag(key, number, mac)) and number % 2 * SLOT_BYTES == at:
            found.append((number, mac))
        else:
            spoiled += 1
    if not found:
        return None
    number, mac = max(found)
    # The second slot of a new log is blank until its first record.
    return Head(number, mac, torn=bool(spoiled) and number > 0)
