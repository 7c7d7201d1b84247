"""Which map it is: ids and names are used again, so an edit is bound to all that tells one map from another."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from app.broker.host import Host
from app.broker.pins import answer_pins
from app.uapi.enums import BpfMapType
from app.wire.bodies import AskNothing, MapFacts, PinList
from app.wire.errors import MapChanged
from app.wire.records import MapIdentity

if TYPE_CHECKING:
    from app.broker.policy.rules import Policy

_FIELDS = MapIdentity.__struct_fields__


def identity_of(facts: MapFacts) -> MapIdentity:
    """What an edit of this map is bound to."""
    return MapIdentity(*(getattr(facts, name) for name in _FIELDS))


def check_identity(shown: MapIdentity, facts: MapFacts) -> None:
    """Refuse another map. raises MapChanged"""
    for name in _FIELDS:
        if getattr(shown, name) != getattr(facts, name):
            raise MapChanged(
                f"map {facts.id} is another one by now: its {name} is {getattr(facts, name)!r}, that of the one shown "
                f"{getattr(shown, name)!r}; open it again"
            )


def tag_of(identity: MapIdentity) -> str:
    """Sixteen hexadecimal digits that this map has for as long as the host runs, and no other one."""
    text = "\0".join([boot_id(), *(str(getattr(identity, name)) for name in _FIELDS)])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@cache
def boot_id() -> str:
    """The kernel's name for this run of it."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def type_name(number: int) -> str:
    """`lru_hash`, as policies write it."""
    try:
        return BpfMapType(number).name.lower()
    except ValueError:
        return f"type_{number}"


def pins_of(host: Host, map_id: int, policy: Policy) -> tuple[str, ...]:
    """Paths that the map is pinned at, as far as the policy asks for them: the walk of a bpffs takes a while."""
    if not policy.asks_for_pins:
        return ()
    found = answer_pins(host, AskNothing()).body
    return (
        tuple(pin.path for pin in found.pins if pin.kind == "map" and pin.id == map_id)
        if isinstance(found, PinList)
        else ()
    )
