"""Random BTF, written and read again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from app.btf import types as t
from app.btf.parse import parse
from app.btf.types import Kind
from tests.btfs import Writer

N_TYPES = 12
NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
IDS = st.integers(0, N_TYPES)
WORD = st.integers(0, 0xFFFFFFFF)
HALF = st.integers(-(1 << 31), (1 << 31) - 1)
LONG = st.integers(-(1 << 63), (1 << 63) - 1)
SIZES = st.sampled_from([1, 2, 4, 8])


@st.composite
def _members(draw: st.DrawFn) -> tuple[int, tuple[t.Member, ...]]:
    size_bytes = draw(st.integers(1, 1 << 16))
    members = []
    for _ in range(draw(st.integers(0, 5))):
        bits = draw(st.integers(0, min(64, size_bytes * 8)))
        members.append(t.Member(draw(NAMES), draw(IDS), draw(st.integers(0, size_bytes * 8 - bits)), bits))
    return size_bytes, tuple(members)


@st.composite
def _enums(draw: st.DrawFn) -> t.Enum:
    wide, signed = draw(st.booleans()), draw(st.booleans())
    numbers = LONG if wide else HALF
    values = draw(st.lists(st.tuples(NAMES, numbers), max_size=4))
    mask = (1 << (64 if wide else 32)) - 1
    named = tuple(t.EnumValue(name, value if signed else value & mask) for name, value in values)
    return t.Enum(0, draw(NAMES), draw(SIZES), signed, named, wide)


@st.composite
def _ints(draw: st.DrawFn) -> t.Int:
    size_bytes = draw(st.integers(1, 16))
    bits = draw(st.integers(0, size_bytes * 8))
    offset = draw(st.integers(0, size_bytes * 8 - bits))
    flags = [draw(st.booleans()) for _ in range(3)]
    return t.Int(0, draw(NAMES), size_bytes, bits, offset, *flags)


def _bool() -> Any:
    return st.booleans()


TYPES: st.SearchStrategy[t.Type] = st.one_of(
    _ints(),
    _enums(),
    st.builds(t.Float, st.just(0), NAMES, st.sampled_from([2, 4, 8, 12, 16])),
    st.builds(t.Ptr, st.just(0), IDS),
    st.builds(t.Array, st.just(0), IDS, IDS, WORD),
    _members().flatmap(lambda m: st.builds(t.Struct, st.just(0), NAMES, st.just(m[0]), st.just(m[1]))),
    _members().flatmap(lambda m: st.builds(t.Union, st.just(0), NAMES, st.just(m[0]), st.just(m[1]))),
    st.builds(t.Fwd, st.just(0), NAMES, _bool()),
    st.builds(t.Typedef, st.just(0), NAMES, IDS),
    st.builds(t.Volatile, st.just(0), IDS),
    st.builds(t.Const, st.just(0), IDS),
    st.builds(t.Restrict, st.just(0), IDS),
    st.builds(t.TypeTag, st.just(0), IDS, NAMES, _bool()),
    st.builds(t.DeclTag, st.just(0), IDS, NAMES, st.none() | st.integers(0, 1 << 20), _bool()),
    st.builds(t.Func, st.just(0), NAMES, IDS, st.sampled_from(t.FuncLinkage)),
    st.builds(t.Var, st.just(0), NAMES, IDS, st.sampled_from(t.VarLinkage)),
    st.builds(t.FuncProto, st.just(0), IDS, st.lists(st.builds(t.Param, NAMES, IDS), max_size=4).map(tuple)),
    st.builds(
        t.Datasec, st.just(0), NAMES, WORD, st.lists(st.builds(t.SecVar, IDS, WORD, WORD), max_size=4).map(tuple)
    ),
)


def _write(w: Writer, found: t.Type) -> None:
    s = w.string
    match found:
        case t.Int():
            flags = found.signed | found.char << 1 | found.bool_ << 2
            w.add(Kind.INT, found.name, found.size_bytes, flags << 24 | found.offset_bits << 16 | found.bits)
        case t.Float():
            w.add(Kind.FLOAT, found.name, found.size_bytes)
        case t.Array():
            w.add(Kind.ARRAY, "", 0, found.element, found.index, found.count)
        case t.Struct() | t.Union():
            words = [x for m in found.members for x in (s(m.name), m.type_id, m.bits << 24 | m.offset_bits)]
            w.add(found.kind, found.name, found.size_bytes, *words, vlen=len(found.members), kind_flag=1)
        case t.Enum(wide=False):
            words = [x for v in found.values for x in (s(v.name), v.value)]
            w.add(Kind.ENUM, found.name, found.size_bytes, *words, vlen=len(found.values), kind_flag=found.signed)
        case t.Enum():
            words = [x for v in found.values for x in (s(v.name), v.value, v.value >> 32)]
            w.add(Kind.ENUM64, found.name, found.size_bytes, *words, vlen=len(found.values), kind_flag=found.signed)
        case t.Fwd():
            w.add(Kind.FWD, found.name, 0, kind_flag=found.is_union)
        case t.Func():
            w.add(Kind.FUNC, found.name, found.prototype, vlen=found.linkage)
        case t.Var():
            w.add(Kind.VAR, found.name, found.target, found.linkage)
        case t.FuncProto():
            words = [x for p in found.params for x in (s(p.name), p.type_id)]
            w.add(Kind.FUNC_PROTO, "", found.result, *words, vlen=len(found.params))
        case t.Datasec():
            words = [x for v in found.variables for x in (v.type_id, v.offset_bytes, v.size_bytes)]
            w.add(Kind.DATASEC, found.name, found.size_bytes, *words, vlen=len(found.variables))
        case t.TypeTag():
            w.add(Kind.TYPE_TAG, found.value, found.target, kind_flag=found.attribute)
        case t.DeclTag():
            index = -1 if found.component_index is None else found.component_index
            w.add(Kind.DECL_TAG, found.value, found.target, index, kind_flag=found.attribute)
        case t.Ptr() | t.Typedef() | t.Volatile() | t.Const() | t.Restrict():
            w.add(found.kind, found.name, found.target)
        case _:
            raise AssertionError(found)


@given(st.lists(TYPES, min_size=1, max_size=N_TYPES), st.sampled_from(["little", "big"]))
@settings(max_examples=200, deadline=None)
def test_what_was_written_is_read(types: list[t.Type], order: Any) -> None:
    writer = Writer(byte_order=order)
    wanted = [replace(one, id=number) for number, one in enumerate(types, 1)]
    for one in wanted:
        _write(writer, one)
    btf = parse(writer.blob())
    assert [btf.type(number) for number in range(1, len(btf))] == wanted
    for one in wanted:
        if one.name:
            assert one.id in btf.find(one.name)
            assert all(btf.type(found).name == one.name for found in btf.find(one.name, one.kind) if found)
