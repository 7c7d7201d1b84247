"""What a filter expression is made of, once it is parsed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from app.columns.table import Layout, Table

Op = Literal["==", "!=", "<", "<=", ">", ">=", "contains", "startswith"]


@dataclass(frozen=True, slots=True)
class Path:
    """A field; ``column`` is where it stands in the expression, from 1."""

    column: int
    text: str


@dataclass(frozen=True, slots=True)
class Number:
    """An integer, or a float."""

    column: int
    value: int | float


@dataclass(frozen=True, slots=True)
class Text:
    """Quoted text, or (``bare``) a word: an enumerator, true or false."""

    column: int
    value: str
    bare: bool = False


@dataclass(frozen=True, slots=True)
class Octets:
    """Bytes in memory order: an address or hex:…; the first ``prefix_bits`` count."""

    column: int
    data: bytes
    prefix_bits: int
    kind: str
    """"IPv4 address", "IPv6 address", "MAC address" or "bytes"."""


Literal_ = Number | Text | Octets


@dataclass(frozen=True, slots=True)
class Range:
    """``low..high``, both included."""

    column: int
    low: Literal_
    high: Literal_


class Expr:
    """A parsed filter; `mask` answers it for each entry of a table."""

    __slots__ = ()

    @property
    def paths(self) -> tuple[str, ...]:
        """Every field that it looks at, in order, each once."""
        return tuple(dict.fromkeys(path.text for path in self.fields()))

    def fields(self) -> Iterator[Path]:
        """Every mention of a field."""
        yield from ()

    def check(self, layout: Layout) -> None:
        """Whether it can be asked of entries of this layout. raises WhereError"""
        from app.columns.mask import check

        check(self, layout)

    def mask(self, table: Table, lenses: Mapping[str, str] | None = None) -> NDArray[np.bool_]:
        """bool[n]: which entries it holds for. ``lenses`` (path -> lens) as the page shows them. raises WhereError"""
        from app.columns.mask import mask

        return mask(self, table, lenses or {})


@dataclass(frozen=True, slots=True)
class Not(Expr):
    """The opposite."""

    of: Expr

    def fields(self) -> Iterator[Path]:
        """See Expr."""
        return self.of.fields()


@dataclass(frozen=True, slots=True)
class Junction(Expr):
    """All of the parts hold, or any."""

    word: Literal["and", "or"]
    parts: tuple[Expr, ...]

    def fields(self) -> Iterator[Path]:
        """See Expr."""
        for part in self.parts:
            yield from part.fields()


@dataclass(frozen=True, slots=True)
class Compare(Expr):
    """``path op right``."""

    path: Path
    op: Op
    right: Path | Literal_

    def fields(self) -> Iterator[Path]:
        """See Expr."""
        yield self.path
        if isinstance(self.right, Path):
            yield self.right


@dataclass(frozen=True, slots=True)
class Within(Expr):
    """``path in (…)``, ``path in low..high``, ``path in network``."""

    path: Path
    options: tuple[Literal_ | Range, ...]

    def fields(self) -> Iterator[Path]:
        """See Expr."""
        yield self.path


@dataclass(frozen=True, slots=True)
class Holds(Expr):
    """A bare field."""

    path: Path

    def fields(self) -> Iterator[Path]:
        """See Expr."""
        yield self.path
