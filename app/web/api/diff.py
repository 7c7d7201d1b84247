"""GET /api/v1/diff: the document of `diff --json`, streamed."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from flask import Blueprint, Response

from app.timeline.told import diff_json, summary_json
from app.web import arguments
from app.web.backend import Backend
from app.web.blocks import blocks
from app.web.diff_sides import compared, ignored_in, pair
from app.web.diff_state import ON_OFF
from app.web.problems import BadArgument

WANTED = "a side: a snapshot (s12), a map (42, name:NAME, a pin path), a map at a time (42@10m), or live"


def blueprint(backend: Backend) -> Blueprint:
    """The comparison of two sides."""
    bp = Blueprint("api_diff", __name__, url_prefix="/api/v1")

    @bp.get("/diff")
    def diff() -> Response:
        texts = {name: arguments.words(name) for name in ("a", "b")}
        for name, text in texts.items():
            if not text:
                raise BadArgument(name, text, WANTED)
        ignores = arguments.choice("ignore", ON_OFF, "1") == "1"
        summary = arguments.choice("summary", ON_OFF, "0") == "1"
        a, b = pair(backend, texts["a"], texts["b"])
        made = compared(backend, a, b, ignored_in(a, b) if ignores else (), bare=True)
        return streamed(iter((summary_json(made),)) if summary else diff_json(made))

    return bp


def streamed(pieces: Iterator[bytes]) -> Response:
    """A JSON document whose first piece is made before the answer begins."""
    return Response(blocks(chain((next(pieces, b""),), pieces)), content_type="application/json")
