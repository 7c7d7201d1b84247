"""Types as rows of a schema page."""

from __future__ import annotations

import pytest

from app.btf.outline import Row, outline
from app.btf.special import NAMES, special
from app.btf.types import Kind
from tests.btfs import Writer, compile_type, vmlinux


def _short(rows: list[Row]) -> list[tuple[int, str, str, float, float]]:
    """Return depth, path (or "-" for padding), type, offset and size in bytes."""
    return [
        (row.depth, "-" if row.is_padding else row.path, row.type_name, row.offset_bits / 8, row.size_bits / 8)
        for row in rows
    ]


def test_members_holes_and_what_is_inside() -> None:
    btf, one = compile_type(
        """
        struct el { char a; short b; int c:3; int d:7; };
        struct value {
            char ok; struct el slots[4]; union { int x; struct { short lo, hi; }; };
            struct { struct el deep; } in; long long tail; char rest[];
        };
        """,
        "struct value",
    )
    assert _short(outline(btf, one)) == [
        (0, "ok", "char", 0, 1),
        (0, "-", "", 1, 3),
        (0, "slots", "struct el[4]", 4, 32),
        (1, "slots[0].a", "char", 4, 1),
        (1, "-", "", 5, 1),
        (1, "slots[0].b", "short", 6, 2),
        (1, "slots[0].c", "int", 8, 3 / 8),
        (1, "slots[0].d", "int", 8 + 3 / 8, 7 / 8),
        (1, "-", "", 9.25, 2.75),
        (0, "", "union {...}", 36, 4),
        (1, "x", "int", 36, 4),
        (1, "", "struct {...}", 36, 4),
        (2, "lo", "short", 36, 2),
        (2, "hi", "short", 38, 2),
        (0, "in", "struct {...}", 40, 8),
        (1, "in.deep", "struct el", 40, 8),
        (2, "in.deep.a", "char", 40, 1),
        (2, "-", "", 41, 1),
        (2, "in.deep.b", "short", 42, 2),
        (2, "in.deep.c", "int", 44, 3 / 8),
        (2, "in.deep.d", "int", 44 + 3 / 8, 7 / 8),
        (2, "-", "", 45.25, 2.75),
        (0, "tail", "long long", 48, 8),
        (0, "rest", "char[]", 56, 0),
    ]


@pytest.mark.parametrize(
    ("c", "note"),
    [
        ("int a:3", "bit field of 3 bits"),
        ("char rest[0]", "flexible array"),
        ("struct { int x; } many[3]", "3 elements, the first is shown"),
        ("_Bool ok", "true or false"),
        ("enum { A, B } e", "2 names"),
        ('int x __attribute__((btf_decl_tag("hot")))', "tag 'hot'"),
        ("int plain", ""),
    ],
)
def test_note(c: str, note: str) -> None:
    btf, one = compile_type("", f"struct {{ int first; {c}; }}")
    assert next(row.note for row in outline(btf, one) if not row.is_padding and row.offset_bits) == note


STRUCTS = ["bpf_spin_lock", "bpf_res_spin_lock", "bpf_timer", "bpf_wq", "bpf_task_work", "bpf_list_head", "bpf_list_node",
           "bpf_rb_root", "bpf_rb_node", "bpf_refcount"]  # fmt: skip
TAGS = ["kptr", "kptr_untrusted", "percpu_kptr", "uptr"]


@pytest.mark.parametrize("name", STRUCTS)
def test_fields_of_the_kernel_are_noted_and_not_opened(name: str) -> None:
    btf, one = compile_type(f"struct {name} {{ unsigned long long o[2]; }};", f"struct {{ struct {name} own; int n; }}")
    rows = outline(btf, one)
    assert [row.path for row in rows] == ["own", "n", ""]
    assert rows[0].note
    found = special(btf, btf.find(name, Kind.STRUCT)[0])
    assert found is not None
    assert found.name == name


def test_array_of_the_kernels_own_is_noted_and_not_opened() -> None:
    btf, one = compile_type("struct bpf_timer { long long o[2]; };", "struct { struct bpf_timer timers[2][2]; }")
    (row,) = outline(btf, one)
    assert (row.path, row.type_name, row.note.split(":")[0]) == ("timers", "struct bpf_timer[2][2]", "timer")


@pytest.mark.kernel
@pytest.mark.parametrize("name", [name for name in STRUCTS if name != "bpf_task_work"])
def test_the_kernel_has_a_struct_of_that_name(name: str) -> None:
    assert vmlinux().find(name, Kind.STRUCT)


@pytest.mark.parametrize("tag", TAGS)
def test_pointers_of_the_kernel_are_noted(tag: str) -> None:
    btf, one = compile_type(
        "struct task;", f'struct {{ struct task __attribute__((btf_type_tag("{tag}"))) *p; int *q; }}'
    )
    kptr, plain = outline(btf, one)
    assert kptr.note
    assert plain.note == ""
    assert tag in NAMES


def test_type_that_is_one_value_is_one_row() -> None:
    btf, one = compile_type("typedef unsigned u32;", "u32")
    assert outline(btf, one) == [Row(0, "", "", "u32", 0, 32, is_padding=False, note="")]


def test_array_of_structs_shows_its_first_element() -> None:
    btf, one = compile_type("", "struct { int a; }[2][3]")
    assert _short(outline(btf, one)) == [(0, "", "struct {...}[2][3]", 0, 24), (1, "[0][0].a", "int", 0, 4)]


def test_section_is_its_variables_in_order() -> None:
    writer = Writer()
    number = writer.integer("int", 4, encoding=1)
    first, second = writer.add(Kind.VAR, "seen", number, 1), writer.add(Kind.VAR, "late", number, 0)
    section = writer.add(Kind.DATASEC, ".bss", 16, second, 8, 4, first, 0, 4, vlen=2)
    assert _short(outline(writer.parse(), section)) == [
        (0, "seen", "int", 0, 4),
        (0, "-", "", 4, 4),
        (0, "late", "int", 8, 4),
        (0, "-", "", 12, 4),
    ]


@pytest.mark.kernel
def test_too_many_rows_are_cut_and_say_so() -> None:
    btf = vmlinux()
    (one,) = btf.find("task_struct", Kind.STRUCT)
    rows = outline(btf, one, max_rows=50)
    assert len(rows) == 51
    assert rows[-1].note == "Cut after 50 rows: there are more."
    assert outline(btf, one)[:50] == rows[:50]
