"""THE table: everything that a privileged process does for others, and for whom. What is not in it closes the connection."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Flag, auto
from typing import Any

import msgspec

from app.broker.holders import answer_holders
from app.broker.host import Host, Reply
from app.broker.objects import answer_links, answer_maps, answer_progs
from app.broker.opening import answer_btf, answer_map_open, answer_pin_open
from app.broker.pins import answer_pins
from app.broker.probes import answer_hello
from app.broker.proxied import answer_batch, answer_lookup, answer_next_key
from app.broker.ring import answer_ring
from app.broker.storage import answer_inode_storage, answer_sk_storage
from app.wire import bodies
from app.wire.frame import INLINE_BYTES
from app.wire.verbs import SHAPES, Verb


class Peer(Flag):
    """Who asks, told by the uid that the kernel vouches for; one uid may be several."""

    ROOT = auto()
    WEB = auto()
    RECORDER = auto()


_ANY = Peer.ROOT | Peer.WEB | Peer.RECORDER
_PAGES = Peer.ROOT | Peer.WEB


@dataclass(frozen=True, slots=True)
class Request:
    """One row."""

    verb: Verb
    body: type[bodies.Body]
    body_limit_bytes: int
    needs: Peer
    """Any of these may ask."""
    answer: Callable[[Host, Any], Reply]

    @property
    def decoder(self) -> msgspec.msgpack.Decoder[bodies.Body]:
        """Decodes exactly `body`, and refuses anything else."""
        return _DECODERS[self.verb]


REQUESTS = (
    #       verb                body                 bytes         who      answer
    Request(Verb.HELLO,         bodies.AskNothing,   16,           _ANY,    answer_hello),
    Request(Verb.MAPS,          bodies.AskNothing,   16,           _ANY,    answer_maps),
    Request(Verb.PROGS,         bodies.AskNothing,   16,           _ANY,    answer_progs),
    Request(Verb.LINKS,         bodies.AskNothing,   16,           _ANY,    answer_links),
    Request(Verb.PINS,          bodies.AskNothing,   16,           _ANY,    answer_pins),
    Request(Verb.HOLDERS,       bodies.AskNothing,   16,           _PAGES,  answer_holders),
    Request(Verb.MAP_OPEN,      bodies.AskId,        16,           _ANY,    answer_map_open),  # sends one BPF_F_RDONLY descriptor
    Request(Verb.PIN_OPEN,      bodies.AskPin,       4_200,        _ANY,    answer_pin_open),  # sends one BPF_F_RDONLY descriptor
    Request(Verb.BTF,           bodies.AskId,        16,           _ANY,    answer_btf),
    Request(Verb.LOOKUP,        bodies.AskLookup,    INLINE_BYTES, _ANY,    answer_lookup),
    Request(Verb.NEXT_KEY,      bodies.AskNextKey,   INLINE_BYTES, _ANY,    answer_next_key),
    Request(Verb.BATCH,         bodies.AskBatch,     INLINE_BYTES, _ANY,    answer_batch),
    Request(Verb.RING,          bodies.AskRing,      32,           _ANY,    answer_ring),
    Request(Verb.SK_STORAGE,    bodies.AskStorage,   32,           _ANY,    answer_sk_storage),
    Request(Verb.INODE_STORAGE, bodies.AskStorage,   INLINE_BYTES, _ANY,    answer_inode_storage),
)  # fmt: skip

BY_VERB: dict[int, Request] = {int(request.verb): request for request in REQUESTS}

_DECODERS: dict[Verb, msgspec.msgpack.Decoder[bodies.Body]] = {
    verb: msgspec.msgpack.Decoder(shape.question) for verb, shape in SHAPES.items()
}
