"""What the broker keeps beside the kernel: accounts, policy, audit log and plans of one data directory."""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from app.broker.accounts.keeper import Accounts
from app.broker.audit.log import Audit
from app.broker.edits.plans import PlanStore
from app.broker.errors import BrokerError
from app.broker.policy.file import PolicyFile
from app.broker.policy.limits import Limits
from app.settings import Settings


class DeskTaken(BrokerError):
    """Another process has this data directory's accounts and audit log."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"another process uses {folder}: wait for it, or ask the service that runs there")


@dataclass(slots=True, kw_only=True)
class Desk:
    """Opened once a process; one process at a time has a data directory's."""

    settings: Settings
    accounts: Accounts
    audit: Audit
    policy: PolicyFile
    plans: PlanStore
    limits: Limits
    _lock_fd: int

    @classmethod
    def open(cls, settings: Settings) -> Self:
        """Open everything, before the process is confined.

        raises  DeskTaken, and what is wrong with a file as a BrokerError
        """
        folder = settings.broker_folder
        lock_fd = _claim(folder)
        try:
            audit = Audit(folder / "audit.db", settings.within(settings.audit_key), settings.audit_copies)
            return cls(
                settings=settings,
                accounts=Accounts(folder / "accounts.db", settings),
                audit=audit,
                policy=PolicyFile(settings.within(settings.policy)),
                plans=PlanStore(folder / "plans.db"),
                limits=Limits(),
                _lock_fd=lock_fd,
            )
        except BaseException:
            os.close(lock_fd)
            raise

    def close(self) -> None:
        """Let all of it go."""
        self.accounts.close()
        self.audit.close()
        self.plans.close()
        os.close(self._lock_fd)


def _claim(folder: Path) -> int:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as problem:
        raise BrokerError(f"{folder} cannot be used: {problem.strerror}") from problem
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise DeskTaken(folder) from None
    return descriptor
