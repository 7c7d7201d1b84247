"""For the list of maps: when each was last seen to change, by the history."""

from __future__ import annotations

from app.errors import AppError
from app.maps.host_names import boot_id
from app.web import times
from app.web.backend import Backend

MINUTE_NS = 60 * 1_000_000_000


def last_changes(backend: Backend) -> dict[tuple[int, str, int], int]:
    """By (id, name, type) of a map of this boot, when its newest snapshot was taken; empty where there is no history."""
    timeline = backend.past.timeline_or_none()
    if timeline is None:
        return {}
    try:
        extents, boot = backend.past.extents.get(timeline), boot_id()
        return {
            (each.map_id, each.of.name, each.of.type): extents[each.id].last_ns
            for each in backend.past.extents.series(timeline)
            if each.boot_id == boot and each.id in extents
        }
    except AppError:  # the list is about what lives; the history's own page says what is wrong with it
        return {}


def coarse(at_ns: int, now_ns: int) -> str:
    """How long ago, by the minute: a page that asks for itself again must not differ each second."""
    return "< 1 min" if now_ns - at_ns < MINUTE_NS else times.ago(at_ns, now_ns)
