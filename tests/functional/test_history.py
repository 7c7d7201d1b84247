"""The history in a browser: a snapshot by a button, steps through time by key and slider, and every page without script."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from app.history.database import open_reading, sqlite_url
from app.history.history import History
from tests.functional.conftest import Service, Visitor, Windows

pytestmark = [pytest.mark.browser, pytest.mark.kernel]


def snapshot_now(page: Page) -> str:
    """Press the button, and wait for the snapshot: its reference."""
    page.get_by_role("button", name="Snapshot now").click()
    taken = page.locator("#job").get_by_text("Taken:")
    expect(taken).to_be_visible(timeout=20_000)
    return page.locator("#job a").first.inner_text()


def history_of(visitor: Visitor, service: Service, name: str, count: int) -> tuple[int, list[str]]:
    """(id of a map, its newest snapshots, the newest first), as many as are wanted taken by hand."""
    map_id = service.maps()[name]
    refs = []
    for _ in range(count):
        visitor.go(f"/maps/{map_id}/history")
        refs.insert(0, snapshot_now(visitor.page))
        time.sleep(1.1)  # the slider goes by the second
    return map_id, refs


def test_back_in_time_by_button_key_and_slider(windows: Windows, service: Service) -> None:
    visitor = windows.new()
    page = visitor.page
    map_id, refs = history_of(visitor, service, "flows", 3)
    visitor.go(f"/maps/{map_id}/history")
    expect(page.locator(f"tr#{refs[0]}")).to_contain_text("by hand")
    visitor.go(f"/maps/{map_id}")
    page.keyboard.press("[")
    expect(page.locator(".asof")).to_contain_text(re.compile(r"As of \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC \(s\d+"))
    visitor.go(f"/maps/{map_id}?at={refs[1]}&sort=-value.packets")
    page.keyboard.press("[")
    page.wait_for_url(re.compile(rf"/maps/{map_id}\?at=(?!{refs[1]}&)s\d+&sort=-value.packets"))
    (older,) = re.findall(r"at=s(\d+)", page.url)
    assert int(refs[2][1:]) <= int(older) < int(refs[1][1:])
    page.keyboard.press("]")
    page.wait_for_url(re.compile(r"at=" + refs[1]))
    slider = page.get_by_label("Moment between the first and the last snapshot")
    slider.focus()
    page.keyboard.press("Home")
    expect(page.locator(".asof output")).to_have_text(re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC"))
    page.get_by_role("button", name="Go", exact=True).click()
    page.wait_for_url(re.compile(rf"/maps/{map_id}\?at=s\d+$"))
    expect(page.get_by_role("link", name="‹ Older")).to_have_count(0)
    page.get_by_role("link", name="Now").click()
    page.wait_for_url(re.compile(rf"/maps/{map_id}$"))
    assert visitor.complaints == []


def test_a_snapshot_is_labelled_found_sent_and_deleted(windows: Windows, service: Service, tmp_path: Path) -> None:
    visitor = windows.new()
    page = visitor.page
    _, (ref,) = history_of(visitor, service, "blocklist", 1)
    visitor.go("/snapshots?q=blocklist")
    row = page.locator(f"tr#{ref}")
    row.locator("summary").click()
    row.get_by_label(f"Label of {ref}").fill("before the upgrade")
    row.get_by_role("button", name="Label").click()
    page.wait_for_load_state("load")
    expect(page.locator(f"tr#{ref}")).to_contain_text("before the upgrade")
    page.get_by_label("Find maps").fill("blockl")
    page.get_by_label("Labels").select_option("labelled")
    page.wait_for_url(re.compile(r"labelled=1"))
    page.wait_for_timeout(500)  # what was typed asks once more
    page.get_by_label(f"Choose {ref}").check()
    with page.expect_download() as sent:
        page.get_by_role("button", name="Export chosen").click()
    path = tmp_path / "sent.db"
    sent.value.save_as(path)
    history = History(open_reading(sqlite_url(path)))
    assert [each.label for each in history.snapshots()] == ["before the upgrade"]
    history.close()
    visitor.go(f"/snapshots/{ref}")
    page.get_by_role("link", name="Delete…").click()
    page.get_by_label(f"Type {ref} to confirm").fill(ref)
    page.get_by_role("button", name="Delete this snapshot").click()
    page.wait_for_url(re.compile(r"/series/\d+$"))
    expect(page.locator(f"tr#{ref}")).to_have_count(0)
    assert visitor.complaints == []


def test_all_of_it_works_without_script(windows: Windows, service: Service) -> None:
    visitor = windows.new(javascript=False)
    page = visitor.page
    map_id = service.maps()["flows"]
    visitor.go(f"/maps/{map_id}")
    page.get_by_role("button", name="Snapshot now").click()
    page.wait_for_url(re.compile(r"/snapshots/jobs/\d+"))
    expect(page.get_by_text("Taken:")).to_be_visible(timeout=20_000)
    ref = page.locator("#job a").first.inner_text()
    page.locator("#job a").first.click()
    expect(page.locator(".asof")).to_contain_text(ref)
    page.get_by_label("Filter entries").fill("value.packets > 0")
    page.get_by_role("button", name="Filter").click()
    assert page.url.endswith(f"/snapshots/{ref}?where=value.packets+%3E+0")
    expect(page.get_by_text("match", exact=False).first).to_be_visible()
    visitor.go("/snapshots?by=map")
    page.locator("tbody th a", has_text="bpf-atlas-demo/flows").first.click()
    page.wait_for_url(re.compile(r"/series/\d+$"))
    expect(page.locator(f"tr#{ref}")).to_be_visible()


SCREENS = (
    "/snapshots", "/snapshots?by=map", "/snapshots/schedule", "/snapshots/:ref:", "/snapshots/:ref:/delete",
    "/maps/:id:/history", "/maps/:id:?at=:ref:", "/series/:series:",
    "/snapshots/:ref:/entries/:key:",
)  # fmt: skip


@pytest.mark.slow
def test_pages_of_the_history_have_no_fault_that_axe_knows(windows: Windows, service: Service) -> None:
    visitor = windows.new()
    map_id, (ref, *_) = history_of(visitor, service, "flows", 2)
    series = service.get(f"/api/v1/snapshots/{ref}").json()["series"]["id"]
    visitor.go(f"/snapshots/{ref}")
    entry = visitor.page.locator("td.first a").first.get_attribute("href") or ""
    told = {"id": str(map_id), "ref": ref, "series": str(series), "key": entry.rpartition("/")[2]}
    faults = []
    for theme, width in (("light", 1440), ("dark", 390)):
        looking = windows.new(theme=theme, width=width)
        for screen in SCREENS:
            looking.go(re.sub(r":(\w+):", lambda found: told[found[1]], screen))
            for summary in looking.page.locator("details.more summary").all()[:1]:
                summary.click()
            faults += [f"{screen} {theme} {width}: {fault}" for fault in looking.axe()]
            wide = looking.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            if wide > 0:
                faults.append(f"{screen} {width}: {wide} px wider than the window")
        assert [text for text in looking.complaints if "Failed to load resource" not in text] == []
    assert faults == []
