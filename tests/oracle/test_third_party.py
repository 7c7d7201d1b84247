"""`dump --json` of maps that strangers' programs made equals bpftool's `formatted`, entry by entry."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.uapi.enums import BpfMapType
from tests.oracle import bpftool
from tests.oracle.still import Held, dump, fill_at_random, hold, map_ids, maps_of

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

# Programs of Debian's libbpf-tools that attach by tp_btf, raw_tp, uprobes or perf events, which this kernel allows.
TOOLS = {
    "biolatency": ["biolatency"],
    "bitesize": ["bitesize"],
    "cpudist": ["cpudist", "-P"],
    "drsnoop": ["drsnoop"],
    "gethostlatency": ["gethostlatency"],
    "hardirqs": ["hardirqs"],
    "offcputime": ["offcputime"],
    "runqlat": ["runqlat", "-P"],
    "runqslower": ["runqslower", "10"],
    "softirqs": ["softirqs"],
    "statsnoop": ["statsnoop"],
    "wakeuptime": ["wakeuptime"],
}


HIDDEN = {BpfMapType.PERF_EVENT_ARRAY, BpfMapType.CGROUP_ARRAY, BpfMapType.XSKMAP}
"""Types that show nothing to anybody."""
OBJECTS = sorted(Path("/usr/lib").glob("*/bpf/xdp*dump_xdp.o")) + sorted(Path("/usr/lib").glob("*/bpf/x*_prog*.o"))
BPFFS = Path("/sys/fs/bpf")


def compare(held: list[Held], *, seed: int) -> tuple[int, int]:
    """(maps, entries) compared; every disagreement fails."""
    maps = entries = 0
    for randomly in (False, True):
        for each in held:
            if randomly and not fill_at_random(each, seed + each.info.id):
                continue
            if each.info.type in HIDDEN:
                continue
            theirs = bpftool.formatted(each.info.id)
            ours = dump(each.info.id)
            if theirs is None:
                if each.info.btf_id == 0:
                    assert not bpftool.disagreements(ours, bpftool.plain(each.info.id)), each.label
                continue
            assert bpftool.disagreements(ours, theirs) == [], each.label
            maps += 1
            entries += len(theirs)
    return maps, entries


@pytest.mark.parametrize("tool", TOOLS)
def test_libbpf_tools(tool):
    with maps_of(TOOLS[tool], run_s=1.5) as held:
        maps, entries = compare(held, seed=sum(tool.encode()))
    assert maps > 0
    assert entries > 0


@contextlib.contextmanager
def veth() -> Iterator[tuple[str, str]]:
    """A pair of interfaces in a namespace of its own: (namespace, interface)."""
    name = "atlas-oracle"
    subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        subprocess.run(["ip", "-n", name, "link", "add", "ora0", "type", "veth", "peer", "name", "ora1"], check=True)
        for interface in ("ora0", "ora1"):
            subprocess.run(["ip", "-n", name, "link", "set", interface, "up"], check=True)
        yield name, "ora0"
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True)


def test_xdp_filter():
    with veth() as (namespace, interface):
        inside = ["nsenter", f"--net=/run/netns/{namespace}", "xdp-filter"]
        before = map_ids()
        try:
            subprocess.run([*inside, "load", interface, "-m", "skb"], check=True, capture_output=True)
            for command in (
                ["port", "80"],
                ["port", "443", "-p", "udp"],
                ["ip", "192.0.2.1"],
                ["ether", "02:00:00:00:00:01"],
            ):
                subprocess.run([*inside, *command], check=True, capture_output=True)
            with hold(lambda: map_ids() - before) as held:
                subprocess.run([*inside, "unload", interface], check=True, capture_output=True)
                maps, entries = compare(held, seed=1)
        finally:
            subprocess.run([*inside, "unload", interface], check=False, capture_output=True)
    assert maps >= 4
    assert entries > 65536  # filter_ports has one entry a port


@pytest.mark.parametrize("path", [pytest.param(path, id=path.name) for path in OBJECTS])
def test_objects_of_libxdp(path):
    before = map_ids()
    folder = BPFFS / "atlas-oracle"
    folder.mkdir()
    try:
        subprocess.run(
            [bpftool.BPFTOOL, "prog", "loadall", path, folder / "progs", "type", "xdp", "pinmaps", folder / "maps"],
            check=True,
            capture_output=True,
        )
        with hold(lambda: map_ids() - before) as held:
            maps, entries = compare(held, seed=3)
    finally:
        shutil.rmtree(folder)
    assert maps > 0
    assert entries > 0


def test_the_comparison_can_fail():
    theirs = [{"key": 1, "value": {"a": 1, "b": "0xf"}}]
    assert bpftool.disagreements([{"key": 1, "value": {"a": 1, "b": -1}}], theirs) == []
    assert bpftool.disagreements([{"key": 1, "value": {"a": 2, "b": 15}}], theirs)
    assert bpftool.disagreements([{"key": 2, "value": {"a": 1, "b": 15}}], theirs)
    assert bpftool.disagreements([], theirs)
