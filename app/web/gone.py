"""A map that is not there any more: where its history is."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlencode

from flask import current_app, g, request

from app.errors import AppError
from app.history.snapshots import Kept
from app.timeline.naming import title
from app.timeline.sides import SNAPSHOT, side
from app.timeline.timeline import Timeline
from app.web import gate
from app.web.permissions import Need


@dataclass(frozen=True, slots=True)
class Gone:
    """The last that is known of it."""

    title: str
    series_id: int
    kept: Kept
    page: str = ""
    """What has what was asked for, its history or one of its moments; empty: only what lives could have been meant."""


def _asked(timeline: Timeline, map_id: int) -> str:
    """The page of a snapshot or of the history that the address asks for. It may be a link that somebody kept."""
    path = f"/maps/{map_id}"
    if request.method != "GET" or gate.is_api(request):
        return ""
    if request.path == f"{path}/history":
        found = [each for each in timeline.history.series() if each.map_id == map_id]
        return f"/series/{max(found, key=lambda each: each.last_seen_ns).id}"
    if request.path != path or not request.args.get("at"):
        return ""
    at = request.args["at"]
    reference = at if SNAPSHOT.fullmatch(at) else f"{map_id}@{at}"
    try:
        kept = side(reference, timeline, current_app.extensions["backend"].looker).kept
    except AppError:  # nothing was kept by then: the last snapshot is what there is
        return ""
    rest = [(name, value) for name, value in request.args.items(multi=True) if name not in {"at", "cursor"}]
    return f"/snapshots/{kept.ref}" + ("?" + urlencode(rest) if rest else "") if kept is not None else ""


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
                return Gone(title(series.of), series.id, kept, _asked(timeline, series.map_id))
    except AppError:  # the history cannot be read either: that the map is gone is all there is to say
        return None
    return None
