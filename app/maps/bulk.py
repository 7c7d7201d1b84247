"""Many edits of one map out of a file or a selection: each row becomes an edit like any other, or a sentence with its number.

JSON (a list, or an object a line): ``{"key": …, "set": {"value.limit": 128}}``, ``{"key": …, "delete": true}``,
``{"key": …, "create": {"value.limit": 64}}``, or entries as `dump` prints them, ``{"key": …, "value": …}``: those replace
what is there and create what is not. ``{"key": …, "thing": "prog:12"}`` gives a slot its program, map, device or queue.
CSV: a column `key`, or one for each of its fields (`key.saddr`), columns of fields (`value.limit`; an empty cell leaves that
field), or one `thing`, and, where wanted, a column `action`: set, create, delete.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import msgspec
import numpy as np

from app.columns.decode import locate
from app.columns.encode import encode
from app.columns.errors import BadKey
from app.columns.lenses import choose
from app.errors import AppError, UsageError
from app.maps import edit
from app.maps.actions import put_thing
from app.maps.changes import placed
from app.maps.entry import key_plan
from app.maps.errors import MapsError
from app.maps.opening import OpenMap
from app.maps.page import selection
from app.maps.tabulate import read_sheet
from app.wire.edits import ALL_CPUS, NO_CPU, Edit
from app.wire.things import thing_text

MAX_ROWS = 100_000
MAX_PROBLEMS = 20
QUESTION_BYTES = 48 * 1024
"""Rows sent to the broker at once: a question has to fit one datagram."""
ACTIONS = ("set", "create", "delete")
_KNOWN = frozenset({"key", "set", "create", "delete", "thing", "value", "owner", "cpu", "values", "either"})
_NAMED = sorted(_KNOWN - {"either"})


class BadRows(MapsError, UsageError):
    """Rows of a plan that cannot be edits; nothing was kept."""

    def __init__(self, problems: list[str], rows: int) -> None:
        more = f"; and {len(problems) - MAX_PROBLEMS} more" if len(problems) > MAX_PROBLEMS else ""
        super().__init__(f"{len(problems)} of {rows} rows cannot be used: {'; '.join(problems[:MAX_PROBLEMS])}{more}")
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class Row:
    """One row as it was given."""

    number: int
    """Its line in a CSV file, its place in a list otherwise, from 1."""
    given: Mapping[str, Any]


def edits_of(opened: OpenMap, text: str, *, limit: int = MAX_ROWS) -> tuple[Edit, ...]:
    """Every row of a CSV or JSON text as an edit of this map, against what it holds now.

    raises  BadRows with the number of each row that is none
    """
    return _all(opened, rows_of(text, limit))


def edits_from(opened: OpenMap, rows: Iterable[Mapping[str, Any]], *, limit: int = MAX_ROWS) -> tuple[Edit, ...]:
    """The same of rows that are documents already, each as a line of a JSON text would be. raises BadRows"""
    given = [Row(number, each) for number, each in enumerate(islice(rows, limit + 1), 1)]
    if len(given) > limit:
        raise BadRows([f"there are more than {limit}: do it in parts"], len(given))
    return _all(opened, given)


def selected(
    opened: OpenMap, where: str, *, fields: Mapping[str, Any] | None = None, delete: bool = False, limit: int = MAX_ROWS
) -> tuple[Edit, ...]:
    """The same change to every entry that a filter selects: fields set, or the entry deleted.

    raises  BadRows, and the filter's own errors
    """
    sheet = read_sheet(opened)
    chosen = selection(sheet.table, where=where, sort="")
    if len(chosen) > limit:
        raise BadRows([f"{len(chosen)} entries are selected, {limit} are the most: narrow the filter"], len(chosen))
    keys = np.ascontiguousarray(sheet.reading.keys[chosen])
    document = {"delete": True} if delete else {"set": dict(fields or {})}
    given = [Row(number, {"key": f"hex:{key.tobytes().hex()}", **document}) for number, key in enumerate(keys, 1)]
    return _all(opened, given)


def rows_of(text: str, limit: int = MAX_ROWS) -> list[Row]:
    """Rows of a text, CSV or JSON by its first character.

    raises  BadRows
    """
    start = text.lstrip("\ufeff \t\r\n")
    if not start:
        raise BadRows(["there are no rows"], 0)
    rows = list(islice(_json(start) if start[0] in "[{" else _csv(start), limit + 1))
    if len(rows) > limit:
        raise BadRows([f"there are more than {limit}: split them"], len(rows))
    if not rows:
        raise BadRows(["there are no rows"], 0)
    return rows


def _all(opened: OpenMap, rows: Iterable[Row]) -> tuple[Edit, ...]:
    found: list[Edit] = []
    problems: list[str] = []
    seen: dict[tuple[bytes, str], int] = {}
    count = same = 0
    for row in rows:
        count += 1
        try:
            one = _edit(opened, row.given)
            if one is None:
                same += 1
                continue
            earlier = seen.setdefault((one.key, one.owner), row.number)
            if earlier != row.number:
                raise BadKey(f"row {earlier} is about the same entry")
            found.append(one)
        except AppError as problem:
            problems.append(f"row {row.number}: {problem}")
    if problems or not found:
        nothing = "nothing would change: each holds that already" if same else "nothing was selected"
        raise BadRows(problems or [nothing], count)
    return tuple(found)


def _edit(opened: OpenMap, given: Mapping[str, Any]) -> Edit | None:
    """The edit of a row; None where it would change nothing."""
    if unknown := sorted(set(given) - _KNOWN):
        raise BadKey(f"{unknown[0][:40]!r} is none of {', '.join(_NAMED)}")
    key, owner = _which(opened, given)
    asked = [name for name in ("set", "create", "delete", "thing") if given.get(name) not in (None, False)]
    if len(asked) > 1:
        raise BadKey(f"one thing at a time: {' and '.join(asked)} were asked for")
    cpu = _cpu(given.get("cpu"))
    now = edit.read_entry(opened, key, owner)
    if "either" in given:
        asked, given = ["set" if now is not None else "create"], {"set": given["either"], "create": given["either"]}
    if not asked:
        return _as_dumped(opened, key, given, now, cpu, owner)
    match asked[0]:
        case "delete":
            if now is None:
                raise BadKey("there is no such entry to delete")
            return edit.delete_entry(opened, key, now, owner=owner)
        case "thing":
            return _put(opened, key, str(given["thing"]), now)
        case "set":
            return _changing(edit.set_fields(opened, key, _fields(given["set"]), now, cpu=cpu, owner=owner))
        case _:
            wanted = given["create"]
            whole = given.get("value") if wanted is True else None
            return edit.create_entry(opened, key, whole, {} if wanted is True else _fields(wanted), owner=owner)


def _changing(wanted: Edit) -> Edit | None:
    """Without the fields that hold already what they are to hold: a table has a cell for each."""
    changes = tuple(
        change
        for change in wanted.changes
        if change.new != change.expected and (not change.expected_each or {*change.expected_each} != {change.new})
    )
    return msgspec.structs.replace(wanted, changes=changes) if changes or not wanted.changes else None


def _put(opened: OpenMap, key: bytes, thing: str, now: bytes | None) -> Edit | None:
    if now is not None and thing_text(opened.facts.type, now) == thing:
        return None
    return put_thing(opened, key, thing, now or b"")


def _which(opened: OpenMap, given: Mapping[str, Any]) -> tuple[bytes, str]:
    key = given.get("key")
    if isinstance(key, KeyParts):
        return join_key(opened, key), ""
    return edit.which(opened, key, str(given.get("owner", "")))


def _as_dumped(opened: OpenMap, key: bytes, given: Mapping[str, Any], now: bytes | None, cpu: int, owner: str) -> Edit:
    """An entry as `dump` prints it: what is there is replaced, what is not is made."""
    value = given.get("values", given.get("value"))
    if value is None:
        raise BadKey("say what is to happen: set, create, delete, or the value that it is to hold")
    if now is None:
        return edit.create_entry(opened, key, value, owner=owner)
    return edit.replace_value(opened, key, value, now, cpu=cpu, owner=owner)


def _fields(given: Any) -> Mapping[str, Any]:
    if not isinstance(given, dict) or not given:
        raise BadKey('fields are given as {"value.limit": 128, …}')
    return given


def _cpu(given: Any) -> int:
    if given is None:
        return NO_CPU
    if given == "all":
        return ALL_CPUS
    if isinstance(given, int) and not isinstance(given, bool) and given >= 0:
        return given
    raise BadKey(f'a CPU is a number, or "all"; found {str(given)[:20]!r}')


def _json(text: str) -> Iterator[Row]:
    """A list of objects, or an object a line."""
    if text[0] == "[":
        try:
            document = json.loads(text)
        except (ValueError, RecursionError) as problem:
            raise BadRows([f"it is no JSON: {problem}"], 0) from None
        lines: Iterable[Any] = document
    else:
        lines = _objects(text)
    for number, each in enumerate(lines, 1):
        if not isinstance(each, dict):
            raise BadRows([f"row {number}: an object was wanted, found {json.dumps(each)[:60]}"], number)
        yield Row(number, each)


def _objects(text: str) -> Iterator[Any]:
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                yield json.loads(line)
            except (ValueError, RecursionError) as problem:
                raise BadRows([f"line {number} is no JSON: {problem}"], number) from None


def _csv(text: str) -> Iterator[Row]:
    """Columns by their names; a key in several columns is put together when the map is known."""
    reader = csv.reader(text.splitlines(), strict=True)
    try:
        heads = [head.strip() for head in next(reader)]
        if len(set(heads)) != len(heads):
            raise BadRows(["two columns have the same name"], 0)
        if not any(head == "key" or head.startswith(("key.", "key[")) for head in heads) and "owner" not in heads:
            raise BadRows(
                [f"the first line names the columns, key or key.FIELD among them; found {', '.join(heads)[:80]}"], 0
            )
        for cells in reader:
            if any(cell.strip() for cell in cells):
                if len(cells) != len(heads):
                    raise BadRows(
                        [f"line {reader.line_num} has {len(cells)} cells, the first line {len(heads)}"], reader.line_num
                    )
                yield Row(reader.line_num, _from_cells(dict(zip(heads, cells, strict=True))))
    except csv.Error as problem:
        raise BadRows([f"line {reader.line_num} is no CSV: {problem}"], reader.line_num) from None


def _from_cells(cells: dict[str, str]) -> dict[str, Any]:
    action = cells.pop("action", "").strip() or "auto"
    owner, thing = cells.pop("owner", ""), cells.pop("thing", "").strip()
    parts = {name: text for name, text in cells.items() if name.startswith(("key.", "key["))}
    fields = {
        name: text for name, text in cells.items() if name == "value" or name.startswith(("value.", "value[", "value@"))
    }
    row: dict[str, Any] = (
        {"owner": owner} if owner else {"key": cells["key"]} if "key" in cells else {"key": KeyParts(parts)}
    )
    unknown = [name for name in cells if name != "key" and name not in parts and name not in fields]
    if unknown:
        raise BadRows(
            [f"no column is called {unknown[0][:40]!r}: action, owner, key, key.FIELD, value.FIELD and thing are"], 0
        )
    if thing:
        row["thing"] = thing
    given = {name: text for name, text in fields.items() if text != ""}
    match action:
        case "auto" if thing and not given:
            return row
        case "delete":
            return {**row, "delete": True}
        case "create":
            return {**row, "create": given or True}
        case "set":
            return {**row, "set": given}
        case "auto":
            return {**row, **_whole_or_fields(given)}
        case _:
            raise BadRows([f"the action is one of {', '.join(ACTIONS)}, not {action[:20]!r}"], 0)


def _whole_or_fields(given: dict[str, str]) -> dict[str, Any]:
    return {"value": given["value"]} if set(given) == {"value"} else {"either": given}


class KeyParts(dict[str, str]):
    """Fields of a key, each in a column of its own."""


def join_key(opened: OpenMap, parts: Mapping[str, str]) -> bytes:
    """The key whose fields are given; those that are not are zero. raises BadKey, NoSuchField"""
    plan = key_plan(opened)
    key = bytes(plan.size_bytes)
    for path, text in parts.items():
        node = locate(opened.schema.layout, path).node
        key = placed(key, node, encode(node, text, choose.default(node, plan)))
    return key


def in_questions(rows: tuple[Edit, ...]) -> list[tuple[Edit, ...]]:
    """Rows in as few questions to the broker as they fit."""
    encode = msgspec.msgpack.Encoder().encode
    parts: list[tuple[Edit, ...]] = []
    part: list[Edit] = []
    taken = 0
    for row in rows:
        size = len(encode(row))
        if part and taken + size > QUESTION_BYTES:
            parts.append(tuple(part))
            part, taken = [], 0
        part.append(row)
        taken += size
    return [*parts, tuple(part)]
