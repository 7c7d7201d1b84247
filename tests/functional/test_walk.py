"""From the list to one entry and its type, as a person would, in a real browser."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Route, expect

from tests.functional.conftest import Service, Windows
from tests.waiting import eventually

pytestmark = [pytest.mark.browser, pytest.mark.kernel]


def test_list_map_filter_entry_schema(windows: Windows, service: Service) -> None:
    visitor = windows.new()
    page = visitor.page
    visitor.go("/")
    expect(page.get_by_role("heading", level=1)).to_contain_text("maps on")
    page.get_by_label("Filter maps").fill("flows lru")
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page).to_have_url(re.compile(r"\?q=flows\+lru$"))
    page.locator("tbody").get_by_role("link", name="flows", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("flows")

    page.get_by_label("Filter entries").fill("key.proto == 6 and value.packets > 2")
    page.get_by_role("button", name="Filter", exact=True).click()
    expect(page.get_by_label("Filter entries")).to_have_value("key.proto == 6 and value.packets > 2")
    expect(page.locator("tbody tr").first).to_contain_text("TCP")
    expect(page.locator("tbody")).not_to_contain_text("UDP")
    page.get_by_role("link", name="packets").click()
    expect(page.get_by_role("columnheader", name="packets")).to_have_attribute("aria-sort", "descending")
    packets = [int(re.sub(r"\D", "", text)) for text in page.locator("tbody td:nth-child(6)").all_inner_texts()]
    assert packets == sorted(packets, reverse=True)
    assert min(packets) > 2

    page.locator("tbody a").first.click()
    expect(page.get_by_text("looked up just now")).to_be_visible()
    expect(page.get_by_role("row", name=re.compile("^saddr __be32"))).to_contain_text("10.77.")
    expect(page.locator("pre.bytes").first).to_contain_text("0000")

    page.get_by_role("link", name="Schema").click()
    expect(page.locator("#text-key")).to_contain_text("struct flow_key {")
    page.get_by_role("link", name="Rust").first.click()
    expect(page.locator("#text-key")).to_contain_text("pub struct")
    page.get_by_role("link", name="Relations").click()
    expect(page.get_by_role("table", name="Programs that use this map")).to_contain_text("xdp_flows")
    assert visitor.complaints == []


def test_a_click_while_the_list_is_being_polled_is_heeded(windows: Windows, service: Service) -> None:
    """The answer to the poll, of the list as it was, is not waited for and does not undo what was asked for since."""
    visitor = windows.new()
    page = visitor.page
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route(lambda url: "have=" in url and "sort=" not in url, hold)
    visitor.go("/?live=2")
    assert eventually(lambda: page.wait_for_timeout(100) or bool(held), 15)
    with page.expect_request(lambda request: "sort=" in request.url):
        page.get_by_role("columnheader", name="name").get_by_role("link").click()
    expect(page.get_by_role("columnheader", name="name")).to_have_attribute("aria-sort", "ascending")
    assert "sort=name" in page.url


def test_everything_works_without_scripts(windows: Windows, service: Service) -> None:
    visitor = windows.new(javascript=False)
    page = visitor.page
    visitor.go("/")
    page.get_by_label("Filter maps").fill("flows lru")
    page.get_by_label("Filter maps").press("Enter")
    expect(page.locator("tbody tr")).to_have_count(1)
    page.locator("tbody").get_by_role("link", name="flows", exact=True).click()
    page.locator("main summary").click()
    page.get_by_label("pad", exact=True).check()
    page.get_by_label("How saddr is shown").select_option(label="hex")
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_role("columnheader", name="pad")).to_be_visible()
    assert "lens=key.saddr%3Ahex" in page.url
    assert "set=" not in page.url
    assert "lens=&" not in page.url
    expect(page.locator("tbody td").first).to_contain_text("0x")
    page.get_by_role("link", name="Next ›").click()
    expect(page.get_by_text("rows 101–")).to_be_visible()
    page.get_by_role("link", name="‹ Previous").click()
    expect(page.get_by_text("rows 1–100")).to_be_visible()
    page.get_by_role("link", name="Schema").click()
    expect(page.locator("#text-key")).to_contain_text("struct flow_key {")
    page.get_by_role("button", name=re.compile("^Colours")).click()
    expect(page.locator("html")).to_have_attribute("data-theme", "light")


def test_exact_key_is_looked_up_beside_the_listing(windows: Windows, service: Service) -> None:
    visitor = windows.new()
    page = visitor.page
    visitor.go(f"/maps/{service.maps()['protocols']}")
    page.get_by_label("Exact key").fill("6")
    page.get_by_role("button", name="Look up").click()
    expect(page).to_have_url(re.compile(r"/entries/06000000$"))
    visitor.go(f"/maps/{service.maps()['flows']}?key=nonsense")
    expect(page.get_by_role("alert").last).to_contain_text("found")


def test_live_list_refreshes_itself_and_can_be_paused(windows: Windows, service: Service) -> None:
    visitor = windows.new()
    page = visitor.page
    visitor.go("/?live=2&q=flows+lru")
    before = page.locator("tbody td .fill").first.inner_text()
    with page.expect_response(lambda response: "have=" in response.url, timeout=10_000) as got:
        pass
    assert got.value.status in {200, 204}
    expect(page.locator("tbody td .fill").first).not_to_have_text(before, timeout=15_000)
    page.get_by_role("link", name="Pause").click()
    expect(page.get_by_role("link", name="Live", exact=True)).to_be_visible()
    assert visitor.complaints == []


def test_a_strangers_window_is_asked_to_sign_in_and_comes_back(windows: Windows, service: Service) -> None:
    import subprocess
    import sys

    visitor = windows.new(signed_in=False)
    page = visitor.page
    visitor.go("/?q=flows")
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
    made = subprocess.run(
        [sys.executable, "-m", "app.cli.main", "login", "--data", str(service.data)],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    assert made.startswith(service.origin)
    page.get_by_label("Or paste the link").fill(made)
    page.get_by_role("button", name="Sign in by link").click()
    expect(page).to_have_url(f"{service.origin}/?q=flows")
    page.locator("details.user > summary").click()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
    page.go_back()
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
