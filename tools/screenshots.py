"""Pictures of the screens for docs/img, in both themes, wide and narrow: ``make screenshots``.

Starts a service of its own with the demo in a directory of its own, unless --link names a running one.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import BrowserContext, Page, sync_playwright

ROOT = Path(__file__).parents[1]
CHROMIUM_ARGS = [
    "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--force-color-profile=srgb", "--hide-scrollbars",
]  # fmt: skip
SIZES = {"1440": (1440, 900), "390": (390, 844)}
THEMES = ("light", "dark")
MAP = "flows"
"""The demo's flow table: five-tuple keys, counters and times."""
PIN = "bpf-atlas-demo/flows"
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
        state = browser.new_context()
        state.new_page().goto(link)
        cookies = state.cookies()
        state.close()
        for size, (width, height) in SIZES.items():
            for theme in THEMES:
                context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=theme)
                context.add_cookies(cookies)  # type: ignore[arg-type]
                take(context, origin, given.out, f"{theme}-{size}")
                context.close()
        browser.close()


def take(context: BrowserContext, origin: str, out: Path, suffix: str) -> None:
    """The four screens in one theme and size."""
    page = context.new_page()
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


def find_map(page: Page) -> int:
    """Id of the demo's flow table."""
    row = page.locator("tbody tr").filter(has_text=PIN)
    href = row.get_by_role("link", name=MAP, exact=True).get_attribute("href")
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
            "--listen",
            f"127.0.0.1:{port}",
            "--data",
            f"{data}/atlas",
        ]
        Path(data).chmod(0o755)
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
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
