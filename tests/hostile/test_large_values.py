"""Values of megabytes: a page, a list and an API answer stay small, whatever one map is like."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator

import pytest
from flask.testing import FlaskClient

from app.uapi import objects
from app.uapi.enums import BpfMapFlag, BpfMapType
from app.uapi.syscall import MapSpec
from tests.livemaps import HUGE_TRIE, live_map, u32

pytestmark = pytest.mark.kernel
MIB = 1 << 20
NO_PREALLOC = BpfMapFlag.NO_PREALLOC


@pytest.fixture
def little_memory() -> Iterator[None]:
    """At most 1 GiB more than what is mapped already: more is a MemoryError."""
    with open("/proc/self/statm") as file:
        mapped = int(file.read().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (mapped + 1024 * MIB, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


HASH = MapSpec(
    type=BpfMapType.HASH, key_size=4, value_size=4 * MIB - 512, max_entries=2000, flags=NO_PREALLOC, name=b"huge_hash"
)
ARRAY = MapSpec(type=BpfMapType.ARRAY, key_size=4, value_size=16 * MIB, max_entries=1, name=b"huge_array")


@pytest.mark.parametrize(
    ("spec", "key"),
    [
        pytest.param(HUGE_TRIE, u32(32) + u32(1), id="trie"),
        pytest.param(HASH, u32(1), id="hash"),
        pytest.param(ARRAY, u32(0), id="array"),
    ],
)
def test_one_map_of_huge_values_takes_nothing_down(
    someone: FlaskClient, spec: MapSpec, key: bytes, little_memory: None
) -> None:
    with live_map(spec, [(key, b"\x01" * spec.value_size)]) as fd:
        map_id = objects.map_info(fd).id
        for path in ("/", f"/maps/{map_id}", f"/maps/{map_id}/schema", f"/maps/{map_id}/relations",
                     f"/maps/{map_id}/entries/{key.hex()}", "/api/v1/maps", f"/api/v1/maps/{map_id}"):  # fmt: skip
            began_s = time.monotonic()
            answer = someone.get(path)
            assert answer.status_code == 200, (path, answer.text[-500:])
            assert len(answer.data) < MIB, path
            assert time.monotonic() - began_s < 60, path


def test_a_page_of_huge_values_is_short_and_the_next_goes_on(someone: FlaskClient) -> None:
    with live_map(HASH, [(u32(number), b"\x01" * HASH.value_size) for number in range(9)]) as fd:
        map_id = objects.map_info(fd).id
        first = someone.get(f"/api/v1/maps/{map_id}/entries?limit=1000&sort=key").json
        assert first is not None
        assert (len(first["entries"]), first["total"]) == (4, 8)  # what half of view_memory_mib holds
        assert first["completeness"] == "capped"
        second = someone.get(f"/api/v1/maps/{map_id}/entries?limit=1000&sort=key&cursor={first['next_cursor']}").json
        assert second is not None
        assert (len(second["entries"]), second["next_cursor"]) == (4, "")
