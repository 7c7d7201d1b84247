"""Pins: the walk of the bpffs, and the opening of one path in it, never through a symbolic link."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from enum import Enum
from functools import partial
from pathlib import Path

from app.broker.host import Host, Reply, printable, with_fd
from app.uapi import objects
from app.uapi.enums import BpfMapFlag
from app.uapi.errors import InvalidForKernel, KernelError, ObjectGone
from app.wire import bodies
from app.wire.errors import PinOutside

LIMIT_PINS = 50_000
LIMIT_DEPTH = 32

_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_LEAF = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_KINDS = {
    "anon_inode:bpf-map": "map",
    "anon_inode:bpf-prog": "prog",
    "anon_inode:bpf_link": "link",
    "anon_inode:bpf-link": "link",
}
_BPF_FS_MAGIC = "bpf"


def answer_pins(host: Host, _: bodies.AskNothing) -> Reply:
    """Every pin beneath the bpffs, by path."""
    root = str(host.bpffs)
    if not is_mounted(host.bpffs):
        problem = f"no bpffs is mounted at {root}: `mount -t bpf bpf {root}` makes room for pins"
        return Reply(bodies.PinList((), problem))
    found: list[bodies.PinFacts] = []
    troubles: list[str] = []
    for path, leaf in _walk(root, os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC), 0, troubles):
        if len(found) == LIMIT_PINS:
            os.close(leaf)
            troubles.append(f"only the first {LIMIT_PINS} pins were looked at")
            break
        try:
            found.append(with_fd(with_fd(leaf, _get), partial(_facts, path)))
        except ObjectGone:
            # Unpinned meanwhile; or one of the two iterators, maps.debug and progs.debug, that the kernel puts into each
            # new bpffs and that open for reading their text alone.
            continue
        except KernelError as error:
            troubles.append(f"{path}: {error}")
    more = f"; and {len(troubles) - 1} more" if len(troubles) > 1 else ""
    problem = printable(troubles[0]) + more if troubles else ""
    return Reply(bodies.PinList(tuple(sorted(found, key=lambda pin: pin.path)), problem))


def is_mounted(path: Path) -> bool:
    """Whether a bpffs is mounted at `path`."""
    wanted = os.path.realpath(path)
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as mounts:
        for line in mounts:
            before, _, after = line.partition(" - ")
            if before.split(" ")[4].replace("\\040", " ") == wanted and after.split(" ")[0] == _BPF_FS_MAGIC:
                return True
    return False


class Access(Enum):
    """What a descriptor is opened for."""

    READ = BpfMapFlag.RDONLY
    FULL = 0


def open_pin(bpffs: Path, path: str, access: Access = Access.READ) -> int:
    """Open the object pinned at `path`; the descriptor is the caller's to close.

    Each component is opened by itself and no symbolic link is followed, as openat2's RESOLVE_BENEATH and
    RESOLVE_NO_SYMLINKS would have it; openat2 itself takes its flags from memory, where the seccomp filter of the
    broker, which allows opening for reading only, cannot see them.

    raises  PinOutside if the path is not one beneath `bpffs`; KernelError if the kernel does not open it
    """
    directory, name = open_folder(bpffs, path)
    try:
        leaf = with_fd(directory, partial(_open_in, name, _LEAF))
    except OSError as error:
        raise PinOutside(f"no pin can be opened at {path!r}: {error.strerror}") from None
    return with_fd(leaf, partial(_get, access=access))


def open_folder(bpffs: Path, path: str) -> tuple[int, str]:
    """O_PATH descriptor (the caller's to close) of the folder that a pin is in, or would be, and the pin's name.

    raises  PinOutside
    """
    root = str(bpffs).rstrip("/")
    parts = path[len(root) + 1 :].split("/")
    if not path.startswith(root + "/") or "\0" in path or any(part in {"", ".", ".."} for part in parts):
        raise PinOutside(f"{path!r} is not the path of a pin beneath {root}, with no '..' in it")
    try:
        at = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        for part in parts[:-1]:
            at = with_fd(at, partial(_open_in, part, _DIRECTORY))
    except OSError as error:
        raise PinOutside(f"no pin can be opened at {path!r}: {error.strerror}") from None
    return at, parts[-1]


def _open_in(name: str, flags: int, directory: int) -> int:
    return os.open(name, flags, dir_fd=directory)


def kind_of(fd: int) -> str:
    """``map``, ``prog``, ``link``, or empty for something else."""
    return _KINDS.get(os.readlink(f"/proc/self/fd/{fd}"), "")  # noqa: PTH115  (asked for every pin: a Path costs more)


def _get(leaf: int, access: Access = Access.READ) -> int:
    """Open what an O_PATH descriptor of a pin names. By its magic link, so that nobody can swap the path meanwhile."""
    path = f"/proc/self/fd/{leaf}"
    try:
        return objects.obj_get(path, access.value)
    except InvalidForKernel:  # Links know no access mode.
        return objects.obj_get(path)


def _facts(path: str, fd: int) -> bodies.PinFacts:
    kind = kind_of(fd)
    match kind:
        case "map":
            return bodies.PinFacts(printable(path), kind, objects.map_info(fd).id)
        case "prog":
            return bodies.PinFacts(printable(path), kind, objects.prog_info(fd).id)
        case "link":
            return bodies.PinFacts(printable(path), kind, objects.link_info(fd).id)
        case _:
            return bodies.PinFacts(printable(path), "", 0)


def _walk(path: str, directory: int, depth: int, troubles: list[str]) -> Iterator[tuple[str, int]]:
    """Path and O_PATH descriptor (the caller's to close) of each file beneath; closes `directory`."""
    try:
        try:
            readable = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory)
            names = with_fd(readable, os.listdir)
        except OSError as error:
            troubles.append(f"{path}: {error.strerror}")
            return
        for name in names:
            below = f"{path}/{name}"
            try:
                leaf = os.open(name, _LEAF, dir_fd=directory)
            except OSError:
                continue  # unpinned meanwhile
            mode = os.stat(leaf).st_mode
            if stat.S_ISREG(mode):
                yield below, leaf
            elif stat.S_ISDIR(mode) and depth < LIMIT_DEPTH:
                yield from _walk(below, leaf, depth + 1, troubles)
            else:
                os.close(leaf)
    finally:
        os.close(directory)
