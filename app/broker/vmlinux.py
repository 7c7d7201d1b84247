"""A few facts out of the kernel's BTF, without parsing its 126,000 types: ids of functions, offsets of members.

`app.btf.parse` knows all of BTF and takes its time; a command that lists maps has about 200 ms for everything, and needs
two ids. So: names are found by searching the string section, records by searching for the name's offset, and ids by
stepping over records without looking at them. Trusts the input: it comes from the running kernel.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterable
from pathlib import Path

from app.wire.errors import UnusableHere

PATH = Path("/sys/kernel/btf/vmlinux")

_ORDER = "<" if sys.byteorder == "little" else ">"
_HEADER = struct.Struct(_ORDER + "HBBIIIII")  # struct btf_header
_PAIR = struct.Struct(_ORDER + "II")
_TRIPLE = struct.Struct(_ORDER + "III")
_KIND_STRUCT, _KIND_UNION, _KIND_FUNC = 4, 5, 12
_MODIFIERS = frozenset({8, 9, 10, 11, 18})  # TYPEDEF VOLATILE CONST RESTRICT TYPE_TAG
# Documentation/bpf/btf.rst: words after the three of struct btf_type, fixed and for each of vlen.
_FIXED_WORDS = {1: 1, 3: 3, 14: 1, 17: 1}  # INT ARRAY VAR DECL_TAG
_WORDS_EACH = {4: 3, 5: 3, 6: 2, 13: 2, 15: 3, 19: 3}  # STRUCT UNION ENUM FUNC_PROTO DATASEC ENUM64


class _Steps(dict[int, int]):
    """Words that a record takes, by its info word; there are some hundred different ones."""

    def __missing__(self, info: int) -> int:
        kind, vlen = info >> 24 & 31, info & 0xFFFF
        words = self[info] = 3 + _FIXED_WORDS.get(kind, 0) + _WORDS_EACH.get(kind, 0) * vlen
        return words


class Vmlinux:
    """The running kernel's own BTF."""

    def __init__(self, data: bytes) -> None:
        _, _, _, header_bytes, types_at, types_bytes, strings_at, strings_bytes = _HEADER.unpack_from(data)
        self._data = data
        self._types_at = header_bytes + types_at
        self._types_end = self._types_at + types_bytes
        self._strings_at = header_bytes + strings_at
        self._strings_end = self._strings_at + strings_bytes
        self._words = memoryview(data)[self._types_at : self._types_end].cast("I")
        self._structs: dict[str, int] = {}

    def func_ids(self, names: Iterable[str]) -> dict[str, int]:
        """Type ids of functions; a name that the kernel lacks is left out."""
        wanted: dict[int, str] = {}
        for name in names:
            offset = self._string(name)
            record = offset and self._record_of(offset, (_KIND_FUNC,))
            if record:
                wanted[record // 4] = name
        found: dict[str, int] = {}
        infos, steps = self._words[1:], _Steps()
        at, type_id = 0, 1
        for target in sorted(wanted):
            while at < target:
                at += steps[infos[at]]
                type_id += 1
            if at == target:
                found[wanted[target]] = type_id
        return found

    def names_of(self, type_ids: Iterable[int]) -> dict[int, str]:
        """Names of types by id; an id past the end is left out."""
        infos, steps = self._words[1:], _Steps()
        at, type_id, last = 0, 1, len(infos)
        found: dict[int, str] = {}
        for target in sorted(set(type_ids)):
            while type_id < target and at < last:
                at += steps[infos[at]]
                type_id += 1
            if type_id == target and at < last:
                found[target] = self._text(self._words[at])
        return found

    def offset_bytes(self, struct_name: str, member: str) -> int:
        """Where a member of a struct starts, also one inside of nameless members.

        raises  UnusableHere if this kernel's struct has no such member
        """
        at: int | None = self._structs.get(struct_name)
        if at is None:
            offset = self._string(struct_name)
            at = self._structs[struct_name] = offset and self._record_of(offset, (_KIND_STRUCT,))
        wanted = self._string(member)
        bits = self._member_bits(at // 4, wanted) if at and wanted else None
        if bits is None:
            raise UnusableHere(f"this kernel's struct {struct_name} has no member {member}: ask for a newer bpf-atlas")
        return bits // 8

    def _member_bits(self, at: int, name_offset: int) -> int | None:
        """Search a struct or union (`at` in words) for a member, nameless members through; offset in bits."""
        words = self._words
        nameless: list[tuple[int, int]] = []
        for index in range(words[at + 1] & 0xFFFF):
            name, type_id, bits = words[at + 3 + index * 3 : at + 6 + index * 3]
            if words[at + 1] >> 31:
                bits &= 0xFFFFFF  # kind_flag: the top byte is the width of a bit field
            if name == name_offset:
                return int(bits)
            if not name:
                nameless.append((type_id, bits))
        for type_id, bits in nameless:
            inner = self._position(type_id)
            found = self._member_bits(inner, name_offset) if inner is not None else None
            if found is not None:
                return int(bits) + found
        return None

    def _position(self, type_id: int) -> int | None:
        """Word at which a struct's or union's record starts, modifiers stripped."""
        infos, steps = self._words[1:], _Steps()
        at = 0
        for _ in range(type_id - 1):
            at += steps[infos[at]]
        kind = infos[at] >> 24 & 31
        if kind in _MODIFIERS:
            return self._position(self._words[at + 2])
        return int(at) if kind in (_KIND_STRUCT, _KIND_UNION) else None

    def _string(self, text: str) -> int:
        """Offset of a string in its section, 0 if it is not there."""
        at = self._data.find(b"\0" + text.encode() + b"\0", self._strings_at, self._strings_end)
        return at + 1 - self._strings_at if at >= 0 else 0

    def _text(self, offset: int) -> str:
        start = self._strings_at + offset
        return self._data[start : self._data.index(b"\0", start)].decode(errors="backslashreplace")

    def _record_of(self, name_offset: int, kinds: tuple[int, ...]) -> int:
        """Byte at which a record of that name and kind starts, 0 if there is none.

        Four bytes that look like the name's offset can also be a member's or an enumerator's: there the word that
        follows is a type id or a value, whose top byte is not a kind.
        """
        if kinds == (_KIND_FUNC,):
            pattern = _PAIR.pack(name_offset, _KIND_FUNC << 24)
        else:
            pattern = struct.pack(_ORDER + "I", name_offset)
        # From the end: bytes.rfind is three times as fast as bytes.find on this haystack (1.8 against 5.3 ms for four).
        end = self._types_end
        while (found := self._data.rfind(pattern, self._types_at, end)) >= 0:
            at: int = found - self._types_at
            if at % 4 == 0 and at + 12 <= len(self._words) * 4:
                _, info, size_bytes = _TRIPLE.unpack_from(self._data, found)
                if info >> 24 & 31 in kinds and (_KIND_FUNC in kinds or 0 < size_bytes < 1 << 20):
                    return at
            end = found + len(pattern) - 1
        return 0


def load(path: Path = PATH) -> Vmlinux:
    """Read the kernel's BTF.

    raises  UnusableHere where the kernel has none
    """
    try:
        return Vmlinux(path.read_bytes())
    except OSError as error:
        reason = f"{path} cannot be read ({error.strerror}): the kernel needs CONFIG_DEBUG_INFO_BTF=y"
        raise UnusableHere(reason) from None
