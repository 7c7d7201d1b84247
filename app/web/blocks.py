"""What is streamed line by line, in blocks: a small write a line would cost more than the line."""

from __future__ import annotations

from collections.abc import Iterator

BLOCK_BYTES = 1 << 16


def blocks(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The same bytes, at least BLOCK_BYTES at a time."""
    block = bytearray()
    for piece in pieces:
        block += piece
        if len(block) >= BLOCK_BYTES:
            yield bytes(block)
            block.clear()
    if block:
        yield bytes(block)
