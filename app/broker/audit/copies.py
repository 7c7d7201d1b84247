"""Where each audit record also goes: standard error, syslog, the journal. A second place shows what was done to the first.

A copy says who, when, on which map and entry, which fields, why and with what result; the values stay in the log. Its
link of the chain, whole, binds them. A copy that fails never stops an edit: it is counted, and the broker's log says so.

source  RFC 5424; systemd's JOURNAL_NATIVE_PROTOCOL
"""

from __future__ import annotations

import os
import socket
import struct
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from threading import Lock

import msgspec

from app.broker import log
from app.errors import BadSetting
from app.wire.records import AuditRecord

SYSLOG = "/dev/log"
JOURNAL = "/run/systemd/journal/socket"
PRIORITY = 13 * 8 + 5
"""Facility 13 (log audit), severity 5 (notice)."""
_LENGTH = struct.Struct("<Q")

_encode = msgspec.json.Encoder().encode


class Copies:
    """Sockets are made here, before the broker may make none any more, and never connected: a daemon may restart."""

    def __init__(self, names: tuple[str, ...], *, syslog: str = SYSLOG, journal: str = JOURNAL) -> None:
        """`names` are of `log`, `syslog`, `journald`. raises BadSetting"""
        self.failed: Counter[str] = Counter()
        """Copies that could not be made, by name."""
        self._limited = log.Limited()
        self._lock = Lock()
        self._sending: dict[str, Callable[[dict[str, object], str], None]] = {}
        self._sockets: list[socket.socket] = []
        for name in names:
            match name:
                case "log":
                    self._sending[name] = lambda line, _: _to_stderr(line)
                case "syslog":
                    self._sending[name] = self._datagrams(syslog, rfc5424)
                case "journald":
                    self._sending[name] = self._datagrams(journal, native)
                case _:
                    raise BadSetting("audit_copies", name, "log, syslog or journald")

    def send(self, number: int, mac: bytes, record: AuditRecord) -> None:
        """Send one everywhere."""
        if not self._sending:
            return
        line = facts(number, mac, record)
        text = _encode(line).decode()
        for name, sending in self._sending.items():
            try:
                sending(line, text)
            except OSError as problem:
                with self._lock:
                    self.failed[name] += 1
                    count = self.failed[name]
                self._limited.write("audit_copy_failed", copy=name, reason=str(problem), failed=count)

    def close(self) -> None:
        """Close the sockets."""
        for each in self._sockets:
            each.close()

    def _datagrams(
        self, path: str, form: Callable[[dict[str, object], str], bytes]
    ) -> Callable[[dict[str, object], str], None]:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        self._sockets.append(sock)

        def sending(line: dict[str, object], text: str) -> None:
            sock.sendto(form(line, text), path)

        return sending


def facts(number: int, mac: bytes, record: AuditRecord) -> dict[str, object]:
    """Give what a copy says, without what does not apply."""
    told: dict[str, object] = {
        "ts": datetime.fromtimestamp(record.at_ns / 1e9, UTC).isoformat(timespec="milliseconds"),
        "service": "broker",
        "stream": "audit",
        "number": number,
        "code": record.code,
        "user": record.actor.user,
        "role": record.actor.role,
        "session": record.actor.session,
        "how": record.actor.how,
        "source": record.actor.source,
        "uid": record.actor.uid,
        "pid": record.actor.pid,
        "request_id": record.actor.request_id,
        "approved_by": record.actor.approved_by,
        "map_id": record.map.id,
        "map": record.map.name,
        "map_tag": record.map_tag,
        "key": record.key.hex(),
        "owner": record.owner,
        "fields": [field.path for field in record.fields],
        "detail": record.detail,
        "reason": record.reason,
        "intent": record.intent,
        "undo_of": record.undo_of,
        "plan": record.plan,
        "method": record.method,
        "result": record.result,
        "duration_ns": record.duration_ns,
        "redacted": record.redacted,
        "boot_id": record.boot_id,
        "mac": mac.hex(),
    }
    always = {"number", "code", "user", "uid"}
    return {name: value for name, value in told.items() if value or name in always}


def rfc5424(line: dict[str, object], text: str) -> bytes:
    """Form a syslog message: no host name and no structured data; the message is the JSON line."""
    return f"<{PRIORITY}>1 {line['ts']} - bpf-atlas {os.getpid()} {line['code']} - {text}".encode()


def native(line: dict[str, object], text: str) -> bytes:
    """Form a journal entry: fields to search by, and the JSON line as its message."""
    fields = {
        "MESSAGE": text,
        "PRIORITY": "5",
        "SYSLOG_IDENTIFIER": "bpf-atlas",
        "BPF_ATLAS_STREAM": "audit",
        "BPF_ATLAS_NUMBER": str(line["number"]),
        "BPF_ATLAS_CODE": str(line["code"]),
        "BPF_ATLAS_USER": str(line["user"]),
        "BPF_ATLAS_MAP_ID": str(line.get("map_id", "")),
        "BPF_ATLAS_RESULT": str(line.get("result", "")),
    }
    return b"".join(_field(name, value.encode()) for name, value in fields.items() if value)


def _field(name: str, value: bytes) -> bytes:
    # The form with a length takes any byte: a line break of a stranger's begins no field.
    return name.encode() + b"\n" + _LENGTH.pack(len(value)) + value + b"\n"


def _to_stderr(line: dict[str, object]) -> None:
    data = _encode(line) + b"\n"
    if os.write(log.STDERR, data) != len(data):
        raise OSError("standard error took a part of it")
