"""By keyboard alone: shortcuts and the switch that turns them off, a visible focus, and a key that stays in sight."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.functional.conftest import Service, Windows

pytestmark = [pytest.mark.browser, pytest.mark.kernel]


def test_shortcuts_are_listed_and_can_be_switched_off(windows: Windows, service: Service) -> None:
    visitor = windows.new()
    page = visitor.page
    visitor.go("/")
    page.keyboard.press("/")
    expect(page.get_by_label("Filter maps")).to_be_focused()
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard")).to_be_visible()
    expect(page.get_by_role("button", name="Close")).to_be_focused()
    assert visitor.axe() == []
    page.keyboard.press("/")
    expect(page.get_by_label("Filter maps")).not_to_be_focused()
    page.get_by_role("button", name="Switch one-key shortcuts off").click()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog", name="Keyboard")).to_be_hidden()
    visitor.go(f"/maps/{service.maps()['flows']}")
    page.keyboard.press("f")
    expect(page.get_by_label("Filter entries")).not_to_be_focused()
    page.get_by_role("button", name="Keyboard shortcuts").click()
    page.get_by_role("button", name="Switch one-key shortcuts on").click()
    page.get_by_role("button", name="Close").click()
    page.keyboard.press("f")
    expect(page.get_by_label("Filter entries")).to_be_focused()
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    expect(page.get_by_label("Find a map")).to_be_focused()
    assert visitor.complaints == []


def test_every_stop_of_the_tab_key_shows_where_it_is(windows: Windows, service: Service) -> None:
    visitor = windows.new()
    for path in ("/", f"/maps/{service.maps()['flows']}", f"/maps/{service.maps()['flows']}/schema"):
        visitor.go(path)
        stops = 0
        for _ in range(25):
            visitor.page.keyboard.press("Tab")
            seen = visitor.page.evaluate(
                """() => { const at = document.activeElement, style = getComputedStyle(at), box = at.getBoundingClientRect();
                    return [at.outerHTML.slice(0, 80), style.outlineStyle, parseFloat(style.outlineWidth), box.width, box.height] }"""
            )
            if seen[0].startswith("<body"):
                break
            stops += 1
            assert seen[1] != "none", seen
            assert seen[2] >= 2, seen
            assert min(seen[3:]) > 0, seen
        assert stops > 5


@pytest.mark.parametrize("width", [1440, 390])
def test_key_and_heads_stay_in_sight(windows: Windows, service: Service, width: int) -> None:
    visitor = windows.new(width=width)
    visitor.go(f"/maps/{service.maps()['stacks']}")
    boxes = visitor.page.evaluate(
        """() => { const frame = document.querySelector('.frame.tall'); frame.scrollTo(300, 400);
            const left = frame.getBoundingClientRect().left, key = document.querySelector('tbody td.first').getBoundingClientRect();
            return [frame.scrollLeft, key.left - left, document.querySelectorAll('thead tr:last-child th').length] }"""
    )
    assert boxes[0] > 0
    assert 0 <= boxes[1] <= 1
    assert boxes[2] <= 17


def test_a_filter_is_announced(windows: Windows) -> None:
    visitor = windows.new()
    visitor.go("/")
    visitor.page.get_by_label("Filter maps").fill("flows lru")
    expect(visitor.page.locator("#status")).to_have_text("1 map shown")
