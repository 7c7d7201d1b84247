"""A real service with the demo's maps, and a real Chromium that looks at it."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.demo_fixture import Demo

ROOT = Path(__file__).resolve().parents[2]
AXE = (ROOT / "tests" / "vendor" / "axe-4.14.1.min.js").read_text()
CHROMIUM_ARGS = [
    "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync",
]  # fmt: skip
AXE_TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@dataclass(frozen=True)
class Service:
    """A running `bpf-atlas serve`."""

    origin: str
    data: Path
    cookies: list[dict[str, str]]
    pid: int
    log: Path

    def maps(self) -> dict[str, int]:
        """Ids by name."""
        found = self.get("/api/v1/maps").json()["maps"]
        return {one["name"]: one["id"] for one in found}

    def get(self, path: str, **options: Any) -> requests.Response:
        """Ask as somebody who came in."""
        jar = {cookie["name"]: cookie["value"] for cookie in self.cookies}
        return requests.get(self.origin + path, cookies=jar, timeout=30, allow_redirects=False, **options)

    def processes(self) -> dict[str, list[int]]:
        """Pids of the service's processes by room."""
        found: dict[str, list[int]] = {}
        for line in subprocess.run(
            ["ps", "-ww", "-eo", "pid,ppid,args"], capture_output=True, text=True, check=True
        ).stdout.splitlines():
            match = re.match(r"\s*(\d+)\s+\d+ .*-m app\.(\w+) .*--data " + re.escape(str(self.data)), line)
            if match:
                found.setdefault(match[2], []).append(int(match[1]))
        return found


@pytest.fixture(scope="session")
def service(demo: Demo) -> Iterator[Service]:
    """Start it once for all browser tests."""
    with tempfile.TemporaryDirectory(prefix="atlas-") as folder, socket.socket() as probe:
        Path(folder).chmod(0o755)
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        log = Path(folder) / "log"
        data = Path(folder) / "data"
        with log.open("w") as sink:
            process = subprocess.Popen(
                [sys.executable, "-m", "app.cli.main", "serve", "--listen", f"127.0.0.1:{port}", "--data", str(data)],
                cwd=ROOT, stdout=subprocess.PIPE, stderr=sink, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )  # fmt: skip
        if process.stdout is None:
            pytest.fail("serve has no output to read")
        link = next((found[0] for line in process.stdout if (found := re.search(r"http\S+token=\S+", line))), "")
        if not link:
            pytest.fail(f"serve printed no link: {log.read_text()}")
        answer = requests.get(link, timeout=30, allow_redirects=False)
        parts = urlsplit(link)
        cookies = [
            {"name": name, "value": value, "url": f"{parts.scheme}://{parts.netloc}"}
            for name, value in answer.cookies.items()
        ]
        yield Service(f"{parts.scheme}://{parts.netloc}", data, cookies, process.pid, log)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        process.stdout.close()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path="/usr/bin/chromium", args=CHROMIUM_ARGS)
        yield browser
        browser.close()


@dataclass
class Visitor:
    """A window that remembers what the browser complained about."""

    page: Page
    context: BrowserContext
    complaints: list[str]
    origin: str

    def go(self, path: str) -> None:
        self.page.goto(self.origin + path, wait_until="load")

    def axe(self) -> list[str]:
        """Violations that axe-core finds on the page as it stands, one line each."""
        self.page.evaluate(AXE)
        found = self.page.evaluate(
            """tags => axe.run(document, {runOnly: {type: 'tag', values: tags}, resultTypes: ['violations'], preload: false})
                .then(found => ({violations: found.violations}))""",
            AXE_TAGS,
        )
        return [
            f"{one['id']}: {node['html'][:160]} {node.get('failureSummary', '')[:200]}"
            for one in found["violations"]
            for node in one["nodes"][:3]
        ]


class Windows:
    """Opens windows and closes them after the test."""

    def __init__(self, chromium: Browser, service: Service) -> None:
        self._chromium = chromium
        self._service = service
        self._open: list[BrowserContext] = []

    def new(
        self, *, width: int = 1440, theme: Any = "light", javascript: bool = True, signed_in: bool = True
    ) -> Visitor:
        context = self._chromium.new_context(
            viewport={"width": width, "height": 900}, color_scheme=theme, java_script_enabled=javascript
        )
        if signed_in:
            context.add_cookies(self._service.cookies)  # type: ignore[arg-type]
        self._open.append(context)
        page = context.new_page()
        complaints: list[str] = []
        page.on(
            "console", lambda message: complaints.append(message.text) if message.type in {"error", "warning"} else None
        )
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: (complaints.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on(
            "request",
            lambda request: (
                None
                if request.url.startswith((self._service.origin, "data:"))
                else complaints.append(f"foreign: {request.url}")
            ),
        )
        return Visitor(page, context, complaints, self._service.origin)

    def close(self) -> None:
        for context in self._open:
            context.close()


@pytest.fixture
def windows(chromium: Browser, service: Service) -> Iterator[Windows]:
    opened = Windows(chromium, service)
    yield opened
    opened.close()
