"""The web's own folder: DATA/web, mode 0700, with the address that it listens on and a secret that signs short-lived cookies.

It belongs to the account that the web process runs as. The process holds a descriptor of the folder and names the
files relative to that, so it needs no right on any folder above. Nothing here imports flask: the CLI uses it too.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from app.settings import Settings
from app.uapi import confine
from app.web.problems import DataUnusable

SECRET_BYTES = 32


class Folder:
    """DATA/web, held open."""

    def __init__(self, path: Path, fd: int, owner: tuple[int, int] | None) -> None:
        self.path = path
        self._fd = fd
        self._owner = owner

    @classmethod
    def prepare(cls, settings: Settings) -> Folder:
        """Make the folder if it is not there; root gives it to the web's account. raises DataUnusable"""
        path = settings.data / "web"
        owner = confine.account(settings.web_user) if os.geteuid() == 0 else None
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            if owner is not None:
                os.fchown(fd, *owner)
            os.fchmod(fd, 0o700)
        except OSError as problem:
            raise DataUnusable(str(path), problem.strerror or str(problem)) from problem
        return cls(path, fd, owner)

    def read(self, name: str) -> bytes | None:
        """The whole of one small file, or None if it is not there."""
        with contextlib.suppress(FileNotFoundError), self._open(name, os.O_RDONLY) as fd:
            return os.read(fd, 1 << 20)
        return None

    def write(self, name: str, content: bytes) -> None:
        """Replace the file, in one step, readable by its owner alone. raises DataUnusable, and leaves nothing then"""
        fresh = f".{name}.{secrets.token_hex(8)}"
        try:
            with self._open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL) as fd:
                if os.write(fd, content) != len(content):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                if self._owner is not None:
                    os.fchown(fd, *self._owner)
            os.rename(fresh, name, src_dir_fd=self._fd, dst_dir_fd=self._fd)
        except OSError as problem:
            with contextlib.suppress(OSError):
                os.unlink(fresh, dir_fd=self._fd)
            raise DataUnusable(str(self.path), problem.strerror or str(problem)) from problem

    def secret(self) -> bytes:
        """The key that short-lived cookies are signed with, made at the first call."""
        kept = self.read("secret")
        if kept is not None and len(kept) >= SECRET_BYTES:
            return kept
        self.write("secret", secrets.token_bytes(SECRET_BYTES))
        return self.read("secret") or b""

    def close(self) -> None:
        """Let the folder go."""
        os.close(self._fd)

    @contextlib.contextmanager
    def _open(self, name: str, flags: int) -> Iterator[int]:
        fd = os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=self._fd)
        try:
            yield fd
        finally:
            os.close(fd)
