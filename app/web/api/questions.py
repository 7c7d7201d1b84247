"""Shapes of what the API is asked to do."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from app.web.api.shapes import Shape

Cpu = Annotated[int, msgspec.Meta(ge=0, lt=1 << 16)]


class EditQuestion(Shape, frozen=True, kw_only=True):
    """One edit of one map: fields set, or one of the other things.

    Numbers, lists and objects are as `dump` prints them; text is as people write it: "10.0.0.1", "ESTABLISHED", "hex:…".
    """

    key: Any = msgspec.UNSET
    """Which entry, as `dump` prints keys, or text in any form that the command line takes."""
    owner: str = ""
    """Of a local storage, instead of a key: `task:PID`, `cgroup:/path`, `inode:/path`, `socket:PID:FD`."""
    set: dict[str, Any] = msgspec.field(default_factory=dict)
    """By path what a field gets; the path `value` is the whole value."""
    value: Any = msgspec.UNSET
    """The whole value."""
    expected: dict[str, Any] = msgspec.field(default_factory=dict)
    """By path what a field must hold."""
    create: bool | dict[str, Any] | None = None
    """A new entry: its value, or true with `set` or `value`; what is not given is zero."""
    delete: bool = False
    thing: str = ""
    """What a slot gets: `prog:ID`, `map:ID`, `pin:/path`, `dev:NAME`, `cpu:QSIZE`, `cgroup:/path`, `socket:PID:FD`."""
    push: bool = False
    pop: bool = False
    freeze: bool = False
    clear: bool = False
    pin: bool = False
    unpin: bool = False
    path: str = ""
    """Of `pin` and `unpin`."""
    cpu: Cpu | Literal["all"] | None = None
    """Of per-CPU maps: whose value."""
    reason: str = ""
    """Why; needed unless it is a dry run."""
    dry_run: bool = False
    """Say what would be done and how, and do nothing."""


class SnapshotQuestion(Shape, frozen=True, kw_only=True):
    """Snapshots of some maps, now."""

    maps: list[int | str]
    """Ids, pin paths, or `name:NAME`."""
    label: str = ""
    """One with a label is kept until somebody deletes it."""


class UndoQuestion(Shape, frozen=True, kw_only=True):
    """Take an edit back."""

    reason: str = ""
    dry_run: bool = False
