"""The C spelling of a type around a declared name: ``int (*handlers[4])(void *)``.

C's declarators wrap outwards from the name: arrays and parameters go to its right, pointers to its left, with
parentheses where a pointer meets either. Work and text are bounded, since BTF may nest without end.
"""

from __future__ import annotations

from typing import Protocol

from app.btf.errors import TooDeep, TooLarge
from app.btf.types import (
    Array,
    Const,
    Enum,
    FuncProto,
    Fwd,
    Ptr,
    Restrict,
    Struct,
    Type,
    TypeTag,
    Union,
    Volatile,
)

MAX_STEPS = 4096
MAX_NESTING = 64
MAX_TEXT = 1 << 16


class Types(Protocol):
    """What the spelling needs of a Btf."""

    def type(self, type_id: int) -> Type:
        """Return a type by its number."""
        ...


class Speller:
    """Spells types for one declaration; its small methods are what a user changes."""

    def __init__(self, types: Types, *, steps: int = MAX_STEPS, characters: int = MAX_TEXT) -> None:
        """Start with a fresh budget, which all types that are spelled by this one share."""
        self._types = types
        self._steps_left = steps
        self._characters_left = characters

    def base_name(self, found: Type, depth: int) -> str:
        """Return the name at the centre: that of a type which is not a pointer, array, function or qualifier.

        depth    0 for the declared type itself, more within parameters
        """
        del depth
        match found:
            case Struct():
                return f"struct {found.name or '{...}'}"
            case Union():
                return f"union {found.name or '{...}'}"
            case Enum():
                return f"enum {found.name or '{...}'}"
            case Fwd():
                return f"{'union' if found.is_union else 'struct'} {found.name or '{...}'}"
            case _:
                return found.name or f"<{found.kind.name.lower()}>"

    def tag_text(self, tag: TypeTag) -> str:
        """Return what stands for a type tag on a pointer's target; "" to leave it out."""
        del tag
        return ""

    def array_text(self, count: int) -> str:
        """Return the brackets of an array."""
        return f"[{count or ''}]"

    def param_name(self, name: str) -> str:
        """Return a parameter's name as it is to be written; "" to leave names out."""
        del name
        return ""

    def declare(self, type_id: int, inner: str = "", depth: int = 0) -> str:
        """Spell a type around ``inner``, the declared name ("" for the bare type).

        raises   NoSuchType, TooDeep, TooLarge
        """
        if depth > MAX_NESTING:
            raise TooDeep(type_id, MAX_NESTING)
        qualifiers: list[str] = []
        tags: list[str] = []
        current = type_id
        while True:
            self._steps_left -= 1
            if self._steps_left < 0 or len(inner) > MAX_TEXT:
                raise TooLarge(f"BTF type {type_id}: its spelling in C has no end")
            found = self._types.type(current)
            match found:
                case Const() | Volatile() | Restrict():
                    qualifiers.append(found.kind.name.lower())
                    current = found.target
                case TypeTag():
                    if text := self.tag_text(found):
                        tags.append(text)
                    current = found.target
                case Ptr():
                    # Qualifiers met so far belong to the pointer itself: they stand at its right.
                    star = " ".join(["*", *reversed(qualifiers), *reversed(tags)])
                    inner = star + (" " if len(star) > 1 and inner and inner[0] not in "[(" else "") + inner
                    qualifiers, tags = [], []
                    current = found.target
                case Array():
                    if inner.startswith("*"):
                        inner = f"({inner})"
                    inner = f"{inner}{self.array_text(found.count)}"
                    current = found.element
                case FuncProto():
                    if inner.startswith("*"):
                        inner = f"({inner})"
                    inner = f"{inner}({self._params(found, depth)})"
                    qualifiers, tags = [], []
                    current = found.result
                case _:
                    text = " ".join([*reversed(qualifiers), self.base_name(found, depth), *reversed(tags)])
                    self._characters_left -= len(text) + len(inner)
                    if self._characters_left < 0:
                        raise TooLarge(f"BTF type {type_id}: its spelling in C has no end")
                    if not inner:
                        return text
                    return text + ("" if inner[0] == "[" else " ") + inner

    def _params(self, proto: FuncProto, depth: int) -> str:
        if not proto.params:
            return "void"
        texts = []
        for param in proto.params:
            if param.type_id == 0:
                texts.append("...")
            else:
                texts.append(self.declare(param.type_id, self.param_name(param.name), depth + 1))
        return ", ".join(texts)


def spell(types: Types, type_id: int) -> str:
    """Spell a bare type: "struct flow_key", "const char *", "char[16]", "int (*)(void *, __u32)"."""
    return Speller(types).declare(type_id)
