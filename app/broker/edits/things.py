"""What a slot holds, by name: a program, a map, a device, a CPU's queue, a cgroup, a socket; and the descriptor for it.

Look-ups give ids, updates want descriptors: a number that was read and written back would name whatever descriptor of ours
has it. So nothing read is ever written here; each thing is opened anew.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from app.broker import pins
from app.broker.edits.kinds import DEVICES, MAPS, SOCKETS
from app.broker.edits.owners import socket_of
from app.uapi import objects
from app.uapi.enums import BpfMapType
from app.uapi.errors import KernelError
from app.wire.bodies import MapFacts
from app.wire.errors import BadField, PinOutside
from app.wire.things import thing_text

FIELD = "thing"
_DEVICES = Path("/sys/class/net")
"""Asked instead of a socket, which a confined broker may not open."""
_U32 = struct.Struct("=I")
_PAIR = struct.Struct("=Ii")  # struct bpf_devmap_val, struct bpf_cpumap_val: the second is a descriptor in updates
_U64 = struct.Struct("=Q")


def form_of(facts: MapFacts) -> str:
    """How a thing of this map is written."""
    match facts.type:
        case BpfMapType.PROG_ARRAY:
            return "prog:ID or pin:/path"
        case BpfMapType.ARRAY_OF_MAPS | BpfMapType.HASH_OF_MAPS:
            return "map:ID or pin:/path"
        case BpfMapType.DEVMAP | BpfMapType.DEVMAP_HASH:
            return "dev:NAME" + ("[+prog:ID]" if facts.value_size > _U32.size else "")
        case BpfMapType.CPUMAP:
            return "cpu:QSIZE" + ("[+prog:ID]" if facts.value_size > _U32.size else "")
        case BpfMapType.CGROUP_ARRAY:
            return "cgroup:/path"
        case _:
            return "socket:PID:FD"


@contextmanager
def value_of(facts: MapFacts, thing: str, bpffs: Path) -> Iterator[bytes]:
    """The value that an update takes for a thing, valid while its descriptors are open.

    raises  BadField
    """
    with ExitStack() as opened:
        yield _value(facts, thing, partial(_opened, opened, bpffs))


def _opened(stack: ExitStack, bpffs: Path, kind: str, name: str) -> int:
    try:
        descriptor = _open(kind, name, bpffs)
    except (OSError, KernelError, PinOutside) as error:
        said = error.strerror if isinstance(error, OSError) else str(error)
        raise BadField(f"{kind}:{name[:80]} cannot be opened: {said}", FIELD) from None
    stack.callback(os.close, descriptor)
    return descriptor


def _open(kind: str, name: str, bpffs: Path) -> int:
    match kind:
        case "prog":
            return objects.prog_get_fd_by_id(_number(name))
        case "map":
            return objects.map_get_fd_by_id(_number(name))
        case "pin":
            return pins.open_pin(bpffs, name, pins.Access.FULL)
        case "cgroup":
            if not name.startswith("/"):
                raise BadField("a cgroup is given by its directory, as in cgroup:/sys/fs/cgroup/…", FIELD)
            return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        case _:
            return socket_of(name)


def _value(facts: MapFacts, thing: str, open_: partial[int]) -> bytes:
    kind, _, name = thing.partition(":")
    unfit = BadField(f"a slot of this map is given as {form_of(facts)}, not {thing[:80]!r}", FIELD)
    if facts.type == BpfMapType.PROG_ARRAY and kind in {"prog", "pin"}:
        return _U32.pack(_of_kind(open_(kind, name), "prog", thing))
    if facts.type in MAPS and kind in {"map", "pin"}:
        return _U32.pack(_of_kind(open_(kind, name), "map", thing))
    if facts.type in DEVICES and kind == "dev":
        device, prog = _split(name)
        return _with_prog(facts, _ifindex(device), prog, open_)
    if facts.type == BpfMapType.CPUMAP and kind == "cpu":
        qsize, prog = _split(name)
        return _with_prog(facts, _qsize(qsize), prog, open_)
    if facts.type == BpfMapType.CGROUP_ARRAY and kind == "cgroup":
        return _U32.pack(open_(kind, name))
    if facts.type in SOCKETS and kind == "socket":
        descriptor = open_(kind, name)
        return _U64.pack(descriptor) if facts.value_size == _U64.size else _U32.pack(descriptor)
    raise unfit


def _of_kind(descriptor: int, wanted: str, thing: str) -> int:
    if pins.kind_of(descriptor) != wanted:
        raise BadField(f"{thing[:80]} is no {wanted}", FIELD)
    return descriptor


def _split(name: str) -> tuple[str, str]:
    first, plus, prog = name.partition("+")
    if plus and not prog.startswith("prog:"):
        raise BadField(f"after the + a program is wanted, as in +prog:ID, not {prog[:40]!r}", FIELD)
    return first, prog.removeprefix("prog:")


def _with_prog(facts: MapFacts, number: int, prog: str, open_: partial[int]) -> bytes:
    if facts.value_size == _U32.size:
        if prog:
            raise BadField("the values of this map have no room for a program", FIELD)
        return _U32.pack(number)
    # A descriptor of 0 or less means none; ours are never 0, since standard input is open.
    return _PAIR.pack(number, open_("prog", prog) if prog else -1)


def _ifindex(name: str) -> int:
    if name.isascii() and name.isdecimal() and len(name) < 10:  # noqa: PLR2004  (a number instead of a name)
        return int(name)
    index = 0 if "/" in name or name in {".", ".."} else _index_in(_DEVICES / name)
    if not index:
        raise BadField(f"there is no network device {name[:40]!r} in the broker's network namespace", FIELD)
    return index


def _index_in(device: Path) -> int:
    """0 where there is none."""
    try:
        return int((device / "ifindex").read_text())
    except (OSError, ValueError):
        return 0


def _qsize(text: str) -> int:
    size = _number(text)
    if not 0 < size <= 16384:  # noqa: PLR2004  (kernel/bpf/cpumap.c)
        raise BadField("a CPU's queue takes 1 to 16384 packets", FIELD)
    return size


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 0 < len(text) <= 10) or int(text) >= 1 << 32:  # noqa: PLR2004  (u32)
        raise BadField(f"an id is a whole number, not {text[:40]!r}", FIELD)
    return int(text)


def thing_of(facts: MapFacts, value: bytes) -> str:
    """How what was read would be written, devices by their names; empty where it cannot be: sockets are read as cookies."""
    text = thing_text(facts.type, value)
    if facts.type in DEVICES and text:
        device, plus, prog = text.removeprefix("dev:").partition("+")
        return f"dev:{_name(device)}{plus}{prog}"
    return text


def same(facts: MapFacts, wanted: str, found: str) -> bool:
    """Whether a slot holds what it was given, as far as reading tells."""
    if not found or wanted.startswith(("pin:", "socket:", "cgroup:")):
        return True
    if facts.type in DEVICES:
        device, prog = _split(wanted.removeprefix("dev:"))
        return found == f"dev:{_name(device)}" + (f"+prog:{prog}" if prog else "")
    return found == wanted


def _name(device: str) -> str:
    """A device's name; what was given where it is no number, or nobody's."""
    if not device.isdecimal():
        return device
    try:
        return next((each.name for each in _DEVICES.iterdir() if _index_in(each) == int(device)), device)
    except OSError:
        return device
