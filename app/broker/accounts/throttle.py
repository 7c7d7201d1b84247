"""How often a password may be tried: each failure makes the next try wait longer, and nobody is ever locked out.

Three counts, and the strictest holds: of one account from one source, of one source, and (mildly) of one account from
everywhere. So a guesser slows himself down; somebody else who signs in to the same account from elsewhere does not notice.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from ipaddress import ip_address
from threading import Lock

from app.wire.errors import TooFast

KEYS = 20_000
"""So many counts are kept; the one that was not touched for longest goes first."""
FORGET_S = 600.0
"""One failure is forgotten in each such span."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How a count slows down: `free` failures cost nothing, each further one doubles the wait up to `most_s`."""

    free: int
    first_s: float
    most_s: float


SAME = Pace(free=5, first_s=2.0, most_s=300.0)
SOURCE = Pace(free=20, first_s=2.0, most_s=60.0)
ACCOUNT = Pace(free=50, first_s=0.5, most_s=3.0)


@dataclass(slots=True)
class _Count:
    failures: float = 0.0
    at_s: float = 0.0
    blocked_until_s: float = 0.0


class Throttle:
    """Counts failures in this process's memory; safe for threads."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._counts: OrderedDict[Hashable, _Count] = OrderedDict()
        self._lock = Lock()

    def attempt(self, account: str, source: str) -> None:
        """Begin an attempt: it counts as failed until `succeeded`, so that many at once are no way around.

        account  empty where the attempt is for nobody in particular: a one-time link
        raises   TooFast
        """
        with self._lock:
            now_s = self._now()
            counts = [(self._count(key, now_s), pace) for key, pace in _keys(account, source)]
            wait_s = max(count.blocked_until_s for count, _ in counts) - now_s
            if wait_s > 0:
                whole_s = int(wait_s) + 1
                raise TooFast(f"too many attempts: try again in {whole_s} s", whole_s)
            for count, pace in counts:
                count.failures += 1
                beyond = int(count.failures) - pace.free
                if beyond >= 0:
                    count.blocked_until_s = now_s + min(pace.most_s, pace.first_s * 2 ** min(beyond, 20))

    def succeeded(self, account: str, source: str) -> None:
        """The attempt was right: it does not count, and the account starts afresh from this source."""
        with self._lock:
            now_s = self._now()
            for key, pace in _keys(account, source):
                count = self._count(key, now_s)
                count.failures = 0.0 if pace is SAME else max(0.0, count.failures - 1)
                count.blocked_until_s = 0.0

    def _count(self, key: Hashable, now_s: float) -> _Count:
        count = self._counts.setdefault(key, _Count(at_s=now_s))
        self._counts.move_to_end(key)
        count.failures = max(0.0, count.failures - (now_s - count.at_s) / FORGET_S)
        count.at_s = now_s
        if len(self._counts) > KEYS:
            self._counts.popitem(last=False)
        return count


def _keys(account: str, source: str) -> list[tuple[Hashable, Pace]]:
    where = neighbourhood(source)
    by_source: list[tuple[Hashable, Pace]] = [(("source", where), SOURCE)]
    if not account:
        return by_source
    name = account.casefold()
    return [*by_source, (("same", name, where), SAME), (("account", name), ACCOUNT)]


def neighbourhood(source: str) -> str:
    """What counts as one source: an IPv4 address, the /64 that an IPv6 address is in, or the words as they are."""
    try:
        address = ip_address(source)
    except ValueError:
        return source
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped) if mapped else str(address) if address.version == 4 else address.exploded[:19]  # noqa: PLR2004  (4 groups)
