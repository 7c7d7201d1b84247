"""The audit log: what is in it is on the disk, found again, and nobody fills it by trying."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.broker.audit.key import AuditKeyMissing, AuditKeyUnusable
from app.broker.audit.log import Audit
from app.broker.audit.noise import BURST, Noise
from app.wire.accounts import Credential
from app.wire.errors import CannotRecord, NotThere
from app.wire.records import ActorFacts, AskRecords, MapIdentity
from tests.broker.auditing import ANNA, FLOWS, STRANGER, event, intent, outcome

NOBODY = Credential()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "broker"


@pytest.fixture
def audit(folder: Path) -> Iterator[Audit]:
    log = open_in(folder)
    yield log
    log.close()


def open_in(folder: Path) -> Audit:
    return Audit(folder / "audit.db", folder / "audit.key", ())


def test_an_edit_has_two_records_that_name_each_other(audit: Audit) -> None:
    first = audit.begin(intent(1))
    assert [each.number for each in audit.unfinished()] == [first]
    second = audit.finish(outcome(first))
    assert (first, second) == (1, 2)
    assert audit.unfinished() == []
    group = audit.group(second)
    assert (group.intent.number, group.outcome and group.outcome.number, group.undone_by) == (1, 2, ())
    assert group.intent.record.fields[0].new_text == "1"
    assert audit.verify().sentence == "all 2 records are as they were written"


def test_an_intent_is_undone_by_what_took_it_back_and_not_by_what_tried_to(audit: Audit) -> None:
    first = audit.begin(intent(1))
    audit.finish(outcome(first))
    refused = audit.begin(intent(1, undo_of=first))
    audit.finish(outcome(refused, "conflict", "map.set.fail"))
    assert audit.group(first).undone_by == ()
    back = audit.begin(intent(1, undo_of=first))
    audit.finish(outcome(back))
    assert audit.group(first).undone_by == (back,)


@pytest.mark.parametrize("number", [0, -1, 3, 1 << 40, 1 << 80])
def test_a_record_that_is_not_there(audit: Audit, number: int) -> None:
    audit.note(event("service.start"))
    with pytest.raises(NotThere):
        audit.group(number)


QUESTIONS: list[tuple[str, dict[str, object], list[int]]] = [
    ("all, newest first", {}, [6, 5, 4, 3, 2, 1]),
    ("by map", {"map_id": 9}, [3]),
    ("by user", {"user": "berta"}, [4]),
    ("by code", {"code": "map.set.ok"}, [2]),
    ("by the beginning of a code", {"code": "session."}, [6, 5]),
    ("by a word of the reason", {"text": "STORM"}, [4]),
    ("by a word of the detail", {"text": "wrong pass"}, [6]),
    ("by a field", {"text": "value.lim"}, [4, 3, 1]),
    ("by a map's name", {"text": "other"}, [3]),
    ("by key", {"key_hex": "04 00 00 00"}, [4]),
    ("before a number", {"before": 3}, [2, 1]),
    ("some", {"limit": 2}, [6, 5]),
    ("nothing is like this", {"text": "nowhere"}, []),
    ("in the past", {"until_ns": 1}, []),
    ("in the future", {"since_ns": 1 << 62}, []),
]


@pytest.mark.parametrize(("question", "expected"), [row[1:] for row in QUESTIONS], ids=[row[0] for row in QUESTIONS])
def test_records_are_found(audit: Audit, question: dict[str, object], expected: list[int]) -> None:
    berta = ActorFacts("berta", "admin", "s2", "oidc", "10.0.0.2", 58470, 1)
    audit.finish(outcome(audit.begin(intent(1))))
    audit.begin(intent(3, of=MapIdentity(9, "other", 1, 4, 4, 1, 0, 0, 0)))
    audit.begin(intent(4, actor=berta, reason="storm at night"))
    audit.note(event("session.begin"))
    audit.note(event("session.refused", detail="anna: wrong password", actor=STRANGER))
    found = audit.records(AskRecords(NOBODY, **question))  # type: ignore[arg-type]
    assert [each.number for each in found.records] == expected
    assert found.total == 6


def test_pages_go_through_the_whole_log_once(audit: Audit) -> None:
    for number in range(25):
        audit.note(event("service.start", detail=str(number)))
    seen, before = [], 0
    while True:
        page = audit.records(AskRecords(NOBODY, before=before, limit=10))
        seen += [each.number for each in page.records]
        before = page.before
        if not before:
            break
    assert seen == list(range(25, 0, -1))


def test_a_record_is_in_the_file_when_begin_returns(folder: Path, audit: Audit) -> None:
    number = audit.begin(intent(5))
    with sqlite3.connect(f"file:{folder / 'audit.db'}?mode=ro", uri=True) as other:
        assert other.execute("SELECT max(number) FROM audit").fetchone() == (number,)
    other.close()


def test_begin_takes_not_much_more_than_syncing_two_small_writes(folder: Path, audit: Audit) -> None:
    """Or a few milliseconds, where the disk says at once that it has synced."""
    taken_s, plain_s = [], []
    with (folder / "plain").open("wb", buffering=0) as plain:
        for number in range(300):
            began_s = time.perf_counter()
            audit.begin(intent(number))
            middle_s = time.perf_counter()
            for _ in range(2):
                plain.write(bytes(4096))
                os.fdatasync(plain)
            plain_s.append(time.perf_counter() - middle_s)
            taken_s.append(middle_s - began_s)
    assert statistics.median(taken_s) < max(0.01, 4 * statistics.median(plain_s))


def test_what_is_no_intent_does_not_begin_and_no_outcome_is_of_nothing(audit: Audit) -> None:
    with pytest.raises(ValueError, match="no intent"):
        audit.begin(event("session.begin"))
    with pytest.raises(ValueError, match="outcome"):
        audit.finish(event("map.set.ok"))


# ---- files ----------------------------------------------------------------------------------------------------------


def test_files_are_the_brokers_alone(folder: Path, audit: Audit) -> None:
    audit.begin(intent(1))
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert set(modes) == {"audit.db", "audit.db-wal", "audit.db-shm", "audit.key", "audit.head"}
    assert set(modes.values()) == {0o600}
    assert (folder / "audit.key").stat().st_size == 32


BAD_KEYS: list[tuple[str, Callable[[Path], object], str]] = [
    ("others can read it", lambda key: key.chmod(0o640), "chmod 600"),
    ("it is short", lambda key: key.write_bytes(b"short"), "5 bytes"),
    ("it belongs to somebody", lambda key: os.chown(key, 12345, 0), "chown"),
    ("it is a directory", lambda key: (key.unlink(), key.mkdir()), "regular"),
]


@pytest.mark.parametrize(("spoil", "said"), [row[1:] for row in BAD_KEYS], ids=[row[0] for row in BAD_KEYS])
def test_a_key_that_is_not_safe_is_refused(folder: Path, spoil: Callable[[Path], object], said: str) -> None:
    open_in(folder).close()
    spoil(folder / "audit.key")
    with pytest.raises(AuditKeyUnusable, match=said):
        open_in(folder)


def test_records_without_their_key_are_refused(folder: Path) -> None:
    log = open_in(folder)
    log.begin(intent(1))
    log.close()
    (folder / "audit.key").unlink()
    with pytest.raises(AuditKeyMissing, match="put the key back"):
        open_in(folder)
    assert not (folder / "audit.key").exists()


def test_another_key_continues_nothing(folder: Path) -> None:
    log = open_in(folder)
    log.begin(intent(1))
    log.close()
    (folder / "audit.key").write_bytes(os.urandom(32))
    log = open_in(folder)
    with pytest.raises(CannotRecord):
        log.begin(intent(2))
    assert not log.verify().ok
    log.close()


def test_a_log_whose_file_was_moved_away_takes_no_record(folder: Path, audit: Audit) -> None:
    audit.begin(intent(1))
    (folder / "audit.db").rename(folder / "elsewhere.db")
    with pytest.raises(CannotRecord, match="not the file any more"):
        audit.begin(intent(2))


# ---- crashes --------------------------------------------------------------------------------------------------------


def test_t17_a_crash_between_record_and_head_leaves_a_log_that_goes_on(folder: Path) -> None:
    log = open_in(folder)
    log.begin(intent(1))
    log.close()
    child = os.fork()
    if not child:
        log = open_in(folder)
        log._head.write = lambda *_: os._exit(0)  # type: ignore[method-assign]
        log.begin(intent(2))
        os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    log = open_in(folder)
    assert log.problem == ""
    assert [each.number for each in log.unfinished()] == [1, 2]
    assert log.begin(intent(3)) == 3
    verdict = log.verify()
    assert (verdict.ok, verdict.records, verdict.unfinished) == (True, 3, (1, 2, 3))
    log.close()


def test_t17_a_head_torn_by_a_crash_is_seen_to_be_one(folder: Path) -> None:
    log = open_in(folder)
    for number in range(4):
        log.begin(intent(number))
    log.close()
    head = folder / "audit.head"
    older = bytearray(head.read_bytes())
    log = open_in(folder)
    log.begin(intent(4))  # number 5 goes to the second slot
    log.close()
    head.write_bytes(older[:4096] + b"\0" * 4096)
    log = open_in(folder)
    assert log.problem == ""
    assert log.verify().ok
    log.close()


@pytest.mark.slow
def test_t17_kill_at_any_moment_loses_no_record_that_was_acknowledged(folder: Path) -> None:
    open_in(folder).close()
    for round_ in range(25):
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            log = open_in(folder)
            while True:
                os.write(writing, log.begin(intent(round_)).to_bytes(8, "little"))
        os.close(writing)
        time.sleep(0.01 + round_ * 0.0013)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        with open(reading, "rb") as file:
            acknowledged = file.read()
        log = open_in(folder)
        last = int.from_bytes(acknowledged[-8:], "little")
        verdict = log.verify()
        assert log.problem == ""
        assert verdict.ok
        assert verdict.records >= last
        for each in log.unfinished():
            log.finish(outcome(each.number, "unknown", "map.set.unknown"))
        log.close()


# ---- no room --------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "small"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600k,mode=700", "tmpfs", str(path)], check=True)
    yield path
    subprocess.run(["umount", str(path)], check=True)


def begin_for_ever(log: Audit) -> None:
    while True:
        log.begin(intent(2))


@pytest.mark.kernel
def test_t17_a_full_disk_takes_no_intent_and_owes_outcomes(small_disk: Path) -> None:
    log = open_in(small_disk)
    number = log.begin(intent(1))
    with (small_disk / "ballast").open("wb", buffering=0) as ballast:
        try:
            while ballast.write(bytes(4096)):
                pass
        except OSError:
            pass
    with pytest.raises(CannotRecord, match="nothing is done"):
        begin_for_ever(log)  # the write-ahead log may have room for some
    before = log.records(AskRecords(NOBODY)).total
    with pytest.raises(CannotRecord):
        log.begin(intent(3))
    with pytest.raises(CannotRecord):
        log.finish(outcome(number))
    assert log.records(AskRecords(NOBODY)).total == before
    (small_disk / "ballast").unlink()
    after = log.begin(intent(4))
    assert after == before + 2
    group = log.group(number)
    assert group.outcome is not None
    assert group.outcome.number == before + 1
    assert log.verify().ok
    log.close()


# ---- noise ----------------------------------------------------------------------------------------------------------


def test_t32_ten_thousand_refusals_make_few_records_and_are_counted(audit: Audit) -> None:
    for number in range(10_000):
        stranger = ActorFacts(f"user{number}", "", "", "password", f"10.0.{number % 256}.1", 58470, 1)
        audit.note(event("session.refused", actor=stranger))
    assert audit.records(AskRecords(NOBODY)).total <= BURST + 5
    assert audit.note(event("session.begin")) != 0, "others are written as ever"
    assert audit.note(event("session.refused")) != 0, "and so are those of somebody with a session"


def test_t32_what_was_left_out_is_counted_in_the_next_record() -> None:
    now_s = 0.0
    noise = Noise(lambda: now_s)
    admitted = [noise.admit(event("session.refused", actor=STRANGER, detail="x")) for _ in range(BURST + 7)]
    assert admitted.count(None) == 7
    now_s = 60.0
    after = noise.admit(event("session.refused", actor=STRANGER, detail="x"))
    assert after is not None
    assert after.detail == "x; 7 more like this one were left out before it"
    assert noise.admit(event("session.refused", actor=STRANGER, detail="x")).detail == "x"  # type: ignore[union-attr]


def test_edits_are_never_noise(audit: Audit) -> None:
    for number in range(BURST * 2):
        audit.finish(outcome(audit.begin(intent(number, actor=ANNA, of=FLOWS)), "conflict", "map.set.fail"))
    assert audit.records(AskRecords(NOBODY)).total == BURST * 4
