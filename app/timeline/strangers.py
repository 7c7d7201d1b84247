"""Files that somebody sent: each snapshot is looked at before it goes in, since a stranger's rows may say anything.

Seals and addresses tell damage from what was stored; whoever writes a file can compute them, too. So it is asked here whether
a row could be a recorder's, whether its types fit its entries, and how much memory reading it takes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from app.columns.errors import ColumnsError
from app.history import archive
from app.history.chunks import Decoder
from app.history.database import open_reading, sqlite_url
from app.history.errors import Damaged, NotTakenIn
from app.history.history import History
from app.history.snapshots import Kept
from app.history.writer import MOST_LABEL_CHARS, Writer
from app.timeline.series_settings import settings_of
from app.timeline.timeline import Timeline

DAY_NS = 86_400 * 10**9
"""A snapshot may be from so far ahead: clocks of hosts differ."""
EVERYTHING = 1 << 30
MOST_BTF_BYTES = 64 << 20
Text = Annotated[str, Meta(max_length=4096)]
Short = Annotated[str, Meta(max_length=MOST_LABEL_CHARS)]
Number = Annotated[int, Meta(ge=0, lt=1 << 32)]


class _Of(msgspec.Struct):
    """What a recorder writes of a series, see app.history.series.Identity."""

    host: Short
    pin: Text
    name: Short
    type: Number
    owner: Short
    ordinal: Number


class _Row(msgspec.Struct):
    """What a recorder writes of a snapshot, see app.history.snapshots.About."""

    taken_ns: Annotated[int, Meta(gt=0)]
    took_ns: Annotated[int, Meta(ge=0)]
    map_id: Number
    boot_id: Annotated[str, Meta(max_length=64)]
    completeness: Literal["exact", "walked", "capped", "partial"]
    trigger: Annotated[str, Meta(max_length=40)]
    author: Short
    label: Short
    notes: Annotated[str, Meta(max_length=65_536)]


def opened(path: Path, most_bytes: int) -> History:
    """A file's snapshots. most_bytes: of any one chunk. raises what open_reading does"""
    return History(open_reading(sqlite_url(path)), Decoder(most_bytes=most_bytes))


def listed(source: History) -> tuple[list[Kept], list[str]]:
    """(snapshots of a file, what is wrong with those that are left out)."""
    damaged: list[Damaged] = []
    kept = source.snapshots(limit=EVERYTHING, damaged=damaged)
    return kept, [str(NotTakenIn(each.what, each.why)) for each in damaged]


def take_in(
    source: History, target: Writer, kept: Sequence[Kept], progress: archive.Progress, *, most_bytes: int
) -> tuple[list[Kept], list[str]]:
    """(snapshots that are new, a sentence for each that was left out). raises DatabaseUnusable of the target"""
    left_out: list[NotTakenIn] = []
    made = archive.copy(
        source, target, kept, progress, trigger="import", check=checker(source, most_bytes), left_out=left_out
    )
    return made, [str(each) for each in left_out]


def checker(source: History, most_bytes: int) -> Callable[[Kept], None]:
    """What looks at each snapshot of a file. It raises Damaged with what is wrong."""
    timeline = Timeline(source)
    now_ns = time.time_ns()

    def check(kept: Kept) -> None:
        series = source.one_series(kept.series_id)
        try:
            msgspec.convert({name: getattr(kept, name) for name in _Row.__struct_fields__}, _Row)
            msgspec.convert({name: getattr(series.of, name) for name in _Of.__struct_fields__}, _Of)
        except msgspec.ValidationError as problem:
            raise Damaged(kept.ref, f"no recorder writes such a row: {problem}") from problem
        if kept.taken_ns > now_ns + DAY_NS:
            raise Damaged(kept.ref, "it is of a day that has not come yet on this host")
        settings_of(series)
        _check_entries(source, kept, most_bytes)
        _check_types(timeline, kept)

    return check


def _check_entries(source: History, kept: Kept, most_bytes: int) -> None:
    """That its list adds up, before memory is taken for what it says. raises Damaged"""
    pieces = source.pieces(kept.root_id)
    needed_bytes = pieces.entries * (pieces.key_width + pieces.value_width)
    if int(pieces.rows.sum()) != pieces.entries or min(pieces.entries, pieces.key_width, pieces.value_width) < 0:
        raise Damaged(kept.ref, "its list of chunks does not add up")
    if needed_bytes > most_bytes:
        raise Damaged(
            kept.ref,
            f"its entries take {needed_bytes >> 20:,} MiB, and {most_bytes >> 20:,} are the most (BPF_ATLAS_RECORD_MEMORY_MIB)",
        )


def _check_types(timeline: Timeline, kept: Kept) -> None:
    """That its types fit its entries. raises Damaged"""
    stored = timeline.history.layout(kept.layout_id)
    for number in (stored.btf_id, stored.base_btf_id):
        if number and timeline.history.chunk_bytes(number) > MOST_BTF_BYTES:
            raise Damaged(kept.ref, f"its types take more than {MOST_BTF_BYTES >> 20} MiB")
    try:
        timeline.sheet(kept, limit=1)
    except (ValueError, ColumnsError) as problem:
        raise Damaged(kept.ref, f"its types do not fit its entries: {problem}") from problem
