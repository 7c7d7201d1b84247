"""Edits of a whole map: freeze, pin, unpin, clear; and the making of a new one."""

from __future__ import annotations

import os

from app.broker import pins
from app.broker.edits.act import Act, Ended, Prepared
from app.broker.host import with_fd
from app.broker.objects import map_facts
from app.uapi import objects
from app.uapi.enums import BpfMapFlag, BpfMapType
from app.uapi.errors import AlreadyThere, KernelError, ObjectGone
from app.uapi.syscall import MapSpec, map_create, map_delete, map_freeze, map_next_key
from app.wire.edits import NewMap
from app.wire.errors import BadField, PinOutside

PROMISES = {
    "freeze": "The kernel refuses every write from user space from then on, for ever and to everybody; programs still write.",
    "pin": "The map gets a file in the bpffs, and lives as long as that is there.",
    "unpin": "The file is removed; the map itself goes when nothing else holds it.",
    "clear": "Entry after entry is deleted, as the walk finds them: what programs put in meanwhile may stay.",
    "make": "A new map, pinned so that it lives on.",
}
MAX_WALKS = 8
"""Times that a clearing begins anew, for maps that programs fill while it goes."""


def freeze(act: Act) -> Prepared:
    """No write from user space ever after."""

    def run() -> Ended:
        map_freeze(act.map_fd)
        return Ended(result="done" if map_facts(act.map_fd, None).frozen else "overtaken")

    return Prepared(
        method="freeze", promise=PROMISES["freeze"], run=run,
        warnings=["It cannot be undone, not by anybody: only a new map can be written to again."],
    )  # fmt: skip


def pin(act: Act) -> Prepared:
    """A file in the bpffs."""
    path = act.edit.path
    _check(act, path)

    def run() -> Ended:
        folder, name = _folder(act, path)

        def make(directory: int) -> None:
            # By the folder's magic link, so that nobody can swap a component of the path meanwhile.
            objects.obj_pin(f"/proc/self/fd/{directory}/{name}", act.map_fd)

        try:
            with_fd(folder, make)
        except AlreadyThere:
            return Ended(result="conflict", sentence=f"Something is pinned at {path} already.")
        return Ended(result="done" if _pinned_id(act, path) == act.facts.id else "overtaken")

    return Prepared(method="pin", promise=PROMISES["pin"], run=run, detail=path)


def unpin(act: Act) -> Prepared:
    """Remove the file, if it is this map's."""
    path = act.edit.path
    warnings = []
    found = _pinned_id(act, path)
    if found != act.facts.id:
        raise BadField(f"{path[:200]} does not pin this map" + ("" if found is None else f" but map {found}"), "path")
    if not _held(act):
        warnings.append(
            "Nothing else that can be seen holds this map: without the pin it is gone, with all that is in it."
        )

    def run() -> Ended:
        if _pinned_id(act, path) != act.facts.id:
            return Ended(result="conflict", sentence=f"{path} pins something else by now.")
        folder, name = _folder(act, path)
        try:
            with_fd(folder, lambda directory: os.unlink(name, dir_fd=directory))
        except FileNotFoundError:
            return Ended(result="no_entry")
        except OSError as error:
            return Ended(result="refused", sentence=f"{path} cannot be removed: {error.strerror}.")
        return Ended(result="done" if _pinned_id(act, path) is None else "overtaken")

    return Prepared(method="unpin", promise=PROMISES["unpin"], run=run, detail=path, warnings=warnings)


def clear(act: Act) -> Prepared:
    """Delete every entry."""

    def run() -> Ended:
        gone = 0
        for _ in range(MAX_WALKS):
            before = gone
            gone += _clear_once(act)
            if gone == before:
                break
        left = map_next_key(act.map_fd, None, bytearray(act.facts.key_size))
        return Ended(
            result="overtaken" if left else "done",
            sentence=f"{gone} {'entry' if gone == 1 else 'entries'} deleted."
            + (" Programs put others in meanwhile." if left else ""),
        )

    return Prepared(
        method="clear", promise=PROMISES["clear"], run=run,
        warnings=["It cannot be undone from the record: the entries are counted, not kept."],
    )  # fmt: skip


def _clear_once(act: Act) -> int:
    """Walk, asking for the next key before the one at hand is deleted: a deleted key leads back to the first."""
    gone = 0
    following = bytearray(act.facts.key_size)
    more = map_next_key(act.map_fd, None, following)
    for _ in range(2 * act.facts.max_entries + 1):
        if not more:
            break
        key = bytes(following)
        more = map_next_key(act.map_fd, key, following)
        gone += map_delete(act.map_fd, key)
    return gone


def make(act: Act) -> Prepared:
    """A new map, pinned."""
    spec = act.edit.new_map
    if spec is None:
        raise BadField("say what map to make", "new_map")
    if not spec.pin:
        raise BadField("a new map needs a path to be pinned at: one that nothing holds is gone at once", "pin")
    _check(act, spec.pin)
    if not spec.name.isascii() or not all(char.isalnum() or char in "_." for char in spec.name) or len(spec.name) > 15:  # noqa: PLR2004
        raise BadField("a map's name has at most 15 letters, digits, dots and underscores", "name")

    def run() -> Ended:
        inner = _inner(spec)
        try:
            made = map_create(
                MapSpec(
                    type=spec.type, key_size=spec.key_size, value_size=spec.value_size, max_entries=spec.max_entries,
                    flags=spec.map_flags, name=spec.name.encode(), inner_map_fd=max(inner, 0), map_extra=spec.map_extra,
                )
            )  # fmt: skip
        finally:
            if inner >= 0:
                os.close(inner)
        try:
            folder, name = _folder(act, spec.pin)
            try:
                with_fd(folder, lambda directory: objects.obj_pin(f"/proc/self/fd/{directory}/{name}", made))
            except AlreadyThere:
                return Ended(result="conflict", sentence=f"Something is pinned at {spec.pin} already.")
            return Ended(result="done", new_map_id=objects.map_info(made).id)
        finally:
            os.close(made)

    warnings = ["Its keys and values have no types: they are shown as bytes until a schema is attached."]
    return Prepared(method="make", promise=PROMISES["make"], run=run, detail=spec.pin, warnings=warnings)


def _inner(spec: NewMap) -> int:
    if spec.type not in {BpfMapType.ARRAY_OF_MAPS, BpfMapType.HASH_OF_MAPS}:
        return -1
    if not spec.inner_map_id:
        raise BadField("a map of maps needs the id of a map that its inner ones are like", "inner_map_id")
    return objects.map_get_fd_by_id(spec.inner_map_id, BpfMapFlag.RDONLY)


def _check(act: Act, path: str) -> None:
    folder, _ = _folder(act, path)
    os.close(folder)


def _folder(act: Act, path: str) -> tuple[int, str]:
    try:
        return pins.open_folder(act.bpffs, path)
    except PinOutside as error:
        raise BadField(str(error), "path") from None


def _pinned_id(act: Act, path: str) -> int | None:
    try:
        descriptor = pins.open_pin(act.bpffs, path)
    except (PinOutside, KernelError):
        return None
    try:
        return objects.map_info(descriptor).id if pins.kind_of(descriptor) == "map" else None
    finally:
        os.close(descriptor)


def _held(act: Act) -> bool:
    """Whether a program uses the map: what processes hold is for the holders' iterator, and a descriptor of ours is one, too."""
    for prog_id in objects.ids(objects.prog_get_next_id):
        try:
            info = with_fd(objects.prog_get_fd_by_id(prog_id), objects.prog_info)
        except ObjectGone:
            continue
        if act.facts.id in info.map_ids:
            return True
    return False
