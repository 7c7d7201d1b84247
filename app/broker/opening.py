"""Answers that hand out: a map's read-only descriptor, by id or by pin, and the bytes of a BTF object."""

from __future__ import annotations

import os

import msgspec

from app.broker import pins
from app.broker.host import Host, Reply, with_fd
from app.broker.objects import COUNTED, element_counts, map_facts
from app.uapi import objects
from app.uapi.enums import BpfMapFlag
from app.wire import bodies
from app.wire.errors import PinOutside


def answer_map_open(host: Host, question: bodies.AskId) -> Reply:
    """Give a descriptor that can read and nothing else: the kernel refuses writes through it to whoever holds it."""
    return _opened(host, objects.map_get_fd_by_id(question.id, BpfMapFlag.RDONLY))


def answer_pin_open(host: Host, question: bodies.AskPin) -> Reply:
    """As answer_map_open, of a pin beneath the bpffs."""
    descriptor = pins.open_pin(host.bpffs, question.path)
    if pins.kind_of(descriptor) != "map":
        os.close(descriptor)
        raise PinOutside(f"{question.path} pins no map: list the pins to see what it is")
    return _opened(host, descriptor)


def _opened(host: Host, map_fd: int) -> Reply:
    try:
        facts = map_facts(map_fd, None)
        if facts.type in COUNTED:
            facts = msgspec.structs.replace(facts, entries=(element_counts(host) or {}).get(facts.id))
    except BaseException:
        os.close(map_fd)
        raise
    if not host.passes_descriptors:
        os.close(map_fd)
        return Reply(bodies.Opened(facts))
    return Reply(bodies.Opened(facts), map_fd)


def answer_btf(_: Host, question: bodies.AskId) -> Reply:
    """Give the raw BTF that a program brought, or the kernel's own."""
    return Reply(bodies.Bytes(with_fd(objects.btf_get_fd_by_id(question.id), objects.btf_data)))
