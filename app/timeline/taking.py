"""A live map's entries into the history."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from app.history.keys import IMPORTED
from app.history.series import SeriesFacts
from app.history.snapshots import About, Kept
from app.history.writer import Writer
from app.maps.errors import CannotList
from app.maps.kinds import Enumerate, Kind
from app.maps.opening import OpenMap
from app.maps.tabulate import read_sheet
from app.maps.walk import Completeness, Progress
from app.timeline.errors import NotKept
from app.timeline.kept_layout import to_keep

MOST_ENTRIES = 1 << 26
MOST_BYTES = 1 << 34


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Why a snapshot is taken, and by whom."""

    trigger: str = "manual"
    """`manual`, `schedule`, `pre-edit`."""
    author: str = ""
    label: str = ""
    limit: int = MOST_ENTRIES
    """Entries after which the reading stops."""
    limit_bytes: int = MOST_BYTES
    """The same in bytes of keys and values."""


class TooLarge(NotKept):
    """It has more entries than it may."""

    def __init__(self, limit: int) -> None:
        super().__init__(
            "map", f"it has more than {limit:,} entries now; a rule may allow that, and by hand it can be done"
        )


class TooHeavy(NotKept):
    """It has more bytes than may be read at once."""

    def __init__(self, limit_bytes: int) -> None:
        super().__init__("map", _heavy(limit_bytes))


def _heavy(limit_bytes: int) -> str:
    return f"it holds more than {limit_bytes >> 20:,} MiB now: BPF_ATLAS_RECORD_MEMORY_MIB may allow that"


PASSING = "its records pass through, and are gone once their consumer has read them"


def why_never(kind: Kind) -> str:
    """Why no map of a type is ever recorded; empty where some may be."""
    if kind.enumerate is Enumerate.RING:
        return PASSING
    return kind.why if kind.enumerate is Enumerate.NOTHING else ""


def take(
    writer: Writer,
    opened: OpenMap,
    series: SeriesFacts,
    boot_id: str,
    request: Request,
    *,
    progress: Progress | None = None,
    moment: Callable[[], None] = lambda: None,
) -> Kept | None:
    """Read a map and keep what it holds; None where a scheduled one would tell nothing new.

    moment  called now and then while it is encoded
    raises  NotKept for maps whose entries cannot be kept; TooLarge or TooHeavy where a schedule's limit was met; DatabaseUnusable
    """
    if opened.kind.enumerate is Enumerate.RING:
        raise NotKept(opened.kind.label, PASSING)
    fitting = max(1, request.limit_bytes // max(opened.reader.key_size + opened.reader.value_stride, 1))
    try:
        sheet = read_sheet(opened, limit=min(request.limit, fitting), progress=progress)
    except CannotList as cannot:
        raise NotKept(opened.kind.label, cannot.why) from cannot
    reading = sheet.reading
    scheduled = request.trigger == "schedule"
    if scheduled and reading.completeness is Completeness.CAPPED:
        raise TooLarge(request.limit) if request.limit <= fitting else TooHeavy(request.limit_bytes)
    layout = to_keep(opened)
    layout_id = writer.layout_of(layout.body, layout.btf, layout.base_btf)
    last = writer.newest(series.id)
    draft = writer.draft(reading.keys, reading.values, previous=last.root_id if last else 0, moment=moment)
    if last is not None and last.trigger == IMPORTED:
        last = None  # what was taken in from elsewhere says nothing about what this map held before
    completeness = reading.completeness.value
    if (
        scheduled
        and last is not None
        and (last.layout_id, last.completeness) == (layout_id, completeness)
        and writer.unchanged(last.root_id, draft)
    ):
        return None
    notes = list(reading.notes)
    if reading.completeness is Completeness.CAPPED and fitting < request.limit:
        notes.append(_heavy(request.limit_bytes))
    if last is not None and reading.ended_at_ns < last.taken_ns:
        notes.append(f"the clock was set back since {last.ref}, which is older though its time is later")
    about = About(
        series_id=series.id,
        layout_id=layout_id,
        taken_ns=reading.ended_at_ns,
        took_ns=reading.ended_at_ns - reading.started_at_ns,
        map_id=opened.facts.id,
        boot_id=boot_id,
        completeness=completeness,
        trigger=request.trigger,
        author=request.author,
        label=request.label,
        notes="\n".join(notes),
    )
    return writer.keep(draft, about)
