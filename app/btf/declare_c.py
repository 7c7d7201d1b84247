"""A type as C that compiles (GNU C, as clang and gcc take it), with all that it needs before it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.btf.c_names import BUILT_IN_TYPEDEFS, Names, c_string, int_typedef, is_c_attribute
from app.btf.declaration import MAX_TEXT, Declaration
from app.btf.errors import TooDeep, TooLarge
from app.btf.layout import Layouts, Place
from app.btf.spelling import Speller
from app.btf.types import (
    Array,
    Composite,
    Datasec,
    Enum,
    Float,
    Func,
    FuncProto,
    Fwd,
    Int,
    Param,
    Ptr,
    Struct,
    Type,
    Typedef,
    TypeTag,
    Union,
    Var,
    VarLinkage,
)

if TYPE_CHECKING:
    from app.btf.parse import Btf

MAX_DEPTH = 160
MAX_STEPS = 20_000
"""Of spelling; a kernel's task_struct with all that it holds takes 700."""
BYTE = 8
BODY = "\x01"
"""Stands for an anonymous body while the declarator around it is spelled."""
COMMENT_COLUMN = 48
BYTES_OF_INT = 4


def c(btf: Btf, type_id: int, *, comments: bool = False, name: str = "value") -> Declaration:
    """Declare a type, the types that it holds before it, and those that it only points to by name.

    comments   note offset, size and padding beside each member, as pahole does
    name       of the typedef that stands for a type without a name of its own
    returns    ``type_text`` is "" for a section, whose variables are declared one by one
    raises     BtfError for types that cannot exist in C, such as a struct that holds itself
    """
    writer = _Writer(btf, comments=comments)
    type_text = writer.declare_top(type_id, name)
    return Declaration("\n".join(writer.lines).rstrip() + "\n", tuple(dict.fromkeys(writer.warnings)), type_text)


class _Writer(Speller):
    def __init__(self, btf: Btf, *, comments: bool) -> None:
        super().__init__(btf, steps=MAX_STEPS, characters=2 * MAX_TEXT)
        self._btf = btf
        self._comments = comments
        self._layouts = Layouts(btf)
        self._names = Names()
        self._declared: set[tuple[int, bool]] = set()
        self._open: set[int] = set()
        self._flexible = False
        self._characters = 0
        self._start_bits = 0
        """Where the body being written lies in the outermost one."""
        self.lines: list[str] = []
        self.warnings: list[str] = []

    # What is written

    def declare_top(self, type_id: int, name: str) -> str:
        found = self._btf.type(type_id)
        match found:
            case Datasec():
                self._write(0, f"/* section {_one_line(found.name)}, {found.size_bytes} bytes */")
                for variable in found.variables:
                    self._need(variable.type_id, whole=True)
                for variable in found.variables:
                    self._variable(variable.type_id, variable.offset_bytes, variable.size_bytes)
                return ""
            case Var() | Func():
                self._need(type_id, whole=True)
                self._variable(type_id, None, None)
                return self._names.ordinary(found.id, found.name)
        self._need(type_id, whole=True)
        match found:
            case Typedef():
                return self._names.ordinary(found.id, found.name)
            case Struct() | Union() | Enum() | Fwd() if found.name:
                return self.base_name(found, 0)
        alias = self._names.ordinary(-1, name)
        self._declare(0, "typedef ", type_id, alias, "", "")
        return alias

    def _variable(self, type_id: int, offset_bytes: int | None, size_bytes: int | None) -> None:
        found = self._btf.type(type_id)
        note = "" if offset_bytes is None else f"offset {offset_bytes}, size {size_bytes}"
        match found:
            case Var():
                name = self._names.ordinary(found.id, found.name or f"variable_{found.id}")
                word = {VarLinkage.STATIC: "static ", VarLinkage.EXTERN: "extern ", VarLinkage.GLOBAL: ""}
                self._declare(0, word[found.linkage], found.target, name, "", note)
            case Func():
                name = self._names.ordinary(found.id, found.name or f"function_{found.id}")
                self._declare(0, "extern ", found.prototype, name, "", note)

    def _write(self, indent: int, text: str, note: str = "") -> None:
        line = "\t" * indent + text
        if note and self._comments:
            line = f"{line.ljust(COMMENT_COLUMN - 7 * indent)} /* {note} */"
        self._characters += len(line) + 1
        if self._characters > MAX_TEXT:
            raise TooLarge(f"The C text of this type grows beyond {MAX_TEXT} characters")
        self.lines.append(line)

    def _declare(self, indent: int, before: str, type_id: int, inner: str, after: str, note: str) -> None:
        """Write ``before type inner after;`` with the body of an anonymous type in its place."""
        text = before + self.declare(type_id, inner) + after + ";"
        head, mark, tail = text.partition(BODY)
        if not mark:
            self._write(indent, text, note)
            return
        found = self._anonymous(type_id)
        self._body(indent, found, head, tail, note)

    def _anonymous(self, type_id: int) -> Composite | Enum:
        """Return the anonymous type at the centre of a declaration."""
        current = type_id
        for _ in range(MAX_DEPTH):
            found = self._btf.type(current)
            match found:
                case Struct() | Union() | Enum():
                    return found
                case Array():
                    current = found.element
                case FuncProto():
                    current = found.result
                case Ptr() | TypeTag():
                    current = found.target
                case _:
                    current = getattr(found, "target", 0)
        raise TooDeep(type_id, MAX_DEPTH)

    def _body(self, indent: int, found: Composite | Enum, head: str, tail: str, note: str) -> None:
        if found.id in self._open or len(self._open) > MAX_DEPTH // 4:
            raise TooDeep(found.id, MAX_DEPTH // 4)
        self._open.add(found.id)
        start_bits = self._start_bits
        try:
            if isinstance(found, Enum):
                self._enum_body(indent, found, head, tail)
            else:
                self._composite_body(indent, found, head, tail, note)
        finally:
            self._open.discard(found.id)
            self._start_bits = start_bits

    def _enum_body(self, indent: int, found: Enum, head: str, tail: str) -> None:
        self._write(indent, f"{head}enum {self._tag_name(found)}{{")
        for index, value in enumerate(found.values):
            name = self._names.ordinary((found.id, index), value.name)
            self._write(indent + 1, f"{name} = {_number(value.value, found.size_bytes)},")
        if not found.values:
            self._write(indent + 1, f"{self._names.ordinary((found.id, 0), (found.name or 'enum') + '___none')},")
        mode = {1: "QI", 2: "HI", 8: "DI"}.get(found.size_bytes)
        if not all(-(1 << 31) <= value.value < 1 << 32 for value in found.values):
            mode = None  # such values make it 8 bytes wide by themselves
        attribute = f" __attribute__((mode({mode})))" if mode else ""
        self._write(indent, f"}}{attribute}{tail}")

    def _composite_body(self, indent: int, found: Composite, head: str, tail: str, note: str) -> None:
        layout = self._layouts.of(found)
        self._write(indent, f"{head}{_word(found)} {self._tag_name(found)}{{", note)
        end_bits, n_pads, used = 0, 0, 0
        start_bits = self._start_bits
        places = layout.places
        for place in places:
            if isinstance(found, Struct):
                n_pads = self._pad(indent + 1, end_bits, place, n_pads, packed=layout.packed)
                end_bits = max(end_bits, place.offset_bits + place.width_bits)
            else:
                end_bits = max(end_bits, place.width_bits)
            last = place is places[-1] and used > 0 and isinstance(found, Struct)
            self._start_bits = start_bits + place.offset_bits
            self._member(indent + 1, found, place, flexible=last)
            self._start_bits = start_bits
            used += place.width_bits
        attributes = ["packed"] if layout.packed else []
        own = max((place.align_bytes for place in places), default=1)
        slack = found.size_bytes - -(-end_bits // 8)
        if not layout.packed and layout.align_bytes > own:
            attributes.append(f"aligned({layout.align_bytes})")
            if slack:
                self._note(indent + 1, f"padding, size {slack}")
        elif slack and (layout.packed or -(-end_bits // 8 // own) * own < found.size_bytes):
            size = found.size_bytes if isinstance(found, Union) else slack
            if layout.packed or slack >= own or not places:
                self._write(indent + 1, f"unsigned char __pad{n_pads}[{size}];", f"padding, size {slack}")
            else:
                self._note(indent + 1, f"padding, size {slack}")
        attribute = f" __attribute__(({', '.join(attributes)}))" if attributes else ""
        self._note(indent + 1, f"size {found.size_bytes}, alignment {layout.align_bytes}")
        self._write(indent, f"}}{attribute}{tail}")

    def _note(self, indent: int, text: str) -> None:
        if self._comments:
            self._write(indent, f"/* {text} */")

    def _pad(self, indent: int, end_bits: int, place: Place, n_pads: int, *, packed: bool) -> int:
        """Fill the hole before a member, where the compiler would not leave it by itself."""
        unit = 1 if packed else place.align_bytes * 8
        if place.bit_field:
            natural = end_bits
            if not packed and end_bits % unit + place.width_bits > unit:
                natural = -(-end_bits // unit) * unit
        else:
            natural = -(-end_bits // max(unit, 8)) * max(unit, 8)
        gap_bits = place.offset_bits - end_bits
        if gap_bits > 0:
            self._note(indent, f"hole, {gap_bits} bits" if gap_bits % 8 else f"hole, size {gap_bits // 8}")
        if place.offset_bits <= natural:
            return n_pads
        to_byte = min(-end_bits % 8, gap_bits)
        if to_byte:
            self._write(indent, f"unsigned char :{to_byte};")
            gap_bits -= to_byte
        if gap_bits >= BYTE:
            self._write(indent, f"unsigned char __pad{n_pads}[{gap_bits // 8}];")
            n_pads += 1
        if gap_bits % 8:
            self._write(indent, f"unsigned char :{gap_bits % 8};")
        return n_pads

    def _member(self, indent: int, parent: Composite, place: Place, *, flexible: bool) -> None:
        member = place.member
        name = self._names.member(member.name)
        bits = f":{place.width_bits}" if place.bit_field else ""
        at = self._start_bits
        if place.bit_field:
            note = f"offset {at // 8}:{at % 8}, {place.width_bits} bits"
        else:
            note = f"offset {at // 8}, size {place.width_bits // 8}"
        tags = self._btf.tags(parent.id, place.index)
        texts = [f"btf_decl_tag({c_string(tag)})" for tag in tags]
        texts += filter(is_c_attribute, self._btf.attributes(parent.id, place.index))
        after = bits + "".join(f" __attribute__(({text}))" for text in texts)
        if not name and not place.bit_field and not isinstance(self._btf.type(member.type_id), Struct | Union):
            name = f"__unnamed_{place.offset_bits}"
        self._flexible = flexible
        self._declare(indent, "", member.type_id, name, after, note)

    # How names are spelled

    def array_text(self, count: int) -> str:
        flexible, self._flexible = self._flexible, False
        return "[]" if flexible and not count else f"[{count}]"

    def tag_text(self, tag: TypeTag) -> str:
        if not tag.attribute:
            self.warnings.append(
                "Type tags are attributes of clang: other compilers may pass over them with a warning."
            )
            return f"__attribute__((btf_type_tag({c_string(tag.value)})))"
        if is_c_attribute(tag.value):
            return f"__attribute__(({tag.value}))"
        self.warnings.append(f"The attribute {tag.value!r} is left out: it is not plain C.")
        return ""

    def param_name(self, name: str) -> str:
        return self._names.member(name)

    def base_name(self, found: Type, depth: int) -> str:
        match found:
            case Struct() | Union() | Enum() if not found.name:
                if depth:
                    self.warnings.append("A parameter of an anonymous type is shown as void or int.")
                    return "int" if isinstance(found, Enum) else "void"
                return BODY
            case Struct() | Union() | Enum() | Fwd():
                return f"{_word(found)} {self._tag_name(found)}".rstrip()
            case Typedef():
                return self._names.ordinary(found.id, found.name)
            case Int() | Float():
                return self._names.number(found)
            case _:
                return "void"

    def _tag_name(self, found: Composite | Enum | Fwd) -> str:
        if not found.name:
            return ""
        # A declaration without body and its definition are one and the same name.
        return self._names.tag(found.id, found.name, _word(found), declared=isinstance(found, Fwd)) + " "

    # What must come before

    def _need(self, type_id: int, *, whole: bool, pointed: bool = False, depth: int = 0) -> None:
        """Write what a type needs: its definition where ``whole``, else at least its name."""
        if depth > MAX_DEPTH:
            raise TooDeep(type_id, MAX_DEPTH)
        if (type_id, whole) in self._declared or type_id == 0:
            return
        found = self._btf.type(type_id)
        if type_id in self._open:
            if pointed:
                return
            raise TooDeep(type_id, MAX_DEPTH)
        match found:
            case Struct() | Union() if whole or not found.name:
                self._need_members(found, depth, pointed=pointed)
                self._define(found)
            case Enum():
                self._declared |= {(type_id, True), (type_id, False)}
                self._define(found)
            case Struct() | Union() | Fwd():
                self._announce(found)
            case Typedef():
                self._need(found.target, whole=whole, pointed=pointed, depth=depth + 1)
                if (type_id, not whole) not in self._declared:
                    self._typedef(found)
            case Int() | Float():
                if text := int_typedef(found):
                    self._write(0, text)
            case Ptr():
                self._need(found.target, whole=False, pointed=True, depth=depth + 1)
            case Array():
                self._need(found.element, whole=True, pointed=pointed, depth=depth + 1)
            case FuncProto():
                for param in (Param("", found.result), *found.params):
                    self._need(param.type_id, whole=False, pointed=True, depth=depth + 1)
            case _:
                target = found.prototype if isinstance(found, Func) else getattr(found, "target", 0)
                self._need(target, whole=whole, pointed=pointed, depth=depth + 1)
        self._declared.add((type_id, whole))

    def _typedef(self, found: Typedef) -> None:
        if found.name not in BUILT_IN_TYPEDEFS:
            self._declare(0, "typedef ", found.target, self._names.ordinary(found.id, found.name), "", "")

    def _announce(self, found: Composite | Fwd) -> None:
        if found.name:
            self._write(0, f"{self.base_name(found, 0)};")

    def _define(self, found: Composite | Enum) -> None:
        if found.name:
            self._body(0, found, "", ";\n", "")

    def _need_members(self, found: Composite, depth: int, *, pointed: bool) -> None:
        self._open.add(found.id)
        try:
            for member in found.members:
                self._need(member.type_id, whole=True, pointed=pointed and not found.name, depth=depth + 1)
        finally:
            self._open.discard(found.id)


def _word(found: Composite | Enum | Fwd) -> str:
    match found:
        case Union():
            return "union"
        case Enum():
            return "enum"
        case Fwd():
            return "union" if found.is_union else "struct"
        case _:
            return "struct"


def _number(value: int, size_bytes: int) -> str:
    if size_bytes <= BYTES_OF_INT and -(1 << 31) <= value < 1 << 31:
        return str(value)
    if value < -(1 << 63) + 1:
        return "(-9223372036854775807LL - 1)"
    if value < 0:
        return f"{value}LL" if value < -(1 << 31) else str(value)
    return f"{value}ULL" if value >= 1 << 63 else f"{value}U" if value < 1 << 32 else f"{value}LL"


def _one_line(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text).replace("*/", "* /")
