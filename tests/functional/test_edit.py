"""An edit from the entry to its undoing in a real browser: by keyboard alone, without script, and without a fault that axe knows."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from playwright.sync_api import Browser, Page, expect

from app.uapi.syscall import map_lookup, map_update
from tests.columns import kernel_maps
from tests.functional.conftest import AXE, AXE_TAGS, ROOT

pytestmark = [pytest.mark.browser, pytest.mark.kernel]
PASSWORD = "correct horse 42"
SOURCE = """
enum state { NEW, ESTABLISHED, CLOSING = 9 };
struct key { __be32 addr; __be16 port; __u16 zone; };
struct rule { __u64 packets; __u32 limit; enum state state; _Bool on; __u8 mac[6]; __u8 pad; char name[8]; };
int use_0(struct key *k, struct rule *v) { return 0; }
"""
KEY = bytes([10, 2, 14, 9]) + (443).to_bytes(2, "big") + bytes(2)
FIRST = struct.pack("<QII?6sx8s", 8590, 64, 1, True, bytes.fromhex("02005e100001"), b"edge")


@dataclass
class Editing:
    """A service that edits, and one map of this test's own on it."""

    origin: str
    cookies: list[Any]
    map_fd: int
    map_id: int

    @property
    def entry(self) -> str:
        return f"{self.origin}/maps/{self.map_id}/entries/{KEY.hex()}"

    def value(self) -> bytes:
        value = bytearray(len(FIRST))
        assert map_lookup(self.map_fd, KEY, value)
        return bytes(value)


@pytest.fixture(scope="module")
def origin() -> Iterator[tuple[str, requests.Session]]:
    """`serve --allow-edits`, with root's password chosen and a write session begun."""
    with tempfile.TemporaryDirectory(prefix="atlas-edit-") as folder, socket.socket() as probe:
        Path(folder).chmod(0o755)
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        command = [sys.executable, "-m", "app.cli.main", "serve", "--allow-edits", "--listen", f"127.0.0.1:{port}"]
        with (Path(folder) / "log").open("w") as log:
            process = subprocess.Popen(
                [*command, "--data", str(Path(folder) / "data")], cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )  # fmt: skip
        assert process.stdout is not None
        printed = next(line for line in process.stdout if "listens on" in line)
        assert "editors may edit" in printed
        link = next(found[0] for line in process.stdout if (found := re.search(r"http\S+token=\S+", line)))
        session = requests.Session()
        session.get(link, timeout=30)
        here = f"http://127.0.0.1:{port}"
        page = session.get(here + "/elevate", timeout=30).text
        token = re.search(r'name="csrf" value="([^"]+)"', page)
        assert token
        fields = {"csrf": token[1], "password": PASSWORD, "again": PASSWORD, "next": "/"}
        assert session.post(here + "/elevate", data=fields, headers={"Origin": here}, timeout=30).status_code == 200
        yield here, session
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        process.stdout.close()


@pytest.fixture
def editing(origin: tuple[str, requests.Session], tmp_path: Path) -> Iterator[Editing]:
    blob = kernel_maps.compile_btf(SOURCE, tmp_path)
    btf = kernel_maps.parse(blob)
    spec = {"key_size": len(KEY), "value_size": len(FIRST), "max_entries": 4, "name": b"edit_flows"}
    with kernel_maps.created(blob, btf.find("key")[0], btf.find("rule")[0], **spec) as (map_fd, map_id):
        map_update(map_fd, KEY, FIRST)
        here, session = origin
        cookies = [{"name": one.name, "value": one.value, "url": here} for one in session.cookies]
        yield Editing(here, cookies, map_fd, map_id)


@contextlib.contextmanager
def window(chromium: Browser, editing: Editing, **options: Any) -> Iterator[tuple[Page, list[str]]]:
    """A page that is signed in, and what the browser complained about."""
    context = chromium.new_context(**{"viewport": {"width": 1440, "height": 900}, **options})
    context.add_cookies(editing.cookies)
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda said: complaints.append(said.text) if said.type in {"error", "warning"} else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    try:
        yield page, complaints
    finally:
        context.close()


def tab_to(page: Page, selector: str, limit: int = 60) -> None:
    """Press Tab until the focus is there."""
    for _ in range(limit):
        page.keyboard.press("Tab")
        if page.evaluate("wanted => document.activeElement.matches(wanted)", selector):
            return
    pytest.fail(f"Tab never came to {selector}")


def test_edit_and_undo_by_keyboard_alone(chromium: Browser, editing: Editing) -> None:
    with window(chromium, editing) as (page, complaints):
        page.goto(editing.entry)
        page.keyboard.press("e")
        dialog = page.get_by_role("dialog", name="Edit")
        expect(dialog).to_be_visible()
        tab_to(page, "[name='f:value.limit']")
        page.keyboard.type("128")
        tab_to(page, "#reason")
        page.keyboard.type("load test, ticket 4411")
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="What will be written")).to_be_focused()
        expect(dialog.get_by_text("Compare-and-swap in the kernel.")).to_be_visible()
        assert editing.value() == FIRST
        tab_to(page, "button[name=apply]")
        expect(page.locator("button[name=apply]")).to_have_text("Change limit of 1 entry in edit_flows")
        page.keyboard.press("Enter")
        page.wait_for_url(re.compile(r"\?edit=\d+"))
        expect(page.get_by_text("Done: written, and read again. It is there.")).to_be_visible()
        assert editing.value() == FIRST[:8] + struct.pack("<I", 128) + FIRST[12:]
        page.keyboard.press("u")
        page.wait_for_url(re.compile(r"/audit/\d+/undo"))
        tab_to(page, "#reason")
        page.keyboard.type("enough")
        tab_to(page, "button[name=apply]")
        page.keyboard.press("Enter")
        page.wait_for_url(re.compile(r"\?edit=\d+"))
        assert editing.value() == FIRST
        assert complaints == []


def test_a_dialog_is_left_by_escape_and_the_focus_goes_back(chromium: Browser, editing: Editing) -> None:
    with window(chromium, editing) as (page, complaints):
        page.goto(editing.entry)
        tab_to(page, "a[data-key=e]")
        page.keyboard.press("Enter")
        expect(page.get_by_role("dialog", name="Edit")).to_be_visible()
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog", name="Edit")).to_be_hidden()
        expect(page.locator("a[data-key=e]")).to_be_focused()
        page.keyboard.press("Enter")
        page.get_by_role("link", name="Cancel").click()
        expect(page.get_by_role("dialog", name="Edit")).to_be_hidden()
        assert complaints == []


def test_what_is_wrong_is_told_at_the_input_that_gets_the_focus(chromium: Browser, editing: Editing) -> None:
    with window(chromium, editing) as (page, complaints):
        page.goto(editing.entry)
        page.keyboard.press("e")
        page.get_by_label("limit", exact=True).fill("4294967296")
        page.get_by_role("button", name="Preview").click()
        limit = page.get_by_label("limit", exact=True)
        expect(limit).to_have_attribute("aria-invalid", "true")
        expect(limit).to_be_focused()
        expect(limit).to_have_value("4294967296")
        expect(limit).to_have_accessible_description(re.compile("from 0 to 4294967295 was wanted, found 4294967296"))
        assert editing.value() == FIRST
        assert [text for text in complaints if "422" not in text] == []


def test_edit_and_undo_without_script(chromium: Browser, editing: Editing) -> None:
    with window(chromium, editing, java_script_enabled=False) as (page, complaints):
        page.goto(editing.entry)
        page.get_by_role("link", name="Edit", exact=True).click()
        page.get_by_label("limit", exact=True).fill("256")
        page.get_by_label("state", exact=True).select_option("CLOSING")
        page.get_by_label("on", exact=True).uncheck()
        page.get_by_label("mac", exact=True).fill("02:00:5e:10:00:ff")
        page.get_by_label("Reason, for the audit log").fill("without script")
        page.get_by_role("button", name="Preview").click()
        page.get_by_role("button", name="Change 4 fields of 1 entry in edit_flows").click()
        expect(page.get_by_text("Done: written, and read again. It is there.")).to_be_visible()
        wanted = struct.pack("<QII?6sx8s", 8590, 256, 9, False, bytes.fromhex("02005e1000ff"), b"edge")
        assert editing.value() == wanted
        page.get_by_role("link", name="Undo").click()
        page.get_by_label("Reason, for the audit log").fill("back")
        page.get_by_role("button", name=re.compile("Take back edit")).click()
        expect(page.get_by_text("Done: written, and read again. It is there.")).to_be_visible()
        assert editing.value() == FIRST
        assert complaints == []


@pytest.mark.parametrize("script", [True, False], ids=["with script", "without"])
def test_a_plan_of_pasted_rows(chromium: Browser, editing: Editing, script: bool) -> None:
    with window(chromium, editing, java_script_enabled=script) as (page, complaints):
        page.goto(f"{editing.origin}/maps/{editing.map_id}")
        page.get_by_role("link", name="Plan edits…").click()
        rows = page.get_by_label("Up to 1\u2009000 rows")
        rows.fill("key.addr,key.port,value.limit\n10.2.14.9,443,x\n")
        page.get_by_label("Reason").fill("ticket 4411")
        page.get_by_role("button", name="Make and check the plan").click()
        expect(page.get_by_role("alert").filter(has_text="row 2: value.limit")).to_be_visible()
        rows.fill("key.addr,key.port,value.limit\n10.2.14.9,443,128\n10.2.14.9,80,5\n")
        page.get_by_role("button", name="Make and check the plan").click()
        expect(page.get_by_text("Checked: all 2 rows can be written as things stand.")).to_be_visible()
        expect(page.get_by_text("value.limit 64 → 128")).to_be_visible()
        assert editing.value() == FIRST
        page.get_by_role("button", name="Apply 2 rows of edit_flows").click()
        for _ in range(20):
            if page.get_by_text("All rows are done.").is_visible():
                break
            page.wait_for_timeout(200)
            if not script:
                page.reload()
        expect(page.get_by_text("All rows are done.")).to_be_visible()
        assert editing.value() == FIRST[:8] + struct.pack("<I", 128) + FIRST[12:]
        assert [text for text in complaints if "422" not in text] == []


def test_t03_hostile_values_stay_text_in_forms(chromium: Browser, editing: Editing) -> None:
    with window(chromium, editing) as (page, complaints):
        map_update(editing.map_fd, KEY, FIRST[:24] + b'"><img>\0')
        page.goto(editing.entry)
        page.keyboard.press("e")
        expect(page.get_by_label("name", exact=True)).to_have_value('"><img>')
        page.get_by_label("name", exact=True).fill("<b>'\"&x")
        page.get_by_role("button", name="Preview").click()
        expect(page.get_by_role("heading", name="What will be written")).to_be_focused()
        assert page.locator("#sheet img, #sheet b b").count() == 0
        assert complaints == []


@pytest.mark.slow
@pytest.mark.parametrize("width", [1440, 390])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_forms_have_no_fault_that_axe_knows(chromium: Browser, editing: Editing, theme: Any, width: int) -> None:
    options = {"viewport": {"width": width, "height": 900}, "color_scheme": theme}
    faults: list[str] = []

    def look(page: Page, name: str) -> None:
        page.evaluate(AXE)
        found = page.evaluate("tags => axe.run(document, {runOnly: {type: 'tag', values: tags}})", AXE_TAGS)
        faults.extend(
            f"{name}: {one['id']}: {node['html'][:160]}" for one in found["violations"] for node in one["nodes"][:3]
        )
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        faults.extend([f"{name}: {wide} px wider than the window"] if wide > 0 else [])

    with window(chromium, editing, **options) as (page, _):
        page.goto(editing.entry)
        look(page, "entry")
        page.keyboard.press("e")
        expect(page.get_by_role("dialog", name="Edit")).to_be_visible()
        look(page, "dialog")
        page.get_by_label("limit", exact=True).fill("x")
        page.get_by_role("button", name="Preview").click()
        expect(page.get_by_label("limit", exact=True)).to_have_attribute("aria-invalid", "true")
        look(page, "dialog, error")
        page.get_by_label("limit", exact=True).fill("3")
        page.get_by_role("button", name="Preview").click()
        expect(page.get_by_role("heading", name="What will be written")).to_be_focused()
        look(page, "dialog, preview")
        map_update(editing.map_fd, KEY, FIRST[:8] + struct.pack("<I", 65) + FIRST[12:])
        page.get_by_label("Reason, for the audit log").fill("r")
        page.locator("button[name=apply]").click()
        expect(page.get_by_text("It moved while you looked")).to_be_visible()
        look(page, "dialog, conflict")
        here = editing.entry.rpartition("/entries/")[0]
        for name, path in (
            ("form", editing.entry + "/edit"), ("delete", editing.entry + "/delete"), ("new", here + "/entries/new"),
            ("manage", here + "/manage"), ("make", editing.origin + "/maps/new"),
        ):  # fmt: skip
            page.goto(path)
            look(page, name)
        page.goto(f"{editing.origin}/plans/new?map={editing.map_id}")
        look(page, "plan, form")
        page.locator("#rows").fill("key.addr,key.port,value.limit\n10.2.14.9,443,12\n10.2.14.9,80,5\n")
        page.get_by_label("Reason").fill("ticket 4411")
        page.get_by_role("button", name="Make and check the plan").click()
        expect(page.get_by_text("Checked: all 2 rows")).to_be_visible()
        look(page, "plan")
        for name, path in (
            ("plans", "/plans"),
            ("plan, filter", f"/plans/new?map={editing.map_id}&where=value.limit+%3E+1"),
        ):
            page.goto(editing.origin + path)
            look(page, name)
    assert faults == []
