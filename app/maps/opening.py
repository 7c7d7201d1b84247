"""One live map, opened for reading.

A descriptor lives as long as the `with` of `open_map`: nothing is kept alive between two requests.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np

from app.maps.brokered import reader_of
from app.maps.catalog import entries_of
from app.maps.errors import NoSuchMap
from app.maps.hiding import HidingReader, Mask, hide
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
    hidden: tuple[str, ...] = ()
    """Patterns of paths whose values whoever looks may not see: see hiding.py."""
    _schema: Schema | None = None
    _mask: Mask | None = None

    @property
    def entries(self) -> int | None:
        """As entries_of."""
        return entries_of(self.facts)

    @property
    def schema(self) -> Schema:
        """Its layout, found on first use."""
        if self._schema is None:
            found = schema_of(self.facts, self.kind, self.btfs)
            layout, of_people = hide(found.layout, self.hidden)
            json_layout, of_dump = hide(found.json_layout, self.hidden)
            self._mask = of_people | of_dump
            self._schema = replace(found, layout=layout, json_layout=json_layout)
        return self._schema

    @property
    def mask(self) -> Mask:
        """Which bytes of a value are hidden."""
        if self._mask is None:
            _ = self.schema
        return np.zeros(0, bool) if self._mask is None else self._mask


@contextmanager
def open_map(client: Client, btfs: Btfs, map_id: int, *, hidden: tuple[str, ...] = ()) -> Iterator[OpenMap]:
    """A map, open until the `with` ends.

    hidden  patterns of paths whose values are read as zeros and shown as redacted
    raises  NoSuchMap when it is gone
    """
    try:
        opened, fd = client.map_open(map_id)
    except ObjectGone as gone:
        raise NoSuchMap(f"#{map_id}") from gone
    facts = opened.facts
    try:
        found = OpenMap(
            facts=facts,
            kind=kind_of(facts.type),
            reader=reader_of(client, facts, fd),
            client=client,
            btfs=btfs,
            opened_at_ns=time.time_ns(),
            brokered=fd is None,
            hidden=hidden,
        )
        if hidden:
            found.reader = HidingReader(found.reader, lambda: found.mask)
        yield found
    finally:
        if fd is not None:
            os.close(fd)
