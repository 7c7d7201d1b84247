"""Comparisons, restores and stories of real maps in a real Chromium: accessible, narrow, without script, and with a chart."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, expect
from werkzeug.serving import WSGIRequestHandler, make_server

from app.uapi.syscall import map_delete, map_update
from tests.columns import kernel_maps
from tests.functional.conftest import Service, Visitor, Windows
from tests.waiting import eventually
from tests.web import conftest
from tests.web.recorded import FLOWS, MINUTE_NS, Recorded, flow, flow_key, flows, recorded

pytestmark = [pytest.mark.browser, pytest.mark.kernel]


class Quiet(WSGIRequestHandler):
    def log_request(self, *_: object) -> None:
        pass


class Shown:
    """A map with a history of twenty minutes, shown by a server inside this process."""

    def __init__(self, past: Recorded, fd: int, map_id: int, origin: str) -> None:
        now_ns = time.time_ns()
        self.refs = []
        for minute in range(20):
            for number in range(6 if minute else 30):
                map_update(fd, flow_key(number), flow(10 * minute**2 + number, 1000 * minute, limit=5 + minute // 8))
            if minute == 12:
                map_delete(fd, flow_key(29))
                map_update(fd, flow_key(40), flow(1))
            self.refs.append(
                past.take(map_id, at_ns=now_ns - (20 - minute) * MINUTE_NS, label="deploy" if minute == 12 else "")
            )
        map_update(fd, flow_key(2), flow(9999, limit=64))
        self.series = past.series(map_id).id
        person = past.person(writing=True)
        cookies: list[dict[str, Any]] = [
            {"name": each.key, "value": each.value, "url": origin} for each in person._cookies.values()
        ]
        self.service = Service(origin, past.settings.data, cookies, 0, past.settings.data / "log")
        a, b = self.refs[5], self.refs[15]
        entry = f"/series/{self.series}/entries/{flow_key(2).hex()}"
        self.pages = {
            "choose": "/diff", "fields": f"/diff?a={a}&b={b}", "side": f"/diff?a={a}&b={b}&layout=side",
            "raw": f"/diff?a={a}&b={b}&layout=raw", "live": f"/diff?a={b}&b=live", "restore": f"/restore?snap={a}",
            "wrong": f"/diff?a={a}&b={b}&where=value.x+%3E", "story": entry, "chart": f"{entry}?field=value.packets",
            "find": f"/series/{self.series}/find",
        }  # fmt: skip


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    blob = kernel_maps.compile_btf(FLOWS, tmp_path_factory.mktemp("btf"))
    with pytest.MonkeyPatch.context() as patch:
        server: Any = make_server("127.0.0.1", 0, lambda _environ, _start: [], threaded=True, request_handler=Quiet)
        host = f"127.0.0.1:{server.server_port}"
        patch.setattr(conftest, "HOST", host)
        patch.setattr(conftest, "ORIGIN", f"http://{host}")
        with recorded(tmp_path_factory.mktemp("past")) as past, flows(blob) as (fd, map_id):
            server.app = past.app
            thread = threading.Thread(target=server.serve_forever, daemon=True)
            thread.start()
            yield Shown(past, fd, map_id, f"http://{host}")
            server.shutdown()
            thread.join()
            server.server_close()


@pytest.fixture
def opened(chromium: Browser, shown: Shown) -> Iterator[Windows]:
    windows = Windows(chromium, shown.service)
    yield windows
    windows.close()


def unasked(visitor: Visitor) -> list[str]:
    """What the browser complained of, but for answers that are refusals on purpose."""
    return [each for each in visitor.complaints if "Failed to load resource" not in each]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing(opened: Windows, shown: Shown, theme: str) -> None:
    visitor = opened.new(theme=theme)
    for name, path in shown.pages.items():
        if theme == "dark" and name not in {"fields", "side", "restore", "chart"}:
            continue
        visitor.go(path)
        if name == "chart":
            expect(visitor.page.locator("#chart canvas")).to_be_visible()
        assert visitor.axe() == [], name
        assert unasked(visitor) == [], name


def test_nothing_is_wider_than_a_narrow_window(opened: Windows, shown: Shown) -> None:
    visitor = opened.new(width=320)
    for name, path in shown.pages.items():
        visitor.go(path)
        assert visitor.page.evaluate("document.documentElement.scrollWidth") <= 320, name


def test_a_chart_is_drawn_in_the_colours_of_the_page(opened: Windows, shown: Shown) -> None:
    visitor = opened.new()
    visitor.go(shown.pages["chart"])
    canvas = visitor.page.locator("#chart canvas")
    expect(canvas).to_be_visible()
    legend = visitor.page.locator("#chart .u-legend")
    expect(legend).to_contain_text("value.packets")
    expect(legend).not_to_contain_text("per second")
    visitor.page.get_by_label("rate per second").check()
    expect(legend).to_contain_text("per second")

    def marker() -> str:
        return str(
            visitor.page.evaluate("getComputedStyle(document.querySelectorAll('#chart .u-marker')[1]).borderColor")
        )

    light = marker()
    visitor.page.emulate_media(color_scheme="dark")
    assert eventually(lambda: marker() != light)
    box = canvas.bounding_box()
    assert box is not None
    visitor.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    expect(legend).not_to_contain_text("value.packets:—")
    visitor.page.get_by_text("The same as a table").click()
    expect(visitor.page.get_by_role("region", name="Points", exact=True)).to_contain_text("3 612")
    assert visitor.complaints == []


def test_it_all_works_without_script(opened: Windows, shown: Shown) -> None:
    visitor = opened.new(javascript=False)
    page = visitor.page
    visitor.go("/diff")
    page.get_by_label("From").fill(shown.refs[5])
    page.get_by_role("button", name="Compare").click()
    page.get_by_role("link", name="side by side").click()
    page.get_by_role("link", name="hide columns that never differ").click()
    assert "cols=changed" in page.url
    page.get_by_role("link", name="10.0.0.2", exact=True).click()
    page.get_by_label("Field to follow").select_option("value.packets")
    page.get_by_role("button", name="Chart").click()
    page.get_by_text("The same as a table").click()
    expect(page.get_by_role("region", name="Points", exact=True)).to_contain_text("3 612")
    assert page.locator("#chart").is_hidden()


def test_a_restore_is_a_few_steps_to_its_plan(opened: Windows, shown: Shown) -> None:
    visitor = opened.new()
    page = visitor.page
    visitor.go(f"/diff?a={shown.refs[15]}&b=live")
    page.get_by_role("link", name=f"Restore {shown.refs[15]}").click()
    expect(page.get_by_text("set back,")).to_be_visible()
    page.get_by_label("Reason").fill("a test")
    if page.get_by_label("Type web_flows").count():
        page.get_by_label("Type web_flows").fill("web_flows")
    page.get_by_role("button", name="Make a plan").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text(f"back to {shown.refs[15]}")
    expect(page.get_by_role("button", name="Apply")).to_be_visible()
    assert visitor.complaints == []


def test_large_pages_stay_within_their_elements(opened: Windows, shown: Shown) -> None:
    visitor = opened.new()
    for name, path in shown.pages.items():
        visitor.go(path)
        assert visitor.page.evaluate("document.querySelectorAll('*').length") <= 15_000, name
