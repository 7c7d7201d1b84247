"""Many visitors of large maps at once: memory within the setting, and the list as quick as ever."""

from __future__ import annotations

import os
import statistics
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import requests
from flask import Flask
from flask.testing import FlaskClient

from app.uapi import objects, syscall
from app.uapi.enums import BpfMapType
from app.uapi.syscall import MapSpec
from tests.cli.conftest import Service, own_service
from tests.hostile.test_processes import visit
from tests.livemaps import live_map

__all__ = ["own_service"]

pytestmark = pytest.mark.kernel
MIB = 1 << 20
ENTRIES = 1_000_000
BESIDE_MIB = 350
"""Of the web: Python itself (60 MiB), two sorts at work, text on its way to ten clients, what the heap does not give back."""


@pytest.fixture(scope="module")
def million() -> Iterator[int]:
    """Id of a hash of a million entries of 16 + 48 bytes."""
    spec = MapSpec(type=BpfMapType.HASH, key_size=16, value_size=48, max_entries=ENTRIES + 1000, name=b"million")
    with live_map(spec) as fd:
        step = 1 << 16
        random = np.random.default_rng(1)
        for start in range(0, ENTRIES, step):
            count = min(step, ENTRIES - start)
            keys = np.zeros((count, 4), np.uint32)
            keys[:, 0] = np.arange(start, start + count)
            values = random.integers(0, 256, (count, 48), np.uint8)
            syscall.map_update_batch(fd, keys, values, count)
        yield objects.map_info(fd).id


def pss_mib(service: Service) -> int:
    """Of all processes of the web; what they share is counted once."""
    total = 0
    for pid in service.processes()["web"]:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            total += int(line.split()[1]) if line.startswith("Pss:") else 0
    return total >> 10


def test_readings_that_stream_to_slow_clients_count(app: Flask, someone: FlaskClient, million: int) -> None:
    views = app.view_functions["entries.show"].__closure__[0].cell_contents.views  # type: ignore[index]
    views._wait_s = 0.2
    views.limit_bytes = 200 * MIB
    slow = []
    for _ in range(5):
        answer = someone.get(f"/maps/{million}?format=ndjson", buffered=False)
        if answer.status_code == 429:
            assert "try again" in answer.text
            break
        assert answer.status_code == 200
        next(iter(answer.iter_encoded()))
        slow.append(answer)
    else:
        pytest.fail("five readings of 64 MiB were given out of 200")
    assert len(slow) == 2
    assert views.kept_bytes() <= views.limit_bytes
    for answer in slow:
        answer.close()
    del answer, slow
    assert someone.get(f"/maps/{million}?sort=value").status_code == 200


@pytest.mark.slow
def test_t19_ten_visitors_sort_a_million_entries_at_once(own_service: Service, million: int) -> None:
    session = visit(own_service)
    stop = threading.Event()
    peak_mib, waits_s, statuses = [0], [], []

    def client() -> requests.Session:
        own = requests.Session()
        own.cookies.update(session.cookies)
        return own

    def watch() -> None:
        while not stop.is_set():
            peak_mib[0] = max(peak_mib[0], pss_mib(own_service))
            time.sleep(0.1)

    def look_at_the_list() -> None:
        own = client()
        while not stop.is_set():
            began_s = time.monotonic()
            assert own.get(own_service.origin + "/", timeout=30).status_code == 200
            waits_s.append(time.monotonic() - began_s)
            time.sleep(0.05)

    def sort(number: int) -> None:
        own = client()
        for turn in range(2):
            order = ("-" if (number + turn) % 2 else "") + ("value", "key")[number % 2]
            statuses.append(own.get(f"{own_service.origin}/maps/{million}?sort={order}", timeout=60).status_code)

    own = client()
    quiet_s = []
    for _ in range(10):
        began_s = time.monotonic()
        assert own.get(own_service.origin + "/", timeout=30).status_code == 200
        quiet_s.append(time.monotonic() - began_s)
    others = [threading.Thread(target=target) for target in (watch, look_at_the_list)]
    sorters = [threading.Thread(target=sort, args=(number,)) for number in range(10)]
    for thread in (*others, *sorters):
        thread.start()
    for thread in sorters:
        thread.join()
    streams = [
        client().get(f"{own_service.origin}/maps/{million}?format=ndjson", stream=True, timeout=30) for _ in range(6)
    ]
    end_s = time.monotonic() + 3
    while time.monotonic() < end_s:
        for stream in streams:
            stream.raw.read(1000)
        time.sleep(0.05)
    stop.set()
    for thread in others:
        thread.join()
    for stream in streams:
        assert stream.status_code in {200, 429}
        stream.close()
    assert set(statuses) == {200}
    assert peak_mib[0] < 512 + BESIDE_MIB, f"{peak_mib[0]} MiB"
    bearable_s = max(1.0, 20 * statistics.median(quiet_s))  # more than T19's second only where the host has other work
    assert statistics.quantiles(waits_s, n=20)[-1] < bearable_s, max(waits_s)
    print(
        f"peak {peak_mib[0]} MiB, p95 of the list {statistics.quantiles(waits_s, n=20)[-1]:.3f} s, {os.cpu_count()} cores"
    )
