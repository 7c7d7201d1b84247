"""What somebody had typed when they were signed out, or had to give their password: kept a while in this process's memory.

The form's address with the draft's number leads back to it. Nothing that was typed goes into an address, nor onto the disk.
"""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from flask import Flask, Request, current_app, g, request
from werkzeug.datastructures import ImmutableMultiDict, MultiDict

if TYPE_CHECKING:
    from collections.abc import Callable

MOST = 64
LARGEST = 256 * 1024
"""Characters of one draft; what is longer is not kept."""
LASTS_S = 3600
ARGUMENT = "draft"
NOT_TYPED = frozenset({"csrf", "previewed", "apply", "confirm", "rebase"})
FORMS = ("edits.", "plans.make")
"""Endpoints whose forms are worth keeping, by how they begin."""


@dataclass(frozen=True, slots=True)
class Draft:
    """One form."""

    path: str
    """Of the page that shows it."""
    fields: MultiDict[str, str]
    ends_at_s: float


class Drafts:
    """The latest few of them."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: OrderedDict[str, Draft] = OrderedDict()
        self._lock = Lock()

    def keep(self, path: str, form: MultiDict[str, str]) -> str:
        """Address that leads back to it; without a draft where it is too long to keep."""
        fields = MultiDict((name, text) for name, text in form.items(multi=True) if name not in NOT_TYPED)
        if sum(len(name) + len(text) for name, text in fields.items(multi=True)) > LARGEST:
            return path
        number = secrets.token_urlsafe(16)
        with self._lock:
            self._kept[number] = Draft(path, fields, self._clock() + LASTS_S)
            while len(self._kept) > MOST:
                self._kept.popitem(last=False)
        return f"{path}?{urlencode({ARGUMENT: number})}"

    def find(self, number: str, path: str) -> MultiDict[str, str] | None:
        """What was typed into the form of that path, if it is still kept."""
        with self._lock:
            draft = self._kept.get(number)
        return draft.fields if draft and draft.path == path and self._clock() < draft.ends_at_s else None


def install(app: Flask) -> None:
    """Fill forms that are come back to; after the gate, so that nobody sees what they may not open."""
    drafts = app.extensions["drafts"] = Drafts()

    @app.before_request
    def _fill() -> None:
        number = request.args.get(ARGUMENT, "")
        typed = drafts.find(number, request.path) if number and request.method == "GET" else None
        if typed is not None:  # a GET has no form of its own; the views read what was typed where they always do
            request.__dict__["form"] = ImmutableMultiDict(typed)
            request.__dict__["files"] = ImmutableMultiDict()


def way_back(asked: Request) -> str:
    """Address of the form that was sent, with what was typed; empty if it was none that is kept."""
    if asked.method != "POST" or not (asked.endpoint or "").startswith(FORMS):
        return ""
    drafts: Drafts = current_app.extensions["drafts"]
    return drafts.keep(asked.path.removesuffix("/preview"), asked.form)


def elevate_path() -> str:
    """Where a write session begins that leads back to this form, or page."""
    return "/elevate?" + urlencode({"next": way_back(request) or request.path})


def was_signed_in() -> bool:
    """A session there was, which is over: a stranger's forms are not kept."""
    return bool(g.get("session_over"))
