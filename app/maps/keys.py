"""The walk that every type has: BPF_MAP_GET_NEXT_KEY, bounded."""

from __future__ import annotations

from collections.abc import Generator

from app.uapi.kernel import MapReader


def walk_keys(reader: MapReader, bound: int) -> Generator[bytes, None, bool]:
    """Keys one after the other, each once, at most `bound` steps: a hash map restarts when its key is deleted.

    returns  whether the end of the map was reached
    """
    seen: set[bytes] = set()
    out = bytearray(reader.key_size)
    key: bytes | None = None
    for _ in range(bound):
        # The next key is asked for before this one is used, so that a deletion meanwhile costs one restart at most.
        if not reader.next_key(key, out):
            return True
        key = bytes(out)
        if key not in seen:
            seen.add(key)
            yield key
    return False
