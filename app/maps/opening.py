"""One live map, opened for reading.

A descriptor lives as long as the `with` of `open_map`: nothing is kept alive between two requests.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from app.maps.brokered import reader_of
from app.maps.catalog import entries_of
from app.maps.errors import NoSuchMap
from app.maps.kinds import Kind, kind_of
from app.maps.layouts import Btfs, Schema, schema_of
from app.uapi.errors import ObjectGone
from app.uapi.kernel import MapReader
from app.wire.ask import Client
from app.wire.bodies import MapFacts


@dataclass(slots=True, kw_only=True)
class OpenMap:
    """One map while it is open."""

    facts: MapFacts
    kind: Kind
    reader: MapReader
    client: Client
    btfs: Btfs
    opened_at_ns: int
    brokered: bool
    """The broker reads for us, since a passed descriptor is of no use here."""
    _schema: Schema | None = None

    @property
    def entries(self) -> int | None:
        """As entries_of."""
        return entries_of(self.facts)

    @property
    def schema(self) -> Schema:
        """Its layout, found on first use."""
        if self._schema is None:
            self._schema = schema_of(self.facts, self.kind, self.btfs)
        return self._schema


@contextmanager
def open_map(client: Client, btfs: Btfs, map_id: int) -> Iterator[OpenMap]:
    """A map, open until the `with` ends.

    raises  NoSuchMap when it is gone
    """
    try:
        opened, fd = client.map_open(map_id)
    except ObjectGone as gone:
        raise NoSuchMap(f"#{map_id}") from gone
    facts = opened.facts
    try:
        yield OpenMap(
            facts=facts,
            kind=kind_of(facts.type),
            reader=reader_of(client, facts, fd),
            client=client,
            btfs=btfs,
            opened_at_ns=time.time_ns(),
            brokered=fd is None,
        )
    finally:
        if fd is not None:
            os.close(fd)
