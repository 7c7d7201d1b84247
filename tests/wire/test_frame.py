"""Frames: what goes in comes out, and nothing else gets through."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.wire import frame
from app.wire.errors import BadFrame
from app.wire.frame import INLINE_BYTES, Outcome, Place


@given(st.integers(0, 2**16 - 1), st.integers(0, 2**32 - 1), st.binary(max_size=200))
def test_a_question_comes_out_as_it_went_in(verb: int, request_id: int, body: bytes) -> None:
    read = frame.read_question(frame.question(verb, request_id, body))
    assert (read.verb, read.request_id, bytes(read.body)) == (verb, request_id, body)


@given(st.sampled_from(Outcome), st.integers(0, 2), st.integers(0, 2**32 - 1), st.binary(max_size=200))
def test_an_answer_comes_out_as_it_went_in(outcome: Outcome, passed: int, request_id: int, body: bytes) -> None:
    head = frame.read_answer(frame.answer(outcome, Place.INLINE, passed, request_id, len(body), body))
    assert (head.outcome, head.passed, head.request_id, bytes(head.body)) == (outcome, passed, request_id, body)


@given(st.binary(max_size=64))
def test_noise_is_refused_or_read_and_never_crashes(noise: bytes) -> None:
    for read in (frame.read_question, frame.read_answer):
        for start in (b"", b"bpaQ\x01\x00", b"bpaA\x01"):
            try:
                read(start + noise)
            except BadFrame:
                continue


def test_the_form_on_the_wire_never_changes() -> None:
    # magic, version u16, verb u16, request id u32, bytes of body u32; little-endian
    assert frame.question(7, 9, b"\x91\x05").hex(" ", -4) == "62706151 01000700 09000000 02000000 9105"


def test_a_question_is_one_datagram() -> None:
    assert len(frame.question(1, 1, bytes(INLINE_BYTES))) <= frame.DATAGRAM_BYTES
    with pytest.raises(BadFrame, match="at most 61440 bytes"):
        frame.question(1, 1, bytes(INLINE_BYTES + 1))


ANSWER = struct.Struct("<4sBBBBII")


@pytest.mark.parametrize(
    ("datagram", "found"),
    [
        pytest.param(b"", "found 0", id="nothing"),
        pytest.param(ANSWER.pack(b"bpaQ", 1, 0, 0, 0, 1, 0), "bpaQ", id="a question's magic"),
        pytest.param(ANSWER.pack(b"bpaA", 9, 0, 0, 0, 1, 0), "version 9", id="another version"),
        pytest.param(ANSWER.pack(b"bpaA", 1, 2, 0, 0, 1, 0), "2 is not a valid Outcome", id="unknown outcome"),
        pytest.param(ANSWER.pack(b"bpaA", 1, 0, 7, 0, 1, 0), "7 is not a valid Place", id="unknown place"),
        pytest.param(ANSWER.pack(b"bpaA", 1, 0, 0, 3, 1, 0), "found 3", id="too many descriptors"),
        pytest.param(ANSWER.pack(b"bpaA", 1, 0, 1, 2, 1, 9), "found 2", id="too many beside a memory file"),
        pytest.param(ANSWER.pack(b"bpaA", 1, 0, 0, 0, 1, 5) + b"1234", "found 4", id="short body"),
        pytest.param(ANSWER.pack(b"bpaA", 1, 0, 1, 0, 1, 5) + b"12345", "found 5", id="body beside a memory file"),
        pytest.param(ANSWER.pack(b"bpaA", 1, 0, 1, 0, 1, 2**32 - 1), "found 0", id="4 GiB"),
    ],
)
def test_a_malformed_answer_is_refused(datagram: bytes, found: str) -> None:
    with pytest.raises(BadFrame, match=found):
        frame.read_answer(datagram)
