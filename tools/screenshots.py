"""Pictures of the screens for docs/img, in both themes, wide and narrow: ``make screenshots``.

Starts a service of its own with the demo in a directory of its own, unless --link names a running one.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).parents[1]
CHROMIUM_ARGS = [
    "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--force-color-profile=srgb", "--hide-scrollbars",
]  # fmt: skip
SIZES = {"1440": (1440, 900), "390": (390, 844)}
THEMES = ("light", "dark")
MAP = "flows"
"""The demo's flow table: five-tuple keys, counters and times."""
PASSWORD = "correct horse 42"
PLAN = """key,value.rule_id,value.reason
198.51.100.0/24,101,scanner
203.0.113.7/32,102,spam
2.0.0.0/8,103,test network
"""
WAIT_S = 60.0
TRAFFIC_S = 25


def main() -> None:
    """Take them all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--link", help="a fresh one-time login link of a running dashboard")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "img")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        link = given.link or stack.enter_context(service())
        parts = urlsplit(link)
        origin = f"{parts.scheme}://{parts.netloc}"
        play = stack.enter_context(sync_playwright())
        browser = play.chromium.launch(executable_path="/usr/bin/chromium", args=CHROMIUM_ARGS)
        person = browser.new_context()
        page = person.new_page()
        page.goto(link)
        for looks in (read, look_back, edit):
            if looks is edit:
                begin_writing(page, origin)
            for size, (width, height) in SIZES.items():
                for theme in THEMES:
                    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=theme)
                    context.add_cookies(person.cookies())  # type: ignore[arg-type]
                    looks(context.new_page(), origin, given.out, f"{theme}-{size}")
                    context.close()
        browser.close()


def begin_writing(page: Page, origin: str) -> None:
    """Root's first password, and a write session with it."""
    page.goto(f"{origin}/elevate")
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_label("The same again").fill(PASSWORD)
    page.get_by_role("button", name="Set the password and begin").click()


def edit(page: Page, origin: str, out: Path, suffix: str) -> None:
    """An edit from its preview to its record, and a plan, in one theme and size."""
    page.goto(f"{origin}/")
    map_id = find_map(page)
    page.goto(f"{origin}/maps/{map_id}?sort=-value.packets")
    entry = page.locator(f'tbody a[href^="/maps/{map_id}/entries/"]').first.get_attribute("href")
    page.goto(f"{origin}{entry}/edit")
    limit = page.locator('[name="f:value.limit_pps"]')
    limit.fill(str(int(limit.input_value() or "0") + 500))
    page.get_by_label("Reason, for the audit log").fill("load test, ticket 4411")
    page.get_by_role("button", name="Preview", exact=True).click()
    confirm = page.get_by_role("button", name="Change limit_pps of 1 entry in flows")
    confirm.wait_for()
    shoot(page, out / f"edit-{suffix}.png")
    confirm.click()
    page.get_by_text("Done: written, and read again").wait_for()
    page.goto(f"{origin}/audit")
    shoot(page, out / f"audit-{suffix}.png")
    page.locator('tbody a[href^="/audit/"]').first.click()
    page.wait_for_url(re.compile(r"/audit/\d+"))
    shoot(page, out / f"record-{suffix}.png")
    page.goto(f"{origin}/")
    page.goto(f"{origin}/plans/new?map={find_map(page, 'blocklist')}")
    page.locator("#rows").fill(PLAN)
    page.get_by_label("Reason", exact=True).fill("abuse report 1903")
    page.get_by_role("button", name="Make and check the plan").click()
    page.wait_for_url(re.compile(r"/plans/\d+"))
    shoot(page, out / f"plan-{suffix}.png")


def read(page: Page, origin: str, out: Path, suffix: str) -> None:
    """The four screens that only read, in one theme and size."""
    page.goto(f"{origin}/")
    shoot(page, out / f"maps-{suffix}.png")
    map_id = find_map(page)
    page.goto(f"{origin}/maps/{map_id}?sort=-value.packets")
    shoot(page, out / f"map-{suffix}.png")
    entry = page.locator(f'tbody a[href^="/maps/{map_id}/entries/"]').first.get_attribute("href")
    page.goto(f"{origin}{entry}")
    shoot(page, out / f"entry-{suffix}.png")
    page.goto(f"{origin}/maps/{map_id}/schema")
    shoot(page, out / f"schema-{suffix}.png")


def look_back(page: Page, origin: str, out: Path, suffix: str) -> None:
    """The history: all of it, one map's, a comparison, one key over time."""
    page.goto(f"{origin}/snapshots")
    shoot(page, out / f"history-{suffix}.png")
    page.goto(f"{origin}/")
    map_id = find_map(page)
    page.goto(f"{origin}/maps/{map_id}/history")
    shoot(page, out / f"timeline-{suffix}.png")
    listed = page.request.get(f"{origin}/api/v1/snapshots?map={map_id}&limit=6").json()["snapshots"]
    new, old = listed[0]["ref"], listed[-1]["ref"]
    page.goto(f"{origin}/diff?a={old}&b={new}")
    shoot(page, out / f"diff-{suffix}.png")
    page.goto(f"{origin}/maps/{map_id}?sort=-value.packets")
    entry = page.locator(f'tbody a[href^="/maps/{map_id}/entries/"]').first.get_attribute("href")
    page.goto(
        f"{origin}/series/{listed[0]['series']['id']}/entries/{(entry or '').rpartition('/')[2]}?field=value.packets"
    )
    page.locator("#chart canvas").wait_for()
    shoot(page, out / f"story-{suffix}.png")


def find_map(page: Page, name: str = MAP) -> int:
    """Id of one of the demo's maps."""
    row = page.locator("tbody tr").filter(has_text=f"bpf-atlas-demo/{name}")
    href = row.get_by_role("link", name=name, exact=True).get_attribute("href")
    return int(re.sub(r"\D", "", href or ""))


def shoot(page: Page, path: Path) -> None:
    """One picture of what fits the window."""
    page.wait_for_load_state("networkidle")
    page.screenshot(path=path)
    print(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)


@contextlib.contextmanager
def service() -> Iterator[str]:
    """A running dashboard with the demo; yields its login link."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as data:
        command = [
            str(ROOT / ".venv/bin/bpf-atlas"),
            "serve",
            "--demo",
            "--allow-edits",
            "--listen",
            f"127.0.0.1:{port}",
            "--data",
            f"{data}/atlas",
        ]
        Path(data).chmod(0o755)
        # Some history within the time that there is: a look each three seconds, whatever that costs.
        environment = {**os.environ, "BPF_ATLAS_RECORD_SECONDS": "3", "BPF_ATLAS_HISTORY_CPU_PERCENT": "50"}
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment)
        try:
            yield wait_for_link(process)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=30)


def wait_for_link(process: subprocess.Popen[str]) -> str:
    """The line with the link, and then some time for the demo's traffic and for two samples of the recorder."""
    deadline = time.monotonic() + WAIT_S
    assert process.stdout is not None
    for line in process.stdout:
        found = re.search(r"http\S+/login\?token=\S+", line)
        if found:
            time.sleep(TRAFFIC_S)
            return found[0]
        if time.monotonic() > deadline:
            break
    message = "the service printed no login link"
    raise SystemExit(message)


if __name__ == "__main__":
    main()
