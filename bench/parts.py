"""What stands on its own, in milliseconds: the list of many maps, the kernel's BTF, the audit log."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from app.broker.audit.log import Audit
from app.broker.local import client as local_client
from app.btf.parse import parse
from app.settings import Settings
from app.uapi.enums import BpfMapType
from app.uapi.syscall import MapSpec, map_create
from app.wire.records import ActorFacts, AuditRecord
from bench.table import Row

VMLINUX = Path("/sys/kernel/btf/vmlinux")
MAPS = 500
RECORDS = 20_000
SPEC = MapSpec(type=BpfMapType.HASH, key_size=4, value_size=8, max_entries=4, name=b"bench_many")
SOMEBODY = ActorFacts("anna", "editor", "s1", "password", "10.0.0.1", 58470, 1234, "req-1")


def part_rows(runs: int) -> list[Row]:
    """All of them."""
    with tempfile.TemporaryDirectory(prefix="atlas-bench-") as folder:
        return [_list(Path(folder) / "data", runs), _btf(runs), *_audit(Path(folder) / "audit", runs)]


def _list(data: Path, runs: int) -> Row:
    with ExitStack() as held, local_client(Settings(data=data)) as client:
        for _ in range(MAPS):
            held.callback(os.close, map_create(SPEC))
        return _row(f"{MAPS} maps listed by the broker, ms", 50.0, _timed(client.maps, runs))


def _btf(runs: int) -> Row:
    blob = VMLINUX.read_bytes()
    return _row("the kernel's BTF indexed, ms", 100.0, _timed(lambda: parse(blob), runs))


def _audit(folder: Path, runs: int) -> list[Row]:
    log = Audit(folder / "audit.db", folder / "audit.key", ())
    record = AuditRecord(at_ns=time.time_ns(), boot_id="", code="session.begin", actor=SOMEBODY, detail="x" * 200)
    try:
        written = _timed(lambda: log.note(record), RECORDS)
        walked = _timed(log.verify, runs)
    finally:
        log.close()
    return [
        _row("an audit record on the disk, ms", 1.0, written),
        _row(f"{RECORDS:,} audit records walked, ms", 1000.0, walked),
    ]


def _timed(work: Callable[[], object], runs: int) -> list[float]:
    found = []
    for _ in range(runs):
        started = time.perf_counter()
        work()
        found.append((time.perf_counter() - started) * 1e3)
    return found


def _row(what: str, promised: float, found: list[float]) -> Row:
    return Row(
        what=what, against="nothing", promised=promised, measured=statistics.median(found), least=min(found),
        largest=max(found),
    )  # fmt: skip
