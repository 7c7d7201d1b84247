"""Names, paths, types and bytes that somebody chose in order to be shown: they arrive as text, visible and in one piece."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from app.btf.types import Kind
from app.uapi import loading, objects
from app.uapi.enums import BpfMapType
from app.uapi.errors import KernelError
from app.uapi.syscall import MapSpec
from tests.btfs import Writer
from tests.cli.conftest import bpffs, no_service, run_in
from tests.livemaps import live_map, u32

__all__ = ["bpffs", "no_service"]

pytestmark = pytest.mark.kernel
RAW = re.compile("[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069\u200b-\u200f\ufeff\ud800-\udfff]")
"""What must not stand in any answer as it is."""
HOLDER = """
import sys
with open("/proc/self/comm", "wb") as file: file.write(bytes.fromhex(sys.argv[1]))
print("ready", flush=True)
sys.stdin.read()
"""
NAMES = {
    "markup": b"<img onerror=1>",
    "newline": b"a\nb\tc",
    "escape": b"\x1b[31mred",
    "right to left": "a\u202ecod.exe".encode(),
    "no UTF-8": b"\xff\xfe<\xc3",
    "quotes": b"\"'&amp;`\\",
    "formula": b"=1+1|cmd",
    "template": b"{{987*654}}{%%}",
}


def clean(text: str) -> None:
    found = RAW.search(text)
    assert found is None, repr(text[max(found.start() - 40, 0) : found.end() + 40])
    assert "<img" not in text
    assert "645498" not in text  # what the template would have made of it


@contextlib.contextmanager
def held_by(fd: int, comm: bytes) -> Iterator[None]:
    """A process of that name holds the descriptor."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, comm.hex()],
        pass_fds=[fd],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "ready\n"
        yield
    finally:
        holder.communicate("")


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES.keys())
def test_what_processes_are_called(someone: FlaskClient, no_service: Path, name: bytes) -> None:
    with live_map(MapSpec(type=BpfMapType.HASH, key_size=4, value_size=4, max_entries=4)) as fd, held_by(fd, name):
        map_id = objects.map_info(fd).id
        for path in ("/", f"/maps/{map_id}", f"/maps/{map_id}/relations"):
            answer = someone.get(path)
            assert answer.status_code == 200
            clean(answer.text)
        for path in ("/api/v1/maps", f"/api/v1/maps/{map_id}"):
            answer = someone.get(path)
            assert answer.status_code == 200
            assert answer.json is not None
        for words in (["show", map_id], ["maps"]):
            done = run_in(no_service, *words)
            assert done.status == 0
            clean(done.text.replace("<img", ""))


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES.keys())
def test_what_pins_are_called(app, someone: FlaskClient, bpffs: Path, no_service: Path, name: bytes) -> None:
    folder = os.fsencode(bpffs) + b"/d " + name.replace(b".", b"_")
    path = folder + b"/p " + name.replace(b".", b"_")
    with live_map(MapSpec(type=BpfMapType.HASH, key_size=4, value_size=4, max_entries=4)) as fd:
        map_id = objects.map_info(fd).id
        Path(os.fsdecode(folder)).mkdir()
        objects.obj_pin(os.fsdecode(path), fd)
        try:
            done = run_in(no_service, "show", map_id, env={"BPF_ATLAS_BPFFS": str(bpffs)})
            assert done.status == 0
            assert RAW.search(done.text) is None
            done = run_in(no_service, "maps", "--json", env={"BPF_ATLAS_BPFFS": str(bpffs)})
            (row,) = (row for row in done.document if row["id"] == map_id)
            assert len(row["pins"]) == 1
            done = run_in(no_service, "show", os.fsdecode(path), env={"BPF_ATLAS_BPFFS": str(bpffs)})
            assert done.status in {0, 1}
            assert RAW.search(done.text + done.complaint) is None
            assert done.complaint.count("\n") == done.status
            transport = app.extensions["client"]._transport
            transport._host.bpffs = bpffs
            for page in ("/", f"/maps/{map_id}", f"/maps/{map_id}/relations"):
                answer = someone.get(page)
                assert answer.status_code == 200
                clean(answer.text)
                assert "d " in answer.text or page != f"/maps/{map_id}/relations"
        finally:
            Path(os.fsdecode(path)).unlink()
            Path(os.fsdecode(folder)).rmdir()


@pytest.mark.parametrize(
    "value", [*NAMES.values(), b"\0" * 15 + b"x", bytes(range(16, 32)), "\u200b\ufeff\u2066".encode()]
)
def test_what_values_hold(someone: FlaskClient, no_service: Path, value: bytes) -> None:
    spec = MapSpec(type=BpfMapType.HASH, key_size=4, value_size=32, max_entries=4)
    with live_map(spec, [(u32(1), value[:32].ljust(32, b"\0"))]) as fd:
        map_id = objects.map_info(fd).id
        for path in (f"/maps/{map_id}", f"/maps/{map_id}?lens=value:text", f"/maps/{map_id}/entries/01000000"):
            answer = someone.get(path)
            assert answer.status_code == 200, answer.text[-300:]
            clean(answer.text)
        clean(run_in(no_service, "dump", map_id).text)


HOSTILE_TYPES = [
    "<img>",
    "a b",
    "a\nb",
    "union",
    "int",
    "a\u202eb",
    '"',
    "*/",
    "a" * 120,
    "fn",
    "type",
    "class",
    "__del__",
    "0x",
    "ε",
    "\x7f",
]


@pytest.mark.parametrize("name", HOSTILE_TYPES, ids=ascii)
def test_what_types_and_fields_are_called(someone: FlaskClient, no_service: Path, name: str) -> None:
    accepted = 0
    for place in ("struct", "member", "int", "enum"):
        blob = Writer()
        number = blob.integer(name if place == "int" else "u32", 4)
        member = name if place == "member" else "field"
        if place == "enum":
            number = blob.add(Kind.ENUM, "", 4, blob.string(name), 1, vlen=1)
        struct = blob.struct(name if place == "struct" else "value", 4, (member, number, 0))
        try:
            btf = loading.btf_load(blob.blob())
        except KernelError:
            continue
        accepted += 1
        spec = MapSpec(
            type=BpfMapType.HASH,
            key_size=4,
            value_size=4,
            max_entries=4,
            btf_fd=btf,
            btf_key_type_id=number,
            btf_value_type_id=struct,
        )
        try:
            with live_map(spec, [(u32(1), u32(1))]) as fd:
                map_id = objects.map_info(fd).id
                paths = [
                    "",
                    "?format=csv",
                    "?format=json",
                    f"?sort=value.{name}",
                    f"?where=value.{name}+==+1",
                    "/entries/01000000",
                    "/relations",
                ]
                for path in (*paths, *(f"/schema?lang={language}" for language in ("c", "rust", "go", "python"))):
                    answer = someone.get(f"/maps/{map_id}{path}")
                    assert answer.status_code in {200, 422, 400}, (path, answer.text[-300:])
                    if not path.startswith("?"):  # a file, or what the address itself says
                        clean(answer.text)
                assert someone.get(f"/api/v1/maps/{map_id}").status_code == 200
                assert run_in(no_service, "show", map_id).status == 0
        finally:
            os.close(btf)
    assert accepted or not name.isidentifier()
