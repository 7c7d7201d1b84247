"""The header of a BTF blob: ``struct btf_header`` of ``include/uapi/linux/btf.h``."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Literal

from app.btf.errors import BadHeader, NotBtf, SectionEndsEarly, TooLarge

MAGIC = 0xEB9F
VERSION = 1
HEADER_BYTES = 24
MAX_BLOB_BYTES = 256 << 20
"""Far above any kernel's own BTF (6 MB for 126,000 types); below what would hurt the process that reads it."""

ByteOrder = Literal["little", "big"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """Where the two sections lie, counted from the start of the blob."""

    byte_order: ByteOrder
    flags: int
    types_offset_bytes: int
    types_size_bytes: int
    strings_offset_bytes: int
    strings_size_bytes: int


def read_header(data: bytes) -> Header:
    """Read and check the header.

    data     a whole BTF blob, either byte order; a header longer than 24 bytes is of a newer kernel and accepted
    raises   NotBtf, SectionEndsEarly, BadHeader, TooLarge
    """
    if len(data) > MAX_BLOB_BYTES:
        raise TooLarge(f"A BTF blob of at most {MAX_BLOB_BYTES} bytes was wanted, this one has {len(data)}")
    byte_order = _byte_order(data)
    if len(data) < HEADER_BYTES:
        raise SectionEndsEarly("header", 0, HEADER_BYTES, len(data))
    _, version, flags, header_bytes, type_offset, type_bytes, string_offset, string_bytes = struct.unpack_from(
        "<HBBIIIII" if byte_order == "little" else ">HBBIIIII", data
    )
    if version != VERSION:
        raise NotBtf(f"version {version}")
    if header_bytes < HEADER_BYTES or header_bytes > len(data):
        raise BadHeader(f"BTF header: a length of {HEADER_BYTES} to {len(data)} was wanted, it says {header_bytes}")
    header = Header(
        byte_order=byte_order,
        flags=flags,
        types_offset_bytes=header_bytes + type_offset,
        types_size_bytes=type_bytes,
        strings_offset_bytes=header_bytes + string_offset,
        strings_size_bytes=string_bytes,
    )
    _check_section("types", header.types_offset_bytes, type_bytes, len(data))
    _check_section("strings", header.strings_offset_bytes, string_bytes, len(data))
    if type_offset % 4 or type_bytes % 4:
        raise BadHeader(f"BTF header: types lie on multiples of 4 bytes, not at {type_offset} with {type_bytes} bytes")
    if type_offset < string_offset + string_bytes and string_offset < type_offset + type_bytes:
        raise BadHeader("BTF header: the sections of types and strings overlap")
    return header


def _byte_order(data: bytes) -> ByteOrder:
    if data[:2] == MAGIC.to_bytes(2, "little"):
        return "little"
    if data[:2] == MAGIC.to_bytes(2, "big"):
        return "big"
    raise NotBtf(f"the bytes {data[:2].hex()!r}" if data else "an empty blob")


def _check_section(name: str, offset_bytes: int, size_bytes: int, blob_bytes: int) -> None:
    if offset_bytes + size_bytes > blob_bytes:
        raise SectionEndsEarly(name, offset_bytes, size_bytes, max(0, blob_bytes - offset_bytes))
