"""BTF bytes to types. ``parse`` looks at one word of each record; a type is decoded when it is asked for."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterator

from app.btf.errors import NoSize, NoSuchType, TooDeep, TooLarge
from app.btf.header import ByteOrder, read_header
from app.btf.records import KIND_MASK, KIND_SHIFT, decode, starts_of
from app.btf.spelling import spell
from app.btf.strings import Strings
from app.btf.types import (
    Array,
    Const,
    Datasec,
    DeclTag,
    Enum,
    Float,
    Int,
    Kind,
    Ptr,
    Restrict,
    Struct,
    Type,
    Typedef,
    TypeTag,
    Union,
    Var,
    Void,
    Volatile,
)

MAX_DEPTH = 64
"""Typedefs of typedefs, arrays of arrays, structs in structs. The kernel refuses more than 32 (MAX_RESOLVE_DEPTH)."""
MAX_SIZE_BYTES = (1 << 32) - 1
"""As in the kernel: sizes are u32."""
FEW_OFFSETS = 8
"""Up to this many places of a name, a search of the index for each is quicker than one pass over it."""

_VOID = Void()
_LONG_NAMES = ("long unsigned int", "unsigned long", "long int", "long", "unsigned long int")


def parse(data: bytes, base: Btf | None = None) -> Btf:
    """Index a raw BTF blob, such as /sys/kernel/btf/vmlinux or what BPF_OBJ_GET_INFO_BY_FD copies out.

    data     the whole blob, either byte order
    base     for split BTF (a module's): the BTF whose types and strings it continues
    raises   BtfError and nothing else, here and in every method of the result, in time linear in the blob
    """
    header = read_header(data)
    section = array("I")
    section.frombytes(data[header.types_offset_bytes : header.types_offset_bytes + header.types_size_bytes])
    if header.byte_order != sys.byteorder:
        section.byteswap()
    first_string = header.strings_offset_bytes
    strings = Strings(
        bytes(data[first_string : first_string + header.strings_size_bytes]), base.strings if base else None
    )
    first_id = len(base) if base else 1
    return Btf(header.byte_order, section, starts_of(section, first_id), strings, base)


class Btf:
    """Types by number. ``len`` counts void (type 0) and the base's types, so the numbers are ``range(len(btf))``."""

    def __init__(
        self, byte_order: ByteOrder, words: array[int], starts: array[int], strings: Strings, base: Btf | None
    ) -> None:
        """Use ``parse`` instead."""
        self.byte_order: ByteOrder = byte_order
        self.base = base
        self.strings = strings
        self.first_id = len(base) if base else 1
        """The first number that is not the base's (1 where there is none)."""
        self._words = words
        self._starts = starts
        self._end = self.first_id + len(starts)
        self._types: dict[int, Type] = {0: _VOID}
        self._name_offsets: array[int] | None = None
        self._tags: dict[tuple[int, int | None], list[DeclTag]] | None = None
        self._pointer_bytes: int | None = None

    def __len__(self) -> int:
        """Return one more than the last type's number."""
        return self._end

    def __iter__(self) -> Iterator[int]:
        """Iterate over the numbers of all types, 0 (void) first."""
        return iter(range(self._end))

    def type(self, type_id: int) -> Type:
        """Decode one type, or return it as decoded before.

        raises   NoSuchType, BadRecord, BadString, TooLarge
        """
        found = self._types.get(type_id)
        if found is not None:
            return found
        if not 0 <= type_id < self._end:
            raise NoSuchType(type_id, self._end)
        if self.base is not None and type_id < self.first_id:
            return self.base.type(type_id)
        found = decode(self._words, self._starts[type_id - self.first_id], type_id, self.strings)
        self._types[type_id] = found
        return found

    def kind(self, type_id: int) -> Kind:
        """Return a type's kind without decoding it."""
        if not 0 <= type_id < self._end:
            raise NoSuchType(type_id, self._end)
        if type_id == 0:
            return Kind.UNKN
        if self.base is not None and type_id < self.first_id:
            return self.base.kind(type_id)
        return Kind((self._words[self._starts[type_id - self.first_id] + 1] >> KIND_SHIFT) & KIND_MASK)

    def find(self, name: str, kind: Kind | None = None) -> list[int]:
        """Return the numbers of all types of that name (and kind), the base's first. "" finds nothing."""
        offsets = self.strings.offsets_of(name)
        ids = self.ids_named(offsets) if offsets else []
        return [type_id for type_id in ids if kind is None or self.kind(type_id) is kind]

    def ids_named(self, offsets: list[int]) -> list[int]:
        """Return the numbers of the types whose name is at one of these offsets of the strings, in order."""
        found = self.base.ids_named(offsets) if self.base else []
        names = self._name_offsets
        if names is None:
            words = self._words
            names = self._name_offsets = array("I", [words[at] for at in self._starts])
        own: list[int] = []
        if len(offsets) > FEW_OFFSETS:
            wanted = frozenset(offsets)
            own = [index for index, offset in enumerate(names) if offset in wanted]
        else:
            for offset in offsets:
                at = -1
                try:
                    while True:
                        at = names.index(offset, at + 1)
                        own.append(at)
                except ValueError:
                    continue
            own.sort()
        return found + [self.first_id + index for index in own]

    def resolve(self, type_id: int) -> Type:
        """Strip typedefs, const, volatile, restrict and type tags.

        raises   TooDeep for a circle
        """
        current = type_id
        for _ in range(MAX_DEPTH):
            found = self.type(current)
            if not isinstance(found, Typedef | Const | Volatile | Restrict | TypeTag):
                return found
            current = found.target
        raise TooDeep(type_id, MAX_DEPTH)

    def size_bytes(self, type_id: int) -> int:
        """Return what ``sizeof`` gives; of a VAR its type's, of a DATASEC the section's.

        raises   NoSize for void, functions and declarations; TooDeep; TooLarge for an array of 4 GiB or more
        """
        count = 1
        current = type_id
        for _ in range(MAX_DEPTH):
            found = self.resolve(current)
            match found:
                case Int() | Float() | Struct() | Union() | Enum() | Datasec() | Ptr():
                    size_bytes = count * (self.pointer_bytes if isinstance(found, Ptr) else found.size_bytes)
                    if size_bytes > MAX_SIZE_BYTES:
                        raise TooLarge(f"BTF type {type_id}: a size below 4 GiB was wanted, this is {size_bytes} bytes")
                    return size_bytes
                case Array():
                    count *= found.count
                    if count > MAX_SIZE_BYTES:
                        raise TooLarge(f"BTF type {type_id}: an array of {count} elements is too large to be real")
                    current = found.element
                case Var():
                    current = found.target
                case _:
                    raise NoSize(f"BTF type {type_id}: {found.kind.name} {found.name!r} has no size")
        raise TooDeep(type_id, MAX_DEPTH)

    @property
    def pointer_bytes(self) -> int:
        """The size of a pointer, 4 or 8, as the size of ``long`` tells; 8 where no such type is there."""
        if self._pointer_bytes is None:
            self._pointer_bytes = self._find_pointer_bytes()
        return self._pointer_bytes

    def _find_pointer_bytes(self) -> int:
        if self.base is not None:
            return self.base.pointer_bytes
        for name in _LONG_NAMES:
            for type_id in self.find(name, Kind.INT):
                found = self.type(type_id)
                if isinstance(found, Int) and found.size_bytes in {4, 8}:
                    return found.size_bytes
        return 8

    def name_of(self, type_id: int) -> str:
        """Spell a type as C does: "struct flow_key", "__u32", "char[16]", "int (*)(void *)", "struct {...}".

        raises   NoSuchType, TooDeep, TooLarge where the spelling has no end
        """
        return spell(self, type_id)

    def tags(self, type_id: int, component_index: int | None = None) -> tuple[str, ...]:
        """Return the declaration tags of a type, or of its member or parameter of that index."""
        return tuple(tag.value for tag in self.decl_tags(type_id, component_index) if not tag.attribute)

    def attributes(self, type_id: int, component_index: int | None = None) -> tuple[str, ...]:
        """Return the C attributes that newer compilers note in the same way (v6.14), such as "cold"."""
        return tuple(tag.value for tag in self.decl_tags(type_id, component_index) if tag.attribute)

    def decl_tags(self, type_id: int, component_index: int | None = None) -> tuple[DeclTag, ...]:
        """Return the DECL_TAG records of a type, or of its member or parameter of that index."""
        if self._tags is None:
            self._tags = self._collect_tags()
        own = tuple(self._tags.get((type_id, component_index), ()))
        return self.base.decl_tags(type_id, component_index) + own if self.base else own

    def _collect_tags(self) -> dict[tuple[int, int | None], list[DeclTag]]:
        tags: dict[tuple[int, int | None], list[DeclTag]] = {}
        words = self._words
        for index, at in enumerate(self._starts):
            if (words[at + 1] >> KIND_SHIFT) & KIND_MASK == Kind.DECL_TAG:
                tag = self.type(self.first_id + index)
                if isinstance(tag, DeclTag):
                    tags.setdefault((tag.target, tag.component_index), []).append(tag)
        return tags
