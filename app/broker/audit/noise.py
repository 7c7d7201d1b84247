"""How many refusals a stranger can have written: a bucket a kind and person, what was left out counted in the next record."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock

import msgspec

from app.wire.records import AuditRecord

ENDINGS = (".refused", ".fail", ".limited", ".throttled")
"""Codes of events that somebody causes by trying."""
BURST = 60
PER_MINUTE = 6.0
"""At most some 9,000 records a day and kind."""
_KEPT = 1_000


@dataclass(slots=True)
class _Bucket:
    left: float
    at_s: float
    left_out: int = 0


class Noise:
    """Shared by the broker's threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives seconds."""
        self._clock = clock
        self._lock = Lock()
        self._buckets: OrderedDict[tuple[str, str], _Bucket] = OrderedDict()

    def admit(self, record: AuditRecord) -> AuditRecord | None:
        """Give the record to write, or None to leave it out."""
        if not record.code.endswith(ENDINGS):
            return record
        # Names of people without a session are what they typed: they share a bucket, or each name would have its own.
        who = record.actor.user if record.actor.session or record.actor.how == "root" else ""
        with self._lock:
            bucket = self._bucket((record.code, who))
            if bucket.left < 1:
                bucket.left_out += 1
                return None
            bucket.left -= 1
            left_out, bucket.left_out = bucket.left_out, 0
        if not left_out:
            return record
        said = f"{left_out} more like this one were left out before it"
        return msgspec.structs.replace(record, detail=f"{record.detail}; {said}" if record.detail else said)

    def _bucket(self, key: tuple[str, str]) -> _Bucket:
        now_s = self._clock()
        bucket = self._buckets.pop(key, None) or _Bucket(BURST, now_s)
        self._buckets[key] = bucket
        if len(self._buckets) > _KEPT:
            self._buckets.popitem(last=False)
        bucket.left = min(BURST, bucket.left + (now_s - bucket.at_s) * PER_MINUTE / 60)
        bucket.at_s = now_s
        return bucket
