"""axe-core on every screen, in both themes, wide and narrow; and no page that is wider than its window."""

from __future__ import annotations

import re

import pytest

from tests.functional.conftest import Service, Windows

pytestmark = [pytest.mark.browser, pytest.mark.kernel]
SCREENS = [
    ("list", "/"),
    ("list, nothing found", "/?q=nothing-is-called-so"),
    ("entries", "/maps/:flows:"),
    ("entries, error", "/maps/:flows:?where=value.packets+%3E+and"),
    ("entries, none match", "/maps/:flows:?where=value.packets+%3E+99999999999"),
    ("histograms", "/maps/:runq_latency:"),
    ("per CPU", "/maps/:cgroup_percpu:?fold=each"),
    ("globals", "/maps/:zoo.bss:"),
    ("one entry", "/maps/:zoo.bss:/entries/00000000"),
    ("ring", "/maps/:unread_ring:"),
    ("cannot be listed", "/maps/:seen_flows:"),
    ("schema", "/maps/:type_zoo:/schema"),
    ("relations", "/maps/:port_windows:/relations"),
    ("gone", "/maps/4294967295"),
]


@pytest.mark.slow
@pytest.mark.parametrize("width", [1440, 390])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_screens_have_no_fault_that_axe_knows(windows: Windows, service: Service, theme: str, width: int) -> None:
    visitor = windows.new(width=width, theme=theme)
    ids = service.maps()
    faults: list[str] = []
    for name, path in SCREENS:
        visitor.go(re.sub(r":([a-z_.]+):", lambda found: str(ids[found[1]]), path))
        faults += [f"{name}: {fault}" for fault in visitor.axe()]
        wide = visitor.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        if wide > 0:
            faults.append(f"{name}: {wide} px wider than the window")
    assert faults == []
    assert [text for text in visitor.complaints if "Failed to load resource" not in text] == []


def test_sign_in_page(windows: Windows) -> None:
    visitor = windows.new(signed_in=False, width=390)
    visitor.go("/login")
    assert visitor.axe() == []
    assert visitor.complaints == []


def test_targets_are_large_enough(windows: Windows, service: Service) -> None:
    visitor = windows.new(width=390)
    for path in ("/", f"/maps/{service.maps()['flows']}"):
        visitor.go(path)
        small = visitor.page.evaluate(
            """() => [...document.querySelectorAll('a, button, input:not([type=hidden]), summary, select')]
                .filter(e => e.getClientRects().length && !e.closest('.unseen, p, .skip') && !e.matches('.skip, .unseen, [type=checkbox]'))
                .map(e => [e.outerHTML.slice(0, 90), e.getBoundingClientRect()])
                .filter(([, r]) => r.width < 24 || r.height < 23.5).map(([html, r]) => `${html} ${r.width}x${r.height}`)"""
        )
        assert small == [], path
