"""How the recorder is, as the strip above the history says it."""

from __future__ import annotations

from dataclasses import dataclass

from app.web.backend import Backend
from app.web.text import percent
from app.wire.errors import WireError
from app.wire.recorder import RecorderFacts


@dataclass(frozen=True, slots=True)
class Strip:
    """The recorder, or why nothing is known of it."""

    facts: RecorderFacts | None
    silence: str = ""
    """Why it does not answer."""

    @property
    def cpu(self) -> str:
        """`0.4 % of a core`"""
        return percent(self.facts.cpu_share) if self.facts else ""

    @property
    def disk_ratio(self) -> float:
        """Of the budget, 0 to 1."""
        if self.facts is None or not self.facts.budget_bytes:
            return 0.0
        return min(self.facts.used_bytes / self.facts.budget_bytes, 1.0)


def strip(backend: Backend) -> Strip | None:
    """Ask it; None for a history that was opened by itself."""
    if backend.past.is_alone:
        return None
    try:
        return Strip(backend.past.recorder.state())
    except WireError as silence:
        return Strip(None, str(silence))
