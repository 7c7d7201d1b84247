"""C that clang takes back: sizes and offsets asserted by the compiler, bit fields by the BTF of the second compilation."""

from __future__ import annotations

import random
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.btf import declare
from app.btf.errors import BtfError
from app.btf.layout import bit_field
from app.btf.parse import Btf
from app.btf.types import Array, Enum, Kind, Struct, Union
from tests.btfs import Writer, compile_btf, compile_type, vmlinux

N_STRUCTS = 300


def _syntax(source: str) -> str:
    """Return clang's complaints about a source."""
    run = ["clang", "-target", "bpf", "-x", "c", "-std=gnu11", "-fsyntax-only", "-Wno-everything", "-"]
    return subprocess.run(run, input=source, text=True, capture_output=True, check=False).stderr


def _with_asserts(btf: Btf, type_id: int) -> str:
    found = btf.resolve(type_id)
    assert isinstance(found, Struct | Union)
    declaration = declare.c(btf, type_id, comments=True)
    name = declaration.type_text
    lines = [declaration.text, f'_Static_assert(sizeof({name}) == {found.size_bytes}, "size");']
    for member in found.members:
        if member.name and not bit_field(btf, member)[1]:
            at = member.offset_bits // 8
            lines.append(f'_Static_assert(__builtin_offsetof({name}, {member.name}) == {at}, "{member.name}");')
    return "\n".join(lines)


def _flat(btf: Btf, type_id: int, start: int = 0, depth: int = 0) -> list[tuple[int, int, str]]:
    """Return (offset, width in bits, name) of every member, however deep, without the padding that C needed."""
    found = btf.resolve(type_id)
    rows: list[tuple[int, int, str]] = []
    if not isinstance(found, Struct | Union):
        return rows
    for member in found.members:
        if member.name.startswith("__pad"):
            continue
        offset_bits, bits = bit_field(btf, member)
        rows.append((start + offset_bits, bits or btf.size_bytes(member.type_id) * 8, member.name))
        inner = btf.resolve(member.type_id)
        while isinstance(inner, Array):
            inner = btf.resolve(inner.element)
        rows += _flat(btf, inner.id, start + offset_bits, depth + 1)
    return rows


@pytest.mark.kernel
def test_structs_of_the_kernel_compile_to_the_same_offsets() -> None:
    btf = vmlinux()
    named = [one for one in btf if btf.kind(one) in {Kind.STRUCT, Kind.UNION} and btf.type(one).name]
    chosen = random.Random("structs").sample(named, N_STRUCTS)
    for name in (
        "task_struct",
        "sk_buff",
        "sock",
        "tcp_sock",
        "iphdr",
        "tcphdr",
        "bpf_prog",
        "net_device",
        "desc_struct",
    ):
        chosen += btf.find(name, Kind.STRUCT)
    with ThreadPoolExecutor(2) as pool:
        complaints = list(pool.map(lambda one: _syntax(_with_asserts(btf, one)), chosen))
    failed = {btf.type(one).name: text for one, text in zip(chosen, complaints, strict=True) if text}
    assert failed == {}


@pytest.mark.kernel
def test_structs_of_the_kernel_come_back_bit_for_bit() -> None:
    btf = vmlinux()
    names = [
        "tcphdr",
        "iphdr",
        "sk_buff",
        "desc_struct",
        "page",
        "bpf_prog",
        "sched_dl_entity",
        "io_kiocb",
        "perf_event_attr",
    ]
    for name in names:
        (one,) = btf.find(name, Kind.STRUCT)
        again, found = compile_type(declare.c(btf, one).text, f"struct {name}")
        assert _flat(again, found) == _flat(btf, one), name


LAYOUTS = [
    "struct { char a; int b; }",
    "struct __attribute__((packed)) { char a; int b; }",
    "struct __attribute__((packed)) { char a; int b:5; int c:11; long long d:40; char e; }",
    "struct __attribute__((packed, aligned(4))) { char a; short b; char c; }",
    "struct { int a:3; int :0; int b:4; char c; }",
    "struct { int a:3; int :7; int b:4; long long c:33; unsigned char d:7; _Bool e:1; }",
    "struct { char a; } __attribute__((aligned(64)))",
    "struct { char a; int b __attribute__((aligned(32))); char c; }",
    "struct { char a; struct { char b; long long c; } __attribute__((packed)) in; short d; }",
    "struct { char a[3]; union { struct { int x:4, y:28; }; float f; char raw[7]; }; int b; }",
    "struct { int n; struct { short s; char c; } rest[]; }",
    "struct { int n; char none[0]; long long b; }",
    "union { char a[5]; int b; }",
    "union __attribute__((packed)) { char a[5]; int b; }",
    "struct { void (*call)(int, const char *const *, ...); int (*table[3])(void); char (*row)[4]; }",
    "struct { __int128 big; char tail; }",
    "struct { double d; float f; _Bool ok; const volatile char c; }",
    "struct { enum { LOW, HIGH = 1 << 20 } level; enum { BYTE } __attribute__((packed)) small; short after; }",
    "struct { int m[2][3][4]; struct { int deep; } in[2][2]; }",
    "struct { }",
]


@pytest.mark.parametrize("c", LAYOUTS)
@pytest.mark.parametrize("target", ["bpfel", "bpfeb"])
def test_layout_comes_back(c: str, target: str) -> None:
    source = f"typedef {c} chosen_t;"
    btf, one = compile_type(source, "chosen_t", target=target)  # type: ignore[arg-type]
    text = declare.c(btf, one, comments=True).text
    again, found = compile_type(text, "chosen_t", target=target)  # type: ignore[arg-type]
    assert _flat(again, found) == _flat(btf, one), text
    assert again.size_bytes(found) == btf.size_bytes(one)


def test_text_of_a_struct_with_comments() -> None:
    btf, one = compile_type(
        """
        struct task;
        enum mood { HAPPY = 1, SAD = 7 };
        struct flow {
            unsigned char proto:4, ttl:4; unsigned int addr; struct { short lo; short hi; };
            struct task __attribute__((btf_type_tag("kptr"))) *task;
            int (*visit)(struct flow *, enum mood); char rest[];
        };
        """,
        "struct flow",
    )
    assert declare.c(btf, one, comments=True).text == (
        "struct task;\n"
        "enum mood {\n"
        "\tHAPPY = 1,\n"
        "\tSAD = 7,\n"
        "};\n"
        "\n"
        "struct flow {\n"
        "\tunsigned char proto:4;                   /* offset 0:0, 4 bits */\n"
        "\tunsigned char ttl:4;                     /* offset 0:4, 4 bits */\n"
        "\t/* hole, size 3 */\n"
        "\tunsigned int addr;                       /* offset 4, size 4 */\n"
        "\tstruct {                                 /* offset 8, size 4 */\n"
        "\t\tshort lo;                        /* offset 8, size 2 */\n"
        "\t\tshort hi;                        /* offset 10, size 2 */\n"
        "\t\t/* size 4, alignment 2 */\n"
        "\t};\n"
        "\t/* hole, size 4 */\n"
        '\tstruct task __attribute__((btf_type_tag("kptr"))) *task; /* offset 16, size 8 */\n'
        "\tint (*visit)(struct flow *, enum mood);  /* offset 24, size 8 */\n"
        "\tchar rest[];                             /* offset 32, size 0 */\n"
        "\t/* size 32, alignment 8 */\n"
        "};\n"
    )


def test_enum64_and_small_enums_keep_their_size() -> None:
    writer = Writer()
    s = writer.string
    wide = writer.add(Kind.ENUM64, "wide", 8, s("TOP"), 0, 0x80000000, s("ONE"), 1, 0, vlen=2)
    low = writer.add(Kind.ENUM64, "low", 8, s("BOTTOM"), 0, 0x80000000, vlen=1, kind_flag=1)
    small = writer.add(Kind.ENUM, "small", 1, s("A"), 0, s("B"), 200, vlen=2)
    short = writer.add(Kind.ENUM, "two", 2, s("C"), -1, vlen=1, kind_flag=1)
    eight = writer.add(Kind.ENUM, "eight", 8, s("D"), 5, vlen=1)
    one = writer.struct(
        "all", 32, ("w", wide, 0), ("l", low, 64), ("s", small, 128), ("t", short, 144), ("e", eight, 192)
    )
    btf = writer.parse()
    text = _with_asserts(btf, one)
    values = "TOP == 1ULL << 63, ONE == 1, BOTTOM == (-9223372036854775807LL - 1), A == 0, B == 200, C == -1, D == 5"
    text += "".join(f'_Static_assert({value}, "value");' for value in values.split(", "))
    assert _syntax(text) == ""


def test_same_name_twice_is_told_apart() -> None:
    writer = Writer()
    number = writer.integer("int", 4, encoding=1)
    first = writer.struct("same", 4, ("a", number, 0))
    second = writer.struct("same", 8, ("a", first, 0), ("b", number, 32))
    alias = writer.add(Kind.TYPEDEF, "same", second)
    other = writer.add(Kind.TYPEDEF, "same", number)
    one = writer.struct("both", 12, ("x", alias, 0), ("y", other, 64))
    assert _syntax(_with_asserts(writer.parse(), one)) == ""


def test_names_of_other_languages_become_c() -> None:
    writer = Writer()
    word = writer.integer("u32", 4)
    one = writer.struct("Option<u32>", 8, ("core::option", word, 0), ("register", word, 32))
    declaration = declare.c(writer.parse(), one)
    assert declaration.type_text == "struct Option_u32_"
    assert _syntax(declaration.text) == ""
    assert "core__option" in declaration.text


def test_section_is_a_list_of_its_variables() -> None:
    writer = Writer()
    number = writer.integer("int", 4, encoding=1)
    shape = writer.struct("", 4, ("n", number, 0))
    first, second = writer.add(Kind.VAR, "seen", number, 1), writer.add(Kind.VAR, "state", shape, 0)
    section = writer.add(Kind.DATASEC, ".bss", 8, first, 0, 4, second, 4, 4, vlen=2)
    text = declare.c(writer.parse(), section).text
    assert text == "/* section .bss, 8 bytes */\nint seen;\nstatic struct {\n\tint n;\n} state;\n"
    assert _syntax(text) == ""


@pytest.mark.parametrize(
    ("c", "text", "type_text"),
    [
        ("int", "typedef int value;\n", "value"),
        ("char[8]", "typedef char value[8];\n", "value"),
        ("int (*)(int)", "typedef int (*value)(int);\n", "value"),
        ("struct { int a; }", "typedef struct {\n\tint a;\n} value;\n", "value"),
    ],
)
def test_type_without_a_name_gets_one(c: str, text: str, type_text: str) -> None:
    btf, one = compile_type("", c)
    declaration = declare.c(btf, one)
    assert (declaration.text, declaration.type_text) == (text, type_text)


def test_attributes_are_kept_where_they_are_c() -> None:
    writer = Writer()
    number = writer.integer("int", 4, encoding=1)
    space = writer.add(Kind.TYPE_TAG, "address_space(1)", number, kind_flag=1)
    evil = writer.add(Kind.TYPE_TAG, "x)) evil((", number, kind_flag=1)
    one = writer.struct("s", 16, ("p", writer.add(Kind.PTR, "", space), 0), ("q", writer.add(Kind.PTR, "", evil), 64))
    writer.add(Kind.DECL_TAG, "deprecated", one, 0, kind_flag=1)
    writer.add(Kind.DECL_TAG, "hot", one, 1)
    declaration = declare.c(writer.parse(), one)
    assert declaration.text == (
        "struct s {\n"
        "\tint __attribute__((address_space(1))) *p __attribute__((deprecated));\n"
        '\tint *q __attribute__((btf_decl_tag("hot")));\n'
        "};\n"
    )
    assert declaration.warnings == ("The attribute 'x)) evil((' is left out: it is not plain C.",)
    assert _syntax(declaration.text) == ""


def test_struct_that_holds_itself_is_refused() -> None:
    writer = Writer()
    one = writer.struct("s", 8, ("s", 1, 0))
    with pytest.raises(BtfError):
        declare.c(writer.parse(), one)


@pytest.mark.parametrize(
    "c",
    [
        "int", "char[16]", "const char *", "char *const", "int[2][3]", "int *[4]", "int (*)[4]", "int (*)(void *, int)",
        "int (*[3])(void)", "int (*(*)(long))(char)", "void (*)(int, ...)", "struct named *", "enum mood", "volatile long",
        "union both[2]", "const char *const *",
    ],
)  # fmt: skip
def test_spelling_is_taken_back_by_the_compiler(c: str) -> None:
    context = "struct named { int a; }; enum mood { SAD }; union both { int a; };"
    btf, one = compile_type(context, c)
    spelling = btf.name_of(one)
    again, found = compile_type(context, spelling)
    assert again.name_of(found) == spelling
    assert (
        _syntax(f'{context} _Static_assert(__builtin_types_compatible_p(__typeof__({c}), __typeof__({spelling})), "");')
        == ""
    )


def test_anonymous_enum_is_written_where_it_is_used() -> None:
    btf = compile_btf("struct s { enum { ONE = 1 } e; } v;")
    (one,) = btf.find("s", Kind.STRUCT)
    assert declare.c(btf, one).text == "struct s {\n\tenum {\n\t\tONE = 1,\n\t} e;\n};\n"
    assert isinstance(btf.resolve(btf.type(one).members[0].type_id), Enum)  # type: ignore[union-attr]
