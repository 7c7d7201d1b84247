"""Sends random frames to a broker: noise, frames with a good head, whole questions of every verb with some bytes turned.

usage: python -m tests.broker.frames SOCKET COUNT SEED IDENTITY_HEX
"""

from __future__ import annotations

import random
import socket
import sys
from functools import cache
from typing import Any

import msgspec

from app.wire import accounts, bodies, edits, fdpass, frame
from app.wire.edits import Change, Edit
from app.wire.records import MapIdentity
from app.wire.verbs import SHAPES, Verb

QUIET = {Verb.HOLDERS, Verb.PROGS, Verb.LINKS, Verb.PINS, Verb.MAPS, Verb.HELLO, Verb.BTF, Verb.VERIFY, Verb.SIGN_IN, Verb.INODE_STORAGE, Verb.ELEVATE,
         Verb.PASSWORD, Verb.USER_ADD, Verb.LINK_MAKE, Verb.TOKEN_MAKE}  # fmt: skip
"""Too dear to ask a hundred thousand times, or they would change something by right: these are sent broken only."""
HASHING = (Verb.SIGN_IN, Verb.ELEVATE, Verb.PASSWORD, Verb.USER_ADD)
"""A question of these that survives its turned bytes costs a tenth of a second of argon2, as it should: few are sent."""


def question_of(verb: Verb, of: MapIdentity, chance: random.Random) -> bytes:
    """A question that decodes, with a credential that is none."""
    credential = accounts.Credential(chance.randbytes(24).hex(), chance.randbytes(24).hex(), "fuzz")
    edit = Edit(of, chance.choice(edits.ACTIONS), key=b"\7\0\0\0", value=bytes(24),
                changes=(Change("value.u32[2]", 64, 32, new=chance.getrandbits(32), operation="exchange"),))  # fmt: skip
    made: dict[type[bodies.Body], bodies.Body] = {
        edits.AskEdit: edits.AskEdit(credential, edit, "fuzz", dry_run=False),
        edits.AskPlanRows: edits.AskPlanRows(credential, chance.getrandbits(8), (edit,)),
        edits.AskPlanMake: edits.AskPlanMake(credential, of, "fuzz", "fuzz"),
    }
    shape = SHAPES[verb].question
    return msgspec.msgpack.encode(made.get(shape) or filled(shape, credential, chance))


CREDENTIAL = str(accounts.Credential)


@cache
def kinds_of(shape: type[bodies.Body]) -> tuple[str, ...]:
    """Types of its fields."""
    return tuple(str(info.type) for info in msgspec.structs.fields(shape))


def filled(shape: type[bodies.Body], credential: accounts.Credential, chance: random.Random) -> bodies.Body:
    """Any body of a shape, its credential a made-up one."""
    values: list[Any] = []
    for kind in kinds_of(shape):
        if kind == CREDENTIAL:
            values.append(credential)
        elif "int" in kind:
            values.append(chance.getrandbits(20))
        elif "bytes" in kind:
            values.append(chance.randbytes(chance.randrange(8)))
        elif "bool" in kind:
            values.append(False)
        elif "tuple" in kind:
            values.append(())
        elif "str" in kind:
            values.append(chance.randbytes(chance.randrange(12)).hex())
        else:
            values.append(None)
    return shape(*values)


def turned(datagram: bytes, chance: random.Random) -> bytes:
    """The same with a few bytes changed, cut or lengthened."""
    spoilt = bytearray(datagram)
    for _ in range(chance.randrange(1, 6)):
        spoilt[chance.randrange(len(spoilt))] = chance.randrange(256)
    if chance.random() < 0.2:
        spoilt = spoilt[: chance.randrange(1, len(spoilt) + 1)]
    return bytes(spoilt)


def one(of: MapIdentity, chance: random.Random) -> bytes:
    """The next frame."""
    dice = chance.random()
    if dice < 0.1:
        return chance.randbytes(chance.randrange(1, 300))
    verb = chance.choice(list(Verb))
    while verb in HASHING and chance.random() > 0.002:
        verb = chance.choice(list(Verb))
    if dice < 0.2:
        return frame.question(verb, chance.getrandbits(32), chance.randbytes(chance.randrange(64)))
    whole = frame.question(verb, 7, question_of(verb, of, chance))
    return turned(whole, chance) if dice < 0.4 or verb in QUIET else whole


def main() -> int:
    """Send COUNT frames, each answered or cut off."""
    path, count, seed, identity = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), bytes.fromhex(sys.argv[4])
    of = msgspec.msgpack.decode(identity, type=MapIdentity)
    chance = random.Random(seed)
    sock: socket.socket | None = None
    for _ in range(count):
        if sock is None:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            sock.settimeout(60)
            sock.connect(path)
        try:
            sock.send(one(of, chance))
            data, descriptors = fdpass.receive_with(sock, frame.DATAGRAM_BYTES, frame.PASSED_LIMIT)
            fdpass.close_all(descriptors)
        except ConnectionError:
            data = b""
        if not data:
            sock.close()
            sock = None
    return 0


if __name__ == "__main__":
    sys.exit(main())
