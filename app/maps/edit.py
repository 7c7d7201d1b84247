"""What people and scripts ask for, as the edit that goes to the broker: one code for pages, commands and the API.

Nothing here writes. Each field goes with its place by the map's layout and with what it held when it was shown; the
broker finds the place again by itself, and the kernel compares.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from app.columns.decode import locate
from app.columns.encode import encode, in_group
from app.columns.errors import BadKey, BadValue
from app.columns.key_text import from_json, parse_key
from app.maps.changes import (
    as_number,
    by_cpu,
    changes_of,
    check_expected,
    composed,
    cpus_of,
    expecting,
    is_composite,
    is_leaf,
    looks_like_json,
    packed,
    part_of,
    patched,
    refuse_cpu,
    refuse_overlaps,
    root_of,
    target_of,
)
from app.maps.entry import key_plan
from app.maps.errors import CannotEdit, NoSuchEntry, NothingToChange
from app.maps.kinds import Enumerate
from app.maps.opening import OpenMap
from app.maps.owned import OWNED, element_of, owner_in
from app.uapi.enums import BpfMapType
from app.uapi.errors import KernelError
from app.uapi.kernel import cpu_stride, stride
from app.wire.bodies import MapFacts
from app.wire.edits import ALL_CPUS, NO_CPU, Change, Edit
from app.wire.records import MapIdentity

SENT_BYTES = 56 << 10
"""Of values that one question to the broker has room for."""
MAX_CHANGES = 64
"""Fields that one edit may change; the broker takes no more."""
WHOLE = "value"


def identity_of(facts: MapFacts) -> MapIdentity:
    """What an edit is bound to: a later map of the same id or name has another one."""
    return MapIdentity(*(getattr(facts, name) for name in MapIdentity.__struct_fields__))


def key_of(opened: OpenMap, given: Any) -> bytes:
    """Key bytes of text in any form that `parse_key` takes, or of a document as `dump` prints keys.

    given    None where the map has one entry and so needs no key
    raises   BadKey, CannotLookUp
    """
    size = opened.facts.key_size
    if given is None and (opened.schema.layout.datasec or opened.kind.enumerate is Enumerate.SINGLE or not size):
        return bytes(size)
    plan = key_plan(opened)
    if given is None:
        raise BadKey(f"say which entry: a key of {size} bytes is wanted")
    return parse_key(plan, given) if isinstance(given, str) else from_json(plan, given)


def which(opened: OpenMap, key: Any, owner: str = "") -> tuple[bytes, str]:
    """Key bytes, or the owner of an element that has no key: given as such, or as `dump` prints one.

    raises  BadKey, CannotLookUp, CannotEdit
    """
    if owner:
        return b"", owner
    if opened.kind.enumerate in OWNED:
        return b"", owner_in(opened.kind.enumerate, as_document(key) if isinstance(key, str) else key)
    return key_of(opened, key), ""


def as_document(text: str) -> Any:
    """JSON, or None where it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def argument(opened: OpenMap, path: str, text: str) -> Any:
    """VALUE of a command line: a number or a truth value as `dump` prints it, text in quotes without them, else the text.

    raises  NoSuchField
    """
    node = locate(opened.schema.layout, path).node
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return text
    if isinstance(document, str):
        return document
    scalar = node.scalar or as_number(node, 0) is not node
    return document if scalar and isinstance(document, int | float) else text


def read_entry(opened: OpenMap, key: bytes, owner: str = "") -> bytes | None:
    """The whole value now, of per-CPU maps each CPU's padded to 8 bytes; None where there is none, or none to be seen."""
    if opened.kind.enumerate in OWNED:
        return element_of(opened, owner)
    value = bytearray(opened.reader.value_stride)
    try:
        found = opened.reader.lookup(key or None, value)
        if found and opened.facts.type == BpfMapType.LPM_TRIE:
            found = _in_trie(opened, key)
    except KernelError:
        return None
    return bytes(value) if found else None


def _in_trie(opened: OpenMap, key: bytes) -> bool:
    """Whether a trie has just this prefix, rather than a shorter one that covers it.

    Asked for the key behind one that it lacks, it answers with its first; behind one that it has comes never the first.
    """
    first, behind = bytearray(len(key)), bytearray(len(key))
    if not opened.reader.next_key(None, first):
        return False
    return not opened.reader.next_key(key, behind) or behind != first


def set_fields(
    opened: OpenMap, key: bytes, fields: Mapping[str, Any], seen: bytes | None, *,
    cpu: int = NO_CPU, owner: str = "", expected: Mapping[str, Any] | None = None,
) -> Edit:  # fmt: skip
    """Change fields of one entry, each by its path: text as people write it, or documents as `dump` prints them.

    seen      the whole value as it was shown
    cpu       of per-CPU maps: whose value, or ALL_CPUS; a path such as value@cpu3.x says it by itself
    expected  by path what a field must hold, where that is not what was seen
    raises    NoSuchEntry, NothingToChange, BadValue, NoSuchField, CannotEdit
    """
    if seen is None:
        raise NoSuchEntry(owner or f"hex:{key.hex()}", opened.facts.id)
    expectations = dict(expected or {})
    check_expected(opened, {path: given for path, given in expectations.items() if path not in fields}, seen, cpu=cpu)
    if WHOLE in fields and (
        values_by_cpu(opened, fields[WHOLE], cpu) or not is_leaf(as_number(root_of(opened), fields[WHOLE]))
    ):
        if len(fields) > 1:
            raise BadValue("change the whole value or single fields of it, not both", WHOLE)
        return replace_value(opened, key, fields[WHOLE], seen, cpu=cpu, owner=owner)
    changes: list[Change] = []
    for path, given in fields.items():
        target = target_of(opened, path, cpu, given)
        for one in by_cpu(opened, target):
            changes += changes_of(opened, one, given, seen)
        if path in expectations:
            changes = [expecting(opened, target, change, expectations[path]) for change in changes]
    refuse_overlaps(changes)
    if not changes:
        raise NothingToChange
    if len(changes) > MAX_CHANGES:
        raise CannotEdit(
            f"{len(changes)} fields are more than one edit changes ({MAX_CHANGES}): replace the whole value"
        )
    return Edit(map=identity_of(opened.facts), action="set", key=key, owner=owner, changes=tuple(changes))


def replace_value(
    opened: OpenMap, key: bytes, given: Any, seen: bytes | None, *, cpu: int = NO_CPU, owner: str = ""
) -> Edit:
    """Write the whole value of an existing entry; padding, and what the kernel keeps for itself, stay as they were seen.

    raises  NoSuchEntry, BadValue, CannotEdit
    """
    if opened.mask.any():
        raise CannotEdit(
            "the policy hides a part of this value from your role, and all of it would be written over: set single fields"
        )
    if seen is None:
        raise NoSuchEntry(owner or f"hex:{key.hex()}", opened.facts.id)
    if opened.kind.per_cpu:
        room = cpu_stride(opened.facts.value_size)
        value = bytearray(seen)
        documents = values_by_cpu(opened, given, cpu) or dict.fromkeys(cpus_of(opened, cpu), given)
        for each, document in documents.items():
            new = whole_value(opened, document, part_of(opened, seen, each))
            value[each * room : each * room + len(new)] = new
    else:
        refuse_cpu(opened, cpu)
        value = bytearray(whole_value(opened, given, seen))
    if len(value) + len(seen) > SENT_BYTES:
        raise CannotEdit(f"a value of {len(value)} bytes is too large to be replaced as a whole: change its fields")
    return Edit(map=identity_of(opened.facts), action="replace", key=key, owner=owner, value=bytes(value), seen=seen)


def values_by_cpu(opened: OpenMap, given: Any, cpu: int = NO_CPU) -> dict[int, Any]:
    """Values by CPU, of a list as `dump` prints it for per-CPU maps; empty for anything else, or where one CPU is meant.

    raises  BadValue
    """
    document = as_document(given) if isinstance(given, str) else given
    n_cpus = opened.schema.layout.n_cpus
    if not n_cpus or cpu != NO_CPU or not isinstance(document, list) or not document:
        return {}
    if not all(isinstance(each, dict) and each.keys() == {"cpu", "value"} for each in document):
        return {}
    found: dict[int, Any] = {}
    for each in document:
        number = each["cpu"]
        if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < n_cpus or number in found:
            raise BadValue(f"each CPU from 0 to {n_cpus - 1} once at most was wanted, found {str(number)[:20]}", WHOLE)
        found[number] = each["value"]
    return found


def whole_value(opened: OpenMap, given: Any, base: bytes) -> bytes:
    """A value's bytes: ``given`` over ``base``. raises BadValue"""
    root = in_group(as_number(root_of(opened), given), "value")
    if is_composite(root) and not (isinstance(given, str) and not looks_like_json(given)):
        return composed(root, given, base)
    return packed(root, encode(root, given))


def create_entry(
    opened: OpenMap, key: bytes, given: Any = None, fields: Mapping[str, Any] | None = None, *, owner: str = ""
) -> Edit:
    """Make a new entry, with a value as `new_value` has it."""
    value = new_value(opened, given, fields or {})
    return Edit(map=identity_of(opened.facts), action="create", key=key, owner=owner, value=value)


def new_value(opened: OpenMap, given: Any, fields: Mapping[str, Any]) -> bytes:
    """A value from nothing: bytes that neither ``given`` (the whole value) nor ``fields`` name are zero.

    In a per-CPU map every CPU gets the same, unless a path names one or ``given`` is a list by CPU.
    raises  BadValue, NoSuchField, CannotEdit
    """
    size = opened.facts.value_size
    room = cpu_stride(size) if opened.kind.per_cpu else size
    whole = bytearray(stride(opened.facts.type, size))
    if given is not None:
        documents = values_by_cpu(opened, given) or dict.fromkeys(range(len(whole) // room), given)
        for cpu, document in documents.items():
            one = whole_value(opened, document, bytes(size))
            whole[cpu * room : cpu * room + len(one)] = one
    for path, text in fields.items():
        if path == WHOLE and (given is not None or len(fields) > 1):
            raise BadValue("give the whole value or fields of it, not both", WHOLE)
        target = target_of(opened, path, ALL_CPUS if opened.kind.per_cpu else NO_CPU, text)
        for each in by_cpu(opened, target, split=True):
            start = max(each.cpu, 0) * room
            whole[start : start + size] = patched(each, text, bytes(whole[start : start + size]))
    return bytes(whole)


def delete_entry(opened: OpenMap, key: bytes, seen: bytes | None, *, owner: str = "") -> Edit:
    """Delete one entry, or empty a slot; refused when it holds something else than ``seen`` by then."""
    compared = seen if seen is None or len(seen) <= SENT_BYTES else None
    return Edit(map=identity_of(opened.facts), action="delete", key=key, owner=owner, seen=compared)
