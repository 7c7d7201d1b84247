"""The chain: each record is bound to the one before it by a code that only the holder of the key can make.

A link is HMAC-SHA256 over the previous link, the record's number and its body, so nothing can be changed, taken out,
put in or moved without every later link being wrong. What a chain cannot show, that its end was cut off, the head does.
"""

from __future__ import annotations

import hmac
import struct

LINK_BYTES = 32
GENESIS = bytes(LINK_BYTES)
"""Stands where the first record's predecessor would."""
_NUMBER = struct.Struct(">Q")
_HEAD = b"bpf-atlas audit head\n"


def link(key: bytes, previous: bytes, number: int, body: bytes) -> bytes:
    """Give the link of record `number`."""
    return hmac.digest(key, previous + _NUMBER.pack(number) + body, "sha256")


def head_tag(key: bytes, number: int, mac: bytes) -> bytes:
    """Give the code that makes a head one of ours; never equal to a link, whose message begins with one."""
    return hmac.digest(key, _HEAD + _NUMBER.pack(number) + mac, "sha256")


def short(mac: bytes) -> str:
    """Last 16 hexadecimal digits, as people compare them."""
    return mac.hex()[-16:]
