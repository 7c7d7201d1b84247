"""Readings kept for a short while, so that paging, sorting and filtering show one moment; bounded in memory and time.

What is kept is bytes in this process, never a descriptor: the map itself may go at any time. Readings that a download
still writes count as well, whether they are kept or not: together they stay within the limit.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from weakref import WeakSet

import numpy as np
from numpy.typing import NDArray

from app.maps.errors import Busy, ViewGone
from app.maps.opening import OpenMap
from app.maps.tabulate import Sheet
from app.wire.bodies import MapFacts

Order = NDArray[np.int64]
KEPT_ORDERS = 4
"""Selections kept for each reading: paging through one asks for the same again and again."""
SMALL_BYTES = 4 << 20
"""Readings up to here wait for nobody."""
WAIT_S = 10.0
POLL_S = 0.05

Identity = tuple[int | str, ...]


def identity(facts: MapFacts) -> Identity:
    """What tells a map from a later one, even of the same id."""
    return (
        facts.id, facts.type, facts.name, facts.key_size, facts.value_size, facts.max_entries, facts.map_flags,
        facts.btf_id, facts.btf_key_type_id, facts.btf_value_type_id, facts.btf_vmlinux_value_type_id,
    )  # fmt: skip


def identity_of(opened: OpenMap) -> Identity:
    """The same of an open map, and of what is hidden in it: readings are shared only by those who may see the same."""
    return (*identity(opened.facts), *sorted(opened.hidden))


@dataclass(slots=True, eq=False, weakref_slot=True)
class View:
    """One reading and the selections made of it."""

    token: str
    of: Identity
    sheet: Sheet
    used_at_s: float
    orders: OrderedDict[tuple[str, str], Order] = field(default_factory=OrderedDict)

    @property
    def nbytes(self) -> int:
        """Memory that it costs."""
        return self.sheet.nbytes + sum(order.nbytes for order in self.orders.values())


class Views:
    """All readings of one process; safe to share between threads."""

    def __init__(self, *, limit_bytes: int, keep_s: float, concurrent_reads: int = 2, wait_s: float = WAIT_S) -> None:
        self.limit_bytes = limit_bytes
        self._keep_s = keep_s
        self._wait_s = wait_s
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, View] = OrderedDict()
        self._alive: WeakSet[View] = WeakSet()
        self._promised_bytes = 0
        self._turns = threading.BoundedSemaphore(concurrent_reads)

    @property
    def sheet_limit_bytes(self) -> int:
        """The most that one reading may take: half, so that a second one fits beside it."""
        return self.limit_bytes // 2

    @contextmanager
    def turn(self, needed_bytes: int = 0) -> Iterator[None]:
        """Held while a whole map is read or put in order: few at a time, and only while there is memory for it.

        raises  Busy
        """
        until_s = time.monotonic() + self._wait_s
        if not self._turns.acquire(timeout=self._wait_s):
            raise Busy(self.limit_bytes)
        try:
            while not self._promise(needed_bytes):
                if time.monotonic() > until_s:
                    raise Busy(self.limit_bytes)
                time.sleep(POLL_S)
            try:
                yield
            finally:
                with self._lock:
                    self._promised_bytes -= needed_bytes
        finally:
            self._turns.release()

    def keep(self, of: Identity, sheet: Sheet) -> View:
        """Keep a reading under a new token; the least recently used ones make room."""
        view = View(secrets.token_urlsafe(9), of, sheet, time.monotonic())
        with self._lock:
            self._kept[view.token] = view
            self._alive.add(view)
            self._shrink()
        return view

    def get(self, token: str, of: Identity) -> View:
        """A kept reading of that map.

        raises  ViewGone
        """
        with self._lock:
            self._shrink()
            view = self._kept.get(token)
            if view is None or view.of != of:
                raise ViewGone
            view.used_at_s = time.monotonic()
            self._kept.move_to_end(token)
        return view

    def read_since(self, of: Identity, since_ns: int) -> View | None:
        """A kept reading of that map that began at `since_ns` (CLOCK_REALTIME) or later: as good as a new one."""
        with self._lock:
            for view in reversed(self._kept.values()):
                if view.of == of and view.sheet.reading.started_at_ns >= since_ns:
                    return view
        return None

    def remember(self, view: View, name: tuple[str, str], order: Order) -> None:
        """Keep a selection with its reading."""
        with self._lock:
            view.orders[name] = order
            while len(view.orders) > KEPT_ORDERS:
                view.orders.popitem(last=False)
            self._shrink()

    def kept_bytes(self) -> int:
        """Memory in use, by readings that are kept and by those that somebody still works with."""
        with self._lock:
            return self._alive_bytes()

    def _promise(self, needed_bytes: int) -> bool:
        """Set memory aside, at the cost of the least recently used readings. The only one always gets it."""
        with self._lock:
            while self._kept and self._alive_bytes() + self._promised_bytes + needed_bytes > self.limit_bytes:
                self._kept.popitem(last=False)
            taken = self._alive_bytes() + self._promised_bytes
            if taken and needed_bytes and taken + needed_bytes > self.limit_bytes:
                return False
            self._promised_bytes += needed_bytes
            return True

    def _alive_bytes(self) -> int:
        return sum(view.nbytes for view in self._alive)

    def _shrink(self) -> None:
        oldest = time.monotonic() - self._keep_s
        for token in [token for token, view in self._kept.items() if view.used_at_s < oldest]:
            del self._kept[token]
        while len(self._kept) > 1 and self._alive_bytes() > self.limit_bytes:
            self._kept.popitem(last=False)
