"""Names as C allows them: unique per name space, made of letters, digits and underscores, none of them a keyword."""

from __future__ import annotations

import re
from collections.abc import Hashable

from app.btf.types import Float, Int
from app.btf.words import Unique

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_ATTRIBUTE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\([A-Za-z0-9_, ]*\))?\Z")
KEYWORDS = frozenset(
    re.findall(
        r"\w+",
        """
        auto break case char const continue default do double else enum extern float for goto if inline int long
        register restrict return short signed sizeof static struct switch typedef union unsigned void volatile while asm
        typeof _Bool _Complex _Alignas _Alignof _Atomic _Generic _Noreturn _Static_assert _Thread_local
        """,
    )
)
NUMBER_WORDS = frozenset({
    "char", "short", "int", "long", "signed", "unsigned", "float", "double", "_Bool", "__int128", "_Float16", "__bf16",
})  # fmt: skip
BUILT_IN_TYPEDEFS = frozenset({"__builtin_va_list"})
"""Compilers know these and refuse a typedef of that name."""


class Names:
    """What each type, variable and enumerator is called in one text; a name that is taken gets ``___2`` added."""

    def __init__(self) -> None:
        """Start with no name taken."""
        self._ordinary: dict[Hashable, str] = {}
        self._unique_ordinary = Unique("___")
        self._tags: dict[Hashable, str] = {}
        self._unique_tag = Unique("___")
        self._tag_owner: dict[str, Hashable] = {}
        self._words: dict[Hashable, str] = {}

    def ordinary(self, owner: Hashable, name: str) -> str:
        """Return the name of a typedef, variable, function or enumerator."""
        if owner not in self._ordinary:
            self._ordinary[owner] = self._unique_ordinary(identifier(name))
        return self._ordinary[owner]

    def tag(self, type_id: int, name: str, word: str, *, declared: bool) -> str:
        """Return the name after ``struct``, ``union`` or ``enum``; declarations share their definition's."""
        owner: Hashable = (name, word) if declared else type_id
        if owner in self._tags:
            return self._tags[owner]
        plain = identifier(name)
        holder = self._tag_owner.get(plain)
        shared = holder == (name, word) or (declared and self._words.get(holder) == word)
        found = plain if shared else self._unique_tag(plain)
        self._tags[owner] = found
        self._tag_owner[found] = owner
        self._words[owner] = word
        return found

    def member(self, name: str) -> str:
        """Return a member's or parameter's name; "" stays ""."""
        return identifier(name) if name else ""

    def number(self, found: Int | Float) -> str:
        """Return the name of a number's type."""
        return found.name if is_built_in(found) else identifier(found.name or f"number_{found.id}")


def identifier(name: str) -> str:
    """Return the name if C takes it, else the nearest that it does."""
    if not _IDENTIFIER.match(name):
        name = re.sub(r"[^A-Za-z0-9_]", "_", name)
        if not name or name[0].isdigit():
            name = f"_{name}"
    return f"{name}_" if name in KEYWORDS else name


def is_built_in(found: Int | Float) -> bool:
    """Whether the name is made of C's own words for numbers."""
    return bool(found.name) and NUMBER_WORDS.issuperset(found.name.split())


def int_typedef(found: Int | Float) -> str:
    """Return the typedef that a number of another language (Rust's "u8") needs; "" for C's own."""
    if is_built_in(found):
        return ""
    name = identifier(found.name or f"number_{found.id}")
    if isinstance(found, Float):
        words = {2: "_Float16", 4: "float", 8: "double"}.get(found.size_bytes, "long double")
        return f"typedef {words} {name};"
    words = {1: "char", 2: "short", 4: "int", 8: "long long", 16: "__int128"}.get(found.size_bytes, "int")
    return f"typedef {'signed' if found.signed else 'unsigned'} {words} {name};"


def c_string(text: str) -> str:
    """Return a C string literal."""
    return '"' + "".join(_escaped(byte) for byte in text.encode("utf-8", "replace")) + '"'


def _escaped(byte: int) -> str:
    if byte in b'"\\':
        return "\\" + chr(byte)
    return chr(byte) if chr(byte).isascii() and chr(byte).isprintable() else f"\\{byte:03o}"


def is_c_attribute(text: str) -> bool:
    """Whether the text can stand inside ``__attribute__((...))`` and end there."""
    return bool(_ATTRIBUTE.match(text))
