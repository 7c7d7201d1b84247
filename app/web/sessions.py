"""Sessions: a signed cookie that says which session it is and when it began; 12 hours and it is over.

The value also works as a bearer token of the API. Signing out writes the session's id down until it would have ended.
"""

from __future__ import annotations

import os
import secrets
import threading
import time
from dataclasses import dataclass

from itsdangerous import BadSignature, URLSafeTimedSerializer

from app.web.private import Folder
from app.web.problems import CannotRemember

VALID_S = 12 * 3600
REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody who came in by a link."""

    id: str
    began_at_s: int


class Sessions:
    """Makes, checks and revokes sessions; one per web process, safe for its threads."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._signer = URLSafeTimedSerializer(folder.secret(), salt="bpf-atlas session 1")
        self._lock = threading.Lock()
        self._revoked: dict[str, int] = {}
        self._read_by_pid = 0

    def begin(self) -> str:
        """A new session's cookie value."""
        return self._signer.dumps(secrets.token_hex(16))

    def check(self, value: str) -> Session | None:
        """The session behind a cookie or bearer value; None if it is forged, over or revoked."""
        try:
            session_id, signed_at = self._signer.loads(value, max_age=VALID_S, return_timestamp=True)
        except BadSignature:
            return None
        if not isinstance(session_id, str):
            return None
        with self._lock:
            if self._read_by_pid != os.getpid():
                # gunicorn forks a new worker from the process that the application was made in: what the worker before
                # it revoked stands in the file alone.
                self._revoked = _still_running(self._folder.read(REVOKED) or b"", int(time.time()))
                self._read_by_pid = os.getpid()
            if session_id in self._revoked:
                return None
        return Session(session_id, int(signed_at.timestamp()))

    def end(self, session: Session) -> None:
        """Revoke: the value is worth nothing from here on, also after a restart.

        raises  CannotRemember when the disk takes no more: then only until a restart
        """
        ends_at_s = session.began_at_s + VALID_S
        with self._lock:
            self._revoked[session.id] = ends_at_s
            try:
                self._folder.append(REVOKED, f"{session.id} {ends_at_s}".encode())
            except OSError as problem:
                raise CannotRemember(problem.strerror or str(problem)) from problem


def _still_running(text: bytes, now_s: int) -> dict[str, int]:
    revoked: dict[str, int] = {}
    for line in text.splitlines():
        session_id, _, ends_at_s = line.decode("ascii", "replace").partition(" ")
        if ends_at_s.isdecimal() and int(ends_at_s) > now_s:
            revoked[session_id] = int(ends_at_s)
    return revoked
