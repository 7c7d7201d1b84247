"""Bytes on the left, the reading on the right; bpftool has the last word."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from app.btf import types as t
from app.btf.errors import BtfError, NoSize, NoSuchType, TooDeep
from app.btf.parse import Btf, parse
from app.btf.types import Kind
from tests.btfs import VMLINUX, Writer, bpftool_raw, compile_blob, compile_btf, section, vmlinux

ORDERS = pytest.mark.parametrize("order", ["little", "big"])


def _kinds(writer: Writer) -> list[t.Type]:
    """Write one record of every kind; return what each must read as."""
    w, s = writer, writer.string
    w.integer("int", 4, encoding=1)
    w.add(Kind.INT, "odd", 4, 5 << 24 | 3 << 16 | 7)
    w.add(Kind.PTR, "", 1)
    w.add(Kind.ARRAY, "", 0, 1, 2, 16)
    w.struct("pair", 8, ("a", 1, 0), ("b", 1, 32))
    w.add(Kind.STRUCT, "bits", 4, s("x"), 1, 3 << 24 | 0, s(""), 1, 9 << 24 | 3, vlen=2, kind_flag=1)
    w.struct("either", 4, ("x", 1, 0), kind=Kind.UNION)
    w.add(Kind.ENUM, "colour", 4, s("RED"), 0, s("NONE"), -1, vlen=2, kind_flag=1)
    w.add(Kind.ENUM, "flag", 1, s("TOP"), 0xFFFFFFFF, vlen=1)
    w.add(Kind.ENUM64, "wide", 8, s("HIGH"), 1, 0x80000000, vlen=1)
    w.add(Kind.ENUM64, "low", 8, s("LOW"), 0xFFFFFFFE, 0xFFFFFFFF, vlen=1, kind_flag=1)
    w.add(Kind.FWD, "task", 0)
    w.add(Kind.FWD, "sig", 0, kind_flag=1)
    w.add(Kind.TYPEDEF, "u32", 1)
    w.add(Kind.VOLATILE, "", 1)
    w.add(Kind.CONST, "", 1)
    w.add(Kind.RESTRICT, "", 3)
    w.add(Kind.FUNC_PROTO, "", 1, s("n"), 1, 0, 0, vlen=2)
    w.add(Kind.FUNC, "printf", 18, vlen=2)
    w.add(Kind.VAR, "counter", 1, 1)
    w.add(Kind.DATASEC, ".bss", 8, 20, 4, 4, vlen=1)
    w.add(Kind.FLOAT, "double", 8)
    w.add(Kind.DECL_TAG, "hot", 5, -1)
    w.add(Kind.DECL_TAG, "cold", 5, 1, kind_flag=1)
    w.add(Kind.TYPE_TAG, "kptr", 5)
    w.add(Kind.TYPE_TAG, "address_space(1)", 5, kind_flag=1)
    return [
        t.Void(),
        t.Int(1, "int", 4, 32, 0, signed=True, char=False, bool_=False),
        t.Int(2, "odd", 4, 7, 3, signed=True, char=False, bool_=True),
        t.Ptr(3, 1),
        t.Array(4, 1, 2, 16),
        t.Struct(5, "pair", 8, (t.Member("a", 1, 0, 0), t.Member("b", 1, 32, 0))),
        t.Struct(6, "bits", 4, (t.Member("x", 1, 0, 3), t.Member("", 1, 3, 9))),
        t.Union(7, "either", 4, (t.Member("x", 1, 0, 0),)),
        t.Enum(8, "colour", 4, True, (t.EnumValue("RED", 0), t.EnumValue("NONE", -1))),
        t.Enum(9, "flag", 1, False, (t.EnumValue("TOP", 0xFFFFFFFF),)),
        t.Enum(10, "wide", 8, False, (t.EnumValue("HIGH", 0x80000000_00000001),), wide=True),
        t.Enum(11, "low", 8, True, (t.EnumValue("LOW", -2),), wide=True),
        t.Fwd(12, "task", is_union=False),
        t.Fwd(13, "sig", is_union=True),
        t.Typedef(14, "u32", 1),
        t.Volatile(15, 1),
        t.Const(16, 1),
        t.Restrict(17, 3),
        t.FuncProto(18, 1, (t.Param("n", 1), t.Param("", 0))),
        t.Func(19, "printf", 18, t.FuncLinkage.EXTERN),
        t.Var(20, "counter", 1, t.VarLinkage.GLOBAL),
        t.Datasec(21, ".bss", 8, (t.SecVar(20, 4, 4),)),
        t.Float(22, "double", 8),
        t.DeclTag(23, 5, "hot", None),
        t.DeclTag(24, 5, "cold", 1, attribute=True),
        t.TypeTag(25, 5, "kptr"),
        t.TypeTag(26, 5, "address_space(1)", attribute=True),
    ]


@ORDERS
@pytest.mark.parametrize("header_bytes", [24, 32, 100])
def test_every_kind_reads_as_written(order: Any, header_bytes: int) -> None:
    writer = Writer(byte_order=order)
    wanted = _kinds(writer)
    btf = parse(writer.blob(header_bytes=header_bytes))
    assert [btf.type(type_id) for type_id in btf] == wanted
    kinds = [Kind.ENUM64 if isinstance(one, t.Enum) and one.wide else one.kind for one in wanted]
    assert set(kinds) == set(Kind)
    assert [btf.kind(type_id) for type_id in btf] == kinds
    assert btf.byte_order == order
    assert btf.tags(5) == ("hot",)
    assert btf.tags(5, 1) == ()
    assert btf.attributes(5, 1) == ("cold",)
    assert btf.tags(5, 0) == ()


def test_split_btf_continues_numbers_and_names() -> None:
    base = Writer()
    base.integer("int", 4, encoding=1)
    below = base.parse()
    own = Writer(first_id=2, first_string=len(base.strings), strings=bytearray())
    own.struct("mine", 4, ("x", 1, 0))
    own.records.append(own.words(1, Kind.TYPEDEF << 24, 2))  # named by the base's string "int"
    above = own.parse(below)
    assert len(above) == 4
    assert above.type(1) is below.type(1)
    assert above.type(2) == t.Struct(2, "mine", 4, (t.Member("x", 1, 0, 0),))
    assert above.type(3) == t.Typedef(3, "int", 2)
    assert above.find("int") == [1, 3]
    assert above.find("int", Kind.INT) == [1]
    assert above.find("mine") == [2]
    assert above.size_bytes(3) == 4
    with pytest.raises(NoSuchType):
        below.type(2)


def test_find_takes_names_that_end_longer_ones_and_ignores_those_inside() -> None:
    writer = Writer()
    long = writer.string("a_flow_key")
    writer.records.append(writer.words(long, Kind.FWD << 24, 0))
    writer.records.append(writer.words(long + 2, Kind.FWD << 24, 0))  # "flow_key", sharing the end
    writer.add(Kind.FWD, "flow_key_v2")
    for _ in range(20):
        writer.add(Kind.FWD, "flow_key")
    btf = writer.parse()
    assert btf.find("flow_key") == [2, *range(4, 24)]
    assert btf.find("flow_key", Kind.STRUCT) == []
    assert btf.find("") == []
    assert btf.find("nothing\0") == []


def test_any_buffer_will_do() -> None:
    blob = compile_blob("int a;")
    wanted = [parse(blob).type(one) for one in parse(blob)]
    for data in (bytearray(blob), memoryview(blob)):
        btf = parse(data)  # type: ignore[arg-type]
        assert [btf.type(one) for one in btf] == wanted


def test_names_that_are_not_utf8_are_kept_readable() -> None:
    writer = Writer()
    writer.add(Kind.FWD, b"bad\xff\xc3name")
    assert writer.parse().type(1) == t.Fwd(1, "bad\\xff\\xc3name", is_union=False)


@pytest.mark.parametrize(
    ("c", "size_bytes"),
    [
        ("int", 4),
        ("char[16]", 16),
        ("int[3][5]", 60),
        ("struct { char a; long long b; }", 16),
        ("const volatile short", 2),
        ("void *", 8),
        ("int (*)(int)", 8),
        ("__int128", 16),
        ("struct { int n; char rest[]; }", 4),
        ("union { char a[7]; int b; }", 8),
        ("_Bool", 1),
        ("double", 8),
    ],
)
def test_size_is_what_sizeof_says(c: str, size_bytes: int) -> None:
    btf = compile_btf(f"__typeof__({c}) chosen;")
    assert btf.size_bytes(btf.find("chosen")[0]) == size_bytes


def test_pointers_of_a_32_bit_kernel_have_4_bytes() -> None:
    writer = Writer()
    writer.integer("long unsigned int", 4)
    pointer = writer.add(Kind.PTR, "", 1)
    assert writer.parse().size_bytes(pointer) == 4


@pytest.mark.parametrize("kind", [Kind.FWD, Kind.FUNC_PROTO, Kind.FUNC])
def test_what_has_no_size_says_so(kind: Kind) -> None:
    writer = Writer()
    one = writer.add(kind, "f", 0)
    with pytest.raises(NoSize):
        writer.parse().size_bytes(one)
    with pytest.raises(NoSize):
        writer.parse().size_bytes(0)


def test_resolve_strips_what_does_not_change_the_value() -> None:
    btf = compile_btf('typedef const int id; volatile id __attribute__((btf_type_tag("t"))) *p; id v;')
    found = btf.resolve(btf.type(btf.find("v")[0]).target)  # type: ignore[union-attr]
    assert isinstance(found, t.Int)
    circle = Writer()
    circle.add(Kind.TYPEDEF, "a", 2)
    circle.add(Kind.CONST, "", 1)
    circled = circle.parse()
    with pytest.raises(TooDeep):
        circled.resolve(1)


# The oracle: `bpftool -j btf dump file FILE format raw`, type by type.

_INT_WORDS = {"SIGNED": (True, False, False), "CHAR": (False, True, False), "BOOL": (False, False, True)}


def _as_bpftool(found: t.Type) -> dict[str, Any]:
    """Return a type in bpftool's own words."""
    head: dict[str, Any] = {"id": found.id, "kind": found.kind.name, "name": found.name or "(anon)"}
    match found:
        case t.Int():
            words = [word for word, flags in _INT_WORDS.items() if flags == (found.signed, found.char, found.bool_)]
            encoding = (words or ["(none)" if not (found.signed or found.char or found.bool_) else "UNKN"])[0]
            return head | {
                "size": found.size_bytes, "bits_offset": found.offset_bits, "nr_bits": found.bits, "encoding": encoding
            }  # fmt: skip
        case t.Array():
            return head | {"type_id": found.element, "index_type_id": found.index, "nr_elems": found.count}
        case t.Struct() | t.Union():
            members = [
                {"name": m.name or "(anon)", "type_id": m.type_id, "bits_offset": m.offset_bits}
                | ({"bitfield_size": m.bits} if m.bits else {})
                for m in found.members
            ]
            return head | {"size": found.size_bytes, "vlen": len(members), "members": members}
        case t.Enum():
            values = [{"name": v.name, "val": v.value} for v in found.values]
            head["kind"] = "ENUM64" if found.wide else "ENUM"
            encoding = "SIGNED" if found.signed else "UNSIGNED"
            return head | {"encoding": encoding, "size": found.size_bytes, "vlen": len(values), "values": values}
        case t.Fwd():
            return head | {"fwd_kind": "union" if found.is_union else "struct"}
        case t.FuncProto():
            params = [{"name": p.name or "(anon)", "type_id": p.type_id} for p in found.params]
            return head | {"ret_type_id": found.result, "vlen": len(params), "params": params}
        case t.Func() | t.Var():
            target = found.prototype if isinstance(found, t.Func) else found.target
            return head | {"type_id": target, "linkage": found.linkage.name.lower()}
        case t.Datasec():
            variables = [
                {"type_id": v.type_id, "offset": v.offset_bytes, "size": v.size_bytes} for v in found.variables
            ]
            return head | {"size": found.size_bytes, "vlen": len(variables), "vars": variables}
        case t.Float():
            return head | {"size": found.size_bytes}
        case t.DeclTag():
            index = -1 if found.component_index is None else found.component_index
            return head | {"name": found.value, "type_id": found.target, "component_idx": index}
        case t.TypeTag():
            return head | {"name": found.value, "type_id": found.target}
        case t.Void():
            raise AssertionError
        case _:
            return head | {"type_id": found.target}


def _compare(btf: Btf, oracle: list[dict[str, Any]]) -> None:
    for row in oracle:
        for variable in row.get("vars", ()):
            variable.pop("name", None)  # newer releases add names that older ones do not have
        if row["kind"] == "ENUM" and row["encoding"] == "UNSIGNED":
            for value in row["values"]:
                value["val"] &= 0xFFFFFFFF  # bpftool 7.1 prints those above 2**31 as 64-bit numbers with ones in front
        if row["kind"] == "VAR":
            row["linkage"] = {"global-alloc": "global"}.get(row["linkage"], row["linkage"])
        assert _as_bpftool(btf.type(row["id"])) == row
    assert len(oracle) == len(btf) - btf.first_id


@pytest.mark.kernel
def test_vmlinux_reads_as_bpftool_reads_it() -> None:
    _compare(vmlinux(), bpftool_raw(VMLINUX))


@pytest.mark.kernel
def test_split_btf_above_vmlinux_reads_as_bpftool_reads_it(tmp_path: Path) -> None:
    base = vmlinux()
    writer = Writer(first_id=len(base), first_string=base.strings.end, strings=bytearray())
    (task,) = base.find("task_struct", Kind.STRUCT)
    pointer = writer.add(Kind.PTR, "", task)
    writer.struct("mine", 16, ("task", pointer, 0), ("n", base.find("int", Kind.INT)[0], 64))
    file = tmp_path / "split.btf"
    file.write_bytes(writer.blob())
    split = writer.parse(base)
    _compare(split, bpftool_raw(file, VMLINUX))
    assert split.name_of(pointer) == "struct task_struct *"


THIRD_PARTY = sorted(Path("/usr/lib").glob("*/bpf/*.o"))


@pytest.mark.parametrize("file", THIRD_PARTY, ids=lambda file: file.name)
def test_objects_of_xdp_tools_read_as_bpftool_reads_them(file: Path) -> None:
    _compare(parse(section(file)), bpftool_raw(file))


SOURCE = """
struct flow { unsigned a:3, b:29; struct { char c; union { int d; float e; }; } in[4]; const char *name; };
enum mood { HAPPY = 1, SAD = 7 };
typedef int (*visit)(struct flow *, enum mood, ...);
struct flow flows[8]; visit visits; static volatile int hidden; const enum mood mood = SAD;
int __attribute__((btf_decl_tag("tagged"))) tagged; int __attribute__((btf_type_tag("user"))) *pointer;
extern int elsewhere(long);
int run(struct flow *flow) { return flow->b + hidden++ + elsewhere(1); }
"""


@pytest.mark.parametrize("target", ["bpfel", "bpfeb"])
def test_own_object_reads_as_bpftool_reads_it_in_both_byte_orders(target: Any, tmp_path: Path) -> None:
    file = tmp_path / "blob.btf"
    file.write_bytes(compile_blob(SOURCE, target=target))
    btf = parse(file.read_bytes())
    assert btf.byte_order == {"bpfel": "little", "bpfeb": "big"}[target]
    _compare(btf, bpftool_raw(file))


def test_both_byte_orders_give_the_same_types() -> None:
    little, big = compile_btf(SOURCE, target="bpfel"), compile_btf(SOURCE, target="bpfeb")
    assert [little.type(one) for one in little] == [big.type(one) for one in big]


@pytest.mark.kernel
def test_indexing_and_finding_decode_nothing_but_what_is_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = []
    real = Btf.type
    monkeypatch.setattr(Btf, "type", lambda self, number: decoded.append(number) or real(self, number))
    btf = parse(VMLINUX.read_bytes())
    (found,) = btf.find("task_struct", Kind.STRUCT)
    assert len(decoded) < 100  # of more than a hundred thousand
    assert btf.name_of(found) == "struct task_struct"
    done = subprocess.run(["bpftool", "-j", "btf", "dump", "file", str(VMLINUX)], check=True, capture_output=True)
    rows = json.loads(done.stdout)["types"]
    assert [row["id"] for row in rows if row["name"] == "task_struct" and row["kind"] == "STRUCT"] == [found]


def test_errors_of_this_room_are_sentences() -> None:
    with pytest.raises(BtfError, match=r"^This is not BTF: .* found the bytes '7f45'"):
        parse(b"\x7fELF")
