"""BTF for tests: C compiled by clang, and records written by hand."""

from __future__ import annotations

import json
import struct
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from app.btf import declare
from app.btf.errors import BtfError
from app.btf.header import MAGIC
from app.btf.outline import outline
from app.btf.parse import Btf, parse
from app.btf.types import Kind

VMLINUX = Path("/sys/kernel/btf/vmlinux")
Target = Literal["bpfel", "bpfeb"]


def section(object_file: Path, name: str = ".BTF") -> bytes:
    """Return a section of an ELF object."""
    with TemporaryDirectory() as folder:
        out = Path(folder) / "section"
        dump = ["llvm-objcopy", f"--dump-section={name}={out}", str(object_file), str(Path(folder) / "copy.o")]
        subprocess.run(dump, check=True, capture_output=True)
        return out.read_bytes()


@cache
def compile_blob(source: str, *, target: Target = "bpfel") -> bytes:
    """Compile C with clang and return its BTF; only what variables and functions use is in it."""
    with TemporaryDirectory() as folder:
        out = Path(folder) / "out.o"
        run = ["clang", "-g", "-O2", "-w", "-std=gnu11", "-target", target, "-c", "-x", "c", "-", "-o", str(out)]
        subprocess.run(run, input=source.encode(), check=True, capture_output=True)
        return section(out)


def compile_btf(source: str, *, target: Target = "bpfel") -> Btf:
    """Compile C with clang and parse its BTF."""
    return parse(compile_blob(source, target=target))


def compile_type(declarations: str, spelling: str, *, target: Target = "bpfel") -> tuple[Btf, int]:
    """Compile declarations and a variable of type ``spelling``; return the BTF and the number of that type."""
    btf = compile_btf(f"{declarations}\n__typeof__({spelling}) chosen;\n", target=target)
    (variable,) = btf.find("chosen", Kind.VAR)
    found = btf.type(variable)
    return btf, getattr(found, "target", 0)


@cache
def vmlinux() -> Btf:
    """Return the running kernel's types."""
    return parse(VMLINUX.read_bytes())


def bpftool_raw(file: Path, base: Path | None = None) -> list[dict[str, Any]]:
    """Return the oracle's reading of a BTF blob or an object with one."""
    run = ["bpftool", "-j", *(["-B", str(base)] if base else []), "btf", "dump", "file", str(file), "format", "raw"]
    done = subprocess.run(run, check=True, capture_output=True)
    types: list[dict[str, Any]] = json.loads(done.stdout)["types"]
    return types


@dataclass
class Writer:
    """Writes BTF record by record, right or wrong as the test wants it; each method returns the new type's number."""

    byte_order: Literal["little", "big"] = "little"
    first_id: int = 1
    first_string: int = 0
    strings: bytearray = field(default_factory=lambda: bytearray(b"\0"))
    records: list[bytes] = field(default_factory=list)

    def words(self, *values: int) -> bytes:
        """Pack 32-bit words."""
        return struct.pack(
            f"{'<' if self.byte_order == 'little' else '>'}{len(values)}I", *(v & 0xFFFFFFFF for v in values)
        )

    def string(self, text: str | bytes) -> int:
        """Add a name, return its offset."""
        raw = text.encode() if isinstance(text, str) else text
        if not raw:
            return 0
        at = self.first_string + len(self.strings)
        self.strings += raw + b"\0"
        return at

    def add(
        self, kind: int, name: str | bytes = "", third: int = 0, *extra: int, vlen: int = 0, kind_flag: int = 0
    ) -> int:
        """Add a record: ``third`` is its size or type, ``extra`` the words after the head."""
        info = vlen | kind << 24 | kind_flag << 31
        self.records.append(self.words(self.string(name), info, third, *extra))
        return self.first_id + len(self.records) - 1

    def integer(self, name: str = "int", size_bytes: int = 4, *, encoding: int = 0, bits: int | None = None) -> int:
        """Add an INT; ``encoding`` is 1 signed, 2 char, 4 bool."""
        return self.add(Kind.INT, name, size_bytes, encoding << 24 | (size_bytes * 8 if bits is None else bits))

    def struct(self, name: str, size_bytes: int, *members: tuple[str, int, int], kind: Kind = Kind.STRUCT) -> int:
        """Add a STRUCT (or UNION) of (name, type, offset in bits)."""
        words = [word for member, type_id, bit in members for word in (self.string(member), type_id, bit)]
        return self.add(kind, name, size_bytes, *words, vlen=len(members))

    def blob(self, *, header_bytes: int = 24) -> bytes:
        """Return the whole blob."""
        types = b"".join(self.records)
        head = struct.pack(
            f"{'<' if self.byte_order == 'little' else '>'}HBBIIIII",
            MAGIC, 1, 0, header_bytes, 0, len(types), len(types), len(self.strings),
        )  # fmt: skip
        return head + bytes(header_bytes - 24) + types + bytes(self.strings)

    def parse(self, base: Btf | None = None) -> Btf:
        """Parse what has been written."""
        return parse(self.blob(), base)


def uses(btf: Btf, type_id: int) -> Iterator[Callable[[], object]]:
    """Give everything that a page does with a type."""
    yield lambda: btf.type(type_id)
    yield lambda: btf.resolve(type_id)
    yield lambda: btf.size_bytes(type_id)
    yield lambda: btf.name_of(type_id)
    yield lambda: btf.tags(type_id)
    yield lambda: outline(btf, type_id)
    yield lambda: declare.c(btf, type_id, comments=True)
    yield lambda: declare.rust(btf, type_id)
    yield lambda: declare.go(btf, type_id)
    yield lambda: declare.python(btf, type_id)


def survive(btf: Btf, type_id: int) -> int:
    """Use a type in every way; return how many were refused. Anything but BtfError ends the test."""
    refused = 0
    for use in uses(btf, type_id):
        try:
            use()
        except BtfError:
            refused += 1
    return refused
