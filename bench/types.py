"""C declarations → BTF, by clang."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from app.btf.parse import parse


def btf_of(source: str, *names: str) -> tuple[bytes, dict[str, int]]:
    """The BTF of `source` and the type ids of `names`; types stay when a function takes them."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder)
        (target / "types.c").write_text(source)
        subprocess.run(
            ["clang", "-g", "-O2", "-target", "bpf", "-c", target / "types.c", "-o", target / "types.o"], check=True
        )
        subprocess.run(
            ["llvm-objcopy", f"--dump-section=.BTF={target / 'btf'}", target / "types.o", "/dev/null"], check=True
        )
        data = (target / "btf").read_bytes()
    btf = parse(data)
    return data, {name: btf.find(name)[0] for name in names}
