"""Copies of audit records in a second place: to real sockets, and never in the way of an edit."""

from __future__ import annotations

import os
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from app.broker.audit.copies import Copies
from app.broker.audit.log import Audit
from app.errors import BadSetting
from tests.broker.auditing import ANNA, event, intent, outcome

MAC = bytes(range(32))
NASTY = 'x\nBPF_ATLAS_USER=root\n\x1b[31m\u202e"<b>'


def bound(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sock.bind(str(path))
    sock.settimeout(5)
    return sock


@pytest.fixture
def syslog(tmp_path: Path) -> Iterator[socket.socket]:
    with bound(tmp_path / "log") as sock:
        yield sock


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[socket.socket]:
    with bound(tmp_path / "journal") as sock:
        yield sock


Making = Callable[..., Copies]


@pytest.fixture
def copies(tmp_path: Path) -> Iterator[Making]:
    made: list[Copies] = []

    def make(*names: str) -> Copies:
        made.append(Copies(names, syslog=str(tmp_path / "log"), journal=str(tmp_path / "journal")))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_syslog_gets_rfc_5424(copies: Making, syslog: socket.socket) -> None:
    copies("syslog").send(7, MAC, intent(3, reason=NASTY))
    message = syslog.recv(65_536).decode()
    header = re.fullmatch(
        r"<109>1 (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00) - bpf-atlas (\d+) map\.set\.intent - (\{.*\})", message
    )
    assert header is not None, message
    assert int(header[2]) == os.getpid()
    told = msgspec.json.decode(header[3])
    assert (told["stream"], told["number"], told["reason"], told["mac"]) == ("audit", 7, NASTY, MAC.hex())


def test_the_journal_gets_fields_that_no_text_can_add_to(copies: Making, journal: socket.socket) -> None:
    copies("journald").send(8, MAC, event("user.add", detail=NASTY))
    data = journal.recv(65_536)
    fields: list[tuple[str, bytes]] = []
    while data:
        name, _, rest = data.partition(b"\n")
        (length,) = struct.unpack("<Q", rest[:8])
        fields.append((name.decode(), rest[8 : 8 + length]))
        assert rest[8 + length : 9 + length] == b"\n"
        data = rest[9 + length :]
    found = dict(fields)
    assert len(found) == len(fields)
    assert found["BPF_ATLAS_USER"] == b"anna"
    assert found["BPF_ATLAS_NUMBER"] == b"8"
    assert msgspec.json.decode(found["MESSAGE"])["detail"] == NASTY


def test_t04_the_log_copy_is_one_line(copies: Making, capfd: pytest.CaptureFixture[str]) -> None:
    copies("log").send(9, MAC, event("user.add", detail=NASTY))
    text = capfd.readouterr().err
    assert text.count("\n") == 1
    assert "\x1b" not in text
    assert msgspec.json.decode(text)["stream"] == "audit"


def test_t18_copies_have_no_values(copies: Making, syslog: socket.socket) -> None:
    canary = b"canary-4711"
    record = msgspec.structs.replace(intent(1), old_value=canary, new_value=canary)
    field = msgspec.structs.replace(
        record.fields[0], old=canary, new=canary, old_text="canary-4711", new_text="canary-4711"
    )
    copies("syslog").send(1, MAC, msgspec.structs.replace(record, fields=(field,)))
    message = syslog.recv(65_536)
    assert b"value.limit" in message
    assert b"canary" not in message
    assert canary.hex().encode() not in message


def test_a_copy_that_fails_is_counted_and_stops_nothing(
    copies: Making, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.broker.log._silent", threading.Event())  # a test before may have silenced it for good
    log = Audit(tmp_path / "audit.db", tmp_path / "audit.key", ())
    log.copies = copies("syslog", "journald")
    number = log.begin(intent(1))
    log.finish(outcome(number))
    assert log.copies.failed == {"syslog": 2, "journald": 2}
    assert "audit_copy_failed" in capfd.readouterr().err
    with bound(tmp_path / "log") as late:
        log.note(event("session.begin", actor=ANNA))
        assert b"session.begin" in late.recv(65_536), "a daemon that comes later is spoken to"
    log.close()


def test_a_daemon_that_does_not_read_is_not_waited_for(copies: Making, syslog: socket.socket) -> None:
    sending = copies("syslog")
    for number in range(2_000):
        sending.send(number, MAC, intent(number))
    assert sending.failed["syslog"] > 0


def test_an_unknown_copy_is_refused() -> None:
    with pytest.raises(BadSetting, match="carbon"):
        Copies(("carbon",))
