"""Snapshots for tests: entries in, a snapshot out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from app.history.series import Identity, SeriesFacts
from app.history.snapshots import About, Kept
from app.history.writer import Writer

SECOND_NS = 1_000_000_000
Bytes2d = NDArray[np.uint8]


def series(writer: Writer, name: str = "flows", at_ns: int = SECOND_NS, *, host: str = "here") -> SeriesFacts:
    return writer.series_of(Identity(host=host, name=name, type=1, owner="loader"), at_ns=at_ns, map_id=7, boot_id="b")


def snapshot(
    writer: Writer, keys: Bytes2d, values: Bytes2d, *, name: str = "flows", at_ns: int = SECOND_NS, label: str = "",
    trigger: str = "manual", host: str = "here",
) -> Kept:  # fmt: skip
    facts = series(writer, name, at_ns, host=host)
    layout_id = writer.layout_of(b"layout", None, None)
    last = writer.newest(facts.id)
    draft = writer.draft(keys, values, previous=last.root_id if last else 0)
    about = About(
        series_id=facts.id, layout_id=layout_id, taken_ns=at_ns, took_ns=5, map_id=7, boot_id="b", completeness="walked",
        trigger=trigger, label=label,
    )  # fmt: skip
    return writer.keep(draft, about)


def table(n: int, key_width: int = 4, value_width: int = 16, seed: int = 1) -> tuple[Bytes2d, Bytes2d]:
    """n entries with different keys, in no order."""
    rng = np.random.default_rng(seed)
    keys = np.zeros((n, key_width), np.uint8)
    count = min(key_width, 4)
    keys[:, key_width - count :] = np.arange(n, dtype=">u4")[:, None].view(np.uint8)[:, 4 - count :]
    if key_width > 4:
        keys[:, : key_width - 4] = rng.integers(0, 256, (n, key_width - 4), np.uint8)
    values = rng.integers(0, 4, (n, value_width), np.uint8)
    shuffled = rng.permutation(n)
    return keys[shuffled], values[shuffled]


def as_dict(keys: Bytes2d, values: Bytes2d) -> dict[bytes, bytes]:
    return {key.tobytes(): value.tobytes() for key, value in zip(keys, values, strict=True)}
