"""Edits through the broker's own answers in this process, on maps of the tests' own."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.broker import log
from app.broker.desk import Desk
from app.broker.edits.identity import identity_of
from app.broker.host import Host
from app.broker.local import LocalTransport
from app.settings import Settings
from app.uapi import objects
from app.uapi.syscall import map_lookup
from app.wire.accounts import Credential
from app.wire.ask import Client
from app.wire.edits import Change, Edit, Report
from app.wire.records import AskRecords, AuditRecord, MapIdentity

ROOT = Credential(source="test")
WHY = "a test wants it so"


@dataclass
class Bench:
    """A broker's desk with edits allowed, and root at it."""

    client: Client
    host: Host
    settings: Settings

    def identity(self, map_fd: int) -> MapIdentity:
        opened, descriptor = self.client.map_open(objects.map_info(map_fd).id)
        os.close(descriptor or -1)
        return identity_of(opened.facts)

    def plan(self, map_fd: int, action: str, key: bytes = b"", **more: Any) -> Report:
        return self.client.edit(ROOT, Edit(self.identity(map_fd), action, key=key, **more), "", dry_run=True)

    def do(self, map_fd: int, action: str, key: bytes = b"", *, credential: Credential = ROOT, **more: Any) -> Report:
        return self.client.edit(credential, Edit(self.identity(map_fd), action, key=key, **more), WHY, dry_run=False)

    def set(self, map_fd: int, key: bytes, *changes: Change, **more: Any) -> Report:
        return self.do(map_fd, "set", key, changes=changes, **more)

    def undo(self, report: Report) -> Report:
        return self.client.undo(ROOT, report.audit, WHY, dry_run=False)

    def records(self, code: str = "", limit: int = 500) -> list[AuditRecord]:
        """Oldest first."""
        found = self.client.records(AskRecords(ROOT, code=code, limit=limit)).records
        return [each.record for each in reversed(found)]


@contextlib.contextmanager
def bench(data: Path, bpffs: Path = Path("/sys/fs/bpf"), **settings: Any) -> Iterator[Bench]:
    """A desk in `data`, closed afterwards."""
    chosen = Settings(**{"data": data, "bpffs": bpffs, "allow_edits": True, "audit_copies": (), **settings})
    log.silence()
    host = Host(bpffs=bpffs, open_desk=lambda: Desk.open(chosen))
    with Client(LocalTransport(host)) as client:
        yield Bench(client, host, chosen)


def value_of(map_fd: int, key: bytes | None, size: int) -> bytes | None:
    """What the map holds under a key now."""
    value = bytearray(size)
    return bytes(value) if map_lookup(map_fd, key, value) else None
