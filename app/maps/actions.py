"""Edits of slots, of queues, and of whole maps, as they go to the broker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from app.columns.errors import BadValue
from app.maps.edit import identity_of, whole_value
from app.maps.errors import CannotEdit
from app.maps.kinds import KINDS, Kind, Meaning
from app.maps.opening import OpenMap
from app.uapi.enums import BpfMapFlag, BpfMapType
from app.wire.ask import Client
from app.wire.edits import Edit, NewMap
from app.wire.records import NO_MAP

MAKEABLE = tuple(
    KINDS[each]
    for each in (
        BpfMapType.HASH, BpfMapType.ARRAY, BpfMapType.PERCPU_HASH, BpfMapType.PERCPU_ARRAY, BpfMapType.LRU_HASH,
        BpfMapType.LRU_PERCPU_HASH, BpfMapType.LPM_TRIE, BpfMapType.QUEUE, BpfMapType.STACK, BpfMapType.BLOOM_FILTER,
        BpfMapType.PROG_ARRAY, BpfMapType.ARRAY_OF_MAPS, BpfMapType.HASH_OF_MAPS, BpfMapType.DEVMAP,
        BpfMapType.DEVMAP_HASH, BpfMapType.CPUMAP, BpfMapType.SOCKMAP, BpfMapType.SOCKHASH, BpfMapType.RINGBUF,
    )
)  # fmt: skip
"""Types that can be made without a program or types of their own."""
KEYLESS = frozenset({BpfMapType.QUEUE, BpfMapType.STACK, BpfMapType.BLOOM_FILTER, BpfMapType.RINGBUF})
MAKE_FLAGS = {
    "no_prealloc": BpfMapFlag.NO_PREALLOC,
    "rdonly_prog": BpfMapFlag.RDONLY_PROG,
    "wronly_prog": BpfMapFlag.WRONLY_PROG,
    "mmapable": BpfMapFlag.MMAPABLE,
}
"""Flags that a form offers, by the kernel's names in lower case."""


_SLOTS = frozenset({Meaning.PROG_ID, Meaning.MAP_ID, Meaning.DEVICE, Meaning.CPU, Meaning.SOCKET_COOKIE})


def is_slot(kind: Kind) -> bool:
    """What its values hold is given by name, and never as bytes."""
    return kind.meaning in _SLOTS or kind.type in {BpfMapType.CGROUP_ARRAY, BpfMapType.XSKMAP}


@dataclass(frozen=True, slots=True)
class ThingForm:
    """How what a slot holds is named."""

    form: str
    """``prog:ID or pin:/path``."""
    options: tuple[tuple[str, str], ...]
    """What may be put there, as it is sent and as people read it; empty where it has to be typed."""


def put_thing(opened: OpenMap, key: bytes, thing: str, seen: bytes | None) -> Edit:
    """Give a slot a program, map, device, CPU queue, cgroup or socket. raises CannotEdit"""
    if not thing:
        raise CannotEdit(
            f"say what the slot gets: {thing_form(opened.client, opened.kind, opened.facts.value_size).form}"
        )
    return Edit(map=identity_of(opened.facts), action="put", key=key, thing=thing, seen=seen)


def push(opened: OpenMap, given: Any) -> Edit:
    """Put a value into a queue, a stack or a bloom filter. raises BadValue"""
    if given is None:
        raise BadValue("value: say what is to be put in", "value")
    return push_value(opened, whole_value(opened, given, bytes(opened.facts.value_size)))


def push_value(opened: OpenMap, value: bytes) -> Edit:
    """The same with its bytes."""
    return Edit(map=identity_of(opened.facts), action="push", value=value)


def pop(opened: OpenMap, seen: bytes | None) -> Edit:
    """Take the next value out of a queue or a stack; refused when it is another than ``seen`` by then."""
    return Edit(map=identity_of(opened.facts), action="pop", seen=seen)


def map_wide(opened: OpenMap, action: str, path: str = "") -> Edit:
    """``freeze``, ``clear``, ``pin`` or ``unpin`` (both with the path of a pin). raises CannotEdit"""
    if action in {"pin", "unpin"} and not path.startswith("/"):
        raise CannotEdit("a pin is named by its path below the bpffs, such as /sys/fs/bpf/name")
    return Edit(map=identity_of(opened.facts), action=action, path=path)


def make_map(spec: NewMap) -> Edit:
    """Make a map."""
    return Edit(map=NO_MAP, action="make", new_map=spec)


def thing_form(client: Client, kind: Kind, value_size: int) -> ThingForm:
    """What a slot of this type can be given, with what there is on this host where a list of it is known."""
    with_prog = "[+prog:ID]" if value_size > 4 else ""
    if kind.meaning is Meaning.PROG_ID:
        progs = client.progs().progs
        return ThingForm(
            "prog:ID or pin:/path", tuple((f"prog:{one.id}", f"{one.name or 'program'} · #{one.id}") for one in progs)
        )
    if kind.meaning is Meaning.MAP_ID:
        maps = client.maps().maps
        return ThingForm(
            "map:ID or pin:/path", tuple((f"map:{one.id}", f"{one.name or 'map'} · #{one.id}") for one in maps)
        )
    if kind.meaning is Meaning.DEVICE:
        return ThingForm(f"dev:NAME{with_prog}", ())
    if kind.meaning is Meaning.CPU:
        return ThingForm(f"cpu:QSIZE{with_prog}", ())
    if kind.type == BpfMapType.CGROUP_ARRAY:
        return ThingForm("cgroup:/sys/fs/cgroup/…", ())
    return ThingForm("socket:PID:FD", ())
