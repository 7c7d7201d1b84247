"""What can be asked of the broker: each verb with the body of its question and of its answer."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from app.wire import bodies


class Verb(IntEnum):
    """Numbers are for ever: a new verb takes a new one."""

    HELLO = 1
    MAPS = 2
    PROGS = 3
    LINKS = 4
    PINS = 5
    HOLDERS = 6
    MAP_OPEN = 7
    PIN_OPEN = 8
    BTF = 9
    LOOKUP = 10
    NEXT_KEY = 11
    BATCH = 12
    RING = 13
    SK_STORAGE = 14
    INODE_STORAGE = 15


@dataclass(frozen=True, slots=True)
class Shape:
    """The two bodies of one verb."""

    question: type[bodies.Body]
    answer: type[bodies.Body]


SHAPES: dict[Verb, Shape] = {
    Verb.HELLO: Shape(bodies.AskNothing, bodies.Hello),
    Verb.MAPS: Shape(bodies.AskNothing, bodies.MapList),
    Verb.PROGS: Shape(bodies.AskNothing, bodies.ProgList),
    Verb.LINKS: Shape(bodies.AskNothing, bodies.LinkList),
    Verb.PINS: Shape(bodies.AskNothing, bodies.PinList),
    Verb.HOLDERS: Shape(bodies.AskNothing, bodies.HolderList),
    Verb.MAP_OPEN: Shape(bodies.AskId, bodies.Opened),
    Verb.PIN_OPEN: Shape(bodies.AskPin, bodies.Opened),
    Verb.BTF: Shape(bodies.AskId, bodies.Bytes),
    Verb.LOOKUP: Shape(bodies.AskLookup, bodies.Found),
    Verb.NEXT_KEY: Shape(bodies.AskNextKey, bodies.NextKey),
    Verb.BATCH: Shape(bodies.AskBatch, bodies.Batch),
    Verb.RING: Shape(bodies.AskRing, bodies.Ring),
    Verb.SK_STORAGE: Shape(bodies.AskStorage, bodies.Storage),
    Verb.INODE_STORAGE: Shape(bodies.AskStorage, bodies.Storage),
}
