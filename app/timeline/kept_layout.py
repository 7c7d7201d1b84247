"""A map's facts and types as they go into the history, and as a schema out of it again.

The body is a msgpack map with names, so that later releases may add to it; numbers of BTF objects, which are others after
each start, are left out: whether there is one is all that the layout needs.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from app.btf.errors import BtfError
from app.btf.parse import Btf, parse
from app.history.errors import Damaged
from app.history.history import History
from app.maps.kinds import Kind, kind_of
from app.maps.layouts import VMLINUX, Schema, schema_of
from app.maps.opening import OpenMap
from app.uapi.errors import KernelError
from app.wire.bodies import MapFacts

FORMAT = 1


class LayoutBody(msgspec.Struct, frozen=True, kw_only=True):
    """What is stored of a map beside its entries; names are for ever."""

    format: int = FORMAT
    type: int
    name: str
    key_size: int
    value_size: int
    max_entries: int
    map_flags: int
    map_extra: int = 0
    has_btf: bool = False
    """Of its own; the chunk is with the layout."""
    key_type_id: int = 0
    value_type_id: int = 0
    kernel_value_type_id: int = 0
    """A type of vmlinux (struct_ops), or of a module where `in_module`."""
    in_module: bool = False
    n_cpus: int = 0
    """Possible CPUs of the host, for values that come once for each."""


@dataclass(frozen=True, slots=True)
class ToKeep:
    """A layout on its way into the history."""

    body: bytes
    btf: bytes | None
    base_btf: bytes | None


def to_keep(opened: OpenMap) -> ToKeep:
    """What is to be stored of an open map's types. What cannot be had of them is left out: bytes are shown then."""
    facts = opened.facts
    btf: bytes | None = None
    base: bytes | None = None
    in_kernel, in_module = facts.btf_vmlinux_value_type_id, facts.btf_vmlinux_id not in (0, 1)
    try:
        if in_kernel and not in_module:
            btf = VMLINUX.read_bytes()
        elif in_kernel:
            btf, base = opened.client.btf(facts.btf_vmlinux_id), VMLINUX.read_bytes()
        elif facts.btf_id and (facts.btf_key_type_id or facts.btf_value_type_id):
            btf = opened.client.btf(facts.btf_id)
            base = _base_of(btf)
    except (KernelError, OSError):
        btf = base = None
    body = LayoutBody(
        type=facts.type,
        name=facts.name,
        key_size=facts.key_size,
        value_size=facts.value_size,
        max_entries=facts.max_entries,
        map_flags=facts.map_flags,
        map_extra=facts.map_extra,
        has_btf=btf is not None and not in_kernel,
        key_type_id=facts.btf_key_type_id,
        value_type_id=facts.btf_value_type_id,
        kernel_value_type_id=in_kernel if btf is not None else 0,
        in_module=bool(in_kernel) and in_module,
        n_cpus=opened.schema.layout.n_cpus,
    )
    return ToKeep(msgspec.msgpack.encode(body), btf, base)


def _base_of(btf: bytes) -> bytes | None:
    """The kernel's types, for BTF that goes on where they end."""
    try:
        parse(btf)
    except BtfError:
        try:
            return VMLINUX.read_bytes()
        except OSError:
            return None
    return None


@dataclass(frozen=True, slots=True)
class _StoredTypes:
    """See app.maps.layouts.Types: there is one BTF object, whatever its number was."""

    btf: bytes | None
    base: bytes | None

    def get(self, btf_id: int) -> Btf:
        """The stored one."""
        if self.btf is None:
            raise BtfError(f"BTF {btf_id} was not stored")
        return parse(self.btf) if self.base is None else parse(self.btf, parse(self.base))

    def vmlinux(self) -> Btf:
        """The same."""
        return self.get(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recalled:
    """What a stored snapshot's bytes mean."""

    facts: MapFacts
    """As far as they were stored: no id, no memory."""
    kind: Kind
    schema: Schema
    body: LayoutBody | None
    """As it is stored; None for a live map's."""


def recall(history: History, layout_id: int) -> Recalled:
    """A schema out of the history. raises Damaged"""
    stored = history.layout(layout_id)
    try:
        body = msgspec.msgpack.decode(stored.body, type=LayoutBody)
    except (msgspec.MsgspecError, ValueError) as problem:
        raise Damaged(f"layout {layout_id}", str(problem)) from problem
    facts = MapFacts(
        id=0,
        type=body.type,
        name=body.name,
        key_size=body.key_size,
        value_size=body.value_size,
        max_entries=body.max_entries,
        map_flags=body.map_flags,
        map_extra=body.map_extra,
        btf_id=1 if body.has_btf else 0,
        btf_key_type_id=body.key_type_id,
        btf_value_type_id=body.value_type_id,
        btf_vmlinux_id=2 if body.in_module else 0,
        btf_vmlinux_value_type_id=body.kernel_value_type_id,
        ifindex=0,
        memlock_bytes=0,
        frozen=False,
        owner_prog_type=None,
        entries=None,
    )
    btf, base = (history.btf(each) if each else None for each in (stored.btf_id, stored.base_btf_id))
    kind = kind_of(body.type)
    schema = schema_of(facts, kind, _StoredTypes(btf, base), n_cpus=body.n_cpus)
    return Recalled(facts=facts, kind=kind, schema=schema, body=body)
