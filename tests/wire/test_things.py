"""What slots hold, by name: bytes as they are read → text as `--thing` takes it."""

from __future__ import annotations

import struct

import pytest

from app.uapi.enums import BpfMapType as T
from app.wire.things import thing_text


@pytest.mark.parametrize(
    ("map_type", "numbers", "text"),
    [
        (T.PROG_ARRAY, (12,), "prog:12"),
        (T.ARRAY_OF_MAPS, (7,), "map:7"),
        (T.HASH_OF_MAPS, (0xFFFFFFFF,), "map:4294967295"),
        (T.DEVMAP, (3,), "dev:3"),
        (T.DEVMAP_HASH, (3, 0), "dev:3"),
        (T.DEVMAP_HASH, (3, 12), "dev:3+prog:12"),
        (T.CPUMAP, (192, 12), "cpu:192+prog:12"),
        (T.SOCKMAP, (1, 2), ""),
        (T.HASH, (1,), ""),
        (T.PROG_ARRAY, (), ""),
        (4_000, (1,), ""),
    ],
)
def test_a_value_names_its_thing(map_type: int, numbers: tuple[int, ...], text: str) -> None:
    assert thing_text(map_type, b"".join(struct.pack("=I", number) for number in numbers)) == text
