"""At start: edits that the broker began and never ended are looked at, and the log says what is known of them."""

from __future__ import annotations

import os

from app.broker import log
from app.broker.edits import kinds
from app.broker.edits.act import Act, btf_of
from app.broker.edits.identity import boot_id, check_identity, pins_of, type_name
from app.broker.edits.recording import hidden_by, unknown_record
from app.broker.host import Host
from app.broker.objects import map_facts
from app.broker.swap.field import Field
from app.uapi import objects
from app.uapi.enums import BpfMapFlag
from app.uapi.errors import KernelError
from app.wire.edits import Edit
from app.wire.errors import CannotRecord, Declined, MapChanged
from app.wire.records import AuditRecord, FieldRecord

MAX_SHOWN_BYTES = 64


def recover(host: Host) -> int:
    """Give every intent without an outcome its record; returns how many there were.

    An outcome that cannot be written leaves the intent as it is: the next start tries again.
    """
    desk, count = host.desk, 0
    for numbered in desk.audit.unfinished():
        intent = numbered.record
        policy = desk.policy.current()
        pins = pins_of(host, intent.map.id, policy)
        redactions = policy.redactions(map_name=intent.map.name, pins=pins, type_name=type_name(intent.map.type))
        hidden = hidden_by(redactions, "value") or any(hidden_by(redactions, each.path) for each in intent.fields)
        value, sentence = _now(host, intent, hidden=hidden)
        try:
            desk.audit.finish(unknown_record(intent, numbered.number, value, sentence, hidden=hidden))
        except CannotRecord as error:
            log.write("not_recovered", intent=numbered.number, reason=str(error))
            break
        count += 1
    if count:
        log.write("recovered", intents=count)
    return count


def _now(host: Host, intent: AuditRecord, *, hidden: bool) -> tuple[bytes | None, str]:
    """What the entry holds, and the sentence about it."""
    begins = "The broker ended before it knew what came of this: outcome unknown"
    if intent.boot_id != boot_id():
        return None, f"{begins}; the host has restarted since, and its maps went with it."
    if intent.action in {"make", "pin", "unpin", "freeze", "clear", "push", "pop"}:
        return None, f"{begins}; look at the map."
    try:
        map_fd = objects.map_get_fd_by_id(intent.map.id, BpfMapFlag.RDONLY)
    except KernelError:
        return None, f"{begins}; the map is gone."
    try:
        facts = map_facts(map_fd, None)
        check_identity(intent.map, facts)
        edit = Edit(intent.map, intent.action, key=intent.key, owner=intent.owner)
        act = Act(edit=edit, map_fd=map_fd, facts=facts, bpffs=host.bpffs, btf=btf_of(facts), kept=(), editors={})
        with act.key() as key:
            value = act.read(key)
    except MapChanged:
        return None, f"{begins}; another map has its id by now."
    except (Declined, KernelError) as error:
        return None, f"{begins}; what the entry holds cannot be read ({error})."
    finally:
        os.close(map_fd)
    if value is None:
        return None, f"{begins}, now there is no such entry."
    if hidden:
        return None, f"{begins}; the policy keeps the value out of the log."
    return value, f"{begins}, now {_told(intent, value, per_cpu=kinds.per_cpu(act.facts))}."


def _told(intent: AuditRecord, value: bytes, *, per_cpu: bool) -> str:
    if intent.fields and not per_cpu:
        return ", ".join(_field(each, value) for each in intent.fields[:8])
    shown = value[:MAX_SHOWN_BYTES].hex()
    return f"the value is hex:{shown}" + ("…" if len(value) > MAX_SHOWN_BYTES else "")


def _field(record: FieldRecord, value: bytes) -> str:
    """The field as it is now, and whether that is the old or the new one."""
    end = (record.offset_bits + record.size_bits + 7) // 8
    if record.size_bits > 64 or end > len(value):  # noqa: PLR2004  (wider than a number)
        found = value[record.offset_bits // 8 : end]
        return f"{record.path} is hex:{found.hex()}{_which(record, found)}"
    number = Field(offset_bits=record.offset_bits, size_bits=record.size_bits).read(value)
    packed = number.to_bytes((record.size_bits + 7) // 8, "little")
    return f"{record.path} is {number}{_which(record, packed)}"


def _which(record: FieldRecord, found: bytes) -> str:
    if record.operation == "swap" and found == record.new:
        return " (the new one)"
    return " (the old one)" if found == record.old else ""
