"""The policy file: read again when it changes, and trusted only if nobody but root can write it."""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from pathlib import Path
from threading import Lock

from app.broker import log
from app.broker.policy.parse import PolicyError, parse
from app.broker.policy.rules import BUILT_IN, UNKNOWN, Policy, Redaction

MOST_BYTES = 1 << 20


class PolicyFile:
    """Shared by the broker's threads."""

    def __init__(self, path: Path) -> None:
        """Look at it for the first time; a file with an error raises nothing: it means reading only."""
        self.path = path
        self._lock = Lock()
        self._seen: tuple[int, ...] | None = None
        self._was_there = False
        self._policy = BUILT_IN
        self._hidden: tuple[Redaction, ...] = (UNKNOWN,)
        self.current()

    def current(self) -> Policy:
        """Give the policy as it is now; with an error in the file its `problem` says which, and nobody edits."""
        with self._lock:
            try:
                facts = os.stat(self.path)
            except FileNotFoundError:
                return self._gone()
            except OSError as problem:
                return self._bad(f"{self.path} cannot be read ({problem.strerror}): nobody edits until it can")
            seen = (facts.st_dev, facts.st_ino, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_size)
            if seen != self._seen:
                self._seen, self._was_there = seen, True
                self._take(load(self.path))
            return self._policy

    def _gone(self) -> Policy:
        self._seen = None
        if not self._was_there:
            self._policy = BUILT_IN
            return self._policy
        # Going by the built-in policy here would allow more than what the operator wrote, in the middle of a save.
        return self._bad(
            f"{self.path} was there and is gone: put it back, or restart the service to go by the built-in policy"
        )

    def _bad(self, problem: str) -> Policy:
        self._seen = None
        if self._policy.problem != problem:
            self._take(Policy(problem=problem, path=str(self.path)))
        return self._policy

    def _take(self, policy: Policy) -> None:
        # What was to be hidden stays hidden while the file has an error.
        self._policy = replace(policy, redact=self._hidden) if policy.problem else policy
        self._hidden = self._policy.redact
        if policy.problem:
            log.write("policy_refused", reason=policy.problem)
        else:
            log.write("policy_read", path=str(self.path), rules=len(policy.rules), redact=len(policy.redact))


def load(path: Path) -> Policy:
    """Read one file, whatever is wrong with it: then `problem` is set."""
    try:
        return parse(_text(path), str(path))
    except PolicyError as problem:
        return Policy(problem=str(problem), path=str(path), redact=(UNKNOWN,))


def _text(path: Path) -> str:
    """Raise PolicyError for what cannot be trusted or read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as problem:
        raise PolicyError(str(path), 1, f"it cannot be opened ({problem.strerror})") from None
    try:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            raise PolicyError(str(path), 1, "it is no regular file")
        if facts.st_mode & 0o022 or facts.st_uid not in {0, os.geteuid()}:
            raise PolicyError(str(path), 1, f"others than root can write it: `chown root {path}; chmod go-w {path}`")
        if facts.st_size > MOST_BYTES:
            raise PolicyError(str(path), 1, f"it has {facts.st_size} bytes, {MOST_BYTES} are the most")
        data = b""
        while len(data) <= MOST_BYTES and (part := os.read(descriptor, MOST_BYTES)):
            data += part
    finally:
        os.close(descriptor)
    try:
        return data.decode()
    except UnicodeDecodeError as problem:
        line = data.count(b"\n", 0, problem.start) + 1
        raise PolicyError(str(path), line, f"byte {problem.start} is no UTF-8") from None
