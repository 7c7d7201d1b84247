"""Passwords: argon2id hashes, few at once, and the rules for new ones.

source  RFC 9106, the second recommended option: 3 passes over 64 MiB; OWASP ASVS 5.0, 6.2
"""

from __future__ import annotations

import gzip
from functools import cached_property
from pathlib import Path
from threading import BoundedSemaphore

from argon2 import PasswordHasher, profiles
from argon2.exceptions import InvalidHashError, VerificationError

from app.wire.errors import BadField, TooFast

AT_ONCE = 2
"""Hashes at a time: each takes 64 MiB."""
QUEUE_S = 10.0
"""How long one more waits for its turn."""
LEAST = 10
MOST = 512
COMMON = Path(__file__).parent / "vendor" / "common-passwords-django-5.2.19.txt.gz"
_NOBODYS = "$argon2id$v=19$m=65536,t=3,p=4$MXoJvFp0HxMQFbGjVtjC/A$BcNHnpExnhjlHb1JsJYgFKqnrKzaNblKMlHdt0Y3shM"
"""Of 32 random bytes that were thrown away: what the passwords of unknown names are compared with."""
_TAIL = "0123456789!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~ "
"""What people put after a word to make it pass."""


class Passwords:
    """Hashes and checks; safe for threads."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher.from_parameters(profiles.RFC_9106_LOW_MEMORY)
        self._turns = BoundedSemaphore(AT_ONCE)
        # Read now: once confined, the broker may no longer reach the directory that it was started from.
        self._packed = COMMON.read_bytes()

    def hash(self, password: str) -> str:
        """What is kept of a password. raises TooFast"""
        with self._turn():
            return self._hasher.hash(_plain(password))

    def check(self, kept: str | None, password: str) -> bool:
        """Whether it is the password; takes the same time when there is none to compare with. raises TooFast"""
        with self._turn():
            try:
                self._hasher.verify(kept or _NOBODYS, _plain(password))
            except (VerificationError, InvalidHashError):
                return False
        return kept is not None

    def check_new(self, name: str, password: str) -> None:
        """Whether somebody may choose it. raises BadField"""
        if len(password) < LEAST:
            raise BadField(f"a password has at least {LEAST} characters: choose a longer one", "password")
        if len(password) > MOST:
            raise BadField(f"a password has at most {MOST} characters: choose a shorter one", "password")
        lowered = password.lower()
        word = lowered.rstrip(_TAIL)
        if name.lower() in {lowered, word}:
            raise BadField("this password is the user's name: choose another", "password")
        beginnings = {lowered[:end] for end in range(len(word), len(lowered) + 1)}
        if not beginnings.isdisjoint(self._common) or len(set(lowered)) == 1:
            raise BadField("this password is one of those that are tried first: choose another", "password")

    @cached_property
    def _common(self) -> frozenset[str]:
        return frozenset(gzip.decompress(self._packed).decode().split())

    def _turn(self) -> _Turn:
        return _Turn(self._turns)


class _Turn:
    """Waits for its turn, and not for ever."""

    def __init__(self, turns: BoundedSemaphore) -> None:
        self._turns = turns

    def __enter__(self) -> None:
        if not self._turns.acquire(timeout=QUEUE_S):
            raise TooFast("too many passwords are being checked: try again in some seconds", int(QUEUE_S))

    def __exit__(self, *_: object) -> None:
        self._turns.release()


def _plain(password: str) -> bytes:
    return password.encode("utf-8", "surrogatepass")
