"""The first page: every map of the host, what is full, what grows, and what is worth a look."""

from __future__ import annotations

import hashlib
import operator
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

from flask import Blueprint, Response, make_response, redirect, request

from app.btf.errors import BtfError
from app.maps.catalog import Listing, MapRow, listing
from app.maps.counting import with_counts
from app.maps.growth import Growth, path_of, read
from app.maps.kinds import Meaning
from app.uapi.errors import KernelError
from app.web import arguments, words
from app.web.backend import Backend
from app.web.freshness import MINUTE_NS, coarse, last_changes
from app.web.gate import is_htmx
from app.web.rendering import as_response, page_or_fragment
from app.web.text import bytes_text, percent, plural, thousands

if TYPE_CHECKING:
    from app.maps.layouts import Btfs

PAGE_ROWS = 100
REFRESH_S = 10
GLANCE_ROWS = 3
NEARLY_FULL = 0.8
LARGE_BYTES = 1 << 20
KEPT_NAMES = 20_000
DAY_S = 24 * 3600
FAMILIES = (
    ("hash", "hash"), ("lru", "LRU"), ("percpu", "per-CPU"), ("array", "array"), ("trie", "trie"), ("nest", "map in map"),
    ("prog", "program"), ("sock", "socket"), ("queue", "queue"), ("ring", "ring"), ("store", "storage"), ("arena", "arena"),
)  # fmt: skip


def lacks_type(row: MapRow) -> bool:
    """Its values could have a type and have none: shown as bytes."""
    return not row.has_btf and row.kind.listable and row.kind.meaning is Meaning.BYTES and row.facts.value_size > 0


ONLY: dict[str, tuple[str, Callable[[MapRow], bool]]] = {
    "pinned": ("pinned", lambda row: bool(row.pins)),
    "full": ("over 80 %", lambda row: (row.pressure or 0) > NEARLY_FULL),
    "nobtf": ("no BTF", lacks_type),
    "unused": ("unused", lambda row: row.unreferenced),
}
SORTS: dict[str, Callable[[MapRow], object]] = {
    "id": lambda row: row.facts.id,
    "type": lambda row: (row.kind.label, row.facts.name),
    "name": lambda row: (row.facts.name.lower(), row.facts.id),
    "entries": lambda row: -1 if row.entries is None else row.entries,
    "pressure": lambda row: -1.0 if row.pressure is None else row.pressure,
    "memory": lambda row: row.facts.memlock_bytes,
    "used": lambda row: len(row.progs),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One map as the table shows it."""

    row: MapRow
    name: str
    key_type: str
    value_type: str
    used_by: str
    flags: list[str]
    changed: str
    """How long ago its newest snapshot was taken; empty without one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hint:
    """One map in a panel at the top."""

    map_id: int
    name: str
    says: str
    hot: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What the address says; every link of the page is this with one thing changed."""

    q: str
    family: str
    only: str
    sort: str
    page: int
    live: int

    def link(self, **change: object) -> str:
        """Address of the page with another state; all but paging goes back to the first page."""
        state = {
            "q": self.q, "family": self.family, "only": self.only, "sort": self.sort if self.sort != "-pressure" else "",
            "live": self.live or "", "page": "",
        } | change  # fmt: skip
        return arguments.link("/", **state)


class TypeNames:
    """C names of key and value types for the list, remembered: a BTF id names the same bytes until a reboot."""

    def __init__(self, btfs: Btfs) -> None:
        self._btfs = btfs
        self._kept: dict[tuple[int, int], str] = {}
        self._lock = threading.Lock()

    def get(self, btf_id: int, type_id: int, size_bytes: int) -> str:
        """``flow_key``, ``__u32``, or the size where there is no type."""
        if not size_bytes:
            return ""
        if not btf_id or not type_id:
            return bytes_text(size_bytes)
        with self._lock:
            kept = self._kept.get((btf_id, type_id))
        if kept is None:
            try:
                kept = self._btfs.get(btf_id).name_of(type_id)
            except (BtfError, KernelError):
                kept = bytes_text(size_bytes)
            kept = kept.removeprefix("struct ").removeprefix("enum ")
            with self._lock:
                if len(self._kept) >= KEPT_NAMES:
                    self._kept.clear()
                self._kept[btf_id, type_id] = kept
        return kept


def display_name(row: MapRow) -> str:
    """Its name; a map without one is known by its type."""
    return row.facts.name or f"{row.kind.label} #{row.facts.id}"


def blueprint(backend: Backend) -> Blueprint:
    """GET /."""
    bp = Blueprint("overview", __name__)
    names = TypeNames(backend.btfs)
    growth_file = path_of(backend.settings.data)

    @bp.get("/")
    def maps() -> Response:
        if backend.past.is_alone:
            return as_response(
                redirect(arguments.link("/snapshots", q=arguments.words("q")), code=HTTPStatus.SEE_OTHER)
            )
        state = State(
            q=arguments.words("q"),
            family=arguments.choice("family", {family for family, _ in FAMILIES}),
            only=arguments.choice("only", ONLY),
            sort=arguments.choice("sort", {*SORTS, *(f"-{name}" for name in SORTS)}, "-pressure"),
            page=arguments.whole("page", default=1, least=1, most=1_000_000),
            live=arguments.whole("live", default=0, least=2, most=3600),
        )
        found = with_counts(backend.client, listing(backend.client))
        searched = [row for row in found.rows if matches(row, state.q)]
        shown = [row for row in searched if is_chosen(row, state)]
        reverse, key = state.sort.startswith("-"), SORTS[state.sort.removeprefix("-")]
        shown.sort(key=key, reverse=reverse)  # type: ignore[arg-type]
        pages = max(1, -(-len(shown) // PAGE_ROWS))
        start = (state.page - 1) * PAGE_ROWS
        changes, now_ns = last_changes(backend), time.time_ns()
        response = page_or_fragment(
            "maps/browse.html",
            "maps/_browse.html",
            state=state,
            found=found,
            lines=[line(row, names, _changed(row, changes, now_ns)) for row in shown[start : start + PAGE_ROWS]],
            has_past=bool(changes),
            matching=len(shown),
            first=start + 1,
            pages=pages,
            chips=chips(searched, state),
            only=[(name, label, sum(map(test, searched))) for name, (label, test) in ONLY.items()],
            glance=[*glance(found, _growing(growth_file)), *changed_last(found, changes, now_ns)],
            memory=sum(row.facts.memlock_bytes for row in found.rows),
            programs=len({prog.id for row in found.rows for prog in row.progs}),
            processes=len({holder.pid for row in found.rows for holder in row.holders}),
            refresh_s=state.live or REFRESH_S,
            have="",
        )
        if is_htmx(request) and "have" not in request.args:
            response.headers["HX-Push-Url"] = state.link(page=state.page if state.page > 1 else "")
        return unchanged_or(response)

    return bp


def unchanged_or(response: Response) -> Response:
    """204 to a poll whose page looks as it did: `have` is the hash of what the asking page shows."""
    if not is_htmx(request):
        return response
    body = response.get_data(as_text=True)
    have = hashlib.sha256(body.encode()).hexdigest()[:16]
    if request.args.get("have") == have:
        return make_response("", 204)
    response.set_data(body.replace('id="have" value=""', f'id="have" value="{have}"', 1))
    return response


def matches(row: MapRow, query: str) -> bool:
    """Every word of the query is in some text about the map; ``pressure > 0.8`` compares."""
    if query.startswith("pressure"):
        rest = query.removeprefix("pressure").strip()
        for sign, test in ((">", operator.gt), ("<", operator.lt)):
            number = rest.removeprefix(sign).strip()
            if rest.startswith(sign) and number.replace(".", "", 1).isdecimal():
                return row.pressure is not None and bool(test(row.pressure, float(number)))
    texts = [
        row.facts.name, row.kind.label, row.kind.name, str(row.facts.id), f"#{row.facts.id}", *(pin.path for pin in row.pins),
        *(prog.name for prog in row.progs), *(words.prog_type(prog.type) for prog in row.progs),
        *(holder.comm for holder in row.holders), *(str(holder.pid) for holder in row.holders),
    ]  # fmt: skip
    haystack = "\n".join(texts).lower()
    return all(word in haystack for word in query.lower().split())


def is_chosen(row: MapRow, state: State) -> bool:
    """The chips."""
    return (not state.family or row.kind.family == state.family) and (not state.only or ONLY[state.only][1](row))


def chips(rows: list[MapRow], state: State) -> list[tuple[str, str, int]]:
    """(family, label, how many of the maps that the search found); empty families only while chosen."""
    counts = Counter(row.kind.family for row in rows)
    return [(family, label, counts[family]) for family, label in FAMILIES if counts[family] or family == state.family]


def _changed(row: MapRow, changes: dict[tuple[int, str, int], int], now_ns: int) -> str:
    at_ns = changes.get((row.facts.id, row.facts.name, row.facts.type))
    return "" if at_ns is None else coarse(at_ns, now_ns)


def changed_last(
    found: Listing, changes: dict[tuple[int, str, int], int], now_ns: int
) -> list[tuple[str, list[Hint], str]]:
    """The panel of what changed lately, as `glance`; none without a history."""
    if not changes:
        return []
    there = {(row.facts.id, row.facts.name, row.facts.type): row for row in found.rows}
    # By the minute, then by id: between two looks at the same maps nothing moves about.
    known = sorted(((now_ns - at_ns) // MINUTE_NS, key, at_ns) for key, at_ns in changes.items() if key in there)[
        :GLANCE_ROWS
    ]
    return [
        ("Changed last", [_hint(there[key], coarse(at_ns, now_ns)) for _, key, at_ns in known], "Nothing was kept yet.")
    ]


def line(row: MapRow, names: TypeNames, changed: str = "") -> Line:
    """One map's texts."""
    facts = row.facts
    flags = [word for word in words.map_flags(facts) if word in {"frozen", "mmap"}]
    if lacks_type(row):
        flags.append("no BTF")
    return Line(
        row=row,
        name=display_name(row),
        key_type=names.get(facts.btf_id, facts.btf_key_type_id, facts.key_size),
        value_type=names.get(facts.btf_id, facts.btf_value_type_id, facts.value_size),
        used_by=words.used_by(row.progs),
        flags=flags,
        changed=changed,
    )


def glance(found: Listing, growth: list[Growth]) -> list[tuple[str, list[Hint], str]]:
    """(heading, hints, what to say when there are none)."""
    fullest = sorted(
        (row for row in found.rows if row.pressure and row.kind.may_overflow), key=lambda row: -(row.pressure or 0)
    )[:GLANCE_ROWS]
    by_id = {row.facts.id: row for row in found.rows}
    growing = [
        Hint(map_id=one.map_id, name=display_name(by_id[one.map_id]), says=_rate_text(one.per_minute, one.full_in_s))
        for one in growth
        if one.map_id in by_id and by_id[one.map_id].pressure is not None
    ][:GLANCE_ROWS]
    heaviest = sorted(found.rows, key=lambda row: -row.facts.memlock_bytes)[:GLANCE_ROWS]
    return [
        ("Fullest", [_hint(row, percent(row.pressure or 0), hot=(row.pressure or 0) > NEARLY_FULL) for row in fullest],
         "No map is counted yet that can fill up."),
        ("Growing fastest", growing, "Nothing grew in the last minutes."),
        ("Most memory", [_hint(row, bytes_text(row.facts.memlock_bytes)) for row in heaviest if row.facts.memlock_bytes],
         "No map costs memory."),
        ("Worth a look", worth_a_look(found), "Nothing stands out."),
    ]  # fmt: skip


def worth_a_look(found: Listing) -> list[Hint]:
    """Maps that waste memory or hide what they hold, heaviest first within each reason."""
    rows = sorted(found.rows, key=lambda row: -row.facts.memlock_bytes)
    hints = [
        _hint(row, f"pinned, used by nothing, {bytes_text(row.facts.memlock_bytes)}")
        for row in rows
        if row.pins and row.unreferenced
    ]
    hints += [
        _hint(row, f"no program uses it, {bytes_text(row.facts.memlock_bytes)}")
        for row in rows
        if not row.pins and not row.progs and row.facts.memlock_bytes >= LARGE_BYTES
    ]
    hints += [_hint(row, "no BTF: shown as bytes") for row in rows if lacks_type(row) and row.progs]
    return hints[:GLANCE_ROWS]


def _hint(row: MapRow, says: str, *, hot: bool = False) -> Hint:
    return Hint(map_id=row.facts.id, name=display_name(row), says=says, hot=hot)


def _growing(path: Path) -> list[Growth]:
    """What the recorder saw grow, fastest first."""
    found = read(path)
    return sorted((one for one in found.maps if one.per_minute > 0), key=lambda one: -one.per_minute) if found else []


def _rate_text(per_minute: float, full_in_s: float | None) -> str:
    text = f"+{thousands(max(1, round(per_minute)))} / min"
    if full_in_s is None or full_in_s > 7 * DAY_S:
        return text
    if full_in_s < 90 * 60:
        return f"{text} · full in {plural(max(1, round(full_in_s / 60)), 'min', 'min')}"
    return f"{text} · full in {round(full_in_s / 3600)} h"
