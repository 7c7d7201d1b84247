"""The quick look into the kernel's BTF finds what bpftool finds."""

from __future__ import annotations

import random
import re
import subprocess
from pathlib import Path

import pytest

from app.broker import vmlinux
from app.wire.errors import UnusableHere

pytestmark = pytest.mark.kernel


@pytest.fixture(scope="module")
def dump() -> str:
    command = ["bpftool", "btf", "dump", "file", str(vmlinux.PATH), "format", "raw"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_ids_of_functions(dump: str) -> None:
    ids: dict[str, set[int]] = {}
    for number, name in re.findall(r"^\[(\d+)\] FUNC '(\w+)'", dump, re.MULTILINE):
        ids.setdefault(name, set()).add(int(number))
    wanted = random.Random(7).sample(sorted(ids), 200)
    found = vmlinux.load().func_ids([*wanted, "no_such_function_anywhere"])
    assert found.keys() == set(wanted)
    assert all(found[name] in ids[name] for name in wanted)
    assert vmlinux.load().names_of(found.values()) == {number: name for name, number in found.items()}


@pytest.mark.parametrize(
    ("struct_name", "member"),
    [
        ("bpf_map", "id"),
        ("task_struct", "comm"),
        ("task_struct", "tgid"),
        ("file", "f_op"),
        ("sock_common", "skc_family"),
    ],
)
def test_offsets_of_members(dump: str, struct_name: str, member: str) -> None:
    block = re.search(rf"^\[\d+\] STRUCT '{struct_name}' .*\n((?:\t.*\n)+)", dump, re.MULTILINE)
    assert block
    line = re.search(rf"'{member}' type_id=\d+ bits_offset=(\d+)", block[1])
    if line:
        assert vmlinux.load().offset_bytes(struct_name, member) == int(line[1]) // 8
    else:  # inside of a nameless member
        assert vmlinux.load().offset_bytes(struct_name, member) > 0


def test_what_is_not_there_is_named() -> None:
    with pytest.raises(UnusableHere, match="struct bpf_map has no member nonesuch"):
        vmlinux.load().offset_bytes("bpf_map", "nonesuch")
    with pytest.raises(UnusableHere, match="CONFIG_DEBUG_INFO_BTF"):
        vmlinux.load(Path("/no/such/file"))
