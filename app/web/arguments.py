"""Arguments of a URL: each is checked once, and a bad one is a sentence with status 400."""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlencode

from flask import request

from app.web.problems import BadArgument, NotHere
from app.wire.errors import BadField

MAX_TEXT_CHARS = 4000
MAX_ID = (1 << 32) - 1
MAX_DIGITS = 18
"""Longer numbers are not read at all."""


def whole(name: str, *, default: int, least: int, most: int) -> int:
    """A whole number in a range."""
    text = request.args.get(name, "")
    if text == "":
        return default
    if not (text.isascii() and text.isdecimal() and len(text) <= MAX_DIGITS and least <= int(text) <= most):
        raise BadArgument(name, text, f"a whole number from {least} to {most}")
    return int(text)


def choice(name: str, allowed: Collection[str], default: str = "") -> str:
    """One of a few words."""
    text = request.args.get(name, default)
    if text != default and text not in allowed:
        raise BadArgument(name, text, "one of " + ", ".join(sorted(allowed)))
    return text


def typed(name: str, most_chars: int = 200) -> str:
    """One field of a form, as it was sent. raises BadField, so that the form comes back"""
    text = request.form.get(name, "")
    if len(text) > most_chars:
        raise BadField(f"this has {len(text)} characters, {most_chars} are the most: shorten it", name)
    return text


def words(name: str) -> str:
    """Free text, bounded."""
    text = request.args.get(name, "").strip()
    if len(text) > MAX_TEXT_CHARS:
        raise BadArgument(name, text, f"at most {MAX_TEXT_CHARS} characters")
    if not all(char >= " " and char != "\x7f" for char in text):
        raise BadArgument(name, text, "text without control characters")
    return text


def map_id(text: str) -> int:
    """A map's id from the path; what cannot be one is not found."""
    if not (text.isascii() and text.isdecimal() and len(text) <= MAX_DIGITS and 0 < int(text) <= MAX_ID):
        raise NotHere("such map: an id is a whole number from 1")
    return int(text)


def link(path: str, **arguments: object) -> str:
    """A path with its arguments, empty ones left out: every state of a page has one address."""
    kept = [(name, str(value)) for name, value in arguments.items() if value not in ("", None, False)]
    return path + ("?" + urlencode(kept) if kept else "")
