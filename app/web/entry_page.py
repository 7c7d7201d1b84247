"""One entry: every field of key and value, each CPU's, and the bytes with the fields marked."""

from __future__ import annotations

import json
from dataclasses import dataclass

from flask import Blueprint, Response, redirect

from app.columns.cell import Cell, Head, cells, head
from app.columns.errors import ColumnsError
from app.columns.lenses.show import Names
from app.columns.plan import Plan
from app.columns.rows import python_rows
from app.columns.table import Table
from app.history.errors import HistoryError, NoSuchSeries
from app.history.series import SeriesFacts
from app.maps.entry import look_up
from app.maps.host_names import names
from app.maps.kinds import Meaning
from app.maps.opening import OpenMap
from app.maps.tabulate import Sheet
from app.timeline.sides import series_now
from app.web import arguments, moments
from app.web.backend import Backend
from app.web.bytes_view import Dump, dump
from app.web.edited import edited
from app.web.frame import frame_of
from app.web.opening import open_map
from app.web.permits import permits
from app.web.problems import BadArgument
from app.web.rendering import as_response, page_or_fragment

MAX_FIELDS = 512
ARRAY_ELEMENTS = 64
MAX_CPUS = 64
MAX_JSON_CHARS = 20_000
MAX_JSON_BYTES = 1 << 18
"""Of the value; a larger one's JSON would take seconds and a hundred times its size, for its first lines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldRow:
    """One field of the entry."""

    head: Head
    offset: str
    size: str
    cell: Cell
    cpus: list[Cell]
    """Of a per-CPU value: smallest, largest, then each CPU's; empty where the CPUs cannot be told apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Key or value."""

    title: str
    what: str
    rows: list[FieldRow]
    dumps: list[tuple[str, Dump]]
    n_cpus: int
    left_out: int


def blueprint(backend: Backend) -> Blueprint:
    """GET /maps/ID/entries/KEYHEX."""
    bp = Blueprint("entry", __name__)

    @bp.get("/maps/<map_id>/entries/<key_hex>")
    def show(map_id: str, key_hex: str) -> Response:
        number = arguments.map_id(map_id)
        at = arguments.words("at")
        with open_map(backend.client, backend.btfs, number) as opened:
            key = key_bytes(opened, key_hex)
            series = _series(backend, opened)
            if at:
                if series is None:
                    raise NoSuchSeries(opened.facts.name or f"map {number}")
                kept = moments.find(backend.past.timeline(), series.id, at)
                return as_response(redirect(f"/snapshots/{kept.ref}/entries/{key.hex()}", code=303))
            sheet = look_up(opened, key)
            table = sheet.table
            return page_or_fragment(
                "maps/entry.html",
                "maps/_entry.html",
                frame=frame_of(opened, "entries"),
                edited=edited(backend.client, number),
                permits=permits(backend.client, number),
                key_hex=key.hex(),
                story=f"/series/{series.id}/entries/{key.hex()}" if series else "",
                parts=parts(table, names()),
                json=json_text(sheet),
                notes=list(sheet.notes),
                clock_ns=sheet.reading.ended_at_ns,
                nested=int.from_bytes(table.values[0][:4].tobytes(), "little")
                if opened.kind.meaning is Meaning.MAP_ID
                else 0,
            )

    return bp


def _series(backend: Backend, opened: OpenMap) -> SeriesFacts | None:
    """The series that a live map is in; None where there is no history of it yet, or none that can be read."""
    timeline = backend.past.timeline_or_none()
    if timeline is None:
        return None
    try:
        return series_now(opened.facts.id, opened.facts.name, opened.facts.type, timeline)
    except HistoryError:
        return None


def key_bytes(opened: OpenMap, text: str) -> bytes:
    """The key of an address. raises BadArgument"""
    size = opened.facts.key_size
    try:
        key = bytes.fromhex(text) if text.isascii() and " " not in text else b""
    except ValueError:
        key = b""
    if not size or len(key) != size:
        raise BadArgument("key", text, f"{size} bytes in hexadecimal, {2 * size} digits")
    return key


def json_text(sheet: Sheet) -> str:
    """The entry as `dump --json` prints it, cut after MAX_JSON_CHARS."""
    if sheet.table.values.nbytes > MAX_JSON_BYTES:
        return f"{sheet.table.values.nbytes} bytes are too much for a page: the files on the entries page have them."
    text = json.dumps(python_rows(sheet.json_table)[0], indent=2, ensure_ascii=True)
    return text if len(text) <= MAX_JSON_CHARS else text[:MAX_JSON_CHARS] + "\n…"


def parts(table: Table, shown: Names) -> list[Part]:
    """Key, if it means something, and value of a table of one row."""
    layout = table.layout
    found = []
    if layout.key is not None:
        found.append(_part(table, "key", layout.key, [("", table.keys[0].tobytes())], shown))
    if layout.value is not None:
        if layout.n_cpus:
            datas = [(f"CPU {cpu}", table.values[0, cpu].tobytes()) for cpu in range(min(layout.n_cpus, MAX_CPUS))]
        else:
            datas = [("", table.values[0].tobytes())]
        found.append(_part(table, "value", layout.value, datas, shown))
    return found


def _part(table: Table, group: str, plan: Plan, datas: list[tuple[str, bytes]], shown: Names) -> Part:
    leaves = plan.leaves(ARRAY_ELEMENTS)
    n_cpus = min(table.layout.n_cpus, MAX_CPUS) if group == "value" else 0
    rows = []
    for node in leaves[:MAX_FIELDS]:
        path = group + ("" if not node.path else node.path if node.path[0] == "[" else f".{node.path}")
        one = head(table.layout, path)
        folds = []
        if n_cpus:
            for way in ("min", "max", *(f"cpu{cpu}" for cpu in range(n_cpus))):
                try:
                    folds.append(head(table.layout, path.replace("value", f"value@{way}", 1)))
                except ColumnsError:
                    folds = []
                    break
        line = cells(table, [one, *folds], [0], shown)[0]
        rows.append(
            FieldRow(head=one, offset=_bits(node.offset_bits), size=_bits(node.size_bits), cell=line[0], cpus=line[1:])
        )
    what = f"{plan.type_name} · {plan.size_bytes} B" if plan.type_name else f"{plan.size_bytes} B"
    return Part(
        title=group,
        what=what,
        rows=rows,
        dumps=[(label, dump(data, plan)) for label, data in datas],
        n_cpus=n_cpus,
        left_out=max(len(leaves) - MAX_FIELDS, 0),
    )


def _bits(bits: int) -> str:
    """Bytes, and bits where there are some: ``4``, ``4:3``."""
    return str(bits // 8) if bits % 8 == 0 else f"{bits // 8}:{bits % 8}"
