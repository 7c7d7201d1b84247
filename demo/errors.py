"""Why the demo cannot run, or cannot show one of its parts."""

from __future__ import annotations

import os

from app.errors import AppError, NeedsRights

ENOTSUPP = 524


class DemoError(AppError):
    """Base of this room's errors."""


class Refused(DemoError):
    """The kernel, libbpf or a tool said no."""

    def __init__(self, what: str, number: int, detail: str = "") -> None:
        self.number = abs(number)
        reason = "ENOTSUPP" if self.number == ENOTSUPP else os.strerror(self.number)
        super().__init__(f"{what}: {reason}{f' ({detail})' if detail else ''}")


class NotRoot(DemoError, NeedsRights):
    def __init__(self) -> None:
        super().__init__("the demo loads programs and makes network namespaces: run it as root")


class ObjectMissing(DemoError):
    def __init__(self, name: str) -> None:
        super().__init__(f"demo program {name}.bpf.o is not built: run `make demo-objects`")


class AlreadyRunning(DemoError):
    def __init__(self, pid: int) -> None:
        super().__init__(f"the demo is running already, as process {pid}: stop that one first")


class LibraryMissing(DemoError):
    def __init__(self) -> None:
        super().__init__("libbpf.so.1 is not installed: apt-get install libbpf1")


class ToolFailed(DemoError):
    def __init__(self, command: str, said: str) -> None:
        super().__init__(f"`{command}` failed: {said.strip()}")
