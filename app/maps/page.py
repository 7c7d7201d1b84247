"""One page of a map's entries: filter, sort and cursor over one reading.

The first page of an unfiltered, unsorted map is one small batch, whatever the size of the map. Everything else reads the
map once and keeps that reading (views.py); a cursor names the reading and a position in it, or the key to go on behind.
"""

from __future__ import annotations

import binascii
import re
import time
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np

from app.columns import order as ordering
from app.columns import where as filtering
from app.columns.table import Table
from app.maps.errors import BadCursor
from app.maps.kinds import Enumerate
from app.maps.opening import OpenMap
from app.maps.tabulate import Sheet, first_sheet, read_sheet
from app.maps.views import SMALL_BYTES, Order, View, Views, identity_of

DEFAULT_LIMIT = 100
MAX_LIMIT = 1000
PAGE_BYTES = 16 << 20
"""A page of large values ends earlier: as JSON they take several times their size."""
CURSOR_KEY_BYTES = 1024
"""Longer keys do not fit an address."""
SMALL_ENTRIES = 1 << 14
"""Maps of at most so many entries are read whole at once: their first page is a view like any other."""

_CURSOR = re.compile(
    r"(?:v(?P<view>[A-Za-z0-9_-]{12})\.(?P<offset>[0-9]{1,12})|k(?P<key>(?:[0-9a-f]{2})*)(?:\.(?P<shown>[0-9]{1,4}))?)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What somebody wants to see of a map."""

    where: str = ""
    sort: str = ""
    """A path, with ``-`` before it for descending; empty for the kernel's order."""
    limit: int = DEFAULT_LIMIT
    cursor: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some entries, and where they stand."""

    sheet: Sheet
    """The reading that they are from; of the first-batch kind it holds little more than the page."""
    indices: Order
    """Rows of the sheet's table on this page, in order."""
    offset: int
    """Of the first row, among those that match."""
    matched: int | None
    """Entries that match the filter; None when only a first batch was read."""
    total: int | None
    """Entries read; None as above."""
    view: str
    """Token of the kept reading, empty for a first batch."""
    next_cursor: str
    """Empty on the last page."""
    previous_cursor: str
    """Empty on the first."""

    @property
    def table(self) -> Table:
        """The page's rows, laid out for people."""
        return self.sheet.table.take(self.indices)

    @property
    def json_table(self) -> Table:
        """The page's rows, as `dump` prints them."""
        return self.sheet.json_table.take(self.indices)


def read_page(opened: OpenMap, views: Views, query: Query, *, max_entries: int) -> Page:
    """The page that `query` asks for.

    max_entries  where a reading stops and says so
    raises       BadCursor, ViewGone, CannotList, and the filter's and sort's own errors
    """
    token, _, _ = parse_cursor(query.cursor)
    limit = limit_of(query, opened.reader.value_stride)
    if not query.cursor and not query.where and not query.sort and _is_large(opened):
        sheet = first_sheet(opened, count=limit + 1)
        if sheet is not None:
            return first_page(sheet, limit)
    view = views.get(token, identity_of(opened)) if token else read_view(opened, views, max_entries=max_entries)
    return page_of(views, view, query, limit)


def limit_of(query: Query, value_bytes: int) -> int:
    """Entries on a page: fewer where values are large."""
    return min(query.limit, max(PAGE_BYTES // max(value_bytes, 1), 1))


def page_of(views: Views, view: View, query: Query, limit: int) -> Page:
    """The page of a kept reading that `query` asks for. raises BadCursor, and the filter's and sort's own errors"""
    _, offset, after_key = parse_cursor(query.cursor)
    selected = select(views, view, where=query.where, sort=query.sort)
    if after_key is not None:
        offset = _behind(view.sheet.table, after_key, offset)
    return _cut(view, selected, offset, limit)


def read_view(opened: OpenMap, views: Views, *, max_entries: int) -> View:
    """Read the whole map and keep the reading. raises Busy"""
    of, asked_at_ns = identity_of(opened), time.time_ns()
    entry_bytes = opened.facts.key_size + opened.reader.value_stride + 16
    limit = max(min(max_entries, views.sheet_limit_bytes // entry_bytes), 1)
    expected_bytes = min(opened.facts.max_entries if opened.entries is None else opened.entries, limit) * entry_bytes
    if expected_bytes <= SMALL_BYTES:
        return views.keep(of, read_sheet(opened, limit=limit))
    with views.turn(expected_bytes):
        # Whoever waited meanwhile is served by a reading that began after they asked.
        return views.read_since(of, asked_at_ns) or views.keep(of, read_sheet(opened, limit=limit))


def select(views: Views, view: View, *, where: str, sort: str) -> Order:
    """Rows of a reading that match, in the order asked for; remembered with the reading."""
    name = (where, sort)
    kept = view.orders.get(name)
    if kept is not None:
        return kept
    large = view.sheet.nbytes > SMALL_BYTES and (where or sort)
    with views.turn() if large else nullcontext():
        kept = view.orders.get(name)  # somebody may have made it while this one waited for a turn
        selected = selection(view.sheet.table, where=where, sort=sort) if kept is None else kept
    views.remember(view, name, selected)
    return selected


def selection(table: Table, *, where: str, sort: str) -> Order:
    """Indices int64[n] of the rows that match `where`, ordered by `sort`."""
    mask = filtering.parse(where).mask(table) if where.strip() else None
    if not sort:
        return np.arange(len(table)) if mask is None else np.flatnonzero(mask)
    ordered = ordering.order(table, sort.removeprefix("-"), descending=sort.startswith("-"))
    return ordered if mask is None else ordered[mask[ordered]]


def parse_cursor(cursor: str) -> tuple[str, int, bytes | None]:
    """(view token, offset, key to go on behind) of a cursor; ("", 0, None) for none. raises BadCursor.

    Beside a key, the offset is where to go on when the key is not there any more.
    """
    if not cursor:
        return "", 0, None
    match = _CURSOR.fullmatch(cursor)
    if match is None:
        raise BadCursor
    if match["view"] is not None:
        return match["view"], int(match["offset"]), None
    return "", int(match["shown"] or 0), binascii.unhexlify(match["key"])


def _is_large(opened: OpenMap) -> bool:
    if opened.kind.enumerate is not Enumerate.BATCH or opened.facts.key_size > CURSOR_KEY_BYTES:
        return False
    entries = opened.entries if opened.entries is not None else opened.facts.max_entries
    return entries > SMALL_ENTRIES


def first_page(sheet: Sheet, limit: int) -> Page:
    """The first entries of something larger, of which at least one more than `limit` was read if there are so many."""
    shown = min(limit, len(sheet.table))
    more = len(sheet.table) > limit
    return Page(
        sheet=sheet,
        indices=np.arange(shown),
        offset=0,
        matched=None if more else shown,
        total=None if more else shown,
        view="",
        next_cursor=f"k{sheet.table.keys[shown - 1].tobytes().hex()}.{shown}" if more and shown else "",
        previous_cursor="",
    )


def _behind(table: Table, key: bytes, otherwise: int) -> int:
    """Position behind a key, or as many entries on as were shown when it is not there any more."""
    if table.keys.shape[1] != len(key):
        raise BadCursor
    wanted = np.frombuffer(key, np.uint8)
    found = np.flatnonzero((table.keys == wanted).all(axis=1))
    return int(found[0]) + 1 if len(found) else otherwise


def _cut(view: View, selected: Order, offset: int, limit: int) -> Page:
    offset = min(offset, max(len(selected) - 1, 0))
    indices = selected[offset : offset + limit]
    end = offset + len(indices)
    return Page(
        sheet=view.sheet,
        indices=indices,
        offset=offset,
        matched=len(selected),
        total=len(view.sheet.table),
        view=view.token,
        next_cursor=f"v{view.token}.{end}" if end < len(selected) else "",
        previous_cursor=f"v{view.token}.{max(offset - limit, 0)}" if offset else "",
    )
