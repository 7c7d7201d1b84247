"""Reads a map by asking the broker, where a passed descriptor is of no use.

That is so on kernels before about 5.19 with unprivileged_bpf_disabled set, and in containers whose seccomp profile
refuses bpf(2) to the powerless; the broker finds out by trying.
"""

from __future__ import annotations

from app.uapi.enums import BpfMapType
from app.uapi.kernel import DescriptorReader, MapReader, stride
from app.uapi.syscall import BatchOutcome, BatchResult
from app.wire.ask import Client
from app.wire.bodies import MapFacts


class BrokeredReader:
    """A MapReader whose every read is a question to the broker."""

    def __init__(self, client: Client, facts: MapFacts) -> None:
        self._client = client
        self._map_id = facts.id
        self._reads_value = facts.type == BpfMapType.BLOOM_FILTER
        self.key_size = facts.key_size
        self.value_stride = stride(facts.type, facts.value_size)

    def lookup(self, key: bytes | None, value: bytearray | memoryview) -> bool:
        """See app.uapi.kernel.MapReader."""
        # Only a bloom filter reads the buffer; for others, what an earlier look-up left in it is not worth sending.
        asked = bytes(value) if self._reads_value else b""
        found = self._client.lookup(self._map_id, key or b"", asked)
        if found is None:
            return False
        value[: len(found)] = found
        return True

    def next_key(self, key: bytes | None, out: bytearray) -> bool:
        """See app.uapi.kernel.MapReader."""
        found = self._client.next_key(self._map_id, key)
        if found is None:
            return False
        out[:] = found
        return True

    def lookup_batch(
        self, token: bytes | None, token_out: bytearray, keys: memoryview, values: memoryview, count: int
    ) -> BatchResult:
        """See app.uapi.kernel.MapReader."""
        batch = self._client.batch(self._map_id, token, count)
        if batch.grow:
            return BatchResult(0, BatchOutcome.GROW)
        keys[: len(batch.keys)] = batch.keys
        values[: len(batch.values)] = batch.values
        if batch.token is None:
            return BatchResult(batch.count, BatchOutcome.END)
        token_out[: len(batch.token)] = batch.token
        return BatchResult(batch.count, BatchOutcome.MORE)


def reader_of(client: Client, facts: MapFacts, fd: int | None) -> MapReader:
    """A reader on the descriptor that the broker passed, or one that asks the broker where it passed none."""
    if fd is None:
        return BrokeredReader(client, facts)
    return DescriptorReader(fd, map_type=facts.type, key_size=facts.key_size, value_size=facts.value_size)
