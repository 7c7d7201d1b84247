"""The audit log of a real, confined broker: who reads it, and that it verifies itself while it is written."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import msgspec
import pytest

from app.broker.audit.files import verify_files
from app.broker.audit.log import Audit
from app.errors import AppError
from app.wire.accounts import Credential
from app.wire.ask import Client
from app.wire.connection import connect
from app.wire.errors import BrokerClosed, CannotRecord, NotAllowed, NotThere, SessionOver
from app.wire.records import AskHistory, AskRecords
from tests.broker.auditing import intent
from tests.broker.conftest import RECORDER_UID, WEB_UID, Running, as_account, start

pytestmark = pytest.mark.kernel

ROOT = Credential(source="cli")
PASSWORD = "correct horse 42"


@pytest.fixture(scope="module")
def people(broker: Running) -> None:
    with connect(broker.settings.socket) as client:
        for role in ("viewer", "editor", "admin", "auditor"):
            client.user_add(ROOT, f"{role}-of-audit", role, PASSWORD)


def session_of(client: Client, role: str) -> Credential:
    return Credential(session=client.sign_in(f"{role}-of-audit", PASSWORD, source="test", agent="").value)


def test_what_happens_is_recorded_while_the_broker_is_confined(broker: Running, client: Client, people: None) -> None:
    before = client.records(AskRecords(ROOT, limit=1)).total
    session_of(client, "auditor")
    (record,) = client.records(AskRecords(ROOT, limit=1)).records
    assert (record.number, record.record.code, record.record.actor.user) == (
        before + 1,
        "session.begin",
        "auditor-of-audit",
    )
    assert record.record.actor.uid == 0
    verdict = client.verify(ROOT)
    assert (verdict.ok, verdict.records) == (True, before + 1)
    folder = broker.settings.broker_folder
    assert verify_files(folder / "audit.db", folder / "audit.key") == (verdict, True)
    lines = [msgspec.json.decode(line) for line in broker.log.read_bytes().splitlines()]
    copies = [line for line in lines if line.get("stream") == "audit"]
    assert [copy["number"] for copy in copies] == list(range(1, before + 2))
    assert str(copies[-1]["mac"]).endswith(record.chain)


@pytest.mark.parametrize("role", ["editor", "admin", "auditor"])
def test_t09_readers_of_the_log(client: Client, people: None, role: str) -> None:
    who = session_of(client, role)
    assert client.records(AskRecords(who)).total > 0
    assert client.record(who, 1).intent.number == 1
    assert client.verify(who).ok


def test_t09_a_viewer_is_refused_by_the_broker_itself(client: Client, people: None) -> None:
    who = session_of(client, "viewer")
    for ask in (lambda: client.records(AskRecords(who)), lambda: client.record(who, 1), lambda: client.verify(who)):
        with pytest.raises(NotAllowed, match="ask an admin for the role auditor"):
            ask()


def test_t10_a_taken_over_web_reads_no_record_without_a_session(broker: Running, people: None) -> None:
    def ask() -> list[str]:
        found = []
        with connect(broker.settings.socket) as client:
            for who in (Credential(), Credential(session="forged")):
                for verb in (
                    client.verify,
                    lambda who: client.records(AskRecords(who)),
                    lambda who: client.record(who, 1),
                ):
                    try:
                        verb(who)
                        found.append("answered")
                    except SessionOver:
                        found.append("SessionOver")
        return found

    assert as_account(WEB_UID, ask) == ["SessionOver"] * 6


def test_t10_the_recorder_may_not_even_ask(broker: Running) -> None:
    def ask() -> str:
        try:
            with connect(broker.settings.socket) as client:
                client.verify(ROOT)
        except BrokerClosed:
            return "closed"
        return "answered"

    assert as_account(RECORDER_UID, ask) == "closed"


def changes(client: Client) -> list[tuple[str, str, str]]:
    """(code, user, detail) of the newest records of the history, newest first."""
    found = client.records(AskRecords(ROOT, code="history.", limit=2)).records
    return [(each.record.code, each.record.actor.user, each.record.detail) for each in found]


def test_the_recorder_has_changes_recorded_for_whoever_wants_them(
    broker: Running, client: Client, people: None
) -> None:
    admin, viewer = session_of(client, "admin"), session_of(client, "viewer")

    def ask() -> list[str]:
        found = []
        with connect(broker.settings.socket) as recorder:
            for question in (
                AskHistory(admin, "forget", "s1 of flows"),
                AskHistory(admin, "take", "is told of by the snapshot itself"),
                AskHistory(viewer, "label", "s1 of flows: mine"),
                AskHistory(Credential(), "forget", "s2 of flows"),
                AskHistory(Credential("forged"), "forget", "s2 of flows"),
                AskHistory(Credential(), "forget", "s3 of flows", by_root=True, pid=4711),
                AskHistory(Credential(), "everything", "", by_root=True),
            ):
                try:
                    found.append(recorder.history(question))
                except AppError as refusal:
                    found.append(type(refusal).__name__)
        return found

    assert as_account(RECORDER_UID, ask) == [
        "admin-of-audit", "admin-of-audit", "NotAllowed", "SessionOver", "SessionOver", "root", "BadField",
    ]  # fmt: skip
    assert changes(client) == [
        ("history.forget", "root", "s3 of flows"),
        ("history.refused", "viewer-of-audit", "label: viewer-of-audit is a viewer; this takes admin or editor"),
    ]
    (forgotten,) = client.records(AskRecords(ROOT, code="history.forget", user="admin-of-audit")).records
    assert forgotten.record.detail == "s1 of flows"
    by_root = client.records(AskRecords(ROOT, code="history.forget", limit=1)).records[0].record.actor
    assert (by_root.uid, by_root.pid, by_root.how) == (0, 4711, "root")


def test_t10_a_taken_over_web_has_nothing_recorded_of_the_history(
    broker: Running, client: Client, people: None
) -> None:
    def ask() -> str:
        try:
            with connect(broker.settings.socket) as web:
                web.history(AskHistory(Credential(), "forget", "s1", by_root=True))
        except BrokerClosed:
            return "closed"
        return "answered"

    assert as_account(WEB_UID, ask) == "closed"


def test_t10_the_files_are_closed_to_the_web(broker: Running) -> None:
    def read() -> list[str]:
        folder, found = broker.settings.broker_folder, []
        for name in ("audit.db", "audit.db-wal", "audit.key", "audit.head"):
            try:
                Path(folder / name).read_bytes()
                found.append("read")
            except PermissionError:
                found.append("closed")
        return found

    assert as_account(WEB_UID, read) == ["closed"] * 4


def test_no_such_record(client: Client) -> None:
    with pytest.raises(NotThere, match="bpf-atlas audit"):
        client.record(ROOT, 1 << 40)


def test_t17_a_broker_whose_log_lost_its_end_reads_on_and_records_nothing(tmp_path: Path, bpffs: Path) -> None:
    folder = tmp_path / "broker"
    log = Audit(folder / "audit.db", folder / "audit.key", ())
    for number in range(3):
        log.begin(intent(number))
    log.close()
    with sqlite3.connect(folder / "audit.db", isolation_level=None) as other:
        other.execute("DROP TRIGGER audit_stays")
        other.execute("DELETE FROM audit WHERE number = 3")
        other.execute("DELETE FROM pending WHERE number = 3")
    other.close()
    running = start(tmp_path, bpffs)
    try:
        with connect(running.settings.socket) as client:
            assert client.maps().taken_at_ns > 0
            assert client.verify(ROOT).first_bad == 3
            assert [each.number for each in client.records(AskRecords(ROOT)).records] == [2, 1]
            with pytest.raises(CannotRecord, match="3 missing"):
                client.user_add(ROOT, "late", "viewer", None)
    finally:
        running.process.terminate()
        assert running.process.wait(30) == 0
    assert "audit_broken" in {event["event"] for event in running.events()}
