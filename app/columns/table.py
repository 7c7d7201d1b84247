"""The one object that every surface consumes: keys, values, and the layout that explains them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.columns.errors import TableShape
from app.columns.plan import Plan

Bytes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Layout:
    """What the bytes of a map's entries mean."""

    key: Plan | None
    """None where entries have no key worth showing: global data, struct_ops, queues."""
    value: Plan | None
    """None where a look-up gives nothing: perf event arrays, bloom filters."""
    n_cpus: int = 0
    """Possible CPUs of a per-CPU map, 0 for every other."""
    datasec: bool = False
    """The value is a section of global variables: people see one row per variable."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Why a part is shown as bytes though the map has BTF."""
        plans = (("key", self.key), ("value", self.value))
        return tuple(f"{group}: {plan.note}" for group, plan in plans if plan is not None and plan.note)


@dataclass(frozen=True, slots=True)
class Table:
    """Entries of a map, in the order that they were read.

    keys    uint8[n, key_size]
    values  uint8[n, value_size], of a per-CPU map uint8[n, n_cpus, value_size] (the kernel's padding to 8 cut off);
            strided views are welcome as long as the bytes of one value lie together
    raises  TableShape
    """

    layout: Layout
    keys: Bytes
    values: Bytes

    def __post_init__(self) -> None:
        """Check shapes once, so that no reader needs to."""
        n_entries = len(self.keys)
        key_bytes = 0 if self.layout.key is None else self.layout.key.size_bytes
        value_bytes = 0 if self.layout.value is None else self.layout.value.size_bytes
        per_cpu = (self.layout.n_cpus,) if self.layout.n_cpus else ()
        if self.layout.key is not None and self.keys.shape != (n_entries, key_bytes):
            raise TableShape("keys", ("n", key_bytes), self.keys.shape)
        if self.layout.value is not None and self.values.shape != (n_entries, *per_cpu, value_bytes):
            raise TableShape("values", (n_entries, *per_cpu, value_bytes), self.values.shape)

    def __len__(self) -> int:
        """Entries; a section of global variables is one."""
        return len(self.keys)

    def take(self, indices: NDArray[np.int64] | slice) -> Table:
        """The entries at ``indices``, in that order; a slice copies nothing."""
        return Table(self.layout, self.keys[indices], self.values[indices])
