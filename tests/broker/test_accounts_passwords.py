"""Passwords: the rules, the vendored list, and how many are hashed at a time."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import re
import threading
import time

import pytest
from argon2 import extract_parameters, profiles
from hypothesis import given
from hypothesis import strategies as st

from app.broker.accounts import passwords
from app.broker.accounts.passwords import COMMON, Passwords
from app.broker.accounts.throttle import ACCOUNT, FORGET_S, SAME, SOURCE, Throttle, neighbourhood
from app.wire.errors import BadField, TooFast


def test_the_vendored_list_is_the_published_one() -> None:
    text = (COMMON.parent / "VENDORED.md").read_text()
    rows = re.findall(r"^\| (\S+) \| .* \| ([0-9a-f]{64}) \|$", text, re.MULTILINE)
    assert [name for name, _ in rows] == [COMMON.name]
    assert hashlib.sha256(COMMON.read_bytes()).hexdigest() == rows[0][1]
    assert len(gzip.decompress(COMMON.read_bytes()).split()) >= 3000
    assert "Django" in (COMMON.parent / "LICENSE.django.txt").read_text()


def test_names_of_nobody_are_compared_with_a_hash_like_all_others() -> None:
    assert extract_parameters(passwords._NOBODYS) == profiles.RFC_9106_LOW_MEMORY
    made = Passwords().hash("x")
    assert extract_parameters(made) == profiles.RFC_9106_LOW_MEMORY


@pytest.mark.parametrize(
    "password",
    ["", "short", "123456789", "1234567890", "password12", "PASSWORD2024!", "qwertyuiop", "iloveyou!!!", "aaaaaaaaaaaa", "alice123456",
     "Alice!!!!!!!!", "x" * 513],
)  # fmt: skip
def test_passwords_that_nobody_may_choose(password: str) -> None:
    with pytest.raises(BadField) as refusal:
        Passwords().check_new("alice", password)
    assert refusal.value.field == "password"
    assert not password or password not in str(refusal.value)


@pytest.mark.parametrize(
    "password",
    [
        "correct horse 42",
        "ünïcödé-pässwörter",
        "  spaces count  ",
        "0f3a9c1e77",
        "名前名前名前名前名前名前",
        "x7" * 256,
    ],
)
def test_passwords_that_somebody_may_choose(password: str) -> None:
    Passwords().check_new("alice", password)


def test_every_common_password_is_refused_also_with_a_tail() -> None:
    checks = Passwords()
    common = gzip.decompress(COMMON.read_bytes()).decode().split()
    for password in common:
        for tried in (password, password + "2024!!!!!!"):
            with pytest.raises(BadField):
                checks.check_new("somebody", tried)


@pytest.mark.parametrize("password", ["correct horse 42", "ünï\udcffcödé", "", "\0", "x" * 512])
def test_a_hash_is_of_exactly_its_password(password: str) -> None:
    checks = Passwords()
    kept = checks.hash(password)
    assert checks.check(kept, password)
    assert not checks.check(kept, password + " ")
    assert not checks.check(kept, password.upper() + "x")
    assert not checks.check("no hash", password)
    assert not checks.check(None, password)


def test_two_are_hashed_at_once_and_others_wait_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    checks = Passwords()
    running, most, lock = 0, 0, threading.Lock()

    class Slow:
        def hash(self, _: bytes) -> str:
            nonlocal running, most
            with lock:
                running += 1
                most = max(most, running)
            time.sleep(0.05)
            with lock:
                running -= 1
            return ""

    monkeypatch.setattr(checks, "_hasher", Slow())
    threads = [threading.Thread(target=checks.hash, args=("x",)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 2


def test_who_waits_too_long_for_a_turn_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "QUEUE_S", 0.05)
    checks = Passwords()
    with checks._turn(), checks._turn(), pytest.raises(TooFast):
        checks.hash("x")
    assert checks.check(checks.hash("x"), "x")


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def tries_in(span_s: float, account: str, source: str) -> int:
    """How many guesses go through in that time, tried each second."""
    clock = Clock()
    throttle = Throttle(clock)
    through = 0
    for _ in range(int(span_s)):
        clock.now_s += 1
        try:
            throttle.attempt(account, source)
        except TooFast:
            continue
        through += 1
    return through


def test_a_guesser_gets_ever_slower_and_never_stands_still() -> None:
    hour, day = tries_in(3600, "alice", "s"), tries_in(24 * 3600, "alice", "s")
    assert SAME.free < hour < 40
    assert hour < day < 500


def test_others_do_not_notice_a_guesser() -> None:
    clock = Clock()
    throttle = Throttle(clock)
    for _ in range(500):
        clock.now_s += 1
        with contextlib.suppress(TooFast):
            throttle.attempt("alice", "198.51.100.66")
    throttle.attempt("alice", "203.0.113.1")
    throttle.attempt("bob", "203.0.113.1")


def test_guessing_from_everywhere_is_slowed_for_the_account_by_seconds_only() -> None:
    clock = Clock()
    throttle = Throttle(clock)
    for number in range(ACCOUNT.free):
        throttle.attempt("alice", f"198.51.{number // 250}.{number % 250}")
    with pytest.raises(TooFast) as refusal:
        throttle.attempt("alice", "203.0.113.1")
    assert refusal.value.retry_s <= 4
    clock.now_s += ACCOUNT.most_s
    throttle.attempt("alice", "203.0.113.1")


def test_signing_in_forgives_this_account_and_no_other() -> None:
    clock = Clock()
    throttle = Throttle(clock)
    for _ in range(SAME.free - 1):
        throttle.attempt("alice", "s")
        throttle.attempt("bob", "s")
    throttle.attempt("alice", "s")
    throttle.succeeded("alice", "s")
    for _ in range(SAME.free - 1):
        throttle.attempt("alice", "s")
    throttle.attempt("bob", "s")
    with pytest.raises(TooFast):
        throttle.attempt("bob", "s")


def test_failures_are_forgotten() -> None:
    clock = Clock()
    throttle = Throttle(clock)
    for _ in range(SAME.free):
        throttle.attempt("alice", "s")
    clock.now_s += FORGET_S * SAME.free
    for _ in range(SAME.free - 1):
        throttle.attempt("alice", "s")
    assert SOURCE.free > SAME.free


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("203.0.113.1", "203.0.113.2", False),
        ("203.0.113.1", "::ffff:203.0.113.1", True),
        ("2001:db8::1", "2001:db8::ffff:2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("cli", "cli", True),
    ],
)
def test_what_counts_as_one_source(one: str, other: str, same: bool) -> None:
    assert (neighbourhood(one) == neighbourhood(other)) is same


@given(st.text(max_size=100), st.text(max_size=100))
def test_any_name_and_source_can_be_counted(account: str, source: str) -> None:
    throttle = Throttle()
    throttle.attempt(account, source)
    throttle.succeeded(account, source)
