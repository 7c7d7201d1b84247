"""A map that is not there any more: where its history is."""

from __future__ import annotations

from dataclasses import dataclass

from flask import current_app, g, request

from app.errors import AppError
from app.history.snapshots import Kept
from app.timeline.naming import title
from app.web.permissions import Need


@dataclass(frozen=True, slots=True)
class Gone:
    """The last that is known of it."""

    title: str
    series_id: int
    kept: Kept


def last_of_asked() -> Gone | None:
    """The last snapshot of the map that the address names by a number, as it was lately; None where there is none to see."""
    text = str((request.view_args or {}).get("map_id", ""))
    backend = current_app.extensions.get("backend")
    if not text.isdecimal() or backend is None or g.session is None or g.session.role not in Need.VALUES.value:
        return None
    try:
        timeline = backend.past.timeline_or_none()
        if timeline is None:
            return None
        found = [each for each in timeline.history.series() if each.map_id == int(text)]
        for series in sorted(found, key=lambda each: -each.last_seen_ns):
            kept = timeline.history.newest(series.id)
            if kept is not None:
                return Gone(title(series.of), series.id, kept)
    except AppError:  # the history cannot be read either: that the map is gone is all there is to say
        return None
    return None
