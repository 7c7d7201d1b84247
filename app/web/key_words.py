"""A key in one line, as its cells show it; and the head of a CSV that fits a map."""

from __future__ import annotations

from app.columns.cell import reading
from app.columns.inputs import edit_text
from app.columns.lenses import choose
from app.columns.node import Node
from app.maps.entry import key_plan
from app.maps.errors import CannotLookUp
from app.maps.host_names import names
from app.maps.opening import OpenMap
from app.uapi.enums import BpfMapType
from app.web.words import FILLER

KEY_FIELDS = 12


def key_words(opened: OpenMap, key: bytes) -> str:
    """Fields between dots, a prefix as ``10.0.0.0/8``, ``hex:…`` where the key has no type."""
    fields = _fields(opened)
    if not fields:
        return f"hex:{key.hex()}"
    plan, shown = key_plan(opened), names()
    words = [reading(leaf, choose.default(leaf, plan), key, shown) for leaf in fields]
    return f"{words[1]}/{words[0]}" if _is_prefix(opened, fields) else " · ".join(words)


def key_columns(opened: OpenMap) -> tuple[list[str], list[str]]:
    """Names of CSV columns that make a key of this map, and what stands in them for a key of zeros."""
    fields = _fields(opened)
    if not fields:
        return ["key"], ["hex:00"]
    plan = key_plan(opened)
    zeros = [edit_text(leaf, bytes(plan.size_bytes), choose.default(leaf, plan)) for leaf in fields]
    if _is_prefix(opened, fields):
        return ["key"], [f"{zeros[1]}/{zeros[0]}"]
    if len(fields) == 1 and not fields[0].path:
        return ["key"], zeros
    return [f"key{leaf.path}" if leaf.path[0] == "[" else f"key.{leaf.path}" for leaf in fields], zeros


def _fields(opened: OpenMap) -> list[Node]:
    """What of the key is worth showing; nothing without a type."""
    try:
        plan = key_plan(opened)
    except CannotLookUp:
        return []
    return [leaf for leaf in plan.leaves() if not FILLER.fullmatch(leaf.name or " ")][:KEY_FIELDS] if plan.typed else []


def _is_prefix(opened: OpenMap, fields: list[Node]) -> bool:
    """A length and an address behind it, as tries have them."""
    if opened.facts.type != BpfMapType.LPM_TRIE or len(fields) != 2:  # noqa: PLR2004
        return False
    return choose.default(fields[1], key_plan(opened)) in {"ipv4", "ipv6"}
