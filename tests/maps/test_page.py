"""Pages over one moment: filter, sort, cursor, and what happens when the reading is gone."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import msgspec
import numpy as np
import pytest

from app.broker.local import client as local_client
from app.columns.errors import ColumnsError, WhereError
from app.maps.errors import BadCursor, Busy, ViewGone
from app.maps.layouts import Btfs
from app.maps.opening import open_map
from app.maps.page import Query, read_page, read_view
from app.maps.views import Views, identity
from app.settings import Settings
from app.uapi import objects, syscall
from app.uapi.enums import BpfMapType
from app.uapi.syscall import MapSpec
from tests.livemaps import live_map, u32, u64

pytestmark = pytest.mark.kernel

MIB = 1 << 20


@pytest.fixture
def client(tmp_path):
    with local_client(Settings(data=tmp_path)) as found:
        yield found


@pytest.fixture
def views():
    return Views(limit_bytes=64 * MIB, keep_s=60)


class Live:
    """A hash map of u32 → u64 with the entries i → i * i."""

    def __init__(self, client, views, number):
        self.client, self.views, self.number = client, views, number
        self.spec = MapSpec(type=BpfMapType.HASH, key_size=4, value_size=8, max_entries=max(number, 1) + 1000)

    def __enter__(self):
        self._map = live_map(self.spec)
        self.fd = self._map.__enter__()
        keys = np.arange(self.number, dtype=np.uint32)
        if self.number:
            syscall.map_update_batch(self.fd, keys, keys.astype(np.uint64) ** 2, self.number)
        self.id = objects.map_info(self.fd).id
        return self

    def __exit__(self, *error):
        self._map.__exit__(*error)

    def page(self, views=None, **query):
        with open_map(self.client, Btfs(self.client), self.id) as opened:
            return read_page(opened, views or self.views, Query(**query), max_entries=1 << 30)


def keys_of(page):
    return page.table.keys.copy().view(np.uint32).ravel().tolist()


def all_pages(live, **query):
    page = live.page(**query)
    pages = [page]
    while page.next_cursor:
        page = live.page(**query, cursor=page.next_cursor)
        pages.append(page)
        assert len(pages) < 100
    return pages


@pytest.mark.parametrize("number", [0, 1, 99, 100, 101, 1000])
def test_paging_shows_each_entry_once(client, views, number):
    with Live(client, views, number) as live:
        pages = all_pages(live)
    shown = [key for page in pages for key in keys_of(page)]
    assert sorted(shown) == list(range(number))
    assert all(page.matched == number for page in pages)


def test_a_large_map_is_not_read_for_its_first_page_and_is_whole_behind_it(client, views):
    with Live(client, views, 30_000) as live:
        first = live.page()
        assert len(first.sheet.table) < 200
        assert len(keys_of(first)) == 100
        assert first.total is None
        second = live.page(cursor=first.next_cursor)
        assert second.total == 30_000
        assert second.offset == 100
        assert not set(keys_of(first)) & set(keys_of(second))


def test_the_second_page_does_not_show_the_first_again_when_its_last_key_is_gone(client, views):
    with Live(client, views, 30_000) as live:
        first = live.page()
        gone = keys_of(first)[-1]
        syscall.map_delete(live.fd, u32(gone))
        second = live.page(cursor=first.next_cursor)
        assert second.offset == 100
        assert len(set(keys_of(first)) & set(keys_of(second))) == 0


def test_long_keys_can_be_paged_through(client, views):
    spec = MapSpec(type=BpfMapType.HASH, key_size=4000, value_size=4, max_entries=20_000, flags=1)
    with live_map(spec, [(u32(number).ljust(4000, b"\0"), u32(1)) for number in range(300)]) as fd:
        with open_map(client, Btfs(client), objects.map_info(fd).id) as opened:
            page = read_page(opened, views, Query(), max_entries=1 << 30)
        assert len(page.next_cursor) < 4000


def test_a_cursor_keeps_to_one_moment(client, views):
    with Live(client, views, 500) as live:
        page = live.page(sort="key")
        syscall.map_update(live.fd, u32(100_000), u64(1))
        for key in range(300):
            syscall.map_delete(live.fd, u32(key))
        later = live.page(sort="key", cursor=page.next_cursor)
        assert later.total == 500
        assert live.page(sort="key").total == 201


def test_filter_and_sort(client, views):
    with Live(client, views, 1000) as live:
        page = live.page(where="value.u64 > 10000 and value.u64 <= 250000", sort="-value.u64", limit=5)
    assert page.matched == 400
    assert page.total == 1000
    assert keys_of(page) == [500, 499, 498, 497, 496]


def test_previous_leads_back(client, views):
    with Live(client, views, 250) as live:
        pages = all_pages(live, sort="value")
        assert [page.offset for page in pages] == [0, 100, 200]
        assert live.page(sort="value", cursor=pages[2].previous_cursor).offset == 100
        assert pages[0].previous_cursor == ""


@pytest.mark.parametrize(
    "cursor", ["x", "v123", "vAAAAAAAAAAAA.-1", "k0", "kzz", "v" + "A" * 12 + "." + "9" * 40, "k00"]
)
def test_a_cursor_that_is_none_of_ours(client, views, cursor):
    with Live(client, views, 3) as live, pytest.raises(BadCursor):
        live.page(cursor=cursor)


def test_a_reading_is_gone_when_its_time_is_over_or_when_it_is_another_maps(client, views):
    with Live(client, views, 300) as live, Live(client, views, 300) as other:
        cursor = live.page(sort="value").next_cursor
        with pytest.raises(ViewGone):
            other.page(cursor=cursor)
        brief = Views(limit_bytes=64 * MIB, keep_s=0)
        with pytest.raises(ViewGone):
            live.page(brief, cursor=live.page(brief, sort="value").next_cursor)


def test_a_reading_belongs_to_the_map_that_it_was_made_of(client, views):
    with Live(client, views, 300) as live:
        cursor = live.page(sort="value").next_cursor
        view = next(iter(views._kept.values()))
        with open_map(client, Btfs(client), live.id) as opened:
            assert view.of == identity(opened.facts)
            # Another map that came by the same id differs in at least one of these.
            for change in ({"btf_id": 7}, {"value_size": 16}, {"type": 5}, {"name": "other"}, {"max_entries": 4}):
                other = dataclasses.replace(opened, facts=msgspec.structs.replace(opened.facts, **change))
                with pytest.raises(ViewGone):
                    read_page(other, views, Query(cursor=cursor), max_entries=1 << 30)


def test_readings_in_use_count_as_well_and_later_ones_wait_for_them(client):
    views = Views(limit_bytes=20 * MIB, keep_s=60, wait_s=0.3)
    with Live(client, views, 400_000) as live, open_map(client, Btfs(client), live.id) as opened:
        held = [read_view(opened, views, max_entries=1 << 30) for _ in range(3)]
        with pytest.raises(Busy):
            read_view(opened, views, max_entries=1 << 30)
        assert views.kept_bytes() <= views.limit_bytes
        held.pop()
        assert read_view(opened, views, max_entries=1 << 30).sheet.nbytes > 4 * MIB
        small = Live(client, views, 100)
        with small:
            assert small.page(sort="value").total == 100, "small maps wait for nobody"


def test_those_who_wait_share_the_reading_that_began_after_they_asked(client):
    views = Views(limit_bytes=64 * MIB, keep_s=60, concurrent_reads=1)
    with Live(client, views, 400_000) as live:
        with ThreadPoolExecutor(8) as pool:
            pages = list(pool.map(lambda _: live.page(sort="-value"), range(8)))
        assert len({page.view for page in pages}) < 8
        assert all(keys_of(page) == keys_of(pages[0]) for page in pages)


def test_memory_stays_within_the_limit(client):
    small = Views(limit_bytes=1 * MIB, keep_s=60)
    with Live(client, small, 20_000) as live:
        for turn in range(20):
            live.page(sort="value", where=f"value.u64 > {turn}")
        assert small.kept_bytes() <= small.limit_bytes


def test_a_reading_that_would_not_fit_is_cut_off_and_says_so(client):
    tiny = Views(limit_bytes=100_000, keep_s=60)
    with Live(client, tiny, 20_000) as live:
        page = live.page(sort="value")
    assert page.sheet.reading.completeness.value == "capped"
    assert page.total < 20_000


def test_a_bad_filter_names_its_column_and_a_bad_sort_its_field(client, views):
    with Live(client, views, 3) as live:
        with pytest.raises(WhereError) as wrong:
            live.page(where="value.u64 > ")
        assert wrong.value.column == 13
        with pytest.raises(ColumnsError, match="nowhere"):
            live.page(sort="value.nowhere")
