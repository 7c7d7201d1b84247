"""What programs on the host call things must never become markup, whoever looks."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import expect

from app.uapi import objects
from app.uapi.enums import BpfMapType
from app.uapi.syscall import MapSpec
from tests.functional.conftest import Service, Windows
from tests.livemaps import live_map, u32
from tests.waiting import eventually

pytestmark = [pytest.mark.browser, pytest.mark.kernel]
ATTACK = "<img src=x onerror=alert(1)>"
HOLDER = """
import os, sys
from pathlib import Path
Path("/proc/self/comm").write_text("<img onerror=1>")
print("ready", flush=True)
sys.stdin.read()
"""


def test_names_paths_and_values_stay_text(windows: Windows, service: Service) -> None:
    pin = f"/sys/fs/bpf/{ATTACK}"
    spec = MapSpec(type=BpfMapType.HASH, key_size=4, value_size=32, max_entries=4, name=b"hostile")
    with live_map(spec, [(u32(1), ATTACK.encode().ljust(32, b"\0"))]) as fd:
        map_id = objects.map_info(fd).id
        objects.obj_pin(pin, fd)
        holder = subprocess.Popen(
            [sys.executable, "-c", HOLDER], pass_fds=[fd], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "ready\n"
            visitor = windows.new()
            page = visitor.page
            for path in ("/", f"/maps/{map_id}", f"/maps/{map_id}?lens=value:text", f"/maps/{map_id}/entries/01000000", f"/maps/{map_id}/relations",
                         f"/?q={ATTACK}", f"/maps/{map_id}?where={ATTACK}", f"/maps/{map_id}?key={ATTACK}", f"/{ATTACK}"):  # fmt: skip
                visitor.go(path)
                page.wait_for_load_state("networkidle")
                assert page.locator("img").count() == 0, path
            visitor.go(f"/maps/{map_id}/relations")
            expect(page.get_by_role("table", name="Pins")).to_contain_text(ATTACK)
            expect(page.get_by_role("table", name="Processes that hold this map")).to_contain_text("<img onerror=1>")
            assert [text for text in visitor.complaints if "Failed to load resource" not in text] == []
        finally:
            holder.communicate("")
            Path(pin).unlink()


def test_a_foreign_page_cannot_frame_or_read_the_dashboard(windows: Windows, service: Service) -> None:
    visitor = windows.new()
    visitor.page.set_content(f'<iframe src="{service.origin}/"></iframe>')
    visitor.page.wait_for_timeout(500)
    frame = visitor.page.frames[-1]
    assert "maps on" not in frame.content()
    read = visitor.page.evaluate(
        "url => fetch(url, {credentials: 'include'}).then(() => 'read', () => 'refused')",
        f"{service.origin}/api/v1/maps",
    )
    assert read == "refused"


def held_by(pid: int) -> set[str]:
    """Lines of all of its descriptors' facts."""
    found: set[str] = set()
    for path in Path(f"/proc/{pid}/fdinfo").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed since it was listed
            found |= set(path.read_text().splitlines())
    return found


def test_service_processes_hold_no_map_and_no_right(service: Service) -> None:
    for path in (
        "/",
        f"/maps/{service.maps()['flows']}?sort=-value.packets",
        f"/maps/{service.maps()['flows']}?format=json",
    ):
        assert service.get(path).status_code == 200
    pids = service.processes()
    assert set(pids) >= {"broker", "web", "recorder"}
    ours = {f"map_id:\t{map_id}" for map_id in service.maps().values()}
    for room, numbers in pids.items():
        for pid in numbers:  # one that is read just now, by a recorder or another page, is let go in a moment
            assert eventually(lambda pid=pid: not held_by(pid) & ours), room
    for pid in pids["web"]:
        status = Path(f"/proc/{pid}/status").read_text()
        fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert fields["CapEff"] == fields["CapPrm"] == fields["CapBnd"] == "0000000000000000"
        assert fields["NoNewPrivs"] == "1"
        assert fields["Seccomp"] == "2"
        assert "0" not in fields["Uid"].split()
        assert os.stat(f"/proc/{pid}").st_uid != 0 or fields["Uid"].split()[0] != "0"


def test_nothing_was_logged_as_a_fault(service: Service) -> None:
    for path in (
        "/maps/0",
        "/maps/4294967295",
        "/maps/x/schema",
        "/?page=-1",
        f"/maps/{service.maps()['flows']}?limit=99999999999",
        "/nothing",
    ):
        assert service.get(path).status_code in {400, 404}
    assert "Traceback" not in service.log.read_text()
