"""The table that `make bench` prints."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One promise and what was measured of it."""

    what: str
    against: str
    promised: float
    """The ratio may be at most this; at least, where `at_least`."""
    measured: float
    """Median of the ratios, run by run."""
    least: float
    largest: float
    at_least: bool = False
    note: str = ""

    @property
    def kept(self) -> bool:
        return self.measured >= self.promised if self.at_least else self.measured <= self.promised

    def as_dict(self) -> dict[str, object]:
        return {**asdict(self), "kept": self.kept}


def print_rows(rows: list[Row]) -> None:
    """One line a promise."""
    width = max(len(row.what) for row in rows)
    print(f"{'what'.ljust(width)}  promised  median (least … largest)   against")
    for row in rows:
        sign = "≥" if row.at_least else "≤"
        line = (
            f"{row.what.ljust(width)}  {sign} {row.promised:<6g}  {row.measured:<6.2f} ({row.least:.2f} … {row.largest:.2f})"
            f"{'' if row.kept else '  NOT KEPT'}   {row.against}"
        )
        print(f"{line}  {row.note}".rstrip())
