"""How much a day of history takes, and what a month of it will, by what the last day took."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from sqlalchemy import BigInteger, Connection, func, literal_column, select

from app.history.retention import DAY_NS, HOUR_NS, HOURLY_NS
from app.history.tables import Snapshot

MONTH_DAYS = HOURLY_NS // DAY_NS
LEAST_SPAN_NS = 600 * 1_000_000_000
"""Less of a history than this says nothing about a day."""
HOUR_S = 3600.0
ROW_BYTES = 540
"""Of a snapshot in tables and indexes, besides its chunks and the list of them; measured in a file of 9,000."""


@dataclass(slots=True)
class Volume:
    """What one series took in the last day."""

    snapshots: int = 0
    bytes: int = 0
    """All of that day, its first whole snapshot not counted."""
    whole_bytes: int = 0
    """The largest: what it takes to keep all entries anew."""
    span_ns: int = 0
    """Of the day that the series has a history of."""
    hours: list[int] = field(default_factory=list)
    """Bytes of each hour of it in which something was kept."""

    @property
    def is_known(self) -> bool:
        """It was recorded for long enough to say something."""
        return self.span_ns >= LEAST_SPAN_NS

    def day_bytes(self, faster: float = 1.0) -> int:
        """In one day; looked at so many times more often, at the most."""
        return int((self.bytes + self.snapshots * ROW_BYTES) * self._days() * faster)

    def month_bytes(self, faster: float = 1.0, interval_s: float = 60.0) -> int:
        """What it takes once it has been recorded for 30 days: all of one day, the last of each hour before, and a whole one.

        The last of an hour tells no more than all of that hour, and no more than all entries, however often it was looked at.
        """
        hourly = sum(min(each, self.whole_bytes) + ROW_BYTES for each in self.hours) * self._days()
        hourly *= min(1.0, HOUR_S / interval_s)
        return int(self.whole_bytes + self.day_bytes(faster) + (MONTH_DAYS - 1) * hourly)

    def _days(self) -> float:
        return DAY_NS / max(self.span_ns, LEAST_SPAN_NS)


def volumes(connection: Connection, now_ns: int) -> dict[int, Volume]:
    """By id of a series; those that nothing was kept of are not among them."""
    found: dict[int, Volume] = defaultdict(Volume)
    ever = select(Snapshot.series_id, func.max(Snapshot.bytes_added), func.min(Snapshot.taken_ns)).group_by(
        Snapshot.series_id
    )
    for series_id, whole, first_ns in connection.execute(ever):
        found[series_id].whole_bytes = int(whole)
        found[series_id].span_ns = max(min(DAY_NS, now_ns - int(first_ns)), 0)
    first = select(func.min(Snapshot.id)).group_by(Snapshot.series_id)
    hour = Snapshot.taken_ns // literal_column(str(HOUR_NS), BigInteger)
    lately = (
        select(Snapshot.series_id, func.count(), func.sum(Snapshot.bytes_added))
        .where(Snapshot.taken_ns > now_ns - DAY_NS, Snapshot.id.not_in(first))
        .group_by(Snapshot.series_id, hour)
    )
    for series_id, count, taken in connection.execute(lately):
        volume = found[series_id]
        volume.snapshots += count
        volume.bytes += int(taken)
        volume.hours.append(int(taken))
    return dict(found)
