"""Readings kept for a short while, so that paging, sorting and filtering show one moment; bounded in memory and time.

What is kept is bytes in this process, never a descriptor: the map itself may go at any time.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from app.maps.errors import ViewGone
from app.maps.tabulate import Sheet

Order = NDArray[np.int64]
KEPT_ORDERS = 4
"""Selections kept for each reading: paging through one asks for the same again and again."""


@dataclass(slots=True)
class View:
    """One reading and the selections made of it."""

    token: str
    map_id: int
    sheet: Sheet
    used_at_s: float
    orders: OrderedDict[tuple[str, str], Order] = field(default_factory=OrderedDict)

    @property
    def nbytes(self) -> int:
        """Memory that it costs."""
        return self.sheet.nbytes + sum(order.nbytes for order in self.orders.values())


class Views:
    """All kept readings of one process; safe to share between threads."""

    def __init__(self, *, limit_bytes: int, keep_s: float, concurrent_reads: int = 2) -> None:
        self.limit_bytes = limit_bytes
        self._keep_s = keep_s
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, View] = OrderedDict()
        self.reads = threading.BoundedSemaphore(concurrent_reads)
        """Held while a whole map is read, so that many visitors cannot fill the memory at once."""

    @property
    def sheet_limit_bytes(self) -> int:
        """The most that one reading may take: half, so that a second one fits beside it."""
        return self.limit_bytes // 2

    def keep(self, map_id: int, sheet: Sheet) -> View:
        """Keep a reading under a new token; the least recently used ones make room."""
        view = View(secrets.token_urlsafe(9), map_id, sheet, time.monotonic())
        with self._lock:
            self._kept[view.token] = view
            self._shrink()
        return view

    def get(self, token: str, map_id: int) -> View:
        """A kept reading of that map.

        raises  ViewGone
        """
        with self._lock:
            self._shrink()
            view = self._kept.get(token)
            if view is None or view.map_id != map_id:
                raise ViewGone
            view.used_at_s = time.monotonic()
            self._kept.move_to_end(token)
        return view

    def remember(self, view: View, name: tuple[str, str], order: Order) -> None:
        """Keep a selection with its reading."""
        with self._lock:
            view.orders[name] = order
            while len(view.orders) > KEPT_ORDERS:
                view.orders.popitem(last=False)
            self._shrink()

    def kept_bytes(self) -> int:
        """Memory in use."""
        with self._lock:
            return sum(view.nbytes for view in self._kept.values())

    def _shrink(self) -> None:
        oldest = time.monotonic() - self._keep_s
        for token in [token for token, view in self._kept.items() if view.used_at_s < oldest]:
            del self._kept[token]
        while len(self._kept) > 1 and sum(view.nbytes for view in self._kept.values()) > self.limit_bytes:
            self._kept.popitem(last=False)
