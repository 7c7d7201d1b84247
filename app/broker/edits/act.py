"""An edit on its way: what is needed to plan it, what the plan says, and what came of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from app.broker.edits import kinds
from app.broker.edits.owners import owner_key
from app.broker.host import with_fd
from app.broker.swap.field import Field
from app.broker.swap.run import Editor
from app.broker.swap.target import Kept, Target, kept_parts
from app.btf.errors import BtfError
from app.btf.parse import Btf, parse
from app.uapi import objects
from app.uapi.errors import KernelError
from app.uapi.kernel import stride
from app.uapi.syscall import map_lookup
from app.wire.bodies import MapFacts
from app.wire.edits import Edit, FieldPlan
from app.wire.errors import BadField
from app.wire.records import FieldRecord

RESULT_SENTENCES = {
    "planned": "Nothing was written yet.",
    "pending": "Nothing was written yet: the policy asks for another person's agreement.",
    "done": "Written, and read again: it is there.",
    "conflict": "Nothing was written: the entry holds something else than what was expected. Look at it again.",
    "no_entry": "Nothing was written: there is no such entry.",
    "contended": "Nothing was written: programs change the word faster than it can be swapped. Try again.",
    "refused": "Nothing was written.",
    "replaced": "Written to an element that a program replaced or deleted meanwhile: the entry does not hold it.",
    "overtaken": "Written, and changed by a program since: the entry holds something else.",
    "partial": "Some of the fields were written and could not be put back: look at the entry.",
}


@dataclass(slots=True, kw_only=True)
class Act:
    """One edit of one open map."""

    edit: Edit
    map_fd: int
    """Open for reading and writing."""
    facts: MapFacts
    bpffs: Path
    btf: Btf | None
    kept: tuple[Kept, ...]
    editors: dict[tuple[int, int, bool], Editor]
    """By place: programs that earlier rows of the same plan loaded."""

    @property
    def target(self) -> Target:
        """As app.broker.swap takes it."""
        return Target(self.facts, self.kept)

    def editor(self, of: Field) -> Editor:
        """The editor of a field, with its program loaded once."""
        place = (of.offset_bits, of.size_bits, of.signed)
        if place not in self.editors:
            self.editors[place] = Editor(self.map_fd, self.target, of)
        return self.editors[place]

    @contextmanager
    def key(self) -> Iterator[bytes]:
        """The key that the kernel takes: of storages the owner's descriptor, open as long as the `with`. raises BadField"""
        if self.facts.type in kinds.OWNED:
            with owner_key(self.facts.type, self.edit.owner) as key:
                yield key
            return
        if len(self.edit.key) != self.facts.key_size:
            raise BadField(f"a key of this map has {self.facts.key_size} bytes, not {len(self.edit.key)}", "key")
        yield self.edit.key

    def read(self, key: bytes | None, flags: int = 0) -> bytes | None:
        """The whole value as the kernel gives it, None where there is no such entry or it cannot be read.

        A trie answers with the longest prefix that fits, which is the key's own entry only where no shorter one is found.
        """
        value = bytearray(stride(self.facts.type, self.facts.value_size))
        try:
            found = map_lookup(self.map_fd, key, value, flags)
        except KernelError:
            return None
        return bytes(value) if found else None


@dataclass(slots=True, kw_only=True)
class Ended:
    """What came of an edit."""

    result: str
    sentence: str = ""
    """Beyond what the result says by itself."""
    fields: tuple[FieldPlan, ...] = ()
    after: bytes | None = None
    new_map_id: int = 0
    records: tuple[FieldRecord, ...] = ()

    @property
    def says(self) -> str:
        """For people."""
        return " ".join(part for part in (RESULT_SENTENCES.get(self.result, ""), self.sentence) if part)


@dataclass(slots=True, kw_only=True)
class Prepared:
    """A plan, and how to carry it out."""

    method: str
    promise: str
    run: Callable[[], Ended]
    why: str = ""
    before: bytes | None = None
    after: bytes | None = None
    fields: tuple[FieldPlan, ...] = ()
    warnings: list[str] = field(default_factory=list)
    records: tuple[FieldRecord, ...] = ()
    """For the intent."""
    detail: str = ""
    moved: bool = False
    """The entry holds something else than what was expected already."""


def btf_of(facts: MapFacts) -> Btf | None:
    """The map's types; None where it has none, or none that can be read: then it is bytes."""
    if not facts.btf_id or not facts.btf_value_type_id:
        return None
    try:
        return parse(with_fd(objects.btf_get_fd_by_id(facts.btf_id), objects.btf_data))
    except (BtfError, KernelError):
        return None


def kept_of(facts: MapFacts, btf: Btf | None) -> tuple[Kept, ...]:
    """The kernel's own parts of a value.

    raises  BtfError for a type that cannot be walked: such a value is not written by field at all
    """
    return kept_parts(btf, facts.btf_value_type_id) if btf is not None else ()


@dataclass(slots=True)
class Held:
    """The one map of an edit, or of all edits of a plan, and the programs loaded for it; whoever made it closes it."""

    map_fd: int = -1
    editors: dict[tuple[int, int, bool], Editor] = field(default_factory=dict)

    def close(self) -> None:
        """Let programs and map go."""
        for editor in self.editors.values():
            editor.close()
        self.editors.clear()
        if self.map_fd >= 0:
            os.close(self.map_fd)
            self.map_fd = -1
