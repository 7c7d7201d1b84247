"""What the documents promise, held against the program."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest

from app.cli.main import COMMANDS
from app.columns import where
from app.columns.lenses import choose
from app.columns.node import Node, NodeKind
from app.maps.kinds import KINDS, Counter, Enumerate
from app.settings import PREFIX, Settings
from app.uapi.enums import BpfMapFlag, BpfMapType
from app.uapi.errors import InvalidForKernel, NotSupported
from app.uapi.syscall import MapSpec
from tests.livemaps import live_map, reader_of

ROOT = Path(__file__).resolve().parents[1]
DOCS = sorted([*(ROOT / "docs").rglob("*.md"), ROOT / "README.md", ROOT / "CHANGELOG.md"])
MAP_TYPES = (ROOT / "docs" / "map-types.md").read_text()
EXPRESSIONS = (ROOT / "docs" / "expressions.md").read_text()

FOUND_BY = {
    Enumerate.BATCH: "batch",
    Enumerate.WALK: "walk",
    Enumerate.SLOTS: "slots",
    Enumerate.SINGLE: "slots, of which it has one",
    Enumerate.PEEK: "peek",
    Enumerate.RING: "mapping",
    Enumerate.SOCKETS: "owners",
    Enumerate.INODES: "owners",
    Enumerate.TASKS: "owners",
    Enumerate.CGROUPS: "owners",
}
COUNTED_BY = {Counter.KERNEL: "kernel", Counter.FIXED: "fixed", Counter.WALK: "short walk", Counter.UNKNOWN: "reading"}


def rows(text: str) -> dict[str, list[str]]:
    """Cells of each table row whose first cell is one `word`."""
    found = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if match := re.fullmatch(r"\|? ?`([a-z_]+)`", cells[0]):
            found[match[1]] = cells[1:]
    return found


def test_every_type_of_the_kernel_has_its_row() -> None:
    assert list(rows(MAP_TYPES)) == [kind.name for kind in KINDS.values()]
    assert {kind.name.upper() for kind in KINDS.values()} == {each.name for each in BpfMapType} - {"UNSPEC"}


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_a_type_is_found_and_counted_as_its_row_says(kind) -> None:
    found_by, counted_by, shown, hidden = rows(MAP_TYPES)[kind.name]
    wanted = "by value" if kind.type == BpfMapType.BLOOM_FILTER else FOUND_BY.get(kind.enumerate, "none")
    assert (found_by, counted_by) == (wanted, COUNTED_BY[kind.counter])
    assert len(shown) > 4
    assert len(hidden) > 4


def test_every_setting_has_its_heading_and_its_variable() -> None:
    text = (ROOT / "docs" / "settings.md").read_text()
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert headings == [field.name for field in fields(Settings)]
    for field in fields(Settings):
        section = text.partition(f"## {field.name}\n")[2].partition("\n## ")[0]
        assert f"`{PREFIX}{field.name.upper()}`" in section
        default = field.default
        if isinstance(default, str | int | Path) and not isinstance(default, bool) and default != "":
            assert f"`{default}`" in section or f" {default}." in section, f"{field.name}: default {default}"


def test_every_setting_says_what_it_is() -> None:
    source = (ROOT / "app" / "settings.py").read_text()
    for field in fields(Settings):
        assert re.search(rf'^    {field.name}: .*\n    """', source, re.MULTILINE), field.name


def test_the_readme_has_every_command() -> None:
    text = (ROOT / "README.md").read_text().partition("## Commands")[2]
    listed = re.findall(r"^bpf-atlas ([a-z]+)", text, re.MULTILINE)
    assert listed == list(COMMANDS)


def test_the_readme_has_every_option_of_dump() -> None:
    from app.cli.dump import command

    text = (ROOT / "README.md").read_text()
    options = {option for parameter in command.params for option in parameter.opts if option.startswith("--")}
    assert {option for option in options if option not in text} == {"--lens", "--data"}


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", path.read_text()):
        if not target.startswith("http"):
            assert (path.parent / target).exists(), target


@pytest.mark.parametrize("path", sorted((ROOT / "docs" / "adr").glob("*.md")), ids=lambda path: path.stem)
def test_a_record_of_a_decision_is_short_and_whole(path: Path) -> None:
    text = path.read_text()
    assert re.match(rf"# {int(path.name[:4])}\. ", text)
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == ["Asked", "Chosen", "Not chosen", "Costs"]
    assert len(text) < 2000


def test_decisions_are_numbered_without_gaps() -> None:
    names = sorted(path.name for path in (ROOT / "docs" / "adr").iterdir())
    assert [int(name[:4]) for name in names] == list(range(1, len(names) + 1))


def test_paths_of_modules_in_the_docs_exist() -> None:
    for path in DOCS:
        for named in re.findall(
            r"`((?:app|tests|demo|templates|static|docs)/[\w./]+\.(?:py|md|html|css|js))`", path.read_text()
        ):
            assert (ROOT / named).exists(), f"{path.name}: {named}"


def block_of(text: str, heading: str) -> list[str]:
    return text.partition(f"\n## {heading}\n")[2].partition("```\n")[2].partition("```")[0].splitlines()


@pytest.mark.parametrize("line", block_of(EXPRESSIONS, "Filters"))
def test_filters_in_the_docs_are_filters(line: str) -> None:
    assert list(where.parse(line).fields())


def test_the_error_in_the_docs_is_the_one_that_is_printed() -> None:
    asked, printed = re.search(r"--where '(.*)'\nbpf-atlas: (.*)", EXPRESSIONS).groups()  # type: ignore[union-attr]
    with pytest.raises(where.WhereError) as error:
        where.parse(asked)
    assert str(error.value) == printed


def test_literals_in_the_docs_are_literals() -> None:
    table = EXPRESSIONS.partition("| literal |")[2].partition("\n\n")[0]
    literals = [text for line in table.splitlines()[2:] for text in re.findall(r"`([^`]+)`", line.split("|")[2])]
    assert len(literals) > 15
    for text in literals:
        where.parse(f"value.x {'in' if '/' in text else '=='} {text}")


def test_the_ways_to_write_a_key_mean_the_same() -> None:
    from app.columns.key_text import parse_key
    from app.columns.plan import plan_type
    from tests.btfs import compile_type

    source = "typedef unsigned int __be32; typedef unsigned short __be16; struct k { __be32 saddr; __be16 dport; unsigned short zone; };"
    btf, type_id = compile_type(source, "struct k")
    plan = plan_type(btf, type_id, 8)
    texts = re.findall(r"`([^`]+)`", EXPRESSIONS.partition("| way |")[2].partition("\n\n")[0])
    same = [text for text in texts if text.startswith(("{", "hex:")) or ", " in text]
    assert len(same) == 3
    assert {parse_key(plan, text) for text in same} == {bytes.fromhex("0a00000100500000")}


def every_lens() -> set[str]:
    def node(kind: NodeKind, bits: int = 0, **more: object) -> Node:
        return Node(kind=kind, size_bits=bits, **more)  # type: ignore[arg-type]

    byte = node(NodeKind.INT, 8)
    nodes = [node(NodeKind.INT, bits) for bits in (8, 16, 32, 64)]
    nodes += [
        node(kind, 64)
        for kind in (NodeKind.ENUM, NodeKind.BOOL, NodeKind.PTR, NodeKind.FLOAT, NodeKind.TEXT, NodeKind.STRUCT)
    ]
    nodes += [node(NodeKind.BYTES, size * 8, count=size) for size in (4, 6, 16)]
    nodes += [
        node(NodeKind.ARRAY, 128, count=4, element=node(NodeKind.INT, 32)),
        node(NodeKind.ARRAY, 48, count=6, element=byte),
    ]
    nodes += [node(NodeKind.INT, 64, special="bpf_timer")]
    return {lens for each in nodes for lens in choose.choices(each)}


def test_every_lens_has_its_row() -> None:
    table = EXPRESSIONS.partition("| lens |")[2].partition("\n\n")[0]
    named = {name for line in table.splitlines()[2:] for name in re.findall(r"`([a-z_0-9]+)`", line.split("|")[1])}
    assert named == every_lens()


T = BpfMapType


def spec_of(map_type: BpfMapType, inner_fd: int) -> MapSpec | None:
    """The plainest map of that type; None where it takes BTF."""
    four = {T.PROG_ARRAY, T.PERF_EVENT_ARRAY, T.CGROUP_ARRAY, T.XSKMAP, T.ARRAY_OF_MAPS, T.HASH_OF_MAPS}
    keyless = {T.QUEUE, T.STACK, T.BLOOM_FILTER, T.RINGBUF, T.USER_RINGBUF, T.ARENA}
    bare = {T.RINGBUF, T.USER_RINGBUF, T.ARENA}
    attached = {T.CGROUP_STORAGE, T.PERCPU_CGROUP_STORAGE}
    if map_type in {T.SK_STORAGE, T.INODE_STORAGE, T.TASK_STORAGE, T.CGRP_STORAGE, T.STRUCT_OPS}:
        return None
    return MapSpec(
        type=map_type,
        key_size=0 if map_type in keyless else 16 if map_type in attached else 8 if map_type is T.LPM_TRIE else 4,
        value_size=0 if map_type in bare else 4 if map_type in four else 8,
        max_entries=0 if map_type in attached else 4096 if map_type in {T.RINGBUF, T.USER_RINGBUF} else 4,
        flags=BpfMapFlag.NO_PREALLOC if map_type is T.LPM_TRIE else BpfMapFlag.MMAPABLE if map_type is T.ARENA else 0,
        inner_map_fd=inner_fd if map_type in {T.ARRAY_OF_MAPS, T.HASH_OF_MAPS} else 0,
    )


BATCHES_OF_SLOTS = {BpfMapType.ARRAY_OF_MAPS}
"""Has batches, too; its slots are looked up all the same, as those of the other arrays of descriptors."""


@pytest.mark.kernel
@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_the_kernel_allows_what_the_row_says(kind) -> None:
    with live_map(MapSpec(type=BpfMapType.ARRAY, key_size=4, value_size=8, max_entries=1)) as inner_fd:
        spec = spec_of(BpfMapType(kind.type), inner_fd)
        if spec is None:
            assert kind.enumerate in {
                Enumerate.SINGLE,
                Enumerate.SOCKETS,
                Enumerate.INODES,
                Enumerate.TASKS,
                Enumerate.CGROUPS,
            }
            return
        with live_map(spec) as fd:
            reader = reader_of(fd, spec)
            keys, values = memoryview(bytearray(64)), memoryview(bytearray(4 * max(reader.value_stride, 8)))
            key, value = bytes(spec.key_size) if spec.key_size else None, bytearray(max(reader.value_stride, 8))

            def allows(ask: Callable[[], object]) -> bool:
                try:
                    ask()
                except (NotSupported, InvalidForKernel):
                    return False
                return True

            batch = allows(lambda: reader.lookup_batch(None, bytearray(16), keys, values, 4))
            walk = allows(lambda: reader.next_key(None, bytearray(max(spec.key_size, 4))))
            look = allows(lambda: reader.lookup(key, value))
    assert batch == (kind.enumerate is Enumerate.BATCH or kind.type in BATCHES_OF_SLOTS)
    if kind.enumerate in {Enumerate.BATCH, Enumerate.WALK, Enumerate.SLOTS}:
        assert (walk, look) == (True, True)
    if kind.enumerate is Enumerate.PEEK:
        assert (walk, look) == (False, True)
    if kind.enumerate is Enumerate.NOTHING:
        assert not (walk and look)
