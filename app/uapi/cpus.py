"""How many CPUs a per-CPU value has room for."""

from __future__ import annotations

from functools import cache
from pathlib import Path

POSSIBLE = Path("/sys/devices/system/cpu/possible")


def count_list(text: str) -> int:
    """CPUs named by a list in the kernel's notation, ``0-3,8``.

    source  Documentation/admin-guide/cputopology.rst
    """
    total = 0
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        total += int(last or first) - int(first) + 1
    return total


@cache
def possible_cpus() -> int:
    """Possible CPUs, not online ones: the kernel sizes per-CPU values by these."""
    return count_list(POSSIBLE.read_text())
