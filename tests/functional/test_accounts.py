"""Signing in by password, the write session, and the settings page, in a real browser; also without its scripts."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from tests.functional.conftest import ROOT, Service, Visitor, Windows
from tests.waiting import eventually

pytestmark = [pytest.mark.browser, pytest.mark.kernel]
PASSWORD = "correct horse 42"
NAME = "olga"


@pytest.fixture(scope="module")
def olga(service: Service) -> Iterator[str]:
    """An admin with a password."""

    def command(*words: str) -> None:
        subprocess.run(
            [sys.executable, "-m", "app.cli.main", *words, "--data", str(service.data)],
            cwd=ROOT, input=f"{PASSWORD}\n", text=True, capture_output=True, check=True,
        )  # fmt: skip

    command("user", "add", NAME, "--role", "admin", "--password-stdin")
    yield NAME
    command("user", "remove", NAME)


def sign_in(visitor: Visitor, path: str = "/") -> None:
    visitor.go(path)
    page = visitor.page
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
    page.get_by_label("Name").fill(NAME)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()


@pytest.mark.parametrize("javascript", [True, False], ids=["with scripts", "without"])
def test_in_write_drop_and_out(windows: Windows, service: Service, olga: str, javascript: bool) -> None:
    visitor = windows.new(signed_in=False, javascript=javascript)
    page = visitor.page
    sign_in(visitor, "/?q=flows")
    expect(page).to_have_url(f"{service.origin}/?q=flows")
    expect(page.locator("details.user > summary")).to_have_text(olga)
    expect(page.locator(".mode")).to_have_text("READ-ONLY")
    visitor.go("/settings")
    page.get_by_role("link", name="give your password").click()
    page.get_by_label("Password").fill("wrong horse 42")
    page.get_by_role("button", name="Begin a write session").click()
    expect(page.locator("#problem")).to_have_text("The password is wrong.")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Begin a write session").click()
    expect(page).to_have_url(f"{service.origin}/settings")
    expect(page.locator(".mode.write")).to_have_text(re.compile(r"^(WRITE|UNLOCKED) until \d\d:\d\d$"))
    page.get_by_role("button", name="Drop").click()
    expect(page.locator(".mode")).to_have_text("READ-ONLY")
    expect(page).to_have_url(f"{service.origin}/settings")
    page.locator("details.user > summary").click()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
    assert [text for text in visitor.complaints if "403" not in text] == []


def test_t24_nothing_comes_back_after_signing_out(windows: Windows, service: Service, olga: str) -> None:
    visitor = windows.new(signed_in=False)
    page = visitor.page
    sign_in(visitor)
    visitor.go(f"/maps/{service.maps()['flows']}")
    page.locator("details.user > summary").click()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
    kept = page.evaluate("[JSON.stringify(sessionStorage), document.cookie]")
    assert "maps" not in kept[0]  # htmx notes the path of the page that is shown now
    assert "flows" not in kept[0]
    assert kept[1] == ""
    page.go_back()
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")


def test_users_and_tokens_on_the_settings_page(windows: Windows, service: Service, olga: str) -> None:
    visitor = windows.new(signed_in=False)
    page = visitor.page
    sign_in(visitor, "/elevate?next=/settings")
    if page.url.endswith("/"):
        visitor.go("/elevate?next=/settings")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Begin a write session").click()
    users = page.get_by_role("region", name="All users")
    tokens = page.locator("#tokens")
    tokens.get_by_label("What it is for").fill("<i>ci</i>")
    tokens.get_by_role("button", name="Make a token").click()
    value = page.locator("#made").text_content() or ""
    assert value.startswith("bpa_")
    assert page.locator("#tokens i").count() == 0
    page.locator("#users").get_by_label("Name").fill("paul")
    page.get_by_role("button", name="Add the user").click()
    expect(page.get_by_text("The user is added.")).to_be_visible()
    expect(users.get_by_role("rowheader", name="paul")).to_be_visible()
    assert visitor.axe() == []
    page.get_by_label("User").last.select_option("paul")
    page.get_by_role("button", name="Remove the user").click()
    expect(page.get_by_text("The user is removed.")).to_be_visible()
    page.get_by_role("button", name="Revoke <i>ci</i>").click()
    expect(page.get_by_text("The token is revoked.")).to_be_visible()
    assert visitor.complaints == []


@pytest.mark.parametrize("width", [1440, 390])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_pages_of_accounts_have_no_fault_that_axe_knows(
    windows: Windows, service: Service, olga: str, theme: str, width: int
) -> None:
    visitor = windows.new(width=width, theme=theme, signed_in=False)
    page = visitor.page
    faults = []

    def look(name: str) -> None:
        faults.extend(f"{name}: {fault}" for fault in visitor.axe())
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        faults.extend([f"{name}: {wide} px wider than the window"] if wide > 0 else [])

    visitor.go("/login")
    look("sign in")
    page.get_by_label("Name").fill(NAME)
    page.get_by_label("Password").fill("wrong horse 42")
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page.locator("#problem")).to_be_visible()
    look("sign in, refused")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.locator("details.user > summary").click()
    look("menu")
    visitor.go("/settings")
    look("settings")
    visitor.go("/elevate?next=/settings")
    look("elevate")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Begin a write session").click()
    expect(page.locator(".mode.write")).to_be_visible()
    look("settings, writing")
    visitor.go("/")
    look("list, writing")
    assert faults == []


def test_a_page_that_polls_says_so(windows: Windows, service: Service, olga: str) -> None:
    visitor = windows.new(signed_in=False)
    page = visitor.page
    sign_in(visitor)
    visitor.go("/?live=2")
    with page.expect_request(lambda request: "have=" in request.url, timeout=15_000) as polled:
        pass
    assert polled.value.headers.get("x-bpf-atlas-passive") == "1"
    with page.expect_request(lambda request: "sort=" in request.url) as clicked:
        page.get_by_role("columnheader", name="name").get_by_role("link").click()
    assert "x-bpf-atlas-passive" not in clicked.value.headers
    assert "x-csrf-token" in clicked.value.headers


def test_a_minute_before_it_ends_for_want_of_use_the_session_says_so(
    windows: Windows, service: Service, olga: str
) -> None:
    visitor = windows.new(signed_in=False)
    page = visitor.page
    page.clock.install()
    sign_in(visitor)
    expect(page.locator("details.user > summary")).to_have_text(olga)
    dialog = page.get_by_role("dialog", name="Still there?")
    page.clock.fast_forward("28:50")
    expect(dialog).to_be_hidden()
    page.clock.fast_forward("00:20")
    expect(dialog).to_be_visible()
    assert visitor.axe() == []
    used_at = "Number(localStorage.getItem('used-at'))"
    before = page.evaluate(used_at)
    with page.expect_response("**/stay") as answer:
        page.get_by_role("button", name="Stay signed in").click()
    assert answer.value.status == 204
    assert eventually(lambda: page.evaluate(used_at) > before)  # the page heeds the answer a little after it came
    page.clock.fast_forward("28:00")
    expect(dialog).to_be_hidden()
    page.clock.fast_forward("01:10")
    expect(dialog).to_be_visible()
    page.clock.fast_forward("01:10")
    expect(page.get_by_text("This session is over.")).to_be_visible()
    page.get_by_role("button", name="Close").click()
    expect(dialog).to_be_hidden()
    assert visitor.complaints == []
