"""Snapshots from one history into another: a file to attach to a report, and back out of it.

An archive is a small history of its own, one SQLite file without companions. What comes in is decoded, compared with its
address and encoded anew: nothing of a stranger's file is taken over as it is.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

from app.history import layouts
from app.history.chunks import check_content
from app.history.database import open_writing, sqlite_url
from app.history.errors import Damaged, DatabaseUnusable, NotTakenIn
from app.history.history import History
from app.history.snapshots import About, Kept
from app.history.writer import Writer

Progress = Callable[[int, int], None]
MOST_LAYOUT_BYTES = 1 << 20


def export(source: History, kept: Sequence[Kept], target: Path, progress: Progress = lambda *_: None) -> None:
    """Write snapshots to a new file, under the numbers that they have here. raises DatabaseUnusable, Damaged"""
    draft = target.with_name(f".{target.name}.part")
    try:
        _clear(draft)
        writer = Writer(open_writing(sqlite_url(draft)))
        try:
            copy(source, writer, kept, progress, numbered=True)
        finally:
            writer.close()
        with closing(sqlite3.connect(draft)) as connection:
            connection.execute("PRAGMA journal_mode=DELETE")
            connection.execute("VACUUM")
        draft.rename(target)
    except (OSError, sqlite3.Error) as problem:
        raise DatabaseUnusable(str(target), str(problem)) from problem
    finally:
        with suppress(OSError):
            _clear(draft)


def _clear(draft: Path) -> None:
    """Remove what an export works on."""
    companions = (
        draft.with_name(f"{draft.name}-wal"),
        draft.with_name(f"{draft.name}-shm"),
        draft.with_suffix(".lock"),
    )
    for left in (draft, *companions):
        left.unlink(missing_ok=True)


def copy(
    source: History,
    target: Writer,
    kept: Sequence[Kept],
    progress: Progress = lambda *_: None,
    *,
    trigger: str = "",
    numbered: bool = False,
    check: Callable[[Kept], None] = lambda _kept: None,
    left_out: list[NotTakenIn] | None = None,
) -> list[Kept]:
    """Bring snapshots, oldest first, from one history into another; those that are there already are left out.

    trigger   to be said of them instead of their own
    numbered  they keep their numbers, in a target that has no others
    check     asked of each before anything of it goes in; it raises Damaged
    left_out  what is wrong with those that cannot go in is put in; None: the first of them ends it
    returns   those that are new, as they are in the target
    """
    made: list[Kept] = []
    series_ids: dict[int, int] = {}
    layout_ids: dict[int, int] = {}
    roots: dict[int, int] = {}
    ordered = sorted(kept, key=lambda each: (each.taken_ns, each.id))
    for done, each in enumerate(ordered):
        progress(done, len(ordered))
        try:
            check(each)
            entries = source.entries(each, check=check_content)
            if each.layout_id not in layout_ids:
                layout_ids[each.layout_id] = _layout(source, target, each.layout_id)
            if each.series_id not in series_ids:
                series_ids[each.series_id] = _series(source, target, each)
        except Damaged as problem:
            if left_out is None:
                raise
            left_out.append(NotTakenIn(each.ref, problem.why))
            continue
        draft = target.draft(entries.keys, entries.values, previous=roots.get(each.series_id, 0))
        about = About(**{name: getattr(each, name) for name in About.__slots__})
        about = replace(
            about,
            series_id=series_ids[each.series_id],
            layout_id=layout_ids[each.layout_id],
            trigger=trigger or each.trigger,
        )
        if target.same_there(about, draft.address):
            continue
        one = target.keep(draft, about, each.id if numbered else 0)
        roots[each.series_id] = one.root_id
        made.append(one)
    return made


def _series(source: History, target: Writer, kept: Kept) -> int:
    facts = source.one_series(kept.series_id)
    new = target.series_of(facts.of, at_ns=kept.taken_ns, map_id=facts.map_id, boot_id=facts.boot_id)
    if facts.settings and not new.settings:
        target.touch(replace(new, settings=facts.settings))
    return new.id


def _layout(source: History, target: Writer, layout_id: int) -> int:
    with source.reading() as connection:
        stored = layouts.load(connection, layout_id)
        if len(stored.body) > MOST_LAYOUT_BYTES:
            raise Damaged(f"layout {layout_id}", f"it has {len(stored.body)} bytes")
        btf, base = (
            layouts.btf(connection, source.decoder, each) if each else None
            for each in (stored.btf_id, stored.base_btf_id)
        )
    return target.layout_of(stored.body, btf, base)
