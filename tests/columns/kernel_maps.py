"""Real maps with BTF for these tests: C in, a filled map and bpftool's reading of it out."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from app.btf.parse import Btf, parse
from app.uapi.enums import BpfMapType
from app.uapi.loading import btf_load
from app.uapi.objects import map_info
from app.uapi.syscall import MapSpec, map_create, map_update

PRELUDE = """
typedef unsigned char __u8; typedef unsigned short __u16; typedef unsigned int __u32; typedef unsigned long long __u64;
typedef signed char __s8; typedef short __s16; typedef int __s32; typedef long long __s64;
typedef __u16 __be16; typedef __u32 __be32; typedef __u64 __be64;
"""


def compile_btf(source: str, folder: Path, *, big_endian: bool = False) -> bytes:
    """The .BTF section of ``source``, which clang compiles for BPF; types stay when a function takes them."""
    c_file = folder / "types.c"
    c_file.write_text(PRELUDE + source)
    target = "bpfeb" if big_endian else "bpf"
    run("clang", "-g", "-O2", "-target", target, "-c", str(c_file), "-o", str(folder / "types.o"))
    run("llvm-objcopy", "--dump-section", f".BTF={folder / 'types.btf'}", str(folder / "types.o"), "/dev/null")
    return (folder / "types.btf").read_bytes()


def types_of(source: str, folder: Path, *names: str, big_endian: bool = False) -> tuple[Btf, list[int]]:
    """BTF of ``source`` with the ids of ``struct`` (union, enum, typedef) ``names`` in it."""
    keep = "".join(f"int use_{index}({name} *p) {{ return 0; }}\n" for index, name in enumerate(names))
    btf = parse(compile_btf(source + keep, folder, big_endian=big_endian))
    return btf, [btf.find(name.split()[-1])[0] for name in names]


@contextlib.contextmanager
def created(btf_data: bytes, key_id: int, value_id: int, **spec: Any) -> Iterator[tuple[int, int]]:
    """(descriptor, id) of a map that ends with the block."""
    btf_fd = btf_load(btf_data)
    spec.setdefault("type", BpfMapType.HASH)
    try:
        map_fd = map_create(MapSpec(btf_fd=btf_fd, btf_key_type_id=key_id, btf_value_type_id=value_id, **spec))
    finally:
        os.close(btf_fd)
    try:
        yield map_fd, map_info(map_fd).id
    finally:
        os.close(map_fd)


def fill(map_fd: int, keys: np.ndarray, values: np.ndarray) -> None:
    """keys uint8[n, key_size], values uint8[n, stride]"""
    for key, value in zip(keys, values, strict=True):
        map_update(map_fd, key.tobytes(), value.tobytes())


def bpftool_dump(map_id: int) -> str:
    """What ``bpftool -j map dump`` prints, unparsed: it is not always JSON."""
    return run("bpftool", "-j", "map", "dump", "id", str(map_id))


def formatted(map_id: int) -> list[Any]:
    """bpftool's decoded entries."""
    text = re.sub(r"\\'", "'", bpftool_dump(map_id))
    return [entry["formatted"] for entry in json.loads(text)]


def run(*command: str) -> str:
    """Standard output of a command that must succeed."""
    done = subprocess.run(command, capture_output=True, check=False, timeout=60)
    if done.returncode:
        raise AssertionError(f"{command}: {done.stderr.decode(errors='replace')}")
    return done.stdout.decode(errors="surrogateescape")
