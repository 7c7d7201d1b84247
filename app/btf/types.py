r"""What a BTF record says, as frozen dataclasses: one per kind, named as ``include/uapi/linux/btf.h`` names it.

``id`` is the type's number (in split BTF it counts on from the base), ``name`` is "" for an anonymous type,
and every reference to another type is its number. Sizes and offsets carry their unit. Names are text: bytes that are
not UTF-8 stand as ``\xNN``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar


class Kind(IntEnum):
    """``BTF_KIND_*``, with the release that added it."""

    UNKN = 0
    INT = 1  # v4.18
    PTR = 2  # v4.18
    ARRAY = 3  # v4.18
    STRUCT = 4  # v4.18
    UNION = 5  # v4.18
    ENUM = 6  # v4.18
    FWD = 7  # v4.18
    TYPEDEF = 8  # v4.18
    VOLATILE = 9  # v4.18
    CONST = 10  # v4.18
    RESTRICT = 11  # v4.18
    FUNC = 12  # v5.0
    FUNC_PROTO = 13  # v5.0
    VAR = 14  # v5.2
    DATASEC = 15  # v5.2
    FLOAT = 16  # v5.13
    DECL_TAG = 17  # v5.16
    TYPE_TAG = 18  # v5.17
    ENUM64 = 19  # v6.0


class FuncLinkage(IntEnum):
    """``enum btf_func_linkage``: the vlen of a FUNC."""

    STATIC = 0
    GLOBAL = 1
    EXTERN = 2


class VarLinkage(IntEnum):
    """The linkage of a VAR."""

    STATIC = 0
    GLOBAL = 1
    EXTERN = 2


@dataclass(frozen=True, slots=True)
class Void:
    """Type 0, which has no record."""

    kind: ClassVar[Kind] = Kind.UNKN
    id: int = 0
    name: str = "void"


@dataclass(frozen=True, slots=True)
class Int:
    """An integer: ``bits`` of value, ``offset_bits`` into its ``size_bytes`` (old compilers' bit fields)."""

    kind: ClassVar[Kind] = Kind.INT
    id: int
    name: str
    size_bytes: int
    bits: int
    offset_bits: int
    signed: bool
    char: bool
    bool_: bool


@dataclass(frozen=True, slots=True)
class Float:
    """A floating-point number of 2, 4, 8, 12 or 16 bytes."""

    kind: ClassVar[Kind] = Kind.FLOAT
    id: int
    name: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Ptr:
    """A pointer to ``target`` (0: ``void *``)."""

    kind: ClassVar[Kind] = Kind.PTR
    id: int
    target: int
    name: str = ""


@dataclass(frozen=True, slots=True)
class Array:
    """``count`` elements; 0 is a flexible (or empty) array. ``index`` is the type of the index, of no use here."""

    kind: ClassVar[Kind] = Kind.ARRAY
    id: int
    element: int
    index: int
    count: int
    name: str = ""


@dataclass(frozen=True, slots=True)
class Member:
    """``struct btf_member``: one field of a struct or union."""

    name: str
    """"" for an anonymous struct or union, and for unnamed padding."""
    type_id: int
    offset_bits: int
    """From the start of the struct that holds it."""
    bits: int
    """Width of a bit field, 0 for an ordinary member. A bit field of the old encoding (INT with fewer bits than its
    size) has 0 here: see ``Int.bits`` and ``Int.offset_bits``."""


@dataclass(frozen=True, slots=True)
class Struct:
    """A struct and its members, in the order of the source."""

    kind: ClassVar[Kind] = Kind.STRUCT
    id: int
    name: str
    size_bytes: int
    members: tuple[Member, ...]


@dataclass(frozen=True, slots=True)
class Union:
    """A union and its members."""

    kind: ClassVar[Kind] = Kind.UNION
    id: int
    name: str
    size_bytes: int
    members: tuple[Member, ...]


@dataclass(frozen=True, slots=True)
class EnumValue:
    """One enumerator; ``value`` already has its sign."""

    name: str
    value: int


@dataclass(frozen=True, slots=True)
class Enum:
    """An ENUM (values of 32 bits) or an ENUM64 (``wide``); ``size_bytes`` is that of a variable of it."""

    kind: ClassVar[Kind] = Kind.ENUM
    id: int
    name: str
    size_bytes: int
    signed: bool
    values: tuple[EnumValue, ...]
    wide: bool = False
    """The record is an ENUM64."""


@dataclass(frozen=True, slots=True)
class Fwd:
    """A struct or union that is only declared."""

    kind: ClassVar[Kind] = Kind.FWD
    id: int
    name: str
    is_union: bool


@dataclass(frozen=True, slots=True)
class Typedef:
    """``typedef target name``."""

    kind: ClassVar[Kind] = Kind.TYPEDEF
    id: int
    name: str
    target: int


@dataclass(frozen=True, slots=True)
class Volatile:
    """``volatile target``."""

    kind: ClassVar[Kind] = Kind.VOLATILE
    id: int
    target: int
    name: str = ""


@dataclass(frozen=True, slots=True)
class Const:
    """``const target``."""

    kind: ClassVar[Kind] = Kind.CONST
    id: int
    target: int
    name: str = ""


@dataclass(frozen=True, slots=True)
class Restrict:
    """``restrict target``."""

    kind: ClassVar[Kind] = Kind.RESTRICT
    id: int
    target: int
    name: str = ""


@dataclass(frozen=True, slots=True)
class TypeTag:
    """``__attribute__((btf_type_tag("value"))) target``, such as "kptr", "percpu_kptr", "user", "rcu"."""

    kind: ClassVar[Kind] = Kind.TYPE_TAG
    id: int
    target: int
    value: str
    attribute: bool = False
    """``value`` is any C attribute's text rather than a btf_type_tag (v6.14, kind_flag)."""
    name: str = ""


@dataclass(frozen=True, slots=True)
class Func:
    """A function: ``prototype`` is the number of its FUNC_PROTO."""

    kind: ClassVar[Kind] = Kind.FUNC
    id: int
    name: str
    prototype: int
    linkage: FuncLinkage


@dataclass(frozen=True, slots=True)
class Param:
    """One parameter; the last one of a variadic function has no name and type 0."""

    name: str
    type_id: int


@dataclass(frozen=True, slots=True)
class FuncProto:
    """What a function takes and gives."""

    kind: ClassVar[Kind] = Kind.FUNC_PROTO
    id: int
    result: int
    params: tuple[Param, ...]
    name: str = ""

    @property
    def variadic(self) -> bool:
        """Whether the last parameter stands for ``...``."""
        return bool(self.params) and self.params[-1] == Param("", 0)


@dataclass(frozen=True, slots=True)
class Var:
    """A global variable."""

    kind: ClassVar[Kind] = Kind.VAR
    id: int
    name: str
    target: int
    linkage: VarLinkage


@dataclass(frozen=True, slots=True)
class SecVar:
    """``struct btf_var_secinfo``: where a VAR (or extern FUNC) lies in its section."""

    type_id: int
    offset_bytes: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Datasec:
    """A section such as ".bss"; the value type of a global-data map."""

    kind: ClassVar[Kind] = Kind.DATASEC
    id: int
    name: str
    size_bytes: int
    variables: tuple[SecVar, ...]


@dataclass(frozen=True, slots=True)
class DeclTag:
    """``__attribute__((btf_decl_tag("value")))`` on ``target`` itself (``component_index`` None) or on the
    member or parameter of that index.
    """

    kind: ClassVar[Kind] = Kind.DECL_TAG
    id: int
    target: int
    value: str
    component_index: int | None
    attribute: bool = False
    """``value`` is any C attribute's text rather than a btf_decl_tag (v6.14, kind_flag)."""
    name: str = ""


Composite = Struct | Union
Modifier = Typedef | Volatile | Const | Restrict | TypeTag
"""What ``Btf.resolve`` strips."""
Type = (
    Void | Int | Float | Ptr | Array | Struct | Union | Enum | Fwd | Typedef | Volatile | Const | Restrict
    | TypeTag | Func | FuncProto | Var | Datasec | DeclTag
)  # fmt: skip
