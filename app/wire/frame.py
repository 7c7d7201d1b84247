"""The datagrams of the broker's SOCK_SEQPACKET socket: a fixed header, little-endian, and a msgpack body behind it.

A question always fits one datagram. An answer's body follows its header when it is small, and otherwise lies in a
sealed memory file that comes with the datagram (sealed.py); descriptors that are the answer come after that one.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

from app.wire.errors import BadFrame

VERSION = 1
_QUESTION = struct.Struct("<4sHHII")  # magic, version, verb, request id, bytes of body
_ANSWER = struct.Struct("<4sBBBBII")  # magic, version, outcome, place, descriptors passed, request id, bytes of body
_QUESTION_MAGIC = b"bpaQ"
_ANSWER_MAGIC = b"bpaA"

INLINE_BYTES = 60 * 1024
"""Bodies up to here travel in the datagram."""
DATAGRAM_BYTES = INLINE_BYTES + 64
"""Room that a receiver gives one datagram; a longer one arrives cut, and is refused."""
ANSWER_BYTES = 512 << 20
"""No answer is longer."""
PASSED_LIMIT = 2
"""Descriptors that one answer may bring: its body, and the one that was asked for."""


class Outcome(IntEnum):
    """What an answer's body is."""

    ANSWERED = 0
    REFUSED = 1


class Place(IntEnum):
    """Where an answer's body is."""

    INLINE = 0
    MEMORY_FILE = 1


@dataclass(frozen=True, slots=True)
class Question:
    """A question's header, checked for form alone, and its body still encoded."""

    verb: int
    request_id: int
    body: memoryview


@dataclass(frozen=True, slots=True)
class AnswerHead:
    """An answer's header; `body` is empty where it lies in a memory file."""

    outcome: Outcome
    place: Place
    passed: int
    request_id: int
    body_bytes: int
    body: memoryview


def question(verb: int, request_id: int, body: bytes) -> bytes:
    """One datagram that asks.

    raises  BadFrame if the body does not fit one
    """
    if len(body) > INLINE_BYTES:
        raise BadFrame(f"a question of at most {INLINE_BYTES} bytes", f"{len(body)}")
    return _QUESTION.pack(_QUESTION_MAGIC, VERSION, verb, request_id, len(body)) + body


def read_question(datagram: bytes) -> Question:
    """Take a question apart.

    raises  BadFrame unless magic, version and length are right
    """
    if len(datagram) < _QUESTION.size:
        raise BadFrame(f"at least {_QUESTION.size} bytes", f"{len(datagram)}")
    magic, version, verb, request_id, body_bytes = _QUESTION.unpack_from(datagram)
    if magic != _QUESTION_MAGIC or version != VERSION:
        raise BadFrame(f"a question of version {VERSION}", f"{magic!r} version {version}")
    body = memoryview(datagram)[_QUESTION.size :]
    if len(body) != body_bytes:
        raise BadFrame(f"a body of {body_bytes} bytes", f"{len(body)}")
    return Question(verb, request_id, body)


def answer(outcome: Outcome, place: Place, passed: int, request_id: int, body_bytes: int, body: bytes = b"") -> bytes:
    """One datagram that answers; `body` only where it is inline."""
    return _ANSWER.pack(_ANSWER_MAGIC, VERSION, outcome, place, passed, request_id, body_bytes) + body


def read_answer(datagram: bytes) -> AnswerHead:
    """Take an answer apart.

    raises  BadFrame unless magic, version, enumerations and lengths are right
    """
    if len(datagram) < _ANSWER.size:
        raise BadFrame(f"at least {_ANSWER.size} bytes", f"{len(datagram)}")
    magic, version, outcome, place, passed, request_id, body_bytes = _ANSWER.unpack_from(datagram)
    if magic != _ANSWER_MAGIC or version != VERSION:
        raise BadFrame(f"an answer of version {VERSION}", f"{magic!r} version {version}")
    try:
        outcome, place = Outcome(outcome), Place(place)
    except ValueError as error:
        raise BadFrame("a known outcome and place", str(error)) from None
    body = memoryview(datagram)[_ANSWER.size :]
    wanted = body_bytes if place is Place.INLINE else 0
    if len(body) != wanted or body_bytes > ANSWER_BYTES:
        raise BadFrame(f"a body of {wanted} bytes, {ANSWER_BYTES} at most", f"{len(body)}")
    if passed > PASSED_LIMIT - (place is Place.MEMORY_FILE):
        raise BadFrame(f"at most {PASSED_LIMIT} descriptors", f"{passed}")
    return AnswerHead(outcome, place, passed, request_id, body_bytes, body)
