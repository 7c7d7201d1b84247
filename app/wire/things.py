"""What a slot holds, as it is named to put it there: ``prog:12``, ``map:7``, ``dev:3+prog:12``, ``cpu:192``."""

from __future__ import annotations

import struct

from app.uapi.enums import BpfMapType

KINDS: dict[int, str] = {
    BpfMapType.PROG_ARRAY: "prog",
    BpfMapType.ARRAY_OF_MAPS: "map",
    BpfMapType.HASH_OF_MAPS: "map",
    BpfMapType.DEVMAP: "dev",
    BpfMapType.DEVMAP_HASH: "dev",
    BpfMapType.CPUMAP: "cpu",
}
"""First word of a thing by the type of its map; sockets are read as cookies, which name nothing that can be opened."""
_U32 = struct.Struct("=I")
_PAIR = struct.Struct("=II")  # struct bpf_devmap_val, struct bpf_cpumap_val, as they are read: with the program's id


def thing_text(map_type: int, value: bytes) -> str:
    """The thing that a value means as it was read; empty where it has no name.

    value  u32, or two of them: the second is a program's id, 0 for none
    """
    kind = KINDS.get(map_type, "")
    if not kind or len(value) < _U32.size:
        return ""
    if len(value) < _PAIR.size:
        return f"{kind}:{_U32.unpack_from(value)[0]}"
    number, prog = _PAIR.unpack_from(value)
    return f"{kind}:{number}" + (f"+prog:{prog}" if prog else "")
