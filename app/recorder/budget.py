"""What recording may cost: a bucket of processor time that fills slowly, and room on disk."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

BURST_S = 20.0
"""Processor time that may be saved up: the first snapshots of a host cost more than all later ones."""
WINDOW_S = 600.0


@dataclass(slots=True)
class CpuBudget:
    """A share of one core. Work is begun only while there is something left, and may then overdraw it."""

    share: float
    """0.01: one per cent."""
    now_s: float
    """CLOCK_BOOTTIME."""
    left_s: float = BURST_S
    _spent: deque[tuple[float, float]] = field(default_factory=deque)
    _began_s: float = field(init=False)

    def __post_init__(self) -> None:
        """It begins now."""
        self._began_s = self.now_s

    def advance(self, now_s: float) -> None:
        """Time went by."""
        self.left_s = min(self.left_s + max(now_s - self.now_s, 0.0) * self.share, BURST_S)
        self.now_s = now_s
        while self._spent and self._spent[0][0] < now_s - WINDOW_S:
            self._spent.popleft()

    def spend(self, cpu_s: float) -> None:
        """Work was done."""
        self.left_s -= cpu_s
        self._spent.append((self.now_s, cpu_s))

    @property
    def is_open(self) -> bool:
        """There is something left."""
        return self.left_s > 0

    @property
    def used_share(self) -> float:
        """Of one core, over the last ten minutes, or since it began."""
        return sum(each for _, each in self._spent) / min(WINDOW_S, max(self.now_s - self._began_s, 1.0))


@dataclass(slots=True)
class DiskBudget:
    """Bytes of the history, and how much slower recording is to be so that they suffice."""

    budget_bytes: int
    used_bytes: int = 0
    stretch: float = 1.0
    """Intervals are so many times what they should be."""
    full: bool = False
    """Nothing is left that may go."""
    _eased_s: float = 0.0

    FULL, ROOMY, MOST_STRETCH, EASE_S = 1.0, 0.9, 64.0, 6 * 3600.0

    @property
    def is_over(self) -> bool:
        """Something has to go."""
        return self.used_bytes > self.budget_bytes * self.FULL

    @property
    def target_bytes(self) -> int:
        """Where thinning for room stops."""
        return int(self.budget_bytes * self.ROOMY)

    def pressed(self, now_s: float) -> None:
        """Snapshots had to go before their time: record less often from now on."""
        self.stretch = min(self.stretch * 2, self.MOST_STRETCH)
        self._eased_s = now_s

    def ease(self, now_s: float) -> None:
        """Record more often again after some hours in which nothing had to go."""
        if self.stretch > 1 and now_s - self._eased_s > self.EASE_S:
            self.stretch = max(self.stretch / 2, 1.0)
            self._eased_s = now_s
