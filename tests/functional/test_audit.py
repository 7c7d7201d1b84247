"""The audit pages in a real browser, over a real service whose log was written before it started."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import pytest
import requests
from playwright.sync_api import Browser, expect

from app.broker.audit.log import Audit
from app.wire.records import ActorFacts, FieldRecord, MapIdentity
from tests.broker.auditing import event, intent, outcome
from tests.functional.conftest import ROOT, Service, Windows

pytestmark = [pytest.mark.browser, pytest.mark.kernel]
NASTY = '"><img src=x onerror=alert(1)><script>alert(2)</script><a hx-get=/x>\u202e\n\x1b[31m'
EDITS = 60


def write_log(data: Path) -> dict[str, int]:
    """Numbers of some records by what they are."""
    log = Audit(data / "broker" / "audit.db", data / "broker" / "audit.key", ())
    for number in range(EDITS):
        log.finish(outcome(log.begin(intent(number, reason=f"step {number}"))))
    plain = log.begin(intent(7, reason="load test"))
    log.finish(outcome(plain))
    wide = msgspec.structs.replace(
        intent(8),
        fields=tuple(
            FieldRecord(
                f"value.a_long_name_of_a_field[{index}].member", 0, 64, index, b"\0" * 8, b"\xff" * 8, "0", "9" * 20
            )
            for index in range(9)
        ),
        new_value=bytes(512),
    )
    log.finish(outcome(log.begin(wide), "conflict", "map.set.fail"))
    who = ActorFacts(NASTY, "editor", "s", "password", NASTY, 1, 2, NASTY)
    field = FieldRecord(f"value.{NASTY}", 0, 32, 0, b"\0" * 4, b"\1" * 4, NASTY, NASTY)
    of = MapIdentity(8, NASTY, 1, 4, 4, 1, 0, 0, 0)
    hostile = log.begin(
        msgspec.structs.replace(intent(9, actor=who, of=of, reason=NASTY), fields=(field,), owner=NASTY)
    )
    log.note(event("session.refused", detail=NASTY))
    log.close()
    return {"plain": plain, "wide": plain + 2, "hostile": hostile}


@pytest.fixture(scope="module")
def audited() -> Iterator[tuple[Service, dict[str, int]]]:
    with tempfile.TemporaryDirectory(prefix="atlas-") as folder:
        Path(folder).chmod(0o755)
        data = Path(folder) / "data"
        data.mkdir(mode=0o755)
        records = write_log(data)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = [sys.executable, "-m", "app.cli.main", "serve", "--listen", f"127.0.0.1:{port}", "--data", str(data)]
        log = Path(folder) / "log"
        with log.open("w") as sink:
            process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=sink, text=True)
        assert process.stdout is not None
        link = next((found[0] for line in process.stdout if (found := re.search(r"http\S+token=\S+", line))), "")
        parts = urlsplit(link)
        origin = f"{parts.scheme}://{parts.netloc}"
        answer = requests.get(link, timeout=30, allow_redirects=False)
        cookies = [{"name": name, "value": value, "url": origin} for name, value in answer.cookies.items()]
        yield Service(origin, data, cookies, process.pid, log), records
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        process.stdout.close()


@pytest.fixture
def windows(chromium: Browser, audited: tuple[Service, dict[str, int]]) -> Iterator[Windows]:
    opened = Windows(chromium, audited[0])
    yield opened
    opened.close()


def screens(records: dict[str, int]) -> list[str]:
    return [
        "/audit",
        "/audit?q=nowhere",
        "/audit?kind=edits&before=20",
        *(f"/audit/{each}" for each in records.values()),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("width", [1440, 390])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_t03_screens_have_no_fault_and_hostile_text_does_nothing(
    windows: Windows, audited: tuple[Service, dict[str, int]], theme: str, width: int
) -> None:
    visitor = windows.new(width=width, theme=theme)
    faults: list[str] = []
    for path in (*screens(audited[1]), "verify"):
        if path == "verify":
            visitor.go("/audit")
            visitor.page.get_by_role("button", name="Verify chain").click()
            visitor.page.wait_for_selector("#verdict")
        else:
            visitor.go(path)
        faults += [f"{path}: {fault}" for fault in visitor.axe()]
        wide = visitor.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        if wide > 0:
            faults.append(f"{path}: {wide} px wider than the window")
        assert visitor.page.locator("main img, main script, main [hx-get='/x']").count() == 0
    assert faults == []
    assert visitor.complaints == []


def test_targets_are_large_enough(windows: Windows, audited: tuple[Service, dict[str, int]]) -> None:
    visitor = windows.new(width=390)
    for path in screens(audited[1]):
        visitor.go(path)
        small = visitor.page.evaluate(
            """() => [...document.querySelectorAll('main a, main button, main input:not([type=hidden]), main summary, main select')]
                .filter(e => e.getClientRects().length && !e.closest('.unseen, p, .note'))
                .map(e => [e.outerHTML.slice(0, 90), e.getBoundingClientRect()])
                .filter(([, r]) => r.width < 24 || r.height < 23.5).map(([html, r]) => `${html} ${r.width}x${r.height}`)"""
        )
        assert small == [], path


def test_who_changed_what_by_keyboard_alone(windows: Windows, audited: tuple[Service, dict[str, int]]) -> None:
    visitor = windows.new()
    visitor.go("/audit")
    visitor.page.keyboard.press("f")
    visitor.page.keyboard.type("load test")
    expect(visitor.page.locator("tbody tr")).to_have_count(1)
    visitor.page.wait_for_url("**/audit?q=load+test")
    link = visitor.page.locator("tbody a.in").first
    for _ in range(30):
        if link.evaluate("element => element === document.activeElement"):
            break
        visitor.page.keyboard.press("Tab")
    visitor.page.keyboard.press("Enter")
    visitor.page.wait_for_url(f"**/audit/{audited[1]['plain']}")
    expect(visitor.page.locator("#record")).to_contain_text("load test")
    expect(visitor.page.locator("#record")).to_contain_text("value.limit")
    assert visitor.complaints == []


def test_without_script_filter_page_and_verify(windows: Windows, audited: tuple[Service, dict[str, int]]) -> None:
    visitor = windows.new(javascript=False)
    visitor.go("/audit")
    visitor.page.get_by_label("Kind of event").select_option("edits")
    visitor.page.get_by_role("button", name="Filter").click()
    assert visitor.page.url.endswith("/audit?kind=edits")
    visitor.page.get_by_role("link", name="Older ›").click()
    expect(visitor.page.locator("tbody tr").first).to_contain_text("step")
    visitor.page.get_by_role("button", name="Verify chain").click()
    expect(visitor.page.locator("#verdict")).to_contain_text("The chain holds")
    expect(visitor.page.locator("tbody tr").first).to_contain_text("✓ intact")
    with visitor.page.expect_download() as download:
        visitor.page.get_by_role("link", name="JSONL").click()
    lines = Path(download.value.path()).read_bytes().splitlines()
    assert len(lines) == 2 * (EDITS + 3)
