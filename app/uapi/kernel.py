"""The seam between what reads a map and what answers: a descriptor of ours, or the broker on our behalf."""

from __future__ import annotations

from typing import Protocol

from app.errors import AppError
from app.uapi import syscall
from app.uapi.cpus import possible_cpus
from app.uapi.enums import BpfMapType
from app.uapi.syscall import PER_CPU_TYPES, BatchResult

_KNOWN = frozenset(BpfMapType)


class BufferTooShort(AppError):
    """A bug of the caller, found before the kernel could write past the buffer."""

    def __init__(self, what: str, need_bytes: int, have_bytes: int) -> None:
        super().__init__(f"the {what} buffer has {have_bytes} bytes, the kernel would write {need_bytes}")


def cpu_stride(value_size: int) -> int:
    """Bytes from one CPU's value to the next one's in a per-CPU look-up."""
    return (value_size + 7) // 8 * 8


def stride(map_type: int, value_size: int) -> int:
    """Bytes that one value takes in a look-up: per-CPU values are rounded up to 8 and come once a possible CPU."""
    # A type newer than this table may be per-CPU: room for that, so that the kernel cannot write past the buffer.
    if map_type in PER_CPU_TYPES or map_type not in _KNOWN:
        return cpu_stride(value_size) * possible_cpus()
    return value_size


class MapReader(Protocol):
    """Reads one map. Nothing here can write."""

    key_size: int
    value_stride: int
    """Bytes of one value as look-ups give it, `stride` above."""

    def lookup(self, key: bytes | None, value: bytearray | memoryview) -> bool:
        """Fill `value` (value_stride bytes); False when there is no such key."""

    def next_key(self, key: bytes | None, out: bytearray) -> bool:
        """Write the key after `key` to `out`; False after the last."""

    def lookup_batch(
        self, token: bytes | None, token_out: bytearray, keys: memoryview, values: memoryview, count: int
    ) -> BatchResult:
        """Up to `count` entries; raises NotSupported where the type has none."""


class DescriptorReader:
    """A MapReader on a descriptor of our own; lengths are checked, since the kernel does not."""

    def __init__(self, map_fd: int, *, map_type: int, key_size: int, value_size: int) -> None:
        self._fd = map_fd
        self.key_size = key_size
        self.value_stride = stride(map_type, value_size)

    def lookup(self, key: bytes | None, value: bytearray | memoryview) -> bool:
        """See MapReader."""
        self._need("key", self.key_size, len(key or b""))
        self._need("value", self.value_stride, len(value))
        return syscall.map_lookup(self._fd, key, value)

    def next_key(self, key: bytes | None, out: bytearray) -> bool:
        """See MapReader."""
        if key is not None:
            self._need("key", self.key_size, len(key))
        self._need("key", self.key_size, len(out))
        return syscall.map_next_key(self._fd, key, out)

    def lookup_batch(
        self, token: bytes | None, token_out: bytearray, keys: memoryview, values: memoryview, count: int
    ) -> BatchResult:
        """See MapReader."""
        token_bytes = max(4, self.key_size)
        self._need("token", token_bytes, len(token_out))
        if token is not None:
            self._need("token", token_bytes, len(token))
        self._need("keys", count * self.key_size, keys.nbytes)
        self._need("values", count * self.value_stride, values.nbytes)
        return syscall.map_lookup_batch(self._fd, token, token_out, keys, values, count)

    @staticmethod
    def _need(what: str, need_bytes: int, have_bytes: int) -> None:
        if have_bytes < need_bytes:
            raise BufferTooShort(what, need_bytes, have_bytes)
