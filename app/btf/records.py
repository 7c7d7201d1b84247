"""How each kind's record is laid out: ``struct btf_type`` (three words) and what follows it.

Every record is a whole number of 32-bit words, so a section is read as words in host order, and
positions count words. Source: Documentation/bpf/btf.rst, section "Type Encoding".
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence

from app.btf.errors import BadRecord, SectionEndsEarly
from app.btf.strings import Strings
from app.btf.types import (
    Array,
    Const,
    Datasec,
    DeclTag,
    Enum,
    EnumValue,
    Float,
    Func,
    FuncLinkage,
    FuncProto,
    Fwd,
    Int,
    Kind,
    Member,
    Param,
    Ptr,
    Restrict,
    SecVar,
    Struct,
    Type,
    Typedef,
    TypeTag,
    Union,
    Var,
    VarLinkage,
    Volatile,
)

Words = Sequence[int]

# struct btf_type.info: bits 0-23 vlen, 24-30 kind, 31 kind_flag. Kernels before libbpf commit f7a6b9eaff3e ("bpf: Extend
# BTF UAPI vlen, kinds to use unused bits") gave vlen 16 bits and kind 5, and wanted zeros in the rest.
VLEN_MASK = 0xFFFFFF
KIND_SHIFT = 24
KIND_MASK = 0x7F
KIND_FLAG = 1 << 31
HEAD_WORDS = 3
MAX_INT_BYTES = 16
WHOLE = 0xFFFFFFFF
"""component_idx -1: a declaration tag on the thing itself."""

_BEYOND = 1 << 40
"""Words of a kind that is not known: sends the scan past any end, where it is reported, without a test per record."""

#                 words after the head that each record has, and words per vlen
_WORDS = {
    Kind.INT:         (1, 0),
    Kind.PTR:         (0, 0),
    Kind.ARRAY:       (3, 0),
    Kind.STRUCT:      (0, 3),
    Kind.UNION:       (0, 3),
    Kind.ENUM:        (0, 2),
    Kind.FWD:         (0, 0),
    Kind.TYPEDEF:     (0, 0),
    Kind.VOLATILE:    (0, 0),
    Kind.CONST:       (0, 0),
    Kind.RESTRICT:    (0, 0),
    Kind.FUNC:        (0, 0),
    Kind.FUNC_PROTO:  (0, 2),
    Kind.VAR:         (1, 0),
    Kind.DATASEC:     (0, 3),
    Kind.FLOAT:       (0, 0),
    Kind.DECL_TAG:    (1, 0),
    Kind.TYPE_TAG:    (0, 0),
    Kind.ENUM64:      (0, 3),
}  # fmt: skip
_FIXED_WORDS = tuple(HEAD_WORDS + _WORDS[Kind(k)][0] if k in _WORDS else _BEYOND for k in range(KIND_MASK + 1))
_WORDS_EACH = tuple(_WORDS[Kind(k)][1] if k in _WORDS else 0 for k in range(KIND_MASK + 1))


def starts_of(words: Words, first_id: int) -> array[int]:
    """Return the position of each record, in order: one pass that looks at one word a record.

    raises   BadRecord for an unknown kind, SectionEndsEarly for a record that does not fit
    """
    fixed_words, words_each = _FIXED_WORDS, _WORDS_EACH
    end = len(words)
    starts: list[int] = []
    note = starts.append
    at = 0
    # Hot: this loop runs once per type, 126,000 times for a kernel.
    try:
        while at < end:
            note(at)
            info = words[at + 1]
            kind = (info >> KIND_SHIFT) & KIND_MASK
            at += fixed_words[kind] + words_each[kind] * (info & VLEN_MASK)
    except IndexError:
        raise SectionEndsEarly("types", starts[-1] * 4, HEAD_WORDS * 4, (end - starts[-1]) * 4) from None
    if at >= _BEYOND:
        raise BadRecord(first_id + len(starts) - 1, f"kind {kind} is not known, so its length is not either")
    if at > end:
        raise SectionEndsEarly("types", starts[-1] * 4, (at - starts[-1]) * 4, (end - starts[-1]) * 4)
    return array("I", starts)


def decode(words: Words, at: int, type_id: int, strings: Strings) -> Type:
    """Decode the record at a position that ``starts_of`` returned.

    raises   BadRecord, BadString, TooLarge
    """
    return _DECODERS[Kind((words[at + 1] >> KIND_SHIFT) & KIND_MASK)](words, at, type_id, strings)


def _int(words: Words, at: int, type_id: int, strings: Strings) -> Int:
    size_bytes, encoding = words[at + 2], words[at + 3]
    bits, offset_bits = encoding & 0xFF, (encoding >> 16) & 0xFF
    if not 0 < size_bytes <= MAX_INT_BYTES or bits + offset_bits > size_bytes * 8:
        raise BadRecord(type_id, f"an integer of {size_bytes} bytes cannot have {bits} bits at bit {offset_bits}")
    flags = encoding >> 24
    return Int(
        type_id, strings.at(words[at]), size_bytes, bits, offset_bits, bool(flags & 1), bool(flags & 2), bool(flags & 4)
    )


def _float(words: Words, at: int, type_id: int, strings: Strings) -> Float:
    size_bytes = words[at + 2]
    if size_bytes not in {2, 4, 8, 12, 16}:
        raise BadRecord(type_id, f"a floating-point number of {size_bytes} bytes is not known")
    return Float(type_id, strings.at(words[at]), size_bytes)


def _ptr(words: Words, at: int, type_id: int, strings: Strings) -> Ptr:
    return Ptr(type_id, words[at + 2], strings.at(words[at]))


def _array(words: Words, at: int, type_id: int, strings: Strings) -> Array:
    return Array(type_id, words[at + 3], words[at + 4], words[at + 5], strings.at(words[at]))


def _members(words: Words, at: int, type_id: int, strings: Strings) -> tuple[Member, ...]:
    info, size_bits = words[at + 1], words[at + 2] * 8
    members = []
    first = at + HEAD_WORDS
    for place in range(first, first + 3 * (info & VLEN_MASK), 3):
        offset_bits, bits = words[place + 2], 0
        if info & KIND_FLAG:
            offset_bits, bits = offset_bits & 0xFFFFFF, offset_bits >> 24
        if offset_bits + bits > size_bits:
            raise BadRecord(type_id, f"a member of {bits} bits at bit {offset_bits} lies outside its {size_bits} bits")
        members.append(Member(strings.at(words[place]), words[place + 1], offset_bits, bits))
    return tuple(members)


def _struct(words: Words, at: int, type_id: int, strings: Strings) -> Struct:
    return Struct(type_id, strings.at(words[at]), words[at + 2], _members(words, at, type_id, strings))


def _union(words: Words, at: int, type_id: int, strings: Strings) -> Union:
    return Union(type_id, strings.at(words[at]), words[at + 2], _members(words, at, type_id, strings))


def _check_enum_size(type_id: int, size_bytes: int) -> None:
    if size_bytes not in {1, 2, 4, 8}:
        raise BadRecord(type_id, f"an enumeration of {size_bytes} bytes is not known")


def _enum(words: Words, at: int, type_id: int, strings: Strings) -> Enum:
    info, size_bytes = words[at + 1], words[at + 2]
    _check_enum_size(type_id, size_bytes)
    signed = bool(info & KIND_FLAG)
    values = []
    first = at + HEAD_WORDS
    for place in range(first, first + 2 * (info & VLEN_MASK), 2):
        value = words[place + 1]
        values.append(EnumValue(strings.at(words[place]), value - (1 << 32) if signed and value >> 31 else value))
    return Enum(type_id, strings.at(words[at]), size_bytes, signed, tuple(values))


def _enum64(words: Words, at: int, type_id: int, strings: Strings) -> Enum:
    info, size_bytes = words[at + 1], words[at + 2]
    _check_enum_size(type_id, size_bytes)
    signed = bool(info & KIND_FLAG)
    values = []
    first = at + HEAD_WORDS
    for place in range(first, first + 3 * (info & VLEN_MASK), 3):
        value = words[place + 1] | words[place + 2] << 32  # low word first in both byte orders
        values.append(EnumValue(strings.at(words[place]), value - (1 << 64) if signed and value >> 63 else value))
    return Enum(type_id, strings.at(words[at]), size_bytes, signed, tuple(values), wide=True)


def _fwd(words: Words, at: int, type_id: int, strings: Strings) -> Fwd:
    return Fwd(type_id, strings.at(words[at]), bool(words[at + 1] & KIND_FLAG))


def _typedef(words: Words, at: int, type_id: int, strings: Strings) -> Typedef:
    return Typedef(type_id, strings.at(words[at]), words[at + 2])


def _volatile(words: Words, at: int, type_id: int, strings: Strings) -> Volatile:
    return Volatile(type_id, words[at + 2], strings.at(words[at]))


def _const(words: Words, at: int, type_id: int, strings: Strings) -> Const:
    return Const(type_id, words[at + 2], strings.at(words[at]))


def _restrict(words: Words, at: int, type_id: int, strings: Strings) -> Restrict:
    return Restrict(type_id, words[at + 2], strings.at(words[at]))


def _type_tag(words: Words, at: int, type_id: int, strings: Strings) -> TypeTag:
    return TypeTag(type_id, words[at + 2], strings.at(words[at]), bool(words[at + 1] & KIND_FLAG))


def _func(words: Words, at: int, type_id: int, strings: Strings) -> Func:
    linkage = words[at + 1] & VLEN_MASK
    if linkage > FuncLinkage.EXTERN:
        raise BadRecord(type_id, f"a function's linkage is 0 to {FuncLinkage.EXTERN.value}, not {linkage}")
    return Func(type_id, strings.at(words[at]), words[at + 2], FuncLinkage(linkage))


def _func_proto(words: Words, at: int, type_id: int, strings: Strings) -> FuncProto:
    first = at + HEAD_WORDS
    places = range(first, first + 2 * (words[at + 1] & VLEN_MASK), 2)
    params = tuple(Param(strings.at(words[place]), words[place + 1]) for place in places)
    return FuncProto(type_id, words[at + 2], params, strings.at(words[at]))


def _var(words: Words, at: int, type_id: int, strings: Strings) -> Var:
    linkage = words[at + 3]
    if linkage > VarLinkage.EXTERN:
        raise BadRecord(type_id, f"a variable's linkage is 0 to {VarLinkage.EXTERN.value}, not {linkage}")
    return Var(type_id, strings.at(words[at]), words[at + 2], VarLinkage(linkage))


def _datasec(words: Words, at: int, type_id: int, strings: Strings) -> Datasec:
    first = at + HEAD_WORDS
    places = range(first, first + 3 * (words[at + 1] & VLEN_MASK), 3)
    variables = tuple(SecVar(words[place], words[place + 1], words[place + 2]) for place in places)
    return Datasec(type_id, strings.at(words[at]), words[at + 2], variables)


def _decl_tag(words: Words, at: int, type_id: int, strings: Strings) -> DeclTag:
    index = words[at + 3]
    return DeclTag(
        type_id,
        words[at + 2],
        strings.at(words[at]),
        None if index == WHOLE else index,
        bool(words[at + 1] & KIND_FLAG),
    )


_DECODERS: dict[Kind, Callable[[Words, int, int, Strings], Type]] = {
    Kind.INT: _int,
    Kind.PTR: _ptr,
    Kind.ARRAY: _array,
    Kind.STRUCT: _struct,
    Kind.UNION: _union,
    Kind.ENUM: _enum,
    Kind.FWD: _fwd,
    Kind.TYPEDEF: _typedef,
    Kind.VOLATILE: _volatile,
    Kind.CONST: _const,
    Kind.RESTRICT: _restrict,
    Kind.FUNC: _func,
    Kind.FUNC_PROTO: _func_proto,
    Kind.VAR: _var,
    Kind.DATASEC: _datasec,
    Kind.FLOAT: _float,
    Kind.DECL_TAG: _decl_tag,
    Kind.TYPE_TAG: _type_tag,
    Kind.ENUM64: _enum64,
}
