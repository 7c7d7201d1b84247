"""Refusals read well, whatever the map is called."""

from __future__ import annotations

import pytest

from app.maps.errors import CannotList, CannotLookUp
from app.maps.kinds import KINDS, kind_of
from app.uapi.enums import BpfMapType


@pytest.mark.parametrize(("map_type", "start"), [
    (BpfMapType.XSKMAP, "the entries of this AF_XDP socket map cannot be listed: the kernel does not show which AF_XDP socket"),
    (BpfMapType.PERF_EVENT_ARRAY, "the entries of this perf event array cannot be listed: its slots hold perf events"),
    (BpfMapType.CGROUP_ARRAY, "the entries of this cgroup array cannot be listed: its slots hold cgroups"),
    (BpfMapType.BLOOM_FILTER, "the entries of this bloom filter cannot be listed: a bloom filter keeps bits"),
    (BpfMapType.ARENA, "the entries of this arena cannot be listed: an arena is shared memory"),
])  # fmt: skip
def test_types_that_cannot_be_listed(map_type: BpfMapType, start: str) -> None:
    kind = kind_of(map_type)
    assert not kind.listable
    assert str(CannotList(kind.label, kind.why, kind.instead)).startswith(start)


@pytest.mark.parametrize("map_type", [kind.type for kind in KINDS.values() if not kind.lookup])
def test_types_without_a_look_up(map_type: int) -> None:
    label = kind_of(map_type).label
    assert str(CannotLookUp(label, "why")) == f"this {label} has no look-up by key: why"
    assert not label.endswith("s")
