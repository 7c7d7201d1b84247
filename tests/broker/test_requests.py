"""The table is the whole surface."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.broker.peers import Peer
from app.broker.requests import BY_VERB, REQUESTS
from app.wire.frame import INLINE_BYTES
from app.wire.verbs import SHAPES, Verb

DOCUMENT = Path(__file__).parents[2] / "docs" / "privsep.md"


def test_every_verb_has_one_row() -> None:
    assert [request.verb for request in REQUESTS] == list(Verb) == list(SHAPES)
    assert set(BY_VERB) == {int(verb) for verb in Verb}


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda row: row.verb.name)
def test_a_row_is_sound(request_: object) -> None:
    row = request_
    assert row.body is SHAPES[row.verb].question  # type: ignore[attr-defined]
    assert 0 < row.body_limit_bytes <= INLINE_BYTES  # type: ignore[attr-defined]
    assert Peer.ROOT in row.needs  # type: ignore[attr-defined]


@pytest.mark.parametrize("verb", list(Verb), ids=lambda verb: verb.name)
def test_the_document_names_each_request(verb: Verb) -> None:
    assert f"| `{verb.name}` |" in DOCUMENT.read_text(encoding="utf-8")
