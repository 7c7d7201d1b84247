"""What the bytes of snapshots mean, kept with them: an opaque body, and the BTF that it refers to, once for each distinct one."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from sqlalchemy import Connection, insert, select

from app.history import chunks, codec, numbers
from app.history.chunks import Decoder, NewChunk
from app.history.errors import Damaged
from app.history.seal import ADDRESS_BYTES, address, seal
from app.history.tables import Chunk, Layout


@dataclass(frozen=True, slots=True)
class StoredLayout:
    """One layout."""

    id: int
    address: bytes
    body: bytes
    btf_id: int | None
    base_btf_id: int | None


def put(connection: Connection, body: bytes, btf: bytes | None, base_btf: bytes | None) -> tuple[int, int]:
    """Make sure that a layout is there: (id, bytes that it added)."""
    addresses = [address(data) if data else None for data in (btf, base_btf)]
    name = _name(body, addresses)
    known = connection.execute(select(Layout.id).where(Layout.address == name)).scalar_one_or_none()
    if known is not None:
        return int(known), 0
    added = len(body)
    ids: list[int | None] = []
    for data, wanted in zip((btf, base_btf), addresses, strict=True):
        if not data or wanted is None:
            ids.append(None)
            continue
        there = chunks.ids_of(connection, [wanted])
        if wanted not in there:
            encoded = codec.encode(np.frombuffer(data, np.uint8).reshape(1, -1))
            new = NewChunk(address=wanted, width=len(data), raw_bytes=len(data), encoded=encoded)
            added += chunks.add(connection, [new])
            there[wanted] = new.id
        ids.append(there[wanted])
    made = StoredLayout(numbers.take(connection, Layout)[0], name, body, *ids)
    row = {"id": made.id, "address": name, "body": body, "btf_id": made.btf_id, "base_btf_id": made.base_btf_id}
    connection.execute(insert(Layout), {**row, "seal": _seal(made)})
    return made.id, added


def load(connection: Connection, layout_id: int) -> StoredLayout:
    """One layout, by its seal. raises Damaged"""
    row = connection.execute(
        select(Layout.id, Layout.address, Layout.body, Layout.btf_id, Layout.base_btf_id, Layout.seal).where(
            Layout.id == layout_id
        )
    ).one_or_none()
    if row is None:
        raise Damaged(f"layout {layout_id}", "it is not there")
    stored = StoredLayout(*row[:5])
    if _seal(stored) != row.seal:
        raise Damaged(f"layout {layout_id}", "its bytes are not those that were stored")
    return stored


def check(connection: Connection, layout_id: int) -> None:
    """Compare a layout, and the BTF that it refers to, with its address. raises Damaged"""
    stored = load(connection, layout_id)
    wanted = [each for each in (stored.btf_id, stored.base_btf_id) if each]
    named = dict(connection.execute(select(Chunk.id, Chunk.address).where(Chunk.id.in_(wanted))).all())
    addresses = [named.get(each, b"") if each else None for each in (stored.btf_id, stored.base_btf_id)]
    if _name(stored.body, addresses) != stored.address:
        raise Damaged(f"layout {layout_id}", "it is not what its address says")


def btf(connection: Connection, decoder: Decoder, chunk_id: int) -> bytes:
    """The bytes of a BTF object. raises Damaged"""
    found = chunks.fetch(connection, [chunk_id])
    return decoder.rows(found[chunk_id], found).tobytes()


def _seal(stored: StoredLayout) -> bytes:
    return seal((stored.id, stored.address, stored.body, stored.btf_id, stored.base_btf_id))


def _name(body: bytes, addresses: list[bytes | None]) -> bytes:
    state = hashlib.blake2b(digest_size=ADDRESS_BYTES)
    state.update(len(body).to_bytes(8, "little"))
    state.update(body)
    for each in addresses:
        state.update(each or bytes(ADDRESS_BYTES))
    return state.digest()
