"""Edits in words: how they are written, what came of them, and what a button does."""

from __future__ import annotations

from app.maps.opening import OpenMap
from app.web.text import plural
from app.wire.edits import ALL_CPUS, NO_CPU, Edit

METHODS = {
    "kernel_swap": "Compare-and-swap in the kernel",
    "kernel_store": "Compared and stored in the kernel",
    "mmap_store": "Compared and stored through a mapping",
    "locked_update": "Whole value, under its lock",
    "update": "Whole value, compared and written back",
    "refused": "Not possible",
    "create": "New entry",
    "delete": "Deleted if it is still what was shown",
    "put": "Slot given in one step",
    "push": "Put in",
    "pop": "Taken out",
    "freeze": "Frozen by the kernel",
    "pin": "Pinned",
    "unpin": "Pin removed",
    "clear": "Deleted entry after entry",
    "make": "New map",
}
RESULTS = {
    "done": ("ok", "Done: written, and read again. It is there."),
    "replaced": (
        "warned",
        "Written to an element that a program replaced or deleted meanwhile: the entry does not hold it.",
    ),
    "overtaken": ("warned", "Written, and changed by a program since: the entry holds something else."),
    "partial": ("warned", "Some of the fields were written and could not be put back: look at the entry."),
    "conflict": ("warned", "Nothing was written: the entry held something else than what was expected."),
    "no_entry": ("warned", "Nothing was written: there was no such entry."),
    "contended": ("warned", "Nothing was written: programs change the word faster than it can be swapped."),
    "refused": ("warned", "Nothing was written: it was refused."),
    "unknown": ("warned", "The broker died while it was being written: whether it was is not known."),
}
"""CSS class and sentence by result."""


def effect(opened: OpenMap, edit: Edit) -> str:
    """What the confirming button does: ``Change limit of 1 entry in flows``."""
    name = opened.facts.name or f"map #{opened.facts.id}"
    match edit.action:
        case "set":
            paths = {change.path.removeprefix("value.") for change in edit.changes}
            what = next(iter(paths)) if len(paths) == 1 else plural(len(paths), "field")
            cpus = {change.cpu for change in edit.changes} - {NO_CPU}
            where = (
                "" if not cpus else " on every CPU" if ALL_CPUS in cpus or len(cpus) > 1 else f" on CPU {cpus.pop()}"
            )
            return f"Change {what} of 1 entry in {name}{where}"
        case "replace":
            return f"Replace the value of 1 entry in {name}"
        case "create":
            return f"Create 1 entry in {name}"
        case "delete":
            return f"Delete 1 entry from {name}"
        case "put":
            return f"Put {edit.thing} into 1 slot of {name}"
        case "push":
            return f"Put 1 value into {name}"
        case "pop":
            return f"Take 1 value out of {name}"
        case "freeze":
            return f"Freeze {name} for ever"
        case "pin":
            return f"Pin {name} at {edit.path}"
        case "unpin":
            return f"Remove the pin {edit.path} of {name}"
        case _:
            return f"Delete all entries of {name}"
