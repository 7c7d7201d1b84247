"""Every type of map that can be kept comes back as it was read: keys, values, types, each CPU's share, and what was said of it."""

from __future__ import annotations

from typing import Any

import pytest

from app.columns.rows import json_chunks
from app.maps import tabulate
from app.maps.catalog import listing
from app.maps.errors import NoSuchMap
from app.maps.kinds import Enumerate
from app.maps.tabulate import Sheet
from app.timeline import taking
from app.timeline.errors import NotKept
from app.timeline.strangers import checker
from tests.timeline.conftest import Past

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("demo")]


def as_json(sheet: Sheet) -> list[bytes]:
    """Entries as `dump` prints them, in an order that does not depend on the reading."""
    lines = b"".join(json_chunks(sheet.json_table)).split(b"\n")
    return sorted(line.rstrip(b",") for line in lines)


def test_what_was_read_comes_back(past: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Sheet] = []

    def remembered(*args: Any, **options: Any) -> Sheet:
        read.append(tabulate.read_sheet(*args, **options))
        return read[-1]

    monkeypatch.setattr(taking, "read_sheet", remembered)
    kinds = set()
    may_go_in = checker(past.writer, 1 << 30)
    for row in listing(past.client).rows:
        try:
            kept = past.take(row.facts.id)
        except NoSuchMap:  # of another test's, and gone since the list was made
            continue
        except NotKept:
            assert row.kind.enumerate in {Enumerate.NOTHING, Enumerate.RING}
            continue
        found, sheet = past.timeline.sheet(kept), read[-1]
        assert as_json(found) == as_json(sheet), row
        # What the kernel is, or whose BTF that was, makes no difference to how it is shown.
        assert found.table.layout == sheet.table.layout, row
        assert found.notes == sheet.notes
        assert found.reading.completeness is sheet.reading.completeness
        assert len(found.table) == len(sheet.table)
        may_go_in(kept)
        kinds.add(row.kind.name)
    wanted = {
        "hash", "array", "percpu_hash", "percpu_array", "lru_hash", "lru_percpu_hash", "lpm_trie", "hash_of_maps",
        "array_of_maps", "prog_array", "devmap", "cpumap", "sockmap", "sockhash", "queue", "stack", "stack_trace",
        "sk_storage", "task_storage", "cgrp_storage", "inode_storage", "cgroup_storage", "percpu_cgroup_storage",
        "struct_ops", "reuseport_sockarray", "devmap_hash",
    }  # fmt: skip
    assert wanted <= kinds


def test_what_passes_through_is_refused_with_a_reason(past: Past) -> None:
    ring = next(row for row in listing(past.client).rows if row.kind.enumerate is Enumerate.RING)
    with pytest.raises(NotKept, match="its records pass through"):
        past.take(ring.facts.id)


def test_btf_is_kept_once_for_all_maps_of_one_object(past: Past) -> None:
    from sqlalchemy import func, select

    from app.history.tables import Layout

    rows = [row for row in listing(past.client).rows if row.facts.name.startswith("zoo") and row.facts.btf_id]
    for row in rows:
        past.take(row.facts.id)
    with past.writer.reading() as connection:
        layouts = connection.execute(select(func.count()).select_from(Layout)).scalar_one()
        btfs = connection.execute(select(func.count(func.distinct(Layout.btf_id)))).scalar_one()
    assert layouts >= 3
    assert btfs == len({row.facts.btf_id for row in rows})
