"""The kernel's enumerations as people say them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from app.uapi.enums import BpfAttachType, BpfLinkType, BpfMapFlag, BpfProgType
from app.wire.bodies import LinkFacts, MapFacts, ProgFacts

FILLER = re.compile(r"(?:.*\.)?_*(?:pad(?:ding)?|reserved|rsvd|unused)_?[0-9]*", re.IGNORECASE)
"""Fields that only fill a hole: left out until somebody asks for them, and never offered for writing."""
PROG_WORDS = {
    BpfProgType.SCHED_CLS: "tc",
    BpfProgType.SCHED_ACT: "tc action",
    BpfProgType.SOCKET_FILTER: "socket filter",
    BpfProgType.TRACING: "tracing",
    BpfProgType.RAW_TRACEPOINT: "raw tracepoint",
    BpfProgType.PERF_EVENT: "perf event",
}
FLAG_WORDS = {
    BpfMapFlag.NO_PREALLOC: "no prealloc",
    BpfMapFlag.NO_COMMON_LRU: "LRU per CPU",
    BpfMapFlag.NUMA_NODE: "NUMA",
    BpfMapFlag.RDONLY: "creator read-only",
    BpfMapFlag.WRONLY: "creator write-only",
    BpfMapFlag.STACK_BUILD_ID: "build ids",
    BpfMapFlag.ZERO_SEED: "zero seed",
    BpfMapFlag.RDONLY_PROG: "programs only read",
    BpfMapFlag.WRONLY_PROG: "programs only write",
    BpfMapFlag.CLONE: "clone",
    BpfMapFlag.MMAPABLE: "mmap",
    BpfMapFlag.PRESERVE_ELEMS: "preserve elements",
    BpfMapFlag.INNER_MAP: "inner map",
    BpfMapFlag.LINK: "link",
    BpfMapFlag.SEGV_ON_FAULT: "segv on fault",
    BpfMapFlag.NO_USER_CONV: "no user conversion",
}


def prog_type(number: int) -> str:
    """``xdp``, ``tc``, ``raw tracepoint``, ``type 99``."""
    try:
        known = BpfProgType(number)
    except ValueError:
        return f"type {number}"
    return PROG_WORDS.get(known, known.name.lower().replace("_", " "))


def link_type(number: int) -> str:
    """``xdp``, ``kprobe multi``."""
    try:
        return BpfLinkType(number).name.lower().replace("_", " ")
    except ValueError:
        return f"type {number}"


def attach_type(link: LinkFacts) -> str:
    """Where on its target, empty where the kernel does not say."""
    if link.attach_type is None:
        return ""
    try:
        return BpfAttachType(link.attach_type).name.lower().replace("_", " ")
    except ValueError:
        return f"type {link.attach_type}"


def map_flags(facts: MapFacts) -> list[str]:
    """Every flag that is set, the frozen state first, unknown bits in hexadecimal."""
    words = ["frozen"] if facts.frozen else []
    left = facts.map_flags
    for flag, word in FLAG_WORDS.items():
        if left & flag:
            words.append(word)
            left &= ~flag
    if left:
        words.append(f"flags {left:#x}")
    return words


def used_by(progs: Iterable[ProgFacts]) -> str:
    """``3 tc, 1 xdp``: programs by type, most frequent first."""
    counts = Counter(prog_type(prog.type) for prog in progs)
    return ", ".join(f"{count} {word}" for word, count in counts.most_common())
