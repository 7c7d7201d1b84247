"""One entry by its exact key, straight from the kernel: never through a listing."""

from __future__ import annotations

import time

import numpy as np

from app.columns.key_text import key_text, parse_key
from app.columns.plan import Plan, plan_raw
from app.maps.errors import CannotLookUp, NoSuchEntry
from app.maps.kinds import Enumerate
from app.maps.opening import OpenMap
from app.maps.tabulate import Sheet, sheet_of
from app.maps.walk import Completeness, Reading
from app.uapi.enums import BpfMapType
from app.uapi.errors import KernelError


def key_plan(opened: OpenMap) -> Plan:
    """Layout of what a look-up takes; a bloom filter's "key" is the value that it is asked for.

    raises  CannotLookUp
    """
    kind, facts = opened.kind, opened.facts
    if kind.enumerate is Enumerate.SINGLE or opened.schema.layout.datasec:
        return plan_raw(facts.key_size)
    if facts.type == BpfMapType.BLOOM_FILTER:
        return opened.schema.layout.value or plan_raw(facts.value_size)
    if not kind.lookup or not facts.key_size:
        raise CannotLookUp(kind.label, kind.why or "its keys are descriptors of their owners; pick one from the list")
    return opened.schema.layout.key or plan_raw(facts.key_size)


def look_up(opened: OpenMap, key: bytes) -> Sheet:
    """The entry under `key` (key_size bytes) as a table of one row.

    raises  NoSuchEntry, CannotLookUp
    """
    plan = key_plan(opened)
    value = bytearray(opened.reader.value_stride)
    started_at_ns = time.time_ns()
    try:
        found = opened.reader.lookup(key, value)
    except KernelError as refusal:
        raise CannotLookUp(opened.kind.label, str(refusal)) from refusal
    if not found:
        raise NoSuchEntry(key_text(plan, key), opened.facts.id)
    reading = Reading(
        keys=np.frombuffer(key, np.uint8).reshape(1, -1),
        values=np.frombuffer(value, np.uint8).reshape(1, -1),
        completeness=Completeness.EXACT,
        started_at_ns=started_at_ns,
        ended_at_ns=time.time_ns(),
        notes=(
            ("the trie answers with the longest prefix that covers the key, which may be a shorter one",)
            if opened.facts.type == BpfMapType.LPM_TRIE
            else ()
        ),
    )
    return sheet_of(opened, reading)


def is_member(opened: OpenMap, value: bytes) -> bool:
    """Ask a bloom filter: False means surely not, True maybe. `value` is value_size bytes."""
    if opened.mask.any():
        raise CannotLookUp(opened.kind.label, "the policy hides its values from your role")
    asked = bytearray(value)
    return opened.reader.lookup(None, asked)


def parse(opened: OpenMap, text: str) -> bytes:
    """Key bytes of what somebody typed: JSON as `dump` prints it, hex:…, or the fields in order.

    raises  BadKey, CannotLookUp
    """
    return parse_key(key_plan(opened), text)
