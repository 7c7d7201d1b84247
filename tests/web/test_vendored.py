from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"^\| (\S+) \| \S+ \| \S+ \| .*\((LICENSE\S+)\) \| ([0-9a-f]{64}) \|$", re.MULTILINE)


@pytest.mark.parametrize("folder", ["static/vendor", "tests/vendor"])
def test_t27_vendored_files_are_the_published_ones(folder: str) -> None:
    rows = ROW.findall((ROOT / folder / "VENDORED.md").read_text())
    assert {name for name, _, _ in rows} == {
        path.name for kind in ("*.js", "*.css") for path in (ROOT / folder).glob(kind)
    }
    for name, licence, sha256 in rows:
        assert hashlib.sha256((ROOT / folder / name).read_bytes()).hexdigest() == sha256
        assert (ROOT / folder / licence).is_file()
