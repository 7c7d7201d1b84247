"""Names that only the host knows."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from app.maps.host_names import names
from app.maps.owners import below, cgroup2_mount

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.kernel


@pytest.mark.parametrize(
    ("folder", "path"),
    [("/mnt/cg", "/"), ("/mnt/cg/a", "/a"), ("/mnt/cg/a.slice/b", "/a.slice/b"), ("/mnt/cg/.hidden", "/.hidden")],
)
def test_a_cgroup_is_named_as_the_kernel_names_it(folder, path):
    assert below("/mnt/cg", folder) == path


def test_cgroups_are_found_by_their_id():
    root = cgroup2_mount()
    assert root
    folder = Path(root) / "atlas-names-test"
    folder.mkdir()
    try:
        assert names().cgroups[folder.stat().st_ino] == "/atlas-names-test"
    finally:
        folder.rmdir()
    assert 0xFFFF_FFFF_FFFF not in names().cgroups


def test_processes_and_interfaces_have_names():
    assert names().comms[os.getpid()] == Path("/proc/self/comm").read_text().rstrip("\n")
    assert "lo" in names().interfaces.values()


def test_programs_read_a_clock_that_no_time_namespace_moves():
    ask = "from app.maps.host_names import names; print(names().boot_time_ns)"
    apart = ["unshare", "--time", "--monotonic", "500000", "--boottime", "500000", sys.executable, "-c", ask]
    done = subprocess.run(apart, cwd=ROOT, capture_output=True, text=True, check=True)
    assert abs(int(done.stdout) - names().boot_time_ns) < 1000 * 10**9
